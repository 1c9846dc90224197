"""Cycles of the work between GEMMs alone on many machines: chunks that pass the work buffer's slots one behind the other.

An operation is n chunks, all but the last alike. Each is loaded, passes its units one after another, and is stored; its slot is
free for the chunk after next (of two slots) when it is stored. The first chunks are worked out one by one, stores and loads
served as the port does; the others follow in the same period. Chunks of unlike sizes count in proportion to their busiest
unit or port.
"""

from collections import defaultdict
from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from dataflows.analytic.machines import Machines
from dataflows.analytic.pipeline import Pass, kept_chunks, pipeline
from dataflows.chunks import Chunk, Move, chunk_count, chunks_of
from dataflows.mapping import Mapping
from simulator.analytic import Ints
from simulator.arch import Accelerator, ceil_div
from simulator.layout import burst_beats, burst_slot, pitch
from simulator.schedule import Engine
from workloads.ops import Prune, Tensor, Update, Vector
from workloads.sparsity import NM

__all__ = ["StreamCycles", "shape_of", "stream_cycles"]

_HEAD = 16  # chunks looked at one by one: those that read what is smaller than a share for each chunk
_FIELDS = ("clock_hz", "pe", "work_buffer", "pruner", "updater", "vector", "dram", "sequencer")


@dataclass(frozen=True, kw_only=True)
class StreamCycles:
    """By machine group and operation, alone on the machine; and for each machine the group that it is in."""

    group: Ints
    total: Ints
    port: Ints  # cycles in which the port is held
    loads: Ints  # commands of the busiest queue
    estimate: Ints  # the compiler's, by which it orders the program
    chunks: Ints  # in all passes
    transfers: Ints  # of the port
    ways: Ints  # cycles of all chunks, each alone from its first load to its last store
    vector: Ints  # cycles in which the units are busy
    update: Ints
    prune: Ints


@dataclass(slots=True)
class _Spec:
    """What all operations on a machine read of it."""

    accelerator: Accelerator
    top: int
    bottom: int
    behind: int

    @classmethod
    def of(cls, accelerator: Accelerator) -> "_Spec":
        slot = burst_slot(accelerator)
        behind = burst_beats(accelerator) + accelerator.dram.latency_cycles(accelerator.clock_hz)
        return cls(accelerator, slot.numerator, slot.denominator, behind)

    def busy(self, rows: int, run_bytes: int) -> int:
        return ceil_div(self._bursts(rows, run_bytes) * self.top, self.bottom)

    def complete(self, rows: int, run_bytes: int) -> int:
        return (self._bursts(rows, run_bytes) - 1) * self.top // self.bottom + self.behind

    def _bursts(self, rows: int, run_bytes: int) -> int:
        return rows * (pitch(self.accelerator, run_bytes) // self.accelerator.dram.burst_bytes)


@dataclass(slots=True)
class _Alone:
    """An operation on a machine: its passes, what they leave out of their total, and sums over all commands."""

    passes: list[Pass]
    extra: int
    sums: dict[str, int]


def stream_cycles(
    ops: Sequence[Vector | Prune | Update], machines: Machines, mapping: Mapping, rows: Table[str, int]
) -> StreamCycles:
    """Each operation alone on each machine. `rows`: by operation the elements of a row of memory, where known."""
    groups, group = machines.distinct(_FIELDS)
    shape = (len(groups), len(ops))
    names = ("total", "port", "loads", "estimate", "chunks", "transfers", "ways", "vector", "update", "prune")
    found = {name: np.zeros(shape, np.int64) for name in names}
    least = np.zeros(shape, np.int64)
    lanes: dict[tuple[int, tuple[Engine, ...], int, int, int], list[tuple[int, int, Pass]]] = defaultdict(list)
    for number in range(len(groups)):
        spec = _Spec.of(groups[number])
        for position, op in enumerate(ops):
            if isinstance(op, Vector) and mapping.vector == "host":
                continue
            alone = _alone(op, spec, mapping, rows.get(op.name, 0))
            for name, value in alone.sums.items():
                found[name][number, position] = value
            found["total"][number, position] = alone.extra
            least[number, position] = max(alone.sums[name] for name in ("port", "vector", "update", "prune"))
            for each in alone.passes:
                units = tuple(unit for unit, _, _ in each.units)
                kept = min(each.chunks, kept_chunks(each.slots))
                lanes[len(each.reads), units, len(each.writes), each.slots, kept].append((number, position, each))
    for (_, _, _, slots, kept), members in lanes.items():
        times = pipeline([each for _, _, each in members], slots, kept)
        at = np.array([(number, position) for number, position, _ in members]).T
        np.add.at(found["total"], (at[0], at[1]), times)
    found["total"] = np.maximum(found["total"], least)
    return StreamCycles(group=group, **found)


def shape_of(op: Vector | Prune | Update) -> object:
    """The operation without names."""
    match op:
        case Vector():
            return (op.kind, op.work, tuple(t.elements for t in op.reads), tuple(t.elements for t in op.writes))
        case Prune():
            return (op.pattern, op.source.elements, op.rescale)
        case Update():
            return (op.elements, op.optimizer, op.prune, op.dense_copy, op.decay, op.mask_search)


def _alone(op: Vector | Prune | Update, spec: _Spec, mapping: Mapping, row: int) -> _Alone:
    accelerator = spec.accelerator
    count = chunk_count(op, accelerator, pregenerate=mapping.pregenerate, row_elements=row)
    head = list(islice(chunks_of(op, accelerator, pregenerate=mapping.pregenerate, row_elements=row), _HEAD))
    first, rest = head[0], head[: count - 1]
    last = _last(op, first, count, accelerator, mapping, row) if count > _HEAD else head[-1]
    alike: dict[tuple[tuple[Move, ...], tuple[Move, ...]], list[Chunk]] = {}
    for chunk in rest:
        alike.setdefault((chunk.reads, chunk.writes), []).append(chunk)
    parts = [(chunks[0], len(chunks)) for chunks in alike.values()]
    if count > _HEAD:
        parts[-1] = (parts[-1][0], parts[-1][1] + count - 1 - len(rest))
    usual = parts[-1][0] if parts else last
    passes = len(first.work) if isinstance(op, Vector) else 1
    sums = dict.fromkeys(("port", "estimate", "vector", "update", "prune", "ways", "transfers"), 0)
    sums |= {"loads": _queued(usual) * passes * count, "chunks": passes * count}
    found: list[Pass] = []
    extra = 0
    for number in range(passes):
        stored = number == passes - 1
        found.append(base := _pass(op, usual, number, stored, count, spec, mapping, row))
        extra -= base.way - base.flow if number < passes - 1 else 0  # the next pass's chunks follow without a gap
        for chunk, times in (*parts, (last, 1)):
            each = _pass(op, chunk, number, stored, count, spec, mapping, row)
            extra += times * (each.flow - base.flow)
            sums["transfers"] += times * (len(each.reads) + len(each.writes))
            sums["ways"] += times * each.way
            sums["port"] += times * sum(busy for busy, _ in (*each.reads, *each.writes))
            for unit, busy, _ in each.units:
                sums[unit.value] += times * busy
            moved = sum(move.rows * move.bytes for move in ((*chunk.reads, *chunk.writes) if stored else chunk.reads))
            sums["estimate"] += times * accelerator.dram.transfer_cycles(1, moved, accelerator.clock_hz)
    return _Alone(found, extra, sums)


def _pass(
    op: Vector | Prune | Update, chunk: Chunk, number: int, stored: bool, count: int, spec: _Spec, mapping: Mapping, row: int
) -> Pass:
    accelerator = spec.accelerator

    def times(moves: tuple[Move, ...]) -> list[tuple[int, int]]:
        return [(spec.busy(move.rows, move.bytes), spec.complete(move.rows, move.bytes)) for move in moves]

    return Pass(
        reads=times(chunk.reads),
        units=_units(op, chunk, number, spec, mapping, row),
        writes=times(chunk.writes) if stored else [],
        chunks=count,
        slots=accelerator.work_buffer.slots,
        dispatch=accelerator.sequencer.dispatch_cycles,
        token=accelerator.sequencer.token_latency,
    )


def _queued(chunk: Chunk) -> int:
    """Commands of a chunk in the queue that fills first."""
    return max(1, len(chunk.reads), len(chunk.writes))


def _units(
    op: Vector | Prune | Update, chunk: Chunk, number: int, spec: _Spec, mapping: Mapping, row: int
) -> list[tuple[Engine, int, int]]:
    """What a chunk passes: the unit, for how long it is busy, and when its result is complete."""
    vector, updater, pruner = spec.accelerator.vector, spec.accelerator.updater, spec.accelerator.pruner

    def worked(work: int) -> tuple[Engine, int, int]:
        return Engine.VECTOR, vector.cycles(work), vector.cycles(work) + vector.latency

    def pruned(pattern: NM, across: bool) -> tuple[Engine, int, int]:
        busy = pruner.busy(chunk.elements, pattern, across=across)
        return Engine.PRUNE, busy, busy

    match op:
        case Vector():
            return [worked(chunk.work[number])]
        case Prune():
            return [pruned(op.pattern, row > 0), *map(worked, chunk.work)]
        case Update():
            busy = updater.cycles(chunk.elements)
            copies = op.prune if mapping.pregenerate else ()
            packed = [pruned(pattern, stage == "bp") for stage, pattern in copies]
            return [(Engine.UPDATE, busy, busy + updater.latency), *map(worked, chunk.work), *packed]


def _last(op: Vector | Prune | Update, first: Chunk, count: int, accelerator: Accelerator, mapping: Mapping, row: int) -> Chunk:
    """The last of an operation's chunks: what an operation of that size would do."""
    match op:
        case Vector():
            bits = accelerator.pe.number.result_bits
            done = [sum(c * 8 // bits for c in [move.bytes] * (count - 1)) for move in (*first.reads, *first.writes)]
            sizes = [
                Tensor(t.name, max(1, t.elements - before) if t.elements > before else t.elements)
                for t, before in zip((*op.reads, *op.writes), done, strict=False)
            ]
            largest = max(t.elements for t in (*op.reads, *op.writes))
            elements = max(1, largest - (count - 1) * first.elements)
            rest = replace(
                op,
                work=max(1, op.work * elements // largest),
                reads=tuple(sizes[: len(op.reads)]),
                writes=tuple(sizes[len(op.reads) :]),
            )
            chunk = next(chunks_of(rest, accelerator, pregenerate=mapping.pregenerate, row_elements=row))
            passes = len(first.work)
            return replace(chunk, work=tuple(ceil_div(sum(chunk.work), passes) for _ in range(passes)))
        case Prune():
            elements = op.source.elements - (count - 1) * first.elements
            rest = replace(op, source=Tensor(op.source.name, elements))
        case Update():
            elements = op.elements - (count - 1) * first.elements
            rest = replace(op, elements=elements, mask_search=op.mask_search * elements // op.elements)
    return next(chunks_of(rest, accelerator, pregenerate=mapping.pregenerate, row_elements=row))
