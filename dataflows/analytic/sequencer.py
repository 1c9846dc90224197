"""How far the sequencer can be: it dispatches in program order, and stops where an engine's queue is full.

Places in the program are times of the compiler's, by which it orders commands. So neither stream (`step`) is further in the
program than the other's place and what the other's queues hold, and at this *head* it goes on at the other's pace.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from dataflows.analytic.fields import ESTIMATE, LOADS, OUTS, PRUNES
from dataflows.analytic.order import Order
from simulator.compiled import compiled

__all__ = [
    "AT_HEAD",
    "FREE",
    "IDLE",
    "NEVER",
    "SOON",
    "STOPPED",
    "Head",
    "behind_prunings",
    "held",
    "meeting",
    "planned",
    "reach",
    "when",
]

Cells: TypeAlias = Any  # a float array of which single elements are read and written
NEVER = 1e18
SOON = 1e-3  # what floating-point sums leave of an operation that is done

IDLE, FREE, AT_HEAD, STOPPED = range(4)
"""A stream has no operation yet; goes on as it can; goes on with the head of what is dispatched; waits for it."""


class Head(NamedTuple):
    """A place, and how it moves on."""

    place: float
    until: float  # at one pace up to here
    pace: float  # of the stream whose queue is full


@compiled
def planned(order: Order, known: Cells, begin: Cells, end: Cells, flow: Cells) -> None:
    """When the compiler believes that each operation begins and ends, and its commands (loads, outs) in a cycle between."""
    begin[:] = NEVER
    end[:] = NEVER
    flow[:] = 0.0
    clock = np.zeros(3)
    for i in range(len(order.planned)):
        place, thread = order.planned[i]
        start = clock[thread]
        for j in range(order.need_from[place], order.need_from[place + 1]):
            start = max(start, end[order.needs[j]])
        begin[place] = start
        end[place] = clock[thread] = start + known[place, ESTIMATE]
        part = 1.0 / max(known[place, ESTIMATE], 1.0)
        flow[place, 0] = known[place, LOADS] * part
        flow[place, 1] = known[place, OUTS] * part


@compiled
def reach(
    flow: Cells, begin: Cells, end: Cells, v: int, u: int, place: float, loads: float, outs: float, far: float, loading: bool
) -> Head:
    """From a place in the operations `v` and `u`, whose threads share their queues: where these have no room for more than so
    many commands. Never, if that isn't before `far`. `loading`: whether room for loads moves on with the place."""
    first_load, first_out, begun = 0.0, 0.0, False
    while place < far:
        load, out, until = 0.0, 0.0, NEVER
        if begin[v] <= place:
            load, out, until = flow[v, 0], flow[v, 1], max(end[v], place + 1.0)
        else:
            until = begin[v]
        if begin[u] <= place:
            load, out, until = load + flow[u, 0], out + flow[u, 1], min(until, max(end[u], place + 1.0))
        else:
            until = min(until, begin[u])
        if until >= NEVER:
            break
        if not begun:
            first_load, first_out, begun = load, out, True
        span = until - place
        if loads < span * load or outs < span * out:
            if loads * out <= outs * load:
                return Head(place + loads / load, until, first_load / load if loading else 0.0)
            return Head(place + outs / out, until, first_out / out)
        loads -= span * load
        outs -= span * out
        place = until
        while end[v] <= place:
            v += 1
        while end[u] <= place:
            u += 1
    return Head(NEVER, NEVER, 0.0)


@compiled
def behind_prunings(known: Cells, begin: Cells, end: Cells, v: int, place: float, head: Head) -> Head:
    """The pruner, too, serves in program order: operands of a GEMM that pass it wait for all prunings before them, of the
    operations from `v` on."""
    while begin[v] < head.place and known[v, PRUNES] == 0:
        v += 1
    before = max(begin[v], place)
    if before >= head.place:
        return head
    return Head(before, max(before + 1.0, end[v]), 1.0 if begin[v] <= place else 0.0)


@compiled
def held(place: float, head: float, end: float, step: float, paced: bool) -> tuple[int, bool, float]:
    """Whether a stream is held up at the head, in an operation up to `end`: its state, whether it goes on with the head, and
    how far it comes for now.

    It comes to the end of the steps (tiles, chunks) that begin up to the head. Once the head has come to a step that it waits
    for, it goes on with the head (`paced`) step by step, until the last step is dispatched.
    """
    if head >= end - step - SOON:
        return FREE, paced, NEVER
    paced = paced or abs(place - head) <= SOON
    bound = head if paced else end - np.ceil((end - head) / step - 1.0 - 1e-6) * step
    if place < bound - SOON:
        return FREE, paced, bound
    return (AT_HEAD if paced else STOPPED), paced, bound


@compiled
def when(distance: float, speed: float) -> float:
    """In how many cycles a distance is covered; never, if it isn't."""
    return distance / speed if speed > 1e-12 else NEVER


@compiled
def meeting(state: int, paced: bool, place: float, bound: float, last: float, moves: float, head: Head, heads: float) -> float:
    """Cycles to the next change between a stream at a place that `moves` and the head before it, which moves by `heads`.
    `last`: where its operation's last step begins."""
    until = last if state in (FREE, AT_HEAD) else place
    if head.place >= until:
        return NEVER
    soon = when(min(until, head.until) - head.place, heads)
    if state == FREE:
        soon = min(soon, when(bound - place, moves - (heads if paced else 0.0)))
    return soon
