"""Cycles of a whole training step on many machines: its operations' own cycles, put together as two streams on one port.

The machine works at two things at once, each in program order: GEMMs (two loads, the array, the store), and the work between
them with the optimizer's updates (one load and one store queue for all of it). The streams meet in three ways:

* data: an operation begins when those that it needs are stored. A GEMM's first tiles load while the array works at the last
  tile of the GEMM before, each operand's when it is there (weights mostly are, activations mostly are not yet), but not before
  the port has moved what earlier GEMMs ask for; its last tile's way out is seen by those that need it, not by the next GEMM;
* the port: `shares`;
* the sequencer, which stops where a queue is full: `sequencer`. A tile or chunk that is dispatched is done at full speed; the
  one behind it waits until the sequencer comes to it, and for its loads then.

Within an operation progress is even: the port's share slows it as a whole. A machine is worked out in one loop from change to
change: where an operation begins or ends, or a stream comes to the head of what is dispatched.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dataflows.analytic.fields import BODY, CHUNKS, DRAIN, EARLY, FIELDS, FILL, LATE_A, LATE_B, PORT, PRUNES
from dataflows.analytic.order import Order
from dataflows.analytic.sequencer import IDLE, NEVER, SOON, behind_prunings, held, meeting, planned, reach, when
from dataflows.analytic.shares import piece_of, product_of, speeds
from simulator.compiled import compiled

__all__ = ["FIELDS", "Lanes", "together"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Cells: TypeAlias = Any  # a float array of which single elements are read and written
_LEAST = 0.01  # cycles from change to change, at least


class Lanes(NamedTuple):
    """By machine. Row of GEMM i: ``gemm_row[group, i]``; of piece of work i: ``first[i] + work_group[kind[i], machine]``."""

    group: Ints
    gemm_row: Ints
    kind: Ints
    first: Ints
    work_group: Ints
    depth: Floats  # of the queues
    token_latency: Floats
    slots: Floats  # of the work buffer


def together(order: Order, lanes: Lanes, gemms: Floats, work: Floats, stages: int) -> tuple[Floats, Floats]:
    """Cycles of the step by machine, and by machine and stage how far the stage's operations move the end: these add up.

    `gemms` and `work` have `FIELDS` by row.
    """
    total, by_stage = np.zeros(len(lanes.group)), np.zeros((len(lanes.group), stages))
    if not _run(order, lanes, gemms, work, total, by_stage):
        raise RuntimeError("Step's operations must come to an end")
    return total, by_stage


@compiled
def _load(order: Order, lanes: Lanes, gemms: Floats, work: Floats, lane: int, known: Cells) -> None:
    """What is known of all operations on a machine."""
    known[:] = 0.0
    for place in range(len(order.member_from) - 1):
        for i in range(order.member_from[place], order.member_from[place + 1]):
            member = order.members[i]
            if place < order.base[1]:
                known[place] += gemms[lanes.gemm_row[lanes.group[lane], member]]
            else:
                known[place] += work[lanes.first[member] + lanes.work_group[lanes.kind[member], lane]]


@compiled
def _ready(order: Order, done: Cells, place: int, side: int) -> float:
    """When what an operation (or one side of it) needs is stored; never, as long as that isn't known."""
    ready = 0.0
    for i in range(order.need_from[place], order.need_from[place + 1]):
        if order.sides[i] & side:
            ready = max(ready, done[order.needs[i]])
    return ready


@compiled
def _begins(gemm: Cells, after: float, opened: float, a_ready: float, b_ready: float) -> float:
    """When a GEMM's array begins: behind the one before, when it has been allowed to load, and what it needs is there."""
    begins = max(after, max(opened, min(a_ready, b_ready)) + gemm[FILL])
    return max(begins, max(opened, a_ready) + gemm[LATE_A], max(opened, b_ready) + gemm[LATE_B])


@compiled
def _takes(gemm: Cells, now: float, stored: float, moved: float) -> float:
    """Cycles of a GEMM's body that begins now. The last GEMM's last store holds back loads, but for as long as these are ahead
    of the array; and by its end the port has `moved` what GEMMs ask for so far, but for what comes behind."""
    spare = max(0.0, gemm[BODY] - gemm[PORT]) / max(gemm[CHUNKS], 1.0)
    return max(gemm[BODY] + max(0.0, stored - now - spare), moved - gemm[DRAIN] - now)


@compiled
def _part(begin: float, end: float, place: float, until: float) -> float:
    """Of an operation: what is done from a place until another."""
    return 0.0 if begin > place else (until - place) / (end - begin) if end > begin else 1.0


@compiled
def _lane(
    order: Order,
    known: Cells,
    flow: Cells,
    begin: Cells,
    end: Cells,
    depth: float,
    token: float,
    slots: float,
    done: Cells,
) -> float:
    """The threads run to their end: when that is, and in `done` when what each operation makes can be seen; -1: never."""
    done[:] = NEVER
    g, v, u, no_op = order.base[0], order.base[1], order.base[2], order.base[1] - 1
    g_stop, v_stop, u_stop = order.base[1] - 2, order.base[2] - 2, order.base[3] - 2
    a_ready, b_ready = _ready(order, done, g, 1), _ready(order, done, g, 2)
    v_ready, u_ready = _ready(order, done, v, 3), _ready(order, done, u, 3)
    # Of both streams: what runs, or is next; its place in the program, and cycles left of it at full speed.
    gemm, piece = product_of(known[g], begin[g], end[g]), piece_of(known[v], known[u], 0.0, 0.0, 0.0, slots)
    g_runs, w_runs, g_held, g_paced, w_paced = False, False, False, False, False
    g_left, w_left, g_place, w_place = 0.0, 0.0, begin[g], 0.0
    g_end, w_end = 0.0, 0.0  # of the last one
    w_loaded = 0.0  # loads are ahead
    g_open, g_stored, g_moved = 0.0, 0.0, 0.0  # the next one may load; the last one is stored; the port has moved all so far
    now, w_until = 0.0, 0.0
    for _ in range(60 * (len(begin) + 1)):
        if g >= g_stop and v >= v_stop and u >= u_stop:
            return now
        g_waits, w_waits = not g_runs and g < g_stop, not w_runs and (v < v_stop or u < u_stop)
        begins, w_begins = NEVER, NEVER
        if w_waits:
            w_place = max(w_place, min(begin[v], begin[u]))
            w_until = min(end[v] if begin[v] <= w_place else begin[v], end[u] if begin[u] <= w_place else begin[u])
        on_v, on_u = begin[v] <= w_place, begin[u] <= w_place
        g_head = reach(flow, begin, end, g, no_op, g_place, depth + 1.0, NEVER, w_until, True)
        if w_waits and g_head.place >= w_place:
            w_begins = max(w_end, v_ready if on_v else 0.0, u_ready if on_u else 0.0)
            if w_begins <= now:
                w_runs, w_waits, w_paced = True, False, False
                v_part, u_part = _part(begin[v], end[v], w_place, w_until), _part(begin[u], end[u], w_place, w_until)
                piece = piece_of(known[v], known[u], v_part, u_part, w_until - w_place, slots)
                w_left = piece.body
                w_loaded = now + (piece.credit * piece.turn if now > w_end else 0.0)
        # Loads are ahead of the rest, once these have been made and as long as there are some.
        ahead = min(piece.credit, piece.loads * w_left) if w_runs and now >= w_loaded else 0.0
        loading, far = ahead == piece.credit or now < w_loaded, end[g] if g < g_stop else 0.0
        w_head = reach(flow, begin, end, v, u, w_place, depth + 1.0 + ahead, depth + 1.0, far, loading)
        if known[g, PRUNES] > 0:
            w_head = behind_prunings(known, begin, end, v, w_place, w_head)
        if g_waits:
            if g_held:
                g_open = max(g_open, now)  # not even its loads are dispatched before
            g_held = w_head.place < begin[g]
            if not g_held:
                begins = _begins(known[g], g_end, g_open, a_ready, b_ready)
                if begins <= now:
                    g_runs, g_waits, g_paced = True, False, False
                    g_moved = max(g_moved, g_open, min(a_ready, b_ready)) + known[g, PORT]
                    g_left = _takes(known[g], now, g_stored, g_moved)
        # What holds them up.
        g_state, w_state, g_bound, w_bound = IDLE, IDLE, NEVER, NEVER
        g_last, w_last = end[g] - gemm.step, w_until - piece.step
        if g_runs:
            if g_paced and (w_head.place >= g_last - SOON or g_place < w_head.place - gemm.step):
                g_paced, g_left = False, g_left + known[g, FILL]  # the tile that it waited for must be loaded
                g_place = end[g] - g_left * gemm.rate
            g_state, g_paced, g_bound = held(g_place, w_head.place, end[g], gemm.step, g_paced)
        if w_runs:
            w_paced = w_paced and w_place >= g_head.place - piece.step
            w_state, w_paced, w_bound = held(w_place, g_head.place, w_until, piece.step, w_paced)
        g_speed, w_speed = speeds(gemm, piece, g_state, w_state, g_head.pace, w_head.pace)
        # To the next change.
        g_moves, w_moves = gemm.rate * g_speed, piece.rate * w_speed
        g_heads, w_heads = g_moves * g_head.pace, w_moves * w_head.pace
        soon = min(when(g_left, g_speed), when(w_left, w_speed), begins - now if g_waits else NEVER)
        soon = min(soon, w_begins - now if w_waits else NEVER)
        soon = min(soon, meeting(g_state, g_paced, g_place, g_bound, g_last, g_moves, w_head, w_heads))
        soon = min(soon, meeting(w_state, w_paced, w_place, w_bound, w_last, w_moves, g_head, g_heads))
        if w_runs and w_head.place < g_last:
            until = w_left - piece.credit / max(piece.loads, 1e-12) if ahead == piece.credit else w_left
            soon = min(soon, w_loaded - now if now < w_loaded else when(until, w_speed))
        soon = max(soon, _LEAST) if soon < NEVER / 2 else 0.0
        now += soon
        changed = False
        if g_runs:
            g_left -= soon * g_speed
            g_place = end[g] - g_left * gemm.rate
            if g_left <= SOON:
                done[g] = now + known[g, DRAIN] + token
                g_end, g_open, g_stored = now, now - known[g, EARLY], now + known[g, DRAIN]
                g, g_runs, changed = g + 1, False, True
                gemm, g_place = product_of(known[g], begin[g], end[g]), begin[g]
        if w_runs:
            w_left -= soon * w_speed
            w_place = w_until - max(w_left, 0.0) * piece.rate
            if w_left <= SOON:
                w_place, w_end, w_runs = w_until, now, False
                if on_v and w_until >= end[v]:
                    done[v] = now + token
                    v, changed = v + 1, True
                if on_u and w_until >= end[u]:
                    done[u] = now + token
                    u, changed = u + 1, True
        if changed:
            a_ready, b_ready = _ready(order, done, g, 1), _ready(order, done, g, 2)
            v_ready, u_ready = _ready(order, done, v, 3), _ready(order, done, u, 3)
    return -1.0


@compiled
def _run(order: Order, lanes: Lanes, gemms: Floats, work: Floats, total: Floats, by_stage: Floats) -> bool:
    places = order.base[3]
    known = np.zeros((places, gemms.shape[1]))
    begin, end, done, flow = np.zeros(places), np.zeros(places), np.zeros(places), np.zeros((places, 2))
    for lane in range(len(total)):
        token = lanes.token_latency[lane]
        _load(order, lanes, gemms, work, lane, known)
        planned(order, known, begin, end, flow)
        now = _lane(order, known, flow, begin, end, lanes.depth[lane], token, lanes.slots[lane], done)
        if now < 0:
            return False
        frontier = 0.0
        for i in range(len(order.listed)):
            place, stage = order.listed[i]
            if done[place] - token > frontier:
                by_stage[lane, stage] += done[place] - token - frontier
                frontier = done[place] - token
        total[lane] = max(frontier, now)
    return True
