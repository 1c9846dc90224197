"""Cycles of the work between GEMMs alone on many machines, each distinct shape of it once.

What an operation's cycles depend on differs: a vector operation doesn't ask for the updater's lanes. Operations that ask for
the same parts of the machine are a *kind*, and machines that are alike in these parts a group of this kind.
"""

from collections.abc import Hashable, Sequence
from collections.abc import Mapping as Table
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dataflows.analytic.actions import ACTIONS, Counted, counted, work_actions, work_key
from dataflows.analytic.machines import Machines, combined
from dataflows.analytic.pipeline import Part, Passes, passes_of, pipeline
from dataflows.analytic.tables import Tables
from dataflows.chunks import Chunk, Move, equal_chunks
from dataflows.mapping import Mapping
from simulator.analytic import Costs, Ints
from simulator.arch import Accelerator
from simulator.layout import plane_bytes, transfer_complete
from workloads.ops import Prune, Update, Vector

__all__ = ["StreamCycles", "StreamTables", "Work", "shape_of"]


Work = Vector | Prune | Update

_BLOCK = 1024  # machines at once: their costs take up some megabytes
_VECTOR, _UPDATE, _PRUNE = range(3)
_PARTS = ("vector", "updater", "pruner")
_LEFT = 64  # tables of chunks to keep


@dataclass(frozen=True, kw_only=True)
class StreamCycles:
    """What operations take alone: operation `i` on a machine is in row ``first[i] + group[kind[i], machine]`` of the rest."""

    kind: Ints  # by operation
    first: Ints
    group: Ints  # by kind and machine
    groups: Ints  # by kind: how many
    total: Ints  # cycles
    port: Ints  # cycles in which the port is held
    loads: Ints  # commands for the load engine,
    outs: Ints  # and for the busier one of the store engine and the busiest unit
    estimate: Ints  # the compiler's, by which it orders the program
    chunks: Ints  # in all passes
    transfers: Ints  # of the port
    ways: Ints  # cycles of all chunks, each alone from its first load to its last store
    vector: Ints  # cycles in which the units are busy
    update: Ints
    prune: Ints
    read_bytes: Ints
    write_bytes: Ints
    actions: Ints | None  # (rows, ACTIONS), where asked for


class _Columns(NamedTuple):
    """What commands of a kind's operations do, each distinct one once: a column of costs."""

    moves: dict[Any, int]  # rows, bytes
    work: dict[Any, int]
    updates: dict[Any, int]  # elements
    prunes: dict[Any, int]  # elements, pattern, whether groups lie across rows


class _Chunks(NamedTuple):
    """A kind's operations in chunks."""

    columns: _Columns
    passes: Passes
    port: Ints  # by column and operation: how often it occurs as a transfer; and in a unit's work, by unit
    units: Ints
    moved: tuple[list[int], Ints]  # sizes of the compiler's estimates, and how often, by operation
    facts: dict[str, Ints]  # by operation: what is the same on all machines
    commands: Counted


class StreamTables:
    """The work of a workload with some mapping. Keeps what machines have in common from call to call.

    `rows`: by operation the elements of a row of memory, where known.
    """

    def __init__(self, ops: Sequence[Work], mapping: Mapping, rows: Table[str, int]) -> None:
        self.ops, self._mapping, self._rows = tuple(ops), mapping, rows
        asks = [self._asks(op) for op in ops]
        self._kinds = tuple(dict.fromkeys(asks))
        self._kind = np.array([self._kinds.index(each) for each in asks], np.int64)
        self._chunks = Tables[_Chunks](_LEFT)

    def _asks(self, op: Work) -> tuple[bool, bool, bool]:
        """Which units an operation passes: vector, updater, pruner."""
        match op:
            case Vector():
                return True, False, False
            case Prune():
                return op.rescale, False, True
            case Update():
                return op.mask_search > 0, True, bool(op.prune) and self._mapping.pregenerate

    def cycles(self, machines: Machines, *, actions: bool = False) -> StreamCycles:
        """Each operation alone on each machine; and what it makes the machine do, if `actions`."""
        cut = self._cut(machines)
        memory = (machines.index["dram"], machines.index["clock_hz"], *([work_key(machines)] if actions else []))
        sequencer = machines.key("sequencer", lambda part: (part.dispatch_cycles, part.token_latency))
        slots = machines.values("work_buffer", "slots")
        group, groups = np.zeros((len(self._kinds), len(machines)), np.int64), np.zeros(len(self._kinds), np.int64)
        first, at = np.zeros(len(self.ops), np.int64), 0
        parts: dict[str, list[Ints]] = {name: [] for name in (*_FOUND, *(["actions"] if actions else []))}
        for number, asks in enumerate(self._kinds):
            units = [machines.index[name] for name, asked in zip(_PARTS, asks, strict=True) if asked]
            which = np.flatnonzero(self._kind == number)
            one, group[number] = combined(cut, *memory, sequencer, slots, *units)
            found = self._kind_cycles(which, machines.take(one), cut[one], actions)
            for name, values in found.items():
                parts[name].append(values.swapaxes(0, 1).reshape(len(one) * len(which), *values.shape[2:]))
            groups[number] = len(one)
            first[which] = at + len(one) * np.arange(len(which))
            at += len(one) * len(which)
        nothing = {"actions": np.zeros((0, len(ACTIONS)), np.int64)}
        joined = {name: np.concatenate([*values, nothing.get(name, np.zeros(0, np.int64))]) for name, values in parts.items()}
        done = joined.pop("actions", None)
        return StreamCycles(kind=self._kind, first=first, group=group, groups=groups, actions=done, **joined)

    @staticmethod
    def _cut(machines: Machines) -> Ints:
        """By machine: a number for each way to cut operations into chunks."""
        some, which = machines.distinct("clock_hz", "pe", "work_buffer", "dram", *_PARTS)
        known: dict[Hashable, int] = {}
        return np.array([known.setdefault(_cut_of(some[i]), len(known)) for i in range(len(some))], np.int64)[which]

    def _kind_cycles(self, ops: Ints, machines: Machines, cut: Ints, actions: bool) -> dict[str, Ints]:
        """(machines, operations)"""
        found: dict[str, Ints] = {name: np.zeros((len(machines), len(ops)), np.int64) for name in _FOUND}
        if actions:
            found["actions"] = np.zeros((len(machines), len(ops), len(ACTIONS)), np.int64)
        for number in np.unique(cut):
            alike = np.flatnonzero(cut == number)
            chunks = self._chunks_of(ops, machines[int(alike[0])])
            for start in range(0, len(alike), _BLOCK):
                block = alike[start : start + _BLOCK]
                for name, values in _timed(chunks, machines.take(block)).items():
                    found[name][block] = values
                if actions:
                    found["actions"][block] = work_actions(chunks.commands, machines.take(block), len(ops))
        return found

    def _chunks_of(self, ops: Ints, accelerator: Accelerator) -> _Chunks:
        key = (tuple(ops), _cut_of(accelerator))
        return self._chunks.made(key, lambda: self._make([self.ops[i] for i in ops], accelerator))

    def _make(self, ops: Sequence[Work], accelerator: Accelerator) -> _Chunks:
        columns = _Columns({}, {}, {}, {})
        cuts = [_cut_up(op, accelerator, self._mapping, self._rows.get(op.name, 0)) for op in ops]
        # Columns are numbered through: moves, then work, updates and prunes.
        for op, cut in zip(ops, cuts, strict=True):
            for chunk, _ in cut.parts:
                for move in (*chunk.reads, *chunk.writes):
                    columns.moves.setdefault((move.rows, move.bytes), len(columns.moves))
                for each in _units(op, chunk, self._mapping, self._rows.get(op.name, 0)):
                    for unit, what in each:
                        table = columns[1 + unit]
                        table.setdefault(what, len(table))
        offsets = np.cumsum([0, *map(len, columns)])
        operations: list[list[Part]] = []
        sizes: dict[int, int] = {}
        moved: list[tuple[int, int, int]] = []
        facts = {
            name: np.zeros(len(ops), np.int64) for name in ("loads", "outs", "chunks", "transfers", "read_bytes", "write_bytes")
        }
        for number, (op, cut) in enumerate(zip(ops, cuts, strict=True)):
            units = [_units(op, chunk, self._mapping, self._rows.get(op.name, 0)) for chunk, _ in cut.parts]
            parts: list[Part] = []
            stores, passed_by = 0, [0, 0, 0]
            for at in range(cut.passes):
                for (chunk, times), its_units in zip(cut.parts, units, strict=True):
                    writes = chunk.writes if at == cut.passes - 1 else ()
                    passed = tuple((unit, int(offsets[1 + unit]) + columns[1 + unit][what]) for unit, what in its_units[at])
                    read, write = (
                        tuple(columns.moves[move.rows, move.bytes] for move in moves) for moves in (chunk.reads, writes)
                    )
                    parts.append(Part(read, passed, write, times))
                    size = _bytes((*chunk.reads, *writes))
                    moved.append((sizes.setdefault(size, len(sizes)), number, times))
                    facts["transfers"][number] += times * (len(read) + len(write))
                    facts["loads"][number] += times * len(read)
                    stores += times * len(write)
                    for unit, _ in its_units[at]:
                        passed_by[unit] += times
                    facts["read_bytes"][number] += times * _bytes(chunk.reads)
                    facts["write_bytes"][number] += times * _bytes(writes)
            operations.append(parts)
            facts["chunks"][number] = cut.passes * cut.chunks
            facts["outs"][number] = max(stores, *passed_by)
        port, by_unit = np.zeros((offsets[-1], len(ops)), np.int64), np.zeros((3, offsets[-1], len(ops)), np.int64)
        for number, operation in enumerate(operations):
            for part in operation:
                np.add.at(port, ([*part.reads, *part.writes], number), part.times)
                for unit, column in part.units:
                    by_unit[unit, column, number] += part.times
        estimated = np.zeros((len(sizes), len(ops)), np.int64)
        rows = [self._rows.get(op.name, 0) for op in ops]
        commands = counted([(op, cut.parts, cut.passes) for op, cut in zip(ops, cuts, strict=True)], self._mapping, rows)
        for size, number, times in moved:
            estimated[size, number] += times
        return _Chunks(columns, passes_of(operations), port, by_unit, (list(sizes), estimated), facts, commands)


def _timed(chunks: _Chunks, machines: Machines) -> dict[str, Ints]:
    """(machines, operations)"""
    columns = chunks.columns
    shape = (len(machines), sum(map(len, columns)))
    busy, complete = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    rows, run_bytes = np.array([*columns.moves], np.int64).reshape(-1, 2).T
    sizes, times = chunks.moved
    moves, estimates = len(columns.moves), np.zeros((len(machines), len(sizes)), np.int64)
    first, which = combined(machines.index["dram"], machines.index["clock_hz"])
    for number, one in enumerate(first):
        some, accelerator = which == number, machines[int(one)]
        dram, clock = accelerator.dram, accelerator.clock_hz
        busy[some, :moves] = dram.transfer_cycles(rows, run_bytes, clock)
        complete[some, :moves] = transfer_complete(accelerator, rows, run_bytes)
        estimates[some] = dram.transfer_cycles(1, np.array(sizes, np.int64), clock)
    at = moves
    for name, table in zip(_PARTS, columns[1:], strict=True):
        if table:
            for number, part in enumerate(machines.parts[name]):
                some = np.flatnonzero(machines.index[name] == number)
                if len(some):
                    took = _unit_times(part, name, [*table])
                    busy[some, at : at + len(table)], complete[some, at : at + len(table)] = took
        at += len(table)
    dispatch, token = (machines.values("sequencer", leaf) for leaf in ("dispatch_cycles", "token_latency"))
    total, ways = pipeline(chunks.passes, Costs(busy, complete), machines.values("work_buffer", "slots"), dispatch, token)
    found = {name: np.broadcast_to(values, total.shape) for name, values in chunks.facts.items()}
    found["port"], found["estimate"], found["ways"] = busy @ chunks.port, estimates @ times, ways
    for name, often in zip(("vector", "update", "prune"), chunks.units, strict=True):
        found[name] = busy @ often
        total = np.maximum(total, found[name])
    found["total"] = np.maximum(total, found["port"])
    return found


_FOUND = (
    *("total", "port", "loads", "outs", "estimate", "chunks", "transfers", "ways", "vector", "update", "prune"),
    *("read_bytes", "write_bytes"),
)


def _unit_times(part: Any, name: str, what: list[Any]) -> tuple[Ints, Ints]:
    """Cycles for which a unit is busy, and to its results."""
    if name == "pruner":
        busy = np.array([part.busy(elements, pattern, across=across) for elements, pattern, across in what], np.int64)
        return busy, busy
    busy = part.cycles(np.array(what, np.int64))
    return busy, busy + part.latency


def _cut_of(accelerator: Accelerator) -> Hashable:
    """What of the machine an operation's chunks depend on."""
    return accelerator.pe.format, plane_bytes(accelerator), accelerator.dram.burst_bytes


def _bytes(moves: Sequence[Move]) -> int:
    return sum(move.rows * move.bytes for move in moves)


def shape_of(op: Work) -> Hashable:
    """The operation without names."""
    match op:
        case Vector():
            return (op.kind, op.work, tuple(t.elements for t in op.reads), tuple(t.elements for t in op.writes))
        case Prune():
            return (op.pattern, op.source.elements, op.rescale)
        case Update():
            return (op.elements, op.optimizer, op.prune, op.dense_copy, op.decay, op.mask_search)


class _Cut(NamedTuple):
    """An operation's chunks: those that are alike, and how often; passes."""

    parts: list[tuple[Chunk, int]]
    chunks: int
    passes: int


def _cut_up(op: Work, accelerator: Accelerator, mapping: Mapping, row: int) -> _Cut:
    parts = equal_chunks(op, accelerator, pregenerate=mapping.pregenerate, row_elements=row)
    count = sum(times for _, times in parts)
    return _Cut(parts, count, len(parts[0][0].work) if isinstance(op, Vector) else 1)


def _units(op: Work, chunk: Chunk, mapping: Mapping, row: int) -> list[list[tuple[int, object]]]:
    """By pass: the units that a chunk goes through, and what they do."""
    match op:
        case Vector():
            return [[(_VECTOR, work)] for work in chunk.work]
        case Prune():
            return [[(_PRUNE, (chunk.elements, op.pattern, row > 0)), *((_VECTOR, work) for work in chunk.work)]]
        case Update():
            copies = op.prune if mapping.pregenerate else ()
            packed = [(_PRUNE, (chunk.elements, pattern, stage == "bp")) for stage, pattern in copies]
            return [[(_UPDATE, chunk.elements), *((_VECTOR, work) for work in chunk.work), *packed]]
