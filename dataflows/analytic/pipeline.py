"""Passes of chunks through the work buffer's slots, on many machines: the first chunks one by one, then a period.

An operation is n chunks, all but the last alike. Each is loaded, passes its units one after another, and is stored; its slot is
free for the chunk after next (of two slots) when it is stored. The first chunks are worked out one by one, stores and loads
served in order of request, as the port does; the others follow in the same period. Chunks of unlike sizes count in proportion
to their busiest unit or port.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from simulator.analytic import Costs, Ints
from simulator.compiled import compiled

__all__ = ["Part", "Passes", "passes_of", "pipeline"]

_UNITS = 3  # most kinds of units that a chunk passes
Cells: TypeAlias = Any  # an integer array of which single elements are read
_NEVER = np.iinfo(np.int64).max // 4


class Part(NamedTuple):
    """Chunks that are alike, in one pass. Moves and units are columns of costs."""

    reads: tuple[int, ...]
    units: tuple[tuple[int, int], ...]  # (which unit, column)
    writes: tuple[int, ...]
    times: int


class Passes(NamedTuple):
    """Operations as arrays: their passes, each one's parts, what these move and pass."""

    passes: Ints  # by operation: where its passes begin; one more, for the end. The next three likewise
    parts: Ints  # by pass
    reads: Ints  # by part
    writes: Ints
    units: Ints
    usual: Ints  # by pass: the part that most chunks are
    times: Ints  # by part
    chunks: Ints  # by operation: in each pass
    read: Ints  # columns
    write: Ints
    unit: Ints  # (units, 2)


def passes_of(operations: Sequence[Sequence[tuple[Sequence[Part], int]]]) -> Passes:
    """By operation and pass: parts, and which of them most chunks are."""
    passes = [each for operation in operations for each in operation]
    parts = [part for each, _ in passes for part in each]

    def starts(counts: Sequence[int]) -> Ints:
        return np.cumsum([0, *counts], dtype=np.int64)

    first = starts([len(each) for each, _ in passes])
    return Passes(
        passes=starts([len(operation) for operation in operations]),
        parts=first,
        reads=starts([len(part.reads) for part in parts]),
        writes=starts([len(part.writes) for part in parts]),
        units=starts([len(part.units) for part in parts]),
        usual=first[:-1] + np.array([usual for _, usual in passes], np.int64),
        times=np.array([part.times for part in parts], np.int64),
        chunks=np.array([sum(part.times for part in operation[0][0]) for operation in operations], np.int64),
        read=np.array([move for part in parts for move in part.reads], np.int64),
        write=np.array([move for part in parts for move in part.writes], np.int64),
        unit=np.array([unit for part in parts for unit in part.units], np.int64).reshape(-1, 2),
    )


def pipeline(passes: Passes, costs: Costs, slots: Ints, dispatch: Ints, token_latency: Ints) -> tuple[Ints, Ints]:
    """By machine and operation, alone: its cycles; and those of all its chunks, each alone from first load to last store."""
    shape = (len(slots), len(passes.chunks))
    total, ways = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    _run(passes, *costs, slots, dispatch, token_latency, total, ways)
    return total, ways


@compiled
def _run(
    table: Passes,
    busy: Ints,
    complete: Ints,
    slots: Ints,
    dispatch: Ints,
    token_latency: Ints,
    total: Ints,
    ways: Ints,
) -> None:
    for lane in range(len(slots)):
        token = token_latency[lane]
        for op in range(len(table.chunks)):
            cycles, all_ways = 0, 0
            last = table.passes[op + 1] - 1
            for number in range(table.passes[op], last + 1):
                usual = table.usual[number]
                flow, way = _flow(table, usual, busy[lane], complete[lane], token)
                cycles += _pass(table, usual, table.chunks[op], busy[lane], complete[lane], slots[lane], dispatch[lane], token)
                if number < last:  # the next pass's chunks follow without a gap
                    cycles -= way - flow
                for part in range(table.parts[number], table.parts[number + 1]):
                    its_flow, its_way = _flow(table, part, busy[lane], complete[lane], token)
                    cycles += table.times[part] * (its_flow - flow)
                    all_ways += table.times[part] * its_way
            total[lane, op], ways[lane, op] = cycles, all_ways


@compiled
def _flow(table: Passes, part: int, busy: Cells, complete: Cells, token: int) -> tuple[int, int]:
    """Of a chunk: its cycles if nothing but the busiest of port and units mattered; and those alone, from its first load to its
    last store."""
    port: int = 0
    way: int = 0
    first, stop = table.reads[part], table.reads[part + 1]
    for i in range(first, stop):
        port += busy[table.read[i]]
    if stop > first:
        way += complete[table.read[stop - 1]] - busy[table.read[stop - 1]] + token
    first, stop = table.writes[part], table.writes[part + 1]
    for i in range(first, stop):
        port += busy[table.write[i]]
    if stop > first:
        way += complete[table.write[stop - 1]] - busy[table.write[stop - 1]]
    way += port
    units = np.zeros(_UNITS, np.int64)
    for i in range(table.units[part], table.units[part + 1]):
        unit, column = table.unit[i]
        units[unit] += busy[column]
        way += complete[column] + token
    busiest = port
    for unit in range(_UNITS):
        busiest = max(busiest, int(units[unit]))
    return busiest, way


@compiled
def _pass(table: Passes, part: int, chunks: int, busy: Cells, complete: Cells, slots: int, dispatch: int, token: int) -> int:
    """Cycles of a pass whose chunks are all alike."""
    steady = 3 + 3 * slots  # some until the period is steady, those that it is measured over, the last
    kept = min(chunks, steady)
    reads = table.read[table.reads[part] : table.reads[part + 1]]
    writes = table.write[table.writes[part] : table.writes[part + 1]]
    units = table.unit[table.units[part] : table.units[part + 1]]
    ready, stored, ends = np.zeros(kept, np.int64), np.zeros(kept, np.int64), np.zeros(kept, np.int64)
    free = np.zeros(_UNITS, np.int64)
    port, loaded, written = dispatch, dispatch, dispatch
    for chunk in range(min(slots - 1, kept)):
        port, loaded, written = _serve(reads, writes, busy, complete, port, loaded, written, dispatch, -1)
        ready[chunk] = loaded + token
    for chunk in range(kept):
        again = stored[chunk - 1] if chunk else dispatch  # when the next load may begin
        if slots == 1:
            port, loaded, written = _serve(reads, writes, busy, complete, port, loaded, written, again, -1)
            ready[chunk] = loaded + token
        done = ready[chunk]
        for i in range(len(units)):
            unit, column = units[i]
            start = max(done, free[unit])
            free[unit] = start + busy[column]
            done = start + complete[column] + token
        ends[chunk] = free[units[0][0]]
        ahead = chunk + slots - 1
        loads = slots > 1 and ahead < kept
        port, loaded, written = _serve(reads, writes, busy, complete, port, loaded, written, again if loads else -1, done)
        stored[chunk] = written + token if len(writes) else done
        if loads:
            ready[ahead] = loaded + token
    total = stored[kept - 1] - token
    if kept == steady:
        at, window = kept - 1 - slots, 2 * slots
        total += (chunks - kept) * (ends[at] - ends[at - window]) // window
    return total


@compiled
def _serve(
    reads: Cells,
    writes: Cells,
    busy: Cells,
    complete: Cells,
    port: int,
    loaded: int,
    written: int,
    load: int,
    store: int,
) -> tuple[int, int, int]:
    """Loads that may begin at `load` and stores that may at `store` (below 0: none), in order of request. When the port is
    free, and when all loads and stores so far are complete."""
    loads, stores = len(reads) if load >= 0 else 0, len(writes) if store >= 0 else 0
    if load >= 0 and not loads:
        loaded = max(loaded, load)
    at, to = 0, 0
    load, store = load if loads else _NEVER, store if stores else _NEVER
    while at < loads or to < stores:
        if load <= store:
            column = reads[at]
            start = max(port, load)
            port = start + busy[column]
            loaded = max(loaded, start + complete[column])
            at += 1
            load = port if at < loads else _NEVER
        else:
            column = writes[to]
            start = max(port, store)
            port = start + busy[column]
            written = max(written, start + complete[column])
            to += 1
            store = port if to < stores else _NEVER
    return port, loaded, written
