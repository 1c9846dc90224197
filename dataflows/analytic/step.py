"""Cycles of a whole training step on many machines: its operations' own cycles, put together as two streams on one port.

The machine works at two things at once, each in program order: GEMMs (two loads, the array, the store), and the work between
them with the optimizer's updates (one load and one store queue for all of it). The streams meet in three ways, all of them
here:

* data: an operation begins when those that it needs are stored. A GEMM's first tiles load while the array works at the last
  tile of the GEMM before, each operand's when it is there (weights mostly are, activations mostly are not yet); its last tile's
  way out is seen by those that need it, not by the next GEMM;
* the port: what both ask for beyond its rate is divided by the lengths of their transfers, as it serves them in turn; whoever
  asks for less gets it all;
* the sequencer: it dispatches in the order of the compiler's estimates, and stops where an engine's queue is full. So neither
  stream is further in the program than the other's place and what a queue holds.

Within an operation progress is even: the port's share slows it as a whole. A machine is worked out in one loop from change to
change: where an operation begins or ends, or a stream comes to the head of what is dispatched.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dataflows.analytic.order import Order
from simulator.compiled import compiled

__all__ = ["FIELDS", "Lanes", "together"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Cells: TypeAlias = Any  # a float array of which single elements are read and written
_NEVER = 1e18
_BOUND = 1.01  # what takes longer than its busiest unit by more than this waits for the way of its chunks
_SOON = 1e-3  # cycles: what floating-point sums leave of an operation that is done

FIELDS = (
    "body",  # cycles for which it keeps its stream busy, alone
    "port",  # cycles in which it holds the port,
    "transfers",  # and in how many transfers
    "commands",  # in the queue that fills first
    "estimate",  # the compiler's, of its cycles
    "unit",  # of work in chunks: cycles of its busiest unit,
    "chunks",  # how many,
    "ways",  # and the cycles of all of them, each alone from its first load to its last store
    "squares",  # of GEMMs: the transfers' cycles squared, added up
    "fill",  # from its first request to its body; hidden behind the body of the one before, from `early` before that's end
    "late_a",  # from its first request for one operand to its body, where the other is there
    "late_b",
    "early",
    "drain",  # from the end of its body to its end
)
"""What is known of an operation. Cycles; work in chunks has none of the last six."""
_BODY, _PORT, _TRANSFERS, _COMMANDS, _ESTIMATE, _UNIT, _CHUNKS, _WAYS, _SQUARES, _FILL, _A, _B, _EARLY, _DRAIN = range(
    len(FIELDS)
)


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
def _plan(order: Order, known: Cells, begin: Cells, end: Cells) -> None:
    """When the compiler believes that each operation begins and ends: the order of the program."""
    begin[:] = _NEVER
    end[:] = _NEVER
    clock = np.zeros(3)
    for i in range(len(order.planned)):
        place, thread = order.planned[i]
        start = clock[thread]
        for j in range(order.need_from[place], order.need_from[place + 1]):
            start = max(start, end[order.needs[j]])
        begin[place] = start
        end[place] = clock[thread] = start + known[place, _ESTIMATE]


@compiled
def _ready(order: Order, done: Cells, place: int, side: int) -> float:
    """When what an operation (or one side of it) needs is stored; never, as long as that isn't known."""
    ready = 0.0
    for i in range(order.need_from[place], order.need_from[place + 1]):
        if order.sides[i] & side:
            ready = max(ready, done[order.needs[i]])
    return ready


@compiled
def _dispatched(known: Cells, begin: Cells, end: Cells, at: int, place: float, depth: float) -> float:
    """How far the sequencer can be, in the compiler's time, when the thread's queue is full behind its present place."""
    while begin[at] < _NEVER:
        rate = max(known[at, _COMMANDS], 1.0) / max(end[at] - begin[at], 1.0)
        left = (end[at] - max(place, begin[at])) * rate
        if depth < left:
            return end[at] - (left - depth) / rate
        depth -= left
        at += 1
    return _NEVER


@compiled
def _piece(
    known: Cells, begin: Cells, end: Cells, v: int, u: int, on_v: bool, on_u: bool, span: float, slots: float
) -> tuple[float, float, float, float]:
    """Parts of two operations whose chunks take turns in the work buffer, for a span of the compiler's time: cycles alone on
    the port; those in which they hold it; those for which chunks wait for their way; and transfers.

    Where both have many chunks, each has half of the slots; so a chunk of the one waits for one of the other.
    """
    v_part = (span / max(end[v] - begin[v], 1.0) if end[v] > begin[v] else 1.0) if on_v else 0.0
    u_part = (span / max(end[u] - begin[u], 1.0) if end[u] > begin[u] else 1.0) if on_u else 0.0
    v_body, u_body = known[v, _BODY] * v_part, known[u, _BODY] * u_part
    port = known[v, _PORT] * v_part + known[u, _PORT] * u_part
    v_chunks, u_chunks = known[v, _CHUNKS] * v_part, known[u, _CHUNKS] * u_part
    v_way = known[v, _WAYS] / max(known[v, _CHUNKS], 1.0)
    u_way = known[u, _WAYS] / max(known[u, _CHUNKS], 1.0)
    pairs = min(v_chunks, u_chunks)
    pair = max(max(v_way, u_way) * min(2 / slots, 1.0), (v_way + u_way) / slots)
    chain = pairs * pair + ((v_chunks - pairs) * v_way + (u_chunks - pairs) * u_way) / slots
    body = v_body + u_body
    if v_part > 0 and u_part > 0:
        body = max(v_body, u_body, port, chain)
    flow = max(port, known[v, _UNIT] * v_part, known[u, _UNIT] * u_part)
    ways = (known[v, _WAYS] * v_part + known[u, _WAYS] * u_part) / slots
    chain = max(ways, body if body > flow * _BOUND else 0.0)
    return body, port, chain, known[v, _TRANSFERS] * v_part + known[u, _TRANSFERS] * u_part


@compiled
def _when(distance: float, speed: float, moves: bool) -> float:
    """In how many cycles a distance is covered; never, if it isn't."""
    return distance / speed if moves and speed > 1e-12 else _NEVER


@compiled
def _lane(order: Order, known: Cells, begin: Cells, end: Cells, depth: float, token: float, slots: float, done: Cells) -> float:
    """The threads run to their end: when that is, and in `done` when what each operation makes can be seen; -1: never."""
    done[:] = _NEVER
    g, v, u = order.base[0], order.base[1], order.base[2]
    g_stop, v_stop, u_stop = order.base[1] - 2, order.base[2] - 2, order.base[3] - 2
    a_ready, b_ready = _ready(order, done, g, 1), _ready(order, done, g, 2)
    v_ready, u_ready = _ready(order, done, v, 3), _ready(order, done, u, 3)
    now, g_place, g_runs, w_runs = 0.0, begin[g], False, False
    g_left, w_left, w_place = 0.0, 0.0, 0.0
    # Of the piece of work that runs: cycles of all of it and parts of them (`_piece`); where it ends, and how fast it goes.
    w_share, w_chain, w_calls, w_until, w_rate = 0.0, 1.0, 0.0, 0.0, 0.0
    g_end, g_open, w_end, g_stored = 0.0, 0.0, 0.0, 0.0
    for _ in range(40 * (len(begin) + 1)):
        if g >= g_stop and v >= v_stop and u >= u_stop:
            return now
        # What may begin.
        g_some, w_some = g < g_stop, v < v_stop or u < u_stop
        g_body = known[g, _BODY]
        begins = max(g_end, max(g_open, min(a_ready, b_ready)) + known[g, _FILL])
        begins = max(begins, max(g_open, a_ready) + known[g, _A], max(g_open, b_ready) + known[g, _B])
        if not w_runs:
            w_place = max(w_place, min(begin[v], begin[u]))
        on_v, on_u = begin[v] <= w_place, begin[u] <= w_place
        w_begins = w_end
        if on_v:
            w_begins = max(w_begins, v_ready)
        if on_u:
            w_begins = max(w_begins, u_ready)
        head_g = _dispatched(known, begin, end, g, g_place, depth)
        head_w = min(
            _dispatched(known, begin, end, v, w_place if on_v else begin[v], depth),
            _dispatched(known, begin, end, u, w_place if on_u else begin[u], depth),
        )
        g_waits, w_waits = not g_runs and g_some, not w_runs and w_some
        g_held, w_held = g_waits and head_w < begin[g], w_waits and head_g < w_place
        if g_held:
            g_open = max(g_open, now)  # not even its loads are dispatched
        if g_waits and not g_held and begins <= now:
            # The last GEMM's last store holds back loads, but for as long as these are ahead of the array.
            ahead_by = max(0.0, g_body - known[g, _PORT]) / max(known[g, _CHUNKS], 1.0)
            g_runs, g_left = True, g_body + max(0.0, g_stored - now - ahead_by)
        if w_waits and not w_held and w_begins <= now:
            w_until = min(end[v] if on_v else begin[v], end[u] if on_u else begin[u])
            span = w_until - w_place
            w_left, asked, chain, calls = _piece(known, begin, end, v, u, on_v, on_u, span, slots)
            whole = max(w_left, 1e-9)
            w_share, w_chain, w_calls, w_rate = min(1.0, asked / whole), chain / whole, calls / whole, span / whole
            w_runs = True
        # How fast, in parts of full speed: no stream comes further in the program than it is dispatched.
        g_rate = max(end[g] - begin[g], 1.0) / max(g_body, 1.0)  # the compiler's cycles in a cycle at full speed
        g_at_head = g_runs and g_place >= head_w - _SOON and head_w < end[g]
        w_at_head = w_runs and w_place >= head_g - _SOON and head_g < w_until
        g_most = min(1.0, w_rate / max(g_rate, 1e-12) if w_runs else 0.0) if g_at_head else 1.0
        w_most = min(1.0, g_rate / max(w_rate, 1e-12) if g_runs else 0.0) if w_at_head else 1.0
        g_asks = min(1.0, known[g, _PORT] / max(g_body, 1.0)) * g_most if g_runs else 0.0
        # Where chunks wait for their own way, what keeps one from the port keeps back all: a transfer of the other stream, as
        # long as it lasts, if the work asks often enough to meet it.
        residual = known[g, _SQUARES] / max(2 * known[g, _PORT], 1.0)
        w_most /= max(1.0, w_chain + g_asks * min(1.0, w_calls * residual))
        w_asks = w_share * w_most if w_runs else 0.0
        # In turn: so whoever has the longer transfers has more of it.
        g_turn, w_turn = known[g, _PORT] / max(known[g, _TRANSFERS], 1.0), w_share / max(w_calls, 1e-12)
        g_gets = min(g_asks, max(g_turn / max(g_turn + w_turn, 1e-12), 1.0 - w_asks))
        w_gets = min(w_asks, 1.0 - g_gets)
        g_speed = g_most * (g_gets / max(g_asks, 1e-12) if g_asks > 0 else 1.0) if g_runs else 0.0
        w_speed = w_most * (w_gets / max(w_asks, 1e-12) if w_asks > 0 else 1.0) if w_runs else 0.0
        # To the next change.
        g_moves, w_moves = g_rate * g_speed, w_rate * w_speed
        g_waits, w_waits = g_waits and not g_runs, w_waits and not w_runs
        ahead = min(
            begins - now if g_waits and not g_held else _when(g_left, g_speed, g_runs),
            w_begins - now if w_waits and not w_held else _when(w_left, w_speed, w_runs),
        )
        ahead = min(ahead, _when(head_w - g_place, g_moves - w_moves, g_runs and not g_at_head and head_w < end[g]))
        ahead = min(ahead, _when(head_g - w_place, w_moves - g_moves, w_runs and not w_at_head and head_g < w_until))
        if g_held:
            ahead = min(ahead, max(1.0, _when(begin[g] - head_w, w_moves, True)))
        if w_held:
            ahead = min(ahead, max(1.0, _when(w_place - head_g, g_moves, True)))
        ahead = 0.0 if ahead >= _NEVER / 2 else max(ahead, 0.0)
        now += ahead
        changed = False
        if g_runs:
            g_left -= ahead * g_speed
            g_place = end[g] - g_left * g_rate
            if g_left <= _SOON:
                done[g] = now + known[g, _DRAIN] + token
                g_end, g_open, g_runs, changed = now, now - known[g, _EARLY], False, True
                g_stored = now + known[g, _DRAIN]
                g += 1
                g_place = begin[g]
        if w_runs:
            w_left -= ahead * w_speed
            over = w_left <= _SOON
            w_place = w_until - (0.0 if over else w_left) * w_rate
            if over:
                w_end, w_runs = now, False
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
    begin, end, done = np.zeros(places), np.zeros(places), np.zeros(places)
    for lane in range(len(total)):
        token = lanes.token_latency[lane]
        _load(order, lanes, gemms, work, lane, known)
        _plan(order, known, begin, end)
        now = _lane(order, known, begin, end, lanes.depth[lane], token, lanes.slots[lane], done)
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
