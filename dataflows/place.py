"""A compiled program as binary commands: tensors get regions of memory, tiles become transfers between them and slots."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

from dataflows.place_regions import Use, kept_name, regions_of, span_of
from dataflows.place_work import WorkPlacer, work_uses
from dataflows.regions import Region, Span
from simulator.arch import Accelerator, Dataflow, ceil_div
from simulator.encoding import DATAFLOWS, END, FIELDS, HEADER, Opcode, Word
from simulator.image import operand_element, result_element
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
from simulator.schedule import Command, Engine, Load, Multiply, Program, Store, Tile, Unsupported, UnsupportedError
from workloads.gemm import Gemm
from workloads.sparsity import NM

__all__ = ["OperandPlace", "Placed", "place"]

Side = Literal["a", "b"]
_SIDES: tuple[Side, ...] = ("a", "b")


class OperandPlace(NamedTuple):
    """Where a GEMM's operand is. The region's matrix is (lines, k), or (k, lines) if `across`; lines are A's m and B's n."""

    region: str
    across: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Words for `simulator.encoding.encode`, END included, and the memory image that they work on.

    `tensors` has the region of each tensor by its name, of compressed copies by `kept_name`; a GEMM's result is at its `c`.
    """

    words: tuple[Word, ...]
    tensors: dict[str, Region]
    operands: dict[tuple[str, Side], OperandPlace]  # by operation's name and side
    memory_bytes: int


def place(
    program: Program, accelerator: Accelerator, *, base: int = 0, scalars: Mapping[str, float] = MappingProxyType({})
) -> Placed:
    """Place a compiled program's tensors from address `base` on, and encode its commands.

    `scalars` has the factor of each vector operation that scales, by the operation's name.

    Raises UnsupportedError for what the machine's RTL doesn't do, or where a tensor has no one layout that all its users take.
    """
    _check_machine(accelerator)
    burst = accelerator.dram.burst_bytes
    base = ceil_div(base, burst) * burst
    commands = list(program)
    for op in program.ops:
        if isinstance(op, Gemm):
            _check_gemm(op)
    used = {command.op for command in commands}
    uses = (*_uses(program, commands, accelerator), *work_uses(program, used, accelerator))
    tensors = regions_of(uses, burst, base)
    placer = _Placer(program, accelerator, tensors, WorkPlacer(program, accelerator, tensors, scalars))
    words = (*(_word(placer.opcode_fields(command), command) for command in commands), END)
    operands: dict[tuple[str, Side], OperandPlace] = {
        (op.name, side): OperandPlace(_operand_region(op, side), op.lines_fastest(side))
        for op in program.ops
        if isinstance(op, Gemm)
        for side in _SIDES
    }
    end = max((region.address + region.size_bytes for region in tensors.values()), default=base)
    return Placed(words=words, tensors=tensors, operands=operands, memory_bytes=end)


def _refuse(what: str, demand: int = 1, limit: int = 0) -> UnsupportedError:
    return UnsupportedError(Unsupported(what, demand, limit))


def _check_machine(accelerator: Accelerator) -> None:
    burst = accelerator.dram.burst_bytes
    counts = {"PE lanes": accelerator.pe.lanes, "a PE group": accelerator.pe.group, "pruner lanes": accelerator.pruner.lanes}
    counts |= {"vector lanes": accelerator.vector.lanes, "bytes of a burst": burst}
    if accelerator.pe.format != "int8":
        counts["updater lanes"] = accelerator.updater.lanes
    for what, count in counts.items():
        if count & (count - 1):
            raise _refuse(f"{what} that are a power of two in the RTL", count, 1 << count.bit_length() - 1)
    if burst < bus_bytes(accelerator):
        raise _refuse("bytes of a burst for one beat of the bus in the RTL", bus_bytes(accelerator), burst)


def _check_gemm(op: Gemm) -> None:
    if op.batch > 1:
        raise _refuse(f"entries in a batch of GEMM {op.name!r} in the RTL", op.batch, 1)
    if op.conv is not None:
        raise _refuse(f"implicit im2col of GEMM {op.name!r} in the RTL")
    if isinstance(op.pattern, NM) and op.pattern.group & (op.pattern.group - 1):
        raise _refuse(
            f"a group that is a power of two for GEMM {op.name!r} in the RTL",
            op.pattern.group,
            1 << op.pattern.group.bit_length() - 1,
        )


def _operand_region(op: Gemm, side: Side) -> str:
    operand = op.operand(side)
    if isinstance(operand.pattern, NM):
        return kept_name(operand.tensor, operand.pattern, across=op.lines_fastest(side))
    return operand.tensor


def _gemm(program: Program, command: Command) -> Gemm:
    op = program.ops[command.op]
    if not isinstance(op, Gemm):
        raise _refuse(f"{type(op).__name__} {op.name!r} among the operations that can be placed")
    return op


def _part(op: Gemm, side: Side, tile: Tile) -> tuple[range, range]:
    """Rows and columns of the operand's region that hold a tile."""
    lines = tile.m if side == "a" else tile.n
    return (tile.k, lines) if op.lines_fastest(side) else (lines, tile.k)


def _uses(program: Program, commands: list[Command], accelerator: Accelerator) -> Iterator[Use]:
    """Every operation's view of every region, in the order of the operations."""
    number = accelerator.pe.number
    starts: dict[tuple[int, str], set[int]] = {}
    for command in commands:
        match command:
            case Load(engine=Engine.LOAD_A | Engine.LOAD_B, tile=Tile() as tile):
                side = "a" if command.engine is Engine.LOAD_A else "b"
                columns = _part(_gemm(program, command), side, tile)[1]
                starts.setdefault((command.op, side), set()).add(columns.start)
            case Store(engine=Engine.STORE_C, tile=Tile() as tile):
                starts.setdefault((command.op, "c"), set()).add(tile.n.start)
            case _:
                pass
    written: set[str] = set()
    for index, op in enumerate(program.ops):
        if not isinstance(op, Gemm):
            continue
        for side in _SIDES:
            lines = op.m if side == "a" else op.n
            rows, columns = (op.k, lines) if op.lines_fastest(side) else (lines, op.k)
            pattern = op.operand(side).pattern
            yield Use(
                region=_operand_region(op, side),
                rows=rows,
                row_elements=columns,
                element=operand_element(number),
                starts=frozenset(starts[index, side]),
                pattern=pattern if isinstance(pattern, NM) else None,
                across=isinstance(pattern, NM) and op.lines_fastest(side),
            )
        if op.c in written:
            raise _refuse(f"GEMMs that write parts of tensor {op.c!r}", 2, 1)
        written.add(op.c)
        c_starts = frozenset(starts[index, "c"])
        yield Use(region=op.c, rows=op.m, row_elements=op.n, element=result_element(number), starts=c_starts)


def _word(body: tuple[Opcode, dict[str, int]], command: Command) -> Word:
    """A word whose fields all fit."""
    opcode, fields = body
    waits = {wait.engine: wait.commands for wait in command.waits}
    widths = FIELDS[opcode]
    for name, value in fields.items():
        if value >= 1 << widths[name]:
            raise _refuse(f"bits of field {name!r} of {opcode.name}", value.bit_length(), widths[name])
    for engine, count in waits.items():
        if count >= 1 << (bits := HEADER[f"wait_{engine.value}"]):
            raise _refuse(f"bits of a token of {engine.value!r}", count.bit_length(), bits)
    if command.op >= 1 << HEADER["op"]:
        raise _refuse("operations in one program", command.op + 1, 1 << HEADER["op"])
    return Word(opcode=opcode, op=command.op, waits=waits, fields=fields)


def _transfer(span: Span, slot: int) -> dict[str, int]:
    return {"address": span.address, "slot": slot, "rows": span.rows, "row_bytes": span.row_bytes, "pitch": span.pitch}


@dataclass(frozen=True, slots=True)
class _Placer:
    """Fields of each command, given where the tensors are."""

    program: Program
    accelerator: Accelerator
    tensors: dict[str, Region]
    work: WorkPlacer

    def opcode_fields(self, command: Command) -> tuple[Opcode, dict[str, int]]:
        match command:
            case Load(engine=Engine.LOAD_A):
                return Opcode.LOAD_A, self._load("a", command)
            case Load(engine=Engine.LOAD_B):
                return Opcode.LOAD_B, self._load("b", command)
            case Multiply():
                return Opcode.ARRAY, self._multiply(command)
            case Store(engine=Engine.STORE_C):
                return Opcode.STORE_C, self._store(command)
            case _:
                return self.work.opcode_fields(command)

    def _span(self, name: str, rows: range, columns: range) -> Span:
        return span_of(name, self.tensors[name], rows, columns)

    def _dataflow(self, index: int) -> Dataflow:
        return Dataflow(self.program.choices[index])

    def _lies(self, op: Gemm, side: Side, dataflow: Dataflow, k: int) -> tuple[Banking, bool, int]:
        """Banking, whether the operand is kept, and its stride."""
        how, kept = banking(dataflow, side), isinstance(op.operand(side).pattern, NM)
        across = op.lines_fastest(side)
        return how, kept, entries_of_line(self.accelerator, how, op.pattern, k, kept=kept, across=across)

    def _load(self, side: Side, command: Load) -> dict[str, int]:
        op, tile = _gemm(self.program, command), command.tile
        assert tile is not None
        dataflow, lines, k = self._dataflow(command.op), len(tile.m if side == "a" else tile.n), len(tile.k)
        how, kept, stride = self._lies(op, side, dataflow, k)
        if how is Banking.STEP_ROWS and op.lines_fastest(side):
            raise _refuse(
                f"operand {side} of {op.name!r} streaming in dataflow {dataflow} with its lines fastest (map it to os)"
            )
        words = ceil_div(lines_of_bank(self.accelerator, how, lines) * stride, word_elements(self.accelerator))
        if words > (most := operand_words(self.accelerator, side)):
            raise _refuse(f"{side}_buffer words per bank and slot for {op.name!r}", words, most)
        pattern = op.pattern
        return _transfer(self._span(_operand_region(op, side), *_part(op, side, tile)), command.slot) | {
            "kept": int(kept),
            "across": int(op.lines_fastest(side)),
            "banking": int(how),
            "lines": lines,
            "k": k,
            "keep": pattern.keep if isinstance(pattern, NM) and kept else 0,
            "group": pattern.group if isinstance(pattern, NM) else 0,
            "stride": stride,
        }

    def _multiply(self, command: Multiply) -> dict[str, int]:
        op, tile, pattern = _gemm(self.program, command), command.tile, command.pattern
        m, n, k = len(tile.m), len(tile.n), len(tile.k)
        folds = ceil_div(m if command.dataflow is Dataflow.IS else n, self.accelerator.array.cols)
        words = ceil_div(n if command.dataflow is Dataflow.IS else m, result_places(self.accelerator)) * folds
        if words > (most := result_words(self.accelerator)):
            raise _refuse(f"c_buffer words per bank and slot for {op.name!r}", words, most)
        return {
            "dataflow": DATAFLOWS.index(command.dataflow),
            "m": m,
            "n": n,
            "k": k,
            "keep": pattern.keep if isinstance(pattern, NM) else 0,
            "group": pattern.group if isinstance(pattern, NM) else 0,
            "sparse_b": int(command.sparse == "b"),
            "accumulate": int(command.accumulate),
            "a_slot": command.a_slot,
            "b_slot": command.b_slot,
            "c_slot": command.c_slot,
            "a_stride": self._lies(op, "a", command.dataflow, k)[2],
            "b_stride": self._lies(op, "b", command.dataflow, k)[2],
            "c_stride": folds,
        }

    def _store(self, command: Store) -> dict[str, int]:
        op, tile = _gemm(self.program, command), command.tile
        assert tile is not None
        swapped = self._dataflow(command.op) is Dataflow.IS
        return _transfer(self._span(op.c, tile.m, tile.n), command.slot) | {
            "swapped": int(swapped),
            "columns": len(tile.n),
            "stride": ceil_div(len(tile.m if swapped else tile.n), self.accelerator.array.cols),
        }
