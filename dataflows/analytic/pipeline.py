"""Passes of chunks through the work buffer's slots, on many machines: the first chunks one by one, then a period.

An operation is runs of chunks that are alike, pass by pass. Each chunk is loaded, passes its units one after another, and is
stored; its slot is free for the chunk after next (of two slots) when it is stored. Stores and loads are served in order of
request, as the port does, and none before it is handed out. Of a long run the first chunks are worked out one by one; those
left out are later by the same period each (a max-plus system commutes with a shift of time), and so is all behind them.
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
_LOADS, _STORES, _UNIT = range(3)
_NEXT, _STOP, _HANDED = range(3)  # of a chunk's loads or stores: the next, their end, when the next is handed out


class Part(NamedTuple):
    """Chunks that are alike, in one pass. Moves and units are columns of costs."""

    reads: tuple[int, ...]
    units: tuple[tuple[int, int], ...]  # (which unit, column)
    writes: tuple[int, ...]
    times: int


class Passes(NamedTuple):
    """Operations as arrays: their parts, pass by pass; what these move and pass."""

    parts: Ints  # by operation: where its parts begin; one more, for the end. The next two likewise
    moves: Ints  # by part, its reads; and by part, its writes
    units: Ints  # by part
    times: Ints  # by part
    move: Ints  # columns
    unit: Ints  # (units, 2)


def passes_of(operations: Sequence[Sequence[Part]]) -> Passes:
    """By operation: the parts of all its passes, in order."""
    parts = [part for operation in operations for part in operation]
    moves = [part.reads for part in parts] + [part.writes for part in parts]

    def starts(counts: Sequence[int]) -> Ints:
        return np.cumsum([0, *counts], dtype=np.int64)

    return Passes(
        parts=starts([len(operation) for operation in operations]),
        moves=starts([len(each) for each in moves]),
        units=starts([len(part.units) for part in parts]),
        times=np.array([part.times for part in parts], np.int64),
        move=np.array([column for each in moves for column in each], np.int64),
        unit=np.array([unit for part in parts for unit in part.units], np.int64).reshape(-1, 2),
    )


def pipeline(passes: Passes, costs: Costs, slots: Ints, dispatch: Ints, token_latency: Ints) -> tuple[Ints, Ints]:
    """By machine and operation, alone: its cycles; and those of all its chunks, each alone from first load to last store."""
    shape = (len(slots), len(passes.parts) - 1)
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
        for op in range(len(table.parts) - 1):
            total[lane, op] = _operation(table, op, busy[lane], complete[lane], slots[lane], dispatch[lane], token)
            for part in range(table.parts[op], table.parts[op + 1]):
                ways[lane, op] += table.times[part] * _way(table, part, busy[lane], complete[lane], token)


@compiled
def _way(table: Passes, part: int, busy: Cells, complete: Cells, token: int) -> int:
    """Cycles of a chunk alone, from its first load to its last store."""
    way: int = 0
    for side in range(2):
        which = part + side * len(table.times)
        first, stop = table.moves[which], table.moves[which + 1]
        for i in range(first, stop):
            way += busy[table.move[i]]
        if stop > first:
            way += complete[table.move[stop - 1]] - busy[table.move[stop - 1]] + (token if side == _LOADS else 0)
    for i in range(table.units[part], table.units[part + 1]):
        way += complete[table.unit[i, 1]] + token
    return way


@compiled
def _laid_out(table: Passes, op: int, slots: int, dispatch: int) -> tuple[Ints, Ints, Ints]:
    """By chunk that is worked out: its part; how many like it are left out behind it; and when its first load, unit's command
    and store are handed out. Chunks may take turns: what is left out is whole rounds of what a period is measured over."""
    window = 2 * slots
    steady = 3 + slots + window  # of a run: some until its period is steady, those that it is measured over, the last
    first, stop = table.parts[op], table.parts[op + 1]
    count: int = 0
    for part in range(first, stop):
        over = max(0, table.times[part] - steady) // window * window
        count += table.times[part] - over
    part_of, left, handed = np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros((count, 3), np.int64)
    at: int = 0
    clock = dispatch
    for part in range(first, stop):
        over, other = max(0, table.times[part] - steady) // window * window, part + len(table.times)
        kept = table.times[part] - over
        for i in range(kept):
            part_of[at] = part
            handed[at, _LOADS] = clock
            handed[at, _UNIT] = clock + dispatch * (table.moves[part + 1] - table.moves[part])
            handed[at, _STORES] = handed[at, _UNIT] + dispatch * (table.units[part + 1] - table.units[part])
            clock = handed[at, _STORES] + dispatch * (table.moves[other + 1] - table.moves[other])
            if i == kept - 1 - slots:
                left[at] = over
            at += 1
    return part_of, left, handed


@compiled
def _operation(table: Passes, op: int, busy: Cells, complete: Cells, slots: int, dispatch: int, token: int) -> int:
    """Cycles of an operation alone."""
    part_of, left, handed = _laid_out(table, op, slots, dispatch)
    count, window = len(part_of), 2 * slots
    passed, stored = np.zeros(count, np.int64), np.zeros(count, np.int64)  # when it leaves its last unit, and its slot
    free, ends, done = np.zeros(_UNITS, np.int64), np.zeros(2, np.int64), np.zeros(2, np.int64)
    at, asks = np.zeros((2, 3), np.int64), np.zeros(2, np.int64)
    chunk = np.zeros(2, np.int64)  # that loads, and that stores
    port: int = 0
    _begin(table, part_of, handed, at, chunk, _LOADS)
    _begin(table, part_of, handed, at, chunk, _STORES)
    while chunk[_STORES] < count:
        asks[:] = _NEVER
        if chunk[_LOADS] < min(count, chunk[_STORES] + slots):
            slot = stored[chunk[_LOADS] - slots] if chunk[_LOADS] >= slots else 0
            done[_LOADS] = max(done[_LOADS], slot)
            asks[_LOADS] = max(slot, ends[_LOADS], at[_LOADS, _HANDED]) if at[_LOADS, _NEXT] < at[_LOADS, _STOP] else -1
        if chunk[_STORES] < chunk[_LOADS]:
            ready = passed[chunk[_STORES]]
            asks[_STORES] = max(ready, ends[_STORES], at[_STORES, _HANDED]) if at[_STORES, _NEXT] < at[_STORES, _STOP] else -1
        side = _LOADS if asks[_LOADS] <= asks[_STORES] else _STORES
        if asks[side] >= 0:
            column = table.move[at[side, _NEXT]]
            start = max(port, asks[side])
            port = ends[side] = start + busy[column]
            done[side] = max(done[side], start + complete[column])
            at[side, _NEXT] += 1
            at[side, _HANDED] += dispatch
            if at[side, _NEXT] < at[side, _STOP]:
                continue
        its = chunk[side]
        part = part_of[its]
        if side == _LOADS:
            time = done[_LOADS] + token
            for i in range(table.units[part], table.units[part + 1]):
                unit, column = table.unit[i]
                start = max(time, free[unit], handed[its, _UNIT] + dispatch * (i - table.units[part]))
                free[unit] = start + busy[column]
                time = start + complete[column] + token
            passed[its] = time
        else:
            stored[its] = done[_STORES] + token if asks[side] >= 0 else passed[its]
            if left[its]:
                later = left[its] * (stored[its] - stored[its - window]) // window
                port = int(port + later)
                for times in (free, ends, done, passed, stored):
                    times += later
                commands = left[its] * (handed[its, _LOADS] - handed[its - 1, _LOADS])
                handed[its + 1 :] += commands
                at[_LOADS, _HANDED] += commands
        chunk[side] += 1
        if chunk[side] < count:
            _begin(table, part_of, handed, at, chunk, side)
    return stored[count - 1] - token


@compiled
def _begin(table: Passes, part_of: Ints, handed: Ints, at: Ints, chunk: Ints, side: int) -> None:
    """The moves of the next chunk that a side has."""
    which = part_of[chunk[side]] + side * len(table.times)
    at[side, _NEXT], at[side, _STOP] = table.moves[which], table.moves[which + 1]
    at[side, _HANDED] = handed[chunk[side], side]
