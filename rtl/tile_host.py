"""The host of a tile on a board: lays two matrices out in its memories, has it multiply them, and reads the sums.

    with SerialPort("/dev/ttyUSB1", 1_000_000) as port:
        tile = TileHost(port, accelerator)
        sums, cycles = tile.multiply(a, b, NM(2, 4), sparse="b")

`cycles` are the array's own, from the command's acceptance to the last sum: `simulator.timing.multiply_time`. It needs numpy
and, for `SerialPort`, pyserial; none of the packages that make RTL.
"""

import time
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rtl.host import Host, Identity
from rtl.host_port import BoardError, Port
from rtl.protocol import WORD_BYTES
from rtl.tile_map import COMMAND_FORMAT, TileMap
from simulator.arch import Accelerator, Dataflow, ceil_div
from simulator.arithmetic import Values, accumulator_dtype, compress, operand_dtype
from simulator.encoding import DATAFLOWS
from simulator.image import bytes_of, operand_element
from simulator.layout import Banking, banking, entries_of_line, entries_of_step, lines_of_bank, result_places
from simulator.timing import stationary_registers
from workloads.sparsity import DENSE, NM, Pattern

__all__ = ["TileHost"]

_DONE = 2
_Side = Literal["a", "b"]


class TileHost:
    """A tile of `accelerator` behind `port`; `timeout`, `quiet` and `attempts` as `rtl.host.Host`'s.

    Raises BoardError where the board doesn't answer, or isn't that tile.
    """

    def __init__(
        self, port: Port, accelerator: Accelerator, *, timeout: float = 1.0, quiet: float = 0.5, attempts: int = 4
    ) -> None:
        self.accelerator, self.map = accelerator, TileMap(accelerator)
        self.host = Host(port, timeout=timeout, quiet=quiet, attempts=attempts)
        self._checked = False

    def check(self) -> Identity:
        """What the board says of itself. Raises BoardError unless it is the accelerator's tile."""
        self.host.check(self.accelerator)
        identity = self.host.identity
        if identity.command_version != COMMAND_FORMAT:
            raise BoardError(
                "Board must be the accelerator's tile, not its whole machine: use rtl.host.Host, or configure it with the tile"
            )
        self._checked = True
        return identity

    def multiply(
        self,
        a: Values,
        b: Values,
        pattern: Pattern = DENSE,
        *,
        sparse: _Side = "b",
        dataflow: Dataflow | None = None,
        timeout: float = 10.0,
    ) -> tuple[Values, int]:
        """The accumulators of ``a b`` (m x k times k x n), and the cycles they took.

        Matrices hold operands as `simulator.arithmetic` stores them. The `sparse` one is pruned to an N:M pattern along k, as
        the accelerator's pruner would. `dataflow` is the array's first unless given. Raises ValueError for matrices that
        the tile can't multiply or hold, TimeoutError when it doesn't end within `timeout` seconds.
        """
        dataflow = dataflow or self.accelerator.array.dataflows[0]
        fields = self._command(a, b, pattern, sparse, dataflow)
        if not self._checked:
            self.check()
        if self.host.busy:
            raise BoardError("Tile must be idle before a multiplication: wait, or stop it with TileHost.host.reset()")
        along_k: dict[_Side, Values] = {"a": a, "b": b.T}
        for side, lines in along_k.items():
            self._load(side, lines, pattern, kept=isinstance(pattern, NM) and sparse == side, dataflow=dataflow)
        self.host.write_memory(self.map.command_address, _packed(self.map.command, fields))
        self.host.write_register("start", 1)
        end = time.monotonic() + timeout
        while not self.host.read_register("status") & _DONE:
            if time.monotonic() > end:
                raise TimeoutError(
                    f"Multiplication must end within {timeout} s: wait for it, or stop it with TileHost.host.reset()"
                )
        return self._sums(fields, swapped=dataflow is Dataflow.IS), self.host.read_register("cycles")

    def _command(self, a: Values, b: Values, pattern: Pattern, sparse: _Side, dataflow: Dataflow) -> dict[str, int]:
        """The fields. Raises ValueError for a multiplication that isn't one, or that the tile can't do."""
        dtype, pe, array = operand_dtype(self.accelerator.pe.number), self.accelerator.pe, self.accelerator.array
        for name, matrix in (("a", a), ("b", b)):
            if matrix.ndim != 2 or matrix.dtype != dtype or not matrix.size:
                raise ValueError(f"Matrix {name!r} must have two dimensions of {dtype}, not {matrix.shape} of {matrix.dtype}")
        (m, k), (inner, n) = a.shape, b.shape
        if k != inner:
            raise ValueError(f"Matrix 'b' must have the {k} rows that 'a' has columns, not {inner}")
        if dataflow not in array.dataflows:
            raise ValueError(f"Multiply field 'dataflow' must be one of {', '.join(array.dataflows)}, not {dataflow!r}")
        nm = isinstance(pattern, NM)
        if nm and (pattern.group > pe.group or pattern.group & (pattern.group - 1) or k % pattern.group):
            raise ValueError(
                f"Multiply field 'pattern' must have a power of two up to {pe.group} that divides {k}, not {pattern}"
            )
        if nm and pattern.keep % pe.lanes:
            raise ValueError(f"Multiply field 'pattern' must keep whole beats of {pe.lanes} on a tile, not {pattern}")
        if (needed := stationary_registers(self.accelerator, dataflow, pattern, sparse)) > pe.registers:
            raise ValueError(f"Multiply field 'pattern' must need at most {pe.registers} stationary registers, not {needed}")
        u, v = (n, m) if dataflow is Dataflow.IS else (m, n)
        fields = {"m": m, "n": n, "k": k, "c_stride": ceil_div(v, array.cols), "sparse_b": int(nm and sparse == "b")}
        fields |= {"keep": pattern.keep, "group": pattern.group} if nm else {"keep": 0, "group": 0}
        fields["dataflow"] = DATAFLOWS.index(dataflow)
        for side in ("a", "b"):
            how, kept = banking(dataflow, side), nm and sparse == side
            stride = entries_of_line(self.accelerator, how, pattern, k, kept=kept, across=False)
            needed = stride * lines_of_bank(self.accelerator, how, m if side == "a" else n)
            if needed > (most := self.map.entries(self._first_bank(how))):
                raise ValueError(f"Matrix {side!r} must need at most {most} entries of a bank, not {needed}")
            fields[f"{side}_stride"] = stride
        places = result_places(self.accelerator)
        if (needed := ceil_div(u, places) * fields["c_stride"]) > self.map.sums // places:
            raise ValueError(
                f"Matrices of {m} x {n} sums must need at most {self.map.sums // places} words of a bank, not {needed}"
            )
        wide = {name: value for name, value in fields.items() if value >> self.map.command.get(name, 2)}
        if wide:
            raise ValueError(f"Multiply fields must fit the tile's memories, not be {wide}")
        return fields

    def _load(self, side: _Side, lines: Values, pattern: Pattern, *, kept: bool, dataflow: Dataflow) -> None:
        """Put the operand's lines (along k) into the banks of the rows, or of the columns."""
        how, number, tile = banking(dataflow, side), self.accelerator.pe.number, self.map
        indices: NDArray[Any] | None = None
        if kept:
            assert isinstance(pattern, NM)
            lines, indices = compress(lines, pattern, 1)
        values = bytes_of(operand_element(number), lines).view(f"<u{number.operand_bits // 8}")
        k = lines.shape[1]
        per_step = entries_of_step(self.accelerator, pattern, kept=kept)
        line, entry = np.indices(values.shape)
        step, within = entry // per_step, entry % per_step
        steps = ceil_div(k, per_step)
        array = self.accelerator.array
        if how is Banking.STEP_ROWS:
            banks, stride = step % array.rows, ceil_div(steps, array.rows) * per_step
            places = line * stride + step // array.rows * per_step + within
        else:
            count = array.rows if how is Banking.LINE_ROWS else array.cols
            banks, places = line % count, line // count * (steps * per_step) + entry
        words = ceil_div(int(places.max()) + 1, tile.width)
        for bank in range(int(banks.max()) + 1):
            mine, here = banks == bank, self._first_bank(how) + bank
            self._write(here, 0, _image(values[mine], places[mine], words, tile.width, number.operand_bits))
            if indices is not None:
                image = _image(indices[mine], places[mine], words, tile.width, tile.index_bits)
                self._write(here, tile.value_parts, image)

    def _first_bank(self, how: Banking) -> int:
        return self.accelerator.array.rows if how is Banking.LINE_COLS else 0

    def _write(self, bank: int, part: int, image: NDArray[np.uint8]) -> None:
        """Words (their bytes in the last axis) into a bank, from one of its parts on."""
        for at in range(0, image.shape[1], WORD_BYTES):
            self.host.write_memory(self.map.address(bank, part + at // WORD_BYTES), image[:, at : at + WORD_BYTES].tobytes())

    def _sums(self, fields: dict[str, int], *, swapped: bool) -> Values:
        """The command's results, m x n, from the places where docs/machine.md says they are."""
        u_end, v_end = (fields["n"], fields["m"]) if swapped else (fields["m"], fields["n"])
        places, cols = result_places(self.accelerator), self.accelerator.array.cols
        u, v = np.indices((u_end, v_end))
        fold = v // cols
        at = (u // places * fields["c_stride"] + fold) * places + (u + fold) % places
        count = int(at.max()) + 1
        dtype = accumulator_dtype(self.accelerator.pe.number).newbyteorder("<")
        banks = [
            np.frombuffer(self.host.read_program(self.map.result_address(bank), count * WORD_BYTES), dtype)
            for bank in range(min(cols, v_end))
        ]
        sums = np.stack(banks)[v % cols, at]
        return sums.T if swapped else sums


def _image(values: NDArray[Any], places: NDArray[Any], words: int, width: int, bits: int) -> NDArray[np.uint8]:
    """Words of `width` values of `bits` bits as bytes, whole parts of 32 bits; 0 where there is no value."""
    held = np.zeros(words * width, np.uint32)
    held[places] = values
    each = (held[:, None] >> np.arange(bits, dtype=np.uint32) & np.uint32(1)).astype(np.uint8).reshape(words, width * bits)
    padding = -each.shape[1] % (8 * WORD_BYTES)
    return np.packbits(np.pad(each, ((0, 0), (0, padding))), axis=1, bitorder="little")


def _packed(bits: dict[str, int], fields: dict[str, int]) -> bytes:
    """The command's words, its first field lowest."""
    value, at = 0, 0
    for name, size in bits.items():
        value |= fields[name] << at
        at += size
    return value.to_bytes(ceil_div(at, 8 * WORD_BYTES) * WORD_BYTES, "little")
