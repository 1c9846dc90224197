"""The golden machine for binary programs: what each command does to a byte image of memory, bit for bit as the RTL must.

It is also the checker of placed programs: commands run in program order, and one that is malformed, disagrees with what a slot
holds, reads what nothing wrote, or may start too early raises `GoldenError`.
"""

from dataclasses import dataclass, field

import numpy as np

from simulator.arch import Accelerator, Dataflow, ceil_div
from simulator.arithmetic import Packed, Values, accumulator_dtype, multiply_dense, multiply_sparse, to_result
from simulator.encoding import DATAFLOWS, Fault, Opcode, Word, encode, program_words
from simulator.faults import fault
from simulator.golden import GoldenError
from simulator.hazards import HazardError, Hazards
from simulator.image import Bytes, bytes_of, entry_bytes, operand_element, result_element, unpack_entries, values_of
from simulator.layout import (
    Banking,
    banking,
    bus_bytes,
    entries_of_line,
    lines_of_bank,
    operand_words,
    result_places,
    result_words,
    word_elements,
)
from simulator.result import Counters
from simulator.schedule import Engine
from simulator.work_planes import Registers, WorkPlanes
from workloads.sparsity import DENSE, NM, Pattern

__all__ = ["Registers", "interpret"]


_ZERO = Registers()


def interpret(data: bytes, memory: Bytes, accelerator: Accelerator, registers: Registers = _ZERO) -> Counters:
    """Run a binary program on `memory`, in place; returns what it did, as the machine counts it (END is not counted).

    Raises ValueError for bytes that are no program, GoldenError for a program that the machine must not be given.
    """
    machine = _Machine(memory, accelerator, registers)
    for number, word in enumerate(program_words(data)):
        try:
            machine.step(word)
        except (GoldenError, HazardError) as error:
            raise GoldenError(f"Command {number} ({word.opcode.name}, operation {word.op}): {error}") from error
    return machine.counters


@dataclass(frozen=True, slots=True)
class _Operand:
    """A slot of an operand buffer: a matrix (lines, k), or its kept elements (lines, k / group * keep)."""

    content: Values | Packed
    lines: int
    k: int
    pattern: Pattern  # of a dense operand: its steps only
    how: Banking
    stride: int


@dataclass(frozen=True, slots=True)
class _Sums:
    """A slot of the result buffer: sums (m, n)."""

    values: Values
    swapped: bool  # m runs along columns (IS)
    stride: int


def _require(what: str, got: object, wanted: object) -> None:
    if got != wanted:
        raise GoldenError(f"{what} must be {wanted}, not {got}")


@dataclass(slots=True)
class _Machine:
    """Memory, slots and planes while a program runs."""

    memory: Bytes
    accelerator: Accelerator
    registers: Registers
    counters: Counters = field(default_factory=Counters)
    operands: dict[tuple[str, int], _Operand] = field(default_factory=dict[tuple[str, int], _Operand])
    sums: dict[int, _Sums] = field(default_factory=dict[int, _Sums])
    dispatched: dict[Engine, int] = field(default_factory=lambda: dict.fromkeys(Engine, 0))
    hazards: Hazards = field(init=False)
    planes: WorkPlanes = field(init=False)

    def __post_init__(self) -> None:
        self.hazards = Hazards(len(self.memory))
        self.planes = WorkPlanes(self.accelerator, self.registers, self.hazards, self.counters)

    def step(self, word: Word) -> None:
        if (found := fault(encode([word]), self.accelerator, self.dispatched)) is not Fault.NONE:
            raise GoldenError(f"Command must be well-formed, not a fault {found.name}: {dict(word.fields)}")
        self.hazards.start(word.opcode.engine, dict(word.waits))
        get = dict(word.fields)
        match word.opcode:
            case Opcode.LOAD_A | Opcode.LOAD_B:
                self._load_operand("a" if word.opcode is Opcode.LOAD_A else "b", get)
            case Opcode.LOAD_WORK:
                self._load_plane(get)
            case Opcode.ARRAY:
                self._multiply(get)
            case Opcode.PRUNE:
                self.planes.prune(get)
            case Opcode.UPDATE:
                self.planes.update(get)
            case Opcode.VECTOR:
                self.planes.vector(get)
            case Opcode.STORE_C:
                self._store_sums(get)
            case Opcode.STORE_WORK:
                self._rows_out(get, self.planes.rows(get))
            case Opcode.END:
                raise AssertionError("no program has END among its words")
        self.dispatched[word.opcode.engine] += 1
        self.counters.commands += 1

    # Memory

    def _spans(self, get: dict[str, int]) -> list[tuple[int, int]]:
        starts = range(get["address"], get["address"] + get["rows"] * get["pitch"], get["pitch"])
        if (end := starts[-1] + get["row_bytes"]) > len(self.memory):
            raise GoldenError(f"Transfer must end within the memory's {len(self.memory)} bytes, not at {end}")
        return [(start, start + get["row_bytes"]) for start in starts]

    def _rows_in(self, get: dict[str, int]) -> Bytes:
        spans = self._spans(get)
        for span in spans:
            self.hazards.read_memory(*span)
        self.counters.dram_read_bytes += get["rows"] * get["row_bytes"]
        return np.stack([self.memory[start:stop] for start, stop in spans])

    def _rows_out(self, get: dict[str, int], rows: Bytes) -> None:
        _require("Fields 'rows', 'row_bytes'", (get["rows"], get["row_bytes"]), rows.shape)
        for (start, stop), row in zip(self._spans(get), rows, strict=True):
            self.hazards.write_memory(start, stop)
            self.memory[start:stop] = row
        self.counters.dram_write_bytes += get["rows"] * get["row_bytes"]

    def _load_plane(self, get: dict[str, int]) -> None:
        if get["rows"] > 1 and get["row_bytes"] % (bus := bus_bytes(self.accelerator)):
            raise GoldenError(f"Rows of a work load must be whole beats of {bus} bytes, not {get['row_bytes']} bytes")
        self.planes.write(get["slot"], get["plane"], self._rows_in(get).reshape(-1))

    # Operands and results

    def _load_operand(self, side: str, get: dict[str, int]) -> None:
        number, how = self.accelerator.pe.number, Banking(get["banking"])
        lines, k, kept = get["lines"], get["k"], bool(get["kept"])
        pattern: Pattern = NM(get["keep"] if kept else 1, get["group"]) if get["group"] else DENSE
        stride = entries_of_line(self.accelerator, how, pattern, k, kept=kept, across=bool(get["across"]))
        _require("Field 'stride'", get["stride"], stride)
        words = ceil_div(lines_of_bank(self.accelerator, how, lines) * get["stride"], word_elements(self.accelerator))
        if words > (most := operand_words(self.accelerator, "a" if side == "a" else "b")):
            raise GoldenError(f"Tile of {lines} lines must fit the {most} words of a bank's slot, not need {words}")
        rows, content = self._rows_in(get), None
        if kept:
            assert isinstance(pattern, NM)
            steps = k // pattern.group
            shape, entries = ((steps, lines), lines * pattern.keep) if get["across"] else ((lines, steps), steps * pattern.keep)
            _require("Fields 'rows', 'row_bytes'", rows.shape, (shape[0], entry_bytes(number, pattern, entries)))
            parts = [part.reshape(*shape, pattern.keep) for part in unpack_entries(number, pattern, rows, entries)]
            if get["across"]:
                parts = [part.transpose(1, 0, 2) for part in parts]
            values, indices = (part.reshape(lines, steps * pattern.keep) for part in parts)
            content = Packed(values, indices)
        else:
            element, (count, run) = operand_element(number), (k, lines) if get["across"] else (lines, k)
            _require("Fields 'rows', 'row_bytes'", rows.shape, (count, element.row_bytes(run)))
            content = values_of(element, rows, run)
            content = content.T if get["across"] else content
        self.hazards.write((side, get["slot"]))
        self.operands[side, get["slot"]] = _Operand(content, lines, k, pattern, how, get["stride"])

    def _multiply(self, get: dict[str, int]) -> None:
        pe, dataflow = self.accelerator.pe, DATAFLOWS[get["dataflow"]]
        m, n, k, group = get["m"], get["n"], get["k"], get["group"]
        sparse = "b" if get["sparse_b"] else "a"
        a, b = self._operand("a", m, dataflow, sparse, get), self._operand("b", n, dataflow, sparse, get)
        swapped = dataflow is Dataflow.IS
        u, v = (n, m) if swapped else (m, n)
        _require("Field 'c_stride'", get["c_stride"], ceil_div(v, self.accelerator.array.cols))
        words = ceil_div(u, result_places(self.accelerator)) * get["c_stride"]
        if words > (most := result_words(self.accelerator)):
            raise GoldenError(f"Tile of {m} x {n} sums must fit the {most} words of a bank's slot, not need {words}")
        sums = np.zeros((m, n), accumulator_dtype(pe.number))
        if get["accumulate"]:
            sums = self._held_sums(get["c_slot"], (m, n), swapped, get["c_stride"])
        if not group:
            assert not isinstance(a, Packed)
            assert not isinstance(b, Packed)
            sums = multiply_dense(pe.number, pe.lanes, sums[None], a[None], b.T[None])[0]
        else:
            pattern, (kept, dense) = NM(get["keep"], group), (a, b) if sparse == "a" else (b, a)
            assert isinstance(kept, Packed)
            assert not isinstance(dense, Packed)
            packed = Packed(kept.values[None], kept.indices[None])
            turned = sums if sparse == "a" else sums.T
            product = multiply_sparse(pe.number, pe.lanes, turned[None], packed, dense.T[None], pattern)[0]
            sums = product if sparse == "a" else product.T
        self.hazards.write(("c", get["c_slot"]))
        self.sums[get["c_slot"]] = _Sums(sums, swapped, get["c_stride"])
        self.counters.dense_macs += m * n * k
        self.counters.macs += m * n * k // group * get["keep"] if group else m * n * k

    def _operand(self, side: str, lines: int, dataflow: Dataflow, sparse: str, get: dict[str, int]) -> Values | Packed:
        """What the slot holds, which must be what the Multiply's fields say."""
        slot, group = get[f"{side}_slot"], get["group"]
        self.hazards.read((side, slot))
        if (held := self.operands.get((side, slot))) is None:
            raise GoldenError(f"Slot {slot} of buffer {side!r} must be loaded, not read before")
        _require(f"Lines of slot {slot} of buffer {side!r}", held.lines, lines)
        _require(f"K of slot {slot} of buffer {side!r}", held.k, get["k"])
        _require(f"Field '{side}_stride'", get[f"{side}_stride"], held.stride)
        _require(f"Banking of slot {slot} of buffer {side!r}", held.how, banking(dataflow, "a" if side == "a" else "b"))
        kept = isinstance(held.content, Packed)
        _require(f"Kept of slot {slot} of buffer {side!r}", kept, bool(group) and side == sparse)
        pattern: Pattern = NM(get["keep"] if kept else 1, group) if group else DENSE
        _require(f"Pattern of slot {slot} of buffer {side!r}", held.pattern, pattern)
        return held.content

    def _held_sums(self, slot: int, shape: tuple[int, int], swapped: bool, stride: int) -> Values:
        self.hazards.read(("c", slot))
        if (held := self.sums.get(slot)) is None:
            raise GoldenError(f"Slot {slot} of buffer 'c' must hold sums, not be read before")
        got = (held.values.shape, held.swapped, held.stride)
        _require(f"Shape, swapped, stride of slot {slot} of buffer 'c'", got, (shape, swapped, stride))
        return held.values

    def _store_sums(self, get: dict[str, int]) -> None:
        number = self.accelerator.pe.number
        held = self._held_sums(get["slot"], (get["rows"], get["columns"]), bool(get["swapped"]), get["stride"])
        self._rows_out(get, bytes_of(result_element(number), to_result(number, held)))
