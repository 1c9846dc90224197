"""Cycles of a whole training step on many machines: its operations' own cycles, put together as two streams on one port.

The machine works at two things at once, each in program order: GEMMs (two loads, the array, the store), and the work between
them with the optimizer's updates (one load and one store queue for all of it). The streams meet in three ways, all of them
here:

* data: an operation begins when those that it needs are stored. A GEMM's first tiles load while the array works at the last
  tile of the GEMM before, if its inputs are there; its last tile's way out is seen by those that need it, not by the next GEMM;
* the port: what both ask for beyond its rate is divided evenly, as it serves them in turn; whoever asks for less gets it all;
* the sequencer: it dispatches in the order of the compiler's estimates, and stops where an engine's queue is full. So neither
  stream is further in the program than the other's place and what a queue holds.

Within an operation progress is even: the port's share slows it as a whole.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Thread", "Times", "together"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_NEVER = 1e18
_BOUND = 1.01  # what takes longer than its busiest unit by more than this waits for the way of its chunks
_SOON = 1e-3  # cycles: what floating-point sums leave of an operation that is done


@dataclass(frozen=True, kw_only=True)
class Thread:
    """Operations in order; arrays are (operations, lanes). Needs are numbers of operations, all threads' counted through."""

    needs: tuple[tuple[int, ...], ...]
    body: Floats  # cycles for which it keeps its stream busy, alone
    port: Floats  # cycles in which it holds the port,
    transfers: Floats  # and in how many transfers,
    squares: Floats  # of GEMMs: the transfers' cycles squared, added up
    commands: Floats  # in the queue that fills first
    estimate: Floats  # the compiler's, of its cycles
    fill: Floats  # from its first request to its body; hidden behind the body of the one before, from `early` before that's end
    early: Floats
    drain: Floats  # from the end of its body to its end
    unit: Floats  # of work in chunks: cycles of its busiest unit,
    chunks: Floats  # how many,
    ways: Floats  # and the cycles of all of them, each alone from its first load to its last store


@dataclass(frozen=True, kw_only=True)
class Times:
    """By lane."""

    total: Floats


class _Schedule:
    """When the compiler believes that each operation begins and ends: the order of the program. Padded: one operation more
    that never begins."""

    def __init__(self, threads: tuple[Thread, ...], lanes: int) -> None:
        offsets = np.cumsum([0, *(len(thread.needs) for thread in threads)])
        count = int(offsets[-1])
        self.begin, self.end = np.zeros((count + 1, lanes)), np.zeros((count + 1, lanes))
        done = [False] * count
        clock = [np.zeros(lanes) for _ in threads]
        at = [0] * len(threads)
        moved = True
        while moved:
            moved = False
            for number, thread in enumerate(threads):
                while at[number] < len(thread.needs) and all(done[need] for need in thread.needs[at[number]]):
                    op = int(offsets[number]) + at[number]
                    begin = clock[number]
                    for need in thread.needs[at[number]]:
                        begin = np.maximum(begin, self.end[need])
                    self.begin[op] = begin
                    self.end[op] = clock[number] = begin + thread.estimate[at[number]]
                    done[op] = moved = True
                    at[number] += 1
        if not all(done):
            raise ValueError("Operations of a step must not need one that never ends")


class _Side:
    """A thread's place, by lane: which operation is next, what is known of it, and where in it the compiler's clock stands.

    What is known is looked up only in lanes where the operation has changed.
    """

    def __init__(self, thread: Thread, offset: int, schedule: _Schedule, lanes: int) -> None:
        self.count, self._offset = len(thread.needs), offset
        never, nothing = np.full((2, lanes), _NEVER), np.zeros((2, lanes))
        begin = np.concatenate([schedule.begin[offset : offset + self.count], never])
        end = np.concatenate([schedule.end[offset : offset + self.count], never])

        def table(values: Floats) -> Floats:
            return np.concatenate([values, nothing])

        length, body, port = np.maximum(end - begin, 1.0), table(thread.body), table(thread.port)
        chunks, ways = table(thread.chunks), table(thread.ways)
        columns = (
            begin,
            end,
            np.concatenate([begin[1:], never[:1]]),
            length,
            length / np.maximum(table(thread.commands), 1.0),
            length / np.maximum(body, 1.0),
            body,
            port,
            np.minimum(1.0, port / np.maximum(body, 1.0)),
            table(thread.fill),
            table(thread.early),
            table(thread.drain),
            table(thread.unit),
            chunks,
            ways,
            ways / np.maximum(chunks, 1.0),
            table(thread.transfers),
            table(thread.squares) / np.maximum(2 * port, 1.0),
            np.concatenate([np.ones((self.count, lanes)), nothing]),
        )
        self._table = np.stack(columns, axis=-1)  # (operations, lanes, columns)
        most = max([1, *(len(needs) for needs in thread.needs)])
        last = -1  # the last row of `done`: done at 0
        self._needs = np.array([[*needs, *[last] * (most - len(needs))] for needs in thread.needs] + [[last] * most])
        self.at = np.zeros(lanes, np.int64)
        self._known = np.ascontiguousarray(self._table[0].T)
        (
            self.begin,
            self.end,
            self.next_begin,
            self.length,
            self.per_command,  # the compiler's cycles of a command
            self.rate,  # the compiler's cycles in a cycle at full speed
            self.body,
            self.port,
            self.asks,  # the port's share that it takes at full speed
            self.fill,
            self.early,
            self.drain,
            self.unit,
            self.chunks,
            self.ways,
            self.way,
            self.transfers,
            self.residual,  # of a transfer under way, when another comes: cycles until it ends
            self._some,
        ) = self._known  # views, which follow
        self.left = self._some > 0
        self.place = self.begin.copy()  # in the compiler's time
        self.ready = np.zeros(lanes)  # when what the next operation needs is stored; never, as long as that isn't known

    def look(self, done: Floats, lanes: Ints) -> None:
        """Work out `ready` in these lanes."""
        needs = self._needs[self.at[lanes]]
        found = done[needs[:, 0], lanes]
        for column in range(1, needs.shape[1]):
            found = np.maximum(found, done[needs[:, column], lanes])
        self.ready[lanes] = found

    def advance(self, lanes: Ints) -> None:
        """To the next operation."""
        self.at[lanes] += 1
        self._known[:, lanes] = self._table[self.at[lanes], lanes].T
        self.left[lanes] = self._some[lanes] > 0
        self.place[lanes] = self.begin[lanes]

    def number(self, lanes: Ints) -> Ints:
        return self.at[lanes] + self._offset

    def dispatched(self, depth: Floats) -> Floats:
        """How far the sequencer can be, in the compiler's time, when the thread's queue is full behind its present place."""
        ahead = self.place + self.per_command * depth
        over = np.maximum(ahead - self.end, 0.0)
        return np.where(over > 0, np.minimum(self.next_begin + over, _NEVER), ahead)


def _piece(
    v: _Side,
    u: _Side,
    place: Floats,
    until: Floats,
    on: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    slots: Floats,
    lanes: Ints,
) -> tuple[Floats, ...]:
    """Parts of two operations whose chunks take turns in the work buffer, between two places of the compiler's time, in some
    lanes: cycles alone on the port; those in which they hold it; those for which chunks wait for their way; and transfers.

    Where both have many chunks, each has half of the slots; so a chunk of the one waits for one of the other.
    """
    span, slots = (until - place)[lanes], slots[lanes]
    v_part, u_part = (
        np.where(here[lanes], np.where(side.end[lanes] > side.begin[lanes], span / side.length[lanes], 1.0), 0.0)
        for side, here in zip((v, u), on, strict=True)
    )
    v_body, u_body = v.body[lanes] * v_part, u.body[lanes] * u_part
    port = v.port[lanes] * v_part + u.port[lanes] * u_part
    v_chunks, u_chunks = v.chunks[lanes] * v_part, u.chunks[lanes] * u_part
    v_way, u_way = v.way[lanes], u.way[lanes]
    pairs = np.minimum(v_chunks, u_chunks)
    pair = np.maximum(np.maximum(v_way, u_way) * np.minimum(2 / slots, 1.0), (v_way + u_way) / slots)
    chain = pairs * pair + ((v_chunks - pairs) * v_way + (u_chunks - pairs) * u_way) / slots
    both = np.maximum(np.maximum(v_body, u_body), np.maximum(port, chain))
    body = np.where((v_part > 0) & (u_part > 0), both, v_body + u_body)
    flow = np.maximum(port, np.maximum(v.unit[lanes] * v_part, u.unit[lanes] * u_part))
    ways = (v.ways[lanes] * v_part + u.ways[lanes] * u_part) / slots
    chain = np.maximum(ways, np.where(body > flow * _BOUND, body, 0.0))
    return body, port, chain, v.transfers[lanes] * v_part + u.transfers[lanes] * u_part


def _when(distance: Floats, speed: Floats, where: NDArray[np.bool_]) -> Floats:
    """In how many cycles a distance is covered; never, elsewhere or if it isn't."""
    moving = where & (speed > 1e-12)
    return np.where(moving, distance / np.where(moving, speed, 1.0), _NEVER)


def together(gemms: Thread, work: Thread, updates: Thread, *, depth: Floats, token_latency: Floats, slots: Floats) -> Times:
    """The three threads run to their end; by lane, the queues' depth and the tokens' latency."""
    lanes = len(depth)
    threads = (gemms, work, updates)
    schedule = _Schedule(threads, lanes)
    offsets = np.cumsum([0, *(len(thread.needs) for thread in threads)])
    count = int(offsets[-1])
    g, v, u = (_Side(thread, int(offset), schedule, lanes) for thread, offset in zip(threads, offsets, strict=False))
    done = np.full((count + 1, lanes), _NEVER)
    done[count] = 0.0
    for side in (g, v, u):
        side.look(done, np.arange(lanes))
    now = np.zeros(lanes)
    g_runs, w_runs = np.zeros(lanes, np.bool_), np.zeros(lanes, np.bool_)
    g_left, w_left, w_place = np.zeros(lanes), np.zeros(lanes), np.zeros(lanes)
    w_body = np.ones(lanes)  # of the piece of work that runs: cycles of all of it,
    w_share, w_chain, w_calls = np.zeros(lanes), np.ones(lanes), np.zeros(lanes)  # parts of them, see `_piece`
    w_until, w_rate = np.zeros(lanes), np.zeros(lanes)  # where it ends, and how fast it goes, in the compiler's time
    g_end, g_open, w_end = np.zeros(lanes), np.zeros(lanes), np.zeros(lanes)
    rounds = 0
    while True:
        # What may begin.
        begins = np.maximum(g_end, np.maximum(g_open, g.ready) + g.fill)
        w_place = np.where(w_runs, w_place, np.maximum(w_place, np.minimum(v.begin, u.begin)))
        on_v, on_u = v.begin <= w_place, u.begin <= w_place
        v.place, u.place = np.where(on_v, w_place, v.begin), np.where(on_u, w_place, u.begin)
        w_begins = np.maximum(w_end, np.maximum(v.ready * on_v, u.ready * on_u))
        head_g = g.dispatched(depth)
        head_w = np.minimum(v.dispatched(depth), u.dispatched(depth))
        g_waits, w_waits = ~g_runs & g.left, ~w_runs & (v.left | u.left)
        g_held, w_held = g_waits & (head_w < g.begin), w_waits & (head_g < w_place)
        g_open = np.where(g_held, np.maximum(g_open, now), g_open)  # not even its loads are dispatched
        g_go, w_go = g_waits & ~g_held & (begins <= now), w_waits & ~w_held & (w_begins <= now)
        g_left = np.where(g_go, g.body, g_left)
        g_runs |= g_go
        if (some := np.flatnonzero(w_go)).size:
            until = np.minimum(np.where(on_v, v.end, v.begin), np.where(on_u, u.end, u.begin))
            body, asked, chain, calls = _piece(v, u, w_place, until, (on_v, on_u), slots, some)
            whole = np.maximum(body, 1e-9)
            w_body[some], w_left[some], w_share[some] = whole, body, np.minimum(1.0, asked / whole)
            w_chain[some], w_calls[some] = chain / whole, calls / whole
            w_until[some], w_rate[some] = until[some], (until - w_place)[some] / whole
            w_runs |= w_go
        # How fast, in parts of full speed: no stream comes further in the program than it is dispatched.
        g_at_head = g_runs & (g.place >= head_w - _SOON) & (head_w < g.end)
        w_at_head = w_runs & (w_place >= head_g - _SOON) & (head_g < w_until)
        g_most = np.where(g_at_head, np.minimum(1.0, w_runs * w_rate / np.maximum(g.rate, 1e-12)), 1.0)
        w_most = np.where(w_at_head, np.minimum(1.0, g_runs * g.rate / np.maximum(w_rate, 1e-12)), 1.0)
        g_asks = g_runs * g.asks * g_most
        # Where chunks wait for their own way, what keeps one from the port keeps back all: a transfer of the other stream, as
        # long as it lasts, if the work asks often enough to meet it.
        w_most /= np.maximum(1.0, w_chain + g_asks * np.minimum(1.0, w_calls * g.residual))
        w_asks = w_runs * w_share * w_most
        g_gets = np.minimum(g_asks, np.maximum(0.5, 1.0 - w_asks))
        w_gets = np.minimum(w_asks, 1.0 - g_gets)
        g_speed = g_runs * g_most * np.where(g_asks > 0, g_gets / np.maximum(g_asks, 1e-12), 1.0)
        w_speed = w_runs * w_most * np.where(w_asks > 0, w_gets / np.maximum(w_asks, 1e-12), 1.0)
        # To the next change.
        g_moves, w_moves = g.rate * g_speed, w_rate * w_speed
        ahead = np.where(g_waits & ~g_held, begins - now, _when(g_left, g_speed, g_runs))
        ahead = np.minimum(ahead, np.where(w_waits & ~w_held, w_begins - now, _when(w_left, w_speed, w_runs)))
        ahead = np.minimum(ahead, _when(head_w - g.place, g_moves - w_moves, g_runs & ~g_at_head & (head_w < g.end)))
        ahead = np.minimum(ahead, _when(head_g - w_place, w_moves - g_moves, w_runs & ~w_at_head & (head_g < w_until)))
        if g_held.any():
            ahead = np.minimum(ahead, np.maximum(1.0, _when(g.begin - head_w, w_moves, g_held)))
        if w_held.any():
            ahead = np.minimum(ahead, np.maximum(1.0, _when(w_place - head_g, g_moves, w_held)))
        ahead = np.where(ahead >= _NEVER / 2, 0.0, np.maximum(ahead, 0.0))
        now += ahead
        g_left -= ahead * g_speed
        w_left -= ahead * w_speed
        g_over, w_over = g_runs & (g_left <= _SOON), w_runs & (w_left <= _SOON)
        g.place = np.where(g_runs, g.end - g_left * g.rate, g.place)
        w_place = np.where(w_runs, w_until - np.where(w_over, 0.0, w_left) * w_rate, w_place)
        changed: list[Ints] = []
        if (some := np.flatnonzero(g_over)).size:
            done[g.number(some), some] = (now + g.drain + token_latency)[some]
            g_end[some], g_open[some] = now[some], (now - g.early)[some]
            g_runs &= ~g_over
            g.advance(some)
            changed.append(some)
        if w_over.any():
            w_end = np.where(w_over, now, w_end)
            w_runs &= ~w_over
            for side, on in ((v, on_v), (u, on_u)):
                if (some := np.flatnonzero(w_over & on & (w_until >= side.end))).size:
                    done[side.number(some), some] = (now + token_latency)[some]
                    side.advance(some)
                    changed.append(some)
        if changed:
            for side in (g, v, u):
                side.look(done, np.concatenate(changed))
            if not (g.left | v.left | u.left).any():
                break
        rounds += 1
        if rounds > 40 * (count + 1):
            raise RuntimeError("Step's operations must come to an end")
    total = np.max(done[:count], axis=0, initial=0.0) - token_latency if count else now
    return Times(total=np.maximum(total, now))
