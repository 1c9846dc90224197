"""Cycles of a list of commands in closed form, for many machines at once: the event machine as a max-plus recurrence.

The event machine is deterministic: a command starts when it is dispatched, its tokens are there and its engine (and the
memory port) is free, so that its start is a maximum over earlier ends, and its end a sum. Here the same recurrence is worked
out with numpy for all machines that run the same list: each array has one element per *lane*, that is per machine and
operation. Engines, tokens, in-order dispatch, and the port (one transfer at a time, in order of request, ties by engine) are
those of `simulator.machine`; what a command takes (cycles of the port, of the array, ...) is handed in, from the same
properties and closed forms that the event machine reads.

Lists are loops, mostly of equal iterations. `Skip`s shorten them: where an iteration has the period of the one before, all that
follows is later by that period for each iteration left out, and nothing else changes (a max-plus system commutes with a
shift of time). So a loop of any length costs a few iterations.

The port's order of service differs between lanes. A request is therefore kept waiting until something depends on it, and
then all are served that came before it, each lane by its own times (`_Port`). This is exact if no request is made later in
the list and earlier in time by a command that waits for one still to come, which `analytic_order` sees to by an order of the
list that follows the tokens instead of the program.

What it is not: exact where a queue's depth holds up the sequencer (the commands held up start later here by a cycle or two
less or more), where a skipped iteration is not periodic, and where a request overtakes in a way that `analytic_order`
doesn't foresee. The tests state how far it is off.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.schedule import Engine

__all__ = ["Cost", "Cycles", "Dispatch", "Ints", "Skip", "Step", "recurrence"]

Ints = NDArray[np.int64]

_PORT = (Engine.LOAD_A, Engine.LOAD_B, Engine.LOAD_WORK, Engine.STORE_C, Engine.STORE_WORK)
_RANK = {engine: rank for rank, engine in enumerate(Engine)}
_NEVER = np.iinfo(np.int64).max // 4


class Cost(NamedTuple):
    """Of a command, by lane: cycles that it keeps its engine (or the port) busy, and from its start to its result."""

    busy: Ints
    complete: Ints


class Skip(NamedTuple):
    """After a command: iterations of a loop are left out that take as long as each of the `window` before."""

    level: int  # of the loop
    mark: tuple[int, ...]  # iteration of this loop and of the loops around it
    window: int  # 0: this is no skip, but a time to remember for one


class Step(NamedTuple):
    """A command of the list: positions are those in program order."""

    engine: Engine
    cost: Hashable  # which of the costs handed in
    position: int
    waits: tuple[int, ...]  # commands whose token it waits for
    held: tuple[int, ...]  # commands that the engine must have done with before the sequencer can hand this one out
    skips: tuple[Skip, ...] = ()
    stands: tuple[int, ...] = ()  # loops of which it also stands for the iterations left out


class Dispatch(NamedTuple):
    """Of the sequencer, by lane."""

    cycles: Ints
    token_latency: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycles:
    """By lane, from the first dispatch on; what is said of the array is 0 where no command is for it."""

    total: Ints  # to the end of the last command
    first: Ints  # to the start of the array's first command
    before_last: Ints  # to the end of its last command but one (0: there is only one)
    array_end: Ints  # to the end of its last command
    port: Ints  # cycles in which the memory port is held
    array: Ints  # cycles in which the array is busy
    prune: Ints  # cycles in which the pruner is
    squares: Ints  # of the transfers' cycles of the port, added up


@dataclass(slots=True)
class _Engine:
    """By lane: when the engine is free, and when all its commands so far are complete."""

    free: Ints
    done: Ints
    until: dict[int, Ints] = field(default_factory=dict[int, Ints])  # by position: when the command left the engine
    complete: dict[int, Ints] = field(default_factory=dict[int, Ints])


@dataclass(slots=True)
class _Request:
    """A transfer that waits for the port: by lane since when, or never where it is served already."""

    since: Ints
    cost: Cost
    position: int
    whole: bool = True  # no lane is served yet


class _Port:
    """One transfer at a time, in order of request, ties by engine; each engine has one request at a time."""

    def __init__(self, engines: Mapping[Engine, _Engine], lanes: int) -> None:
        self._engines = engines
        self._free = np.zeros(lanes, np.int64)
        self.waiting: dict[Engine, _Request] = {}

    def serve(self, engine: Engine) -> None:
        """An engine's request, and before it those that were made before it, lane by lane."""
        request = self.waiting[engine]
        others = [each for each in self.waiting if each is not engine]
        live = None if request.whole else request.since < _NEVER
        if len(others) == 2:
            f, h = others
            self._serve_where(f, _both(self._first(f, engine), _both(self._first(f, h), live)))
            self._serve_where(h, _both(self._first(h, engine), live))
            self._serve_where(f, _both(self._first(f, engine), live))
        else:
            for other in sorted(others, key=_RANK.__getitem__):
                self._serve_where(other, _both(self._first(other, engine), live))
        if live is None:
            self._serve_all(engine)
        else:
            self._serve_where(engine, live)
        self._leave(engine)

    def _first(self, engine: Engine, other: Engine) -> NDArray[np.bool_]:
        """Where a request is served before another one."""
        since, since_other = self.waiting[engine].since, self.waiting[other].since
        return since <= since_other if _RANK[engine] < _RANK[other] else since < since_other

    def _leave(self, engine: Engine) -> None:
        request, state = self.waiting.pop(engine), self._engines[engine]
        state.until[request.position], state.complete[request.position] = state.free, state.done

    def _serve_all(self, engine: Engine) -> None:
        request, state = self.waiting[engine], self._engines[engine]
        granted = np.maximum(self._free, request.since)
        self._free = state.free = granted + request.cost.busy
        state.done = np.maximum(state.done, granted + request.cost.complete)

    def _serve_where(self, engine: Engine, where: NDArray[np.bool_]) -> None:
        request, state = self.waiting[engine], self._engines[engine]
        if not request.whole:
            where = where & (request.since < _NEVER)
        if not where.any():
            return
        granted = np.maximum(self._free, request.since)
        free = granted + request.cost.busy
        self._free = np.where(where, free, self._free)
        state.free = np.where(where, free, state.free)
        state.done = np.where(where, np.maximum(state.done, granted + request.cost.complete), state.done)
        request.since = np.where(where, _NEVER, request.since)
        request.whole = False


def _both(first: NDArray[np.bool_], second: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    return first if second is None else first & second


def recurrence(steps: Sequence[Step], costs: Mapping[Hashable, Cost], dispatch: Dispatch, left_out: Sequence[Ints]) -> Cycles:
    """The steps' cycles. `left_out`: by loop and lane, how many iterations its skip stands for."""
    lanes = len(dispatch.cycles)
    zero = np.zeros(lanes, np.int64)
    engines = {engine: _Engine(zero, zero) for engine in {step.engine for step in steps}}
    owner = {step.position: step.engine for step in steps}
    port = _Port(engines, lanes)
    later = zero  # what skips add
    held = {"port": zero, "array": zero, "prune": zero, "squares": zero}
    times: dict[tuple[int, ...], Ints] = {}
    first = before = array_end = None
    for step in steps:
        state = engines[step.engine]
        for at in (*step.waits, *step.held):
            if (request := port.waiting.get(owner[at])) is not None and request.position == at:
                port.serve(owner[at])
        if step.engine in port.waiting:
            port.serve(step.engine)
        start = np.maximum(state.free, (step.position + 1) * dispatch.cycles)
        if step.waits:
            tokens = engines[owner[step.waits[0]]].complete[step.waits[0]]
            for at in step.waits[1:]:
                tokens = np.maximum(tokens, engines[owner[at]].complete[at])
            start = np.maximum(start, tokens + dispatch.token_latency)
        for at in step.held:
            start = np.maximum(start, engines[owner[at]].until[at] + dispatch.cycles)
        cost = costs[step.cost]
        unit = "port" if step.engine in _PORT else step.engine.value
        if unit in held:
            held[unit] = held[unit] + _all(cost.busy, step.stands, left_out)
        if step.engine in _PORT:
            held["squares"] = held["squares"] + _all(cost.busy * cost.busy, step.stands, left_out)
            port.waiting[step.engine] = _Request(start, cost, step.position)
            continue
        if step.engine is Engine.ARRAY:
            first = start if first is None else first
            before = zero if array_end is None else array_end
        state.free = start + cost.busy
        state.done = np.maximum(state.done, start + cost.complete)
        state.until[step.position], state.complete[step.position] = state.free, state.done
        for skip in step.skips:
            now = state.free + later
            if skip.window:
                known = times[skip.level, *skip.mark[:-1], skip.mark[-1] - skip.window]
                later = later + left_out[skip.level] * (now - known) // skip.window
            times[skip.level, *skip.mark] = state.free + later
        if step.engine is Engine.ARRAY:
            array_end = state.free + later
    for engine in sorted(port.waiting, key=_RANK.__getitem__):
        if engine in port.waiting:
            port.serve(engine)
    end = zero
    for state in engines.values():
        end = np.maximum(end, np.maximum(state.free, state.done))
    return Cycles(
        total=np.maximum(end + later, np.maximum(np.maximum(held["port"], held["array"]), held["prune"])),
        first=zero if first is None else first,
        before_last=zero if before is None else before,
        array_end=zero if array_end is None else array_end,
        port=held["port"],
        array=held["array"],
        prune=held["prune"],
        squares=held["squares"],
    )


def _all(busy: Ints, stands: tuple[int, ...], left_out: Sequence[Ints]) -> Ints:
    """Cycles of a command and of those that it stands for."""
    for level in stands:
        busy = busy * (1 + left_out[level])
    return busy
