"""Cycles of a list of commands on many machines, from what each command costs: the event machine without its events.

The event machine is deterministic: a command starts when it is dispatched, its tokens are there and its engine (and the
memory port) is free. Here the same rules are worked out in a loop over integers, one machine after another: of the commands
at the heads of the engines' queues the one that can start first is next, so that the port serves in order of request, ties by
engine; the sequencer hands out the next command as soon as its queue has room. What a command takes (cycles of the port, of
the array, ...) is handed in, from the properties and closed forms that the event machine reads.

Lists are loops, mostly of equal iterations. `Skip`s shorten them: where an iteration has the period of the one before, all that
follows is later by that period for each iteration left out, and nothing else changes (a max-plus system commutes with a
shift of time). So a loop of any length costs a few iterations. Without skips the cycles are exact; with them, where the
iterations left out are not periodic, they aren't: the tests state how far off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.compiled import compiled
from simulator.schedule import Engine

__all__ = ["RANK", "Costs", "Cycles", "Dispatch", "Ints", "Listing", "Skip", "Step", "listing_of", "recurrence"]

Ints = NDArray[np.int64]

RANK = {engine: rank for rank, engine in enumerate(Engine)}
_NEVER = np.iinfo(np.int64).max // 4


class Skip(NamedTuple):
    """After a command: iterations of a loop are left out that take as long as each of the `window` before."""

    level: int  # of the loop
    mark: tuple[int, ...]  # iteration of this loop and of the loops around it
    window: int  # 0: this is no skip, but a time to remember for one


class Step(NamedTuple):
    """A command of the list, by program order."""

    engine: Engine
    cost: int  # which of the costs handed in
    waits: tuple[int, ...]  # positions of the commands whose token it waits for
    behind: int = -1  # position of one that must have ended before the sequencer goes on to this; -1: none
    skips: tuple[Skip, ...] = ()


class Listing(NamedTuple):
    """Steps as arrays: by step, by engine, and what they point to."""

    engine: Ints
    cost: Ints
    place: Ints  # how many of its engine's commands come before it
    behind: Ints
    wait_from: Ints  # where its waits begin in the next array; one more, for the end
    waits: Ints
    skip_from: Ints
    skips: Ints  # (skips, 4): loop, mark to set, mark to measure from, window
    queue_from: Ints  # by engine
    queue: Ints  # positions
    on_port: Ints  # by engine: 1 for those that share the memory port
    array: int  # rank of the array
    marks: int


class Costs(NamedTuple):
    """By machine and cost: cycles that a command keeps its engine (or the port) busy, and from its start to its result."""

    busy: Ints
    complete: Ints


class Dispatch(NamedTuple):
    """Of the sequencer, by machine."""

    cycles: Ints
    token_latency: Ints
    queue_depth: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycles:
    """By machine, from the first dispatch on; what is said of the array is 0 where no command is for it."""

    total: Ints  # to the end of the last command
    first: Ints  # to the start of the array's first command
    before_last: Ints  # to the end of its last command but one (0: there is only one)
    array_end: Ints  # to the end of its last command


def listing_of(steps: Sequence[Step]) -> Listing:
    """Steps as arrays."""
    queues: list[list[int]] = [[] for _ in Engine]
    place: list[int] = []
    marks: dict[tuple[int, ...], int] = {}
    skips: list[tuple[int, int, int, int]] = []
    skip_from, wait_from, waits = [0], [0], list[int]()
    for position, step in enumerate(steps):
        queue = queues[RANK[step.engine]]
        place.append(len(queue))
        queue.append(position)
        waits += step.waits
        wait_from.append(len(waits))
        for level, mark, window in step.skips:
            known = marks[level, *mark[:-1], mark[-1] - window] if window else 0
            skips.append((level, marks.setdefault((level, *mark), len(marks)), known, window))
        skip_from.append(len(skips))
    return Listing(
        engine=np.array([RANK[step.engine] for step in steps], np.int64),
        cost=np.array([step.cost for step in steps], np.int64),
        place=np.array(place, np.int64),
        behind=np.array([step.behind for step in steps], np.int64),
        wait_from=np.array(wait_from, np.int64),
        waits=np.array(waits, np.int64),
        skip_from=np.array(skip_from, np.int64),
        skips=np.array(skips, np.int64).reshape(-1, 4),
        queue_from=np.cumsum([0, *map(len, queues)], dtype=np.int64),
        queue=np.array([position for queue in queues for position in queue], np.int64),
        on_port=np.array([engine.value.startswith(("load", "store")) for engine in Engine], np.int64),
        array=RANK[Engine.ARRAY],
        marks=len(marks),
    )


def recurrence(listing: Listing, costs: Costs, dispatch: Dispatch, left_out: Ints) -> Cycles:
    """The listing's cycles. `left_out`: by machine and loop, how many iterations its skip stands for.

    Raises RuntimeError where a command waits for one that never comes.
    """
    found = np.zeros((len(left_out), 4), np.int64)
    if not _run(listing, *costs, *dispatch, left_out, found):
        raise RuntimeError("List of commands must not wait for a command that never comes")
    return Cycles(
        total=found[:, 0],
        first=found[:, 1],
        before_last=found[:, 2],
        array_end=found[:, 3],
    )


@compiled
def _run(
    steps: Listing,
    busy: Ints,
    complete: Ints,
    cycles: Ints,
    token_latency: Ints,
    queue_depth: Ints,
    left_out: Ints,
    found: Ints,
) -> bool:
    count, engines = len(steps.engine), len(steps.queue_from) - 1
    put, until, visible = np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64)
    free, done = np.zeros(engines, np.int64), np.zeros(engines, np.int64)
    ready, head = np.zeros(engines, np.int64), np.zeros(engines, np.int64)
    times = np.zeros(steps.marks, np.int64)
    for lane in range(len(left_out)):
        dispatch, token, depth = cycles[lane], token_latency[lane], queue_depth[lane]
        until[:] = -1  # not begun yet
        free[:], done[:], ready[:], head[:] = 0, 0, -1, 0
        port, later, handed, finished = 0, 0, 0, 0
        first, before, array_end = -1, 0, 0
        while finished < count:
            while handed < count:  # the sequencer, until a queue is full
                blocked = steps.place[handed] - depth - 1
                room = 0
                if blocked >= 0:
                    room = until[steps.queue[steps.queue_from[steps.engine[handed]] + blocked]]
                    if room < 0:
                        break
                if steps.behind[handed] >= 0:
                    if until[steps.behind[handed]] < 0:
                        break
                    room = max(room, until[steps.behind[handed]])
                put[handed] = max(put[handed - 1] + dispatch, room) if handed else 0
                handed += 1
            chosen, earliest = -1, _NEVER
            for engine in range(engines):
                at = steps.queue_from[engine] + head[engine]
                if at == steps.queue_from[engine + 1]:
                    continue
                if ready[engine] < 0:
                    position = steps.queue[at]
                    if position >= handed:
                        continue
                    start, known = max(free[engine], put[position] + dispatch), True
                    for i in range(steps.wait_from[position], steps.wait_from[position + 1]):
                        other = steps.waits[i]
                        if until[other] < 0:
                            known = False
                            break
                        start = max(start, visible[other])
                    if not known:
                        continue
                    ready[engine] = start
                if ready[engine] < earliest:
                    chosen, earliest = engine, ready[engine]
            if chosen < 0:
                return False
            position = steps.queue[steps.queue_from[chosen] + head[chosen]]
            cost = steps.cost[position]
            took = busy[lane, cost]
            start = earliest
            if steps.on_port[chosen]:
                start = max(start, port)
                port = start + took
            free[chosen] = until[position] = start + took
            done[chosen] = max(done[chosen], start + complete[lane, cost])
            visible[position] = done[chosen] + token
            ready[chosen] = -1
            head[chosen] += 1
            finished += 1
            if chosen == steps.array:
                first = start if first < 0 else first
                before = array_end
            for i in range(steps.skip_from[position], steps.skip_from[position + 1]):
                level, mark, known_mark, window = steps.skips[i]
                if window:
                    later += left_out[lane, level] * (until[position] + later - times[known_mark]) // window
                times[mark] = until[position] + later
            if chosen == steps.array:
                array_end = until[position] + later
        end = 0
        for engine in range(engines):
            end = max(end, free[engine], done[engine])
        found[lane, 0] = end + later
        found[lane, 1] = max(first, 0)
        found[lane, 2] = before
        found[lane, 3] = array_end
    return True
