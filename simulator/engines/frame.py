"""What every engine does: take the next command, wait for its tokens, work, and keep account of each cycle."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import simpy
from simpy.events import ProcessGenerator

from simulator.arch import Accelerator, Dataflow
from simulator.channel import Channel, Progress
from simulator.events import Event
from simulator.memory import MemoryPort
from simulator.result import Counters, EngineTime, OpTime
from simulator.schedule import Command, Engine
from simulator.timing import MultiplyTime
from workloads.sparsity import Pattern

__all__ = ["Context", "Held", "Timing", "Work", "engine"]

MultiplyShape: TypeAlias = tuple[Dataflow, int, int, int, Pattern, Literal["a", "b"], bool]


class Held:
    """For how long each engine's full queue has held up the sequencer, and with it the engines that wait for commands."""

    def __init__(self) -> None:
        self._cycles: dict[Engine, int] = {}
        self._now: tuple[Engine, int] | None = None

    def start(self, engine: Engine, now: int) -> None:
        self._now = engine, now

    def stop(self, now: int) -> None:
        assert self._now is not None
        engine, since = self._now
        if now > since:  # most commands find room at once
            self._cycles[engine] = self._cycles.get(engine, 0) + now - since
        self._now = None

    def by_engine(self, now: int) -> dict[Engine, int]:
        cycles = dict(self._cycles)
        if self._now is not None:
            engine, since = self._now
            cycles[engine] = cycles.get(engine, 0) + now - since
        return cycles


@dataclass(slots=True, kw_only=True)
class Context:
    """What the engines of one run share."""

    env: simpy.Environment
    accelerator: Accelerator
    port: MemoryPort
    progress: dict[Engine, Progress]
    times: dict[Engine, EngineTime]
    ops: tuple[OpTime, ...]
    counters: Counters = field(default_factory=Counters)
    known: dict[MultiplyShape, MultiplyTime] = field(
        default_factory=dict[MultiplyShape, MultiplyTime]
    )  # closed forms evaluated
    transfers: dict[tuple[int, int], tuple[int, int]] = field(
        default_factory=dict[tuple[int, int], tuple[int, int]]
    )  # likewise
    held: Held = field(default_factory=Held)
    events: list[Event] | None = None  # None: don't record
    shifted_out: int = -1  # when the last output-stationary command so far is complete
    end: int = 0  # when the last command so far is finished


Timing: TypeAlias = tuple[int, int, simpy.Event | None]
"""Of a command whose tokens are there: for how many cycles it keeps the engine busy; how many cycles from its start its result
is complete, which may be before the engine is free; and what it waits for before it starts, if anything."""

Work = Callable[[Context, Any], Timing]
"""Counts a command and times it; called in the cycle in which its tokens are visible."""


def engine(name: Engine, queue: Channel[Command | None], context: Context, work: Work) -> ProcessGenerator:
    """The process of one engine; ends at the end of the program."""
    env, progress, time = context.env, context.progress, context.times[name]
    account = _Account(time)
    finished = 0  # when its last command is complete: results come in order
    unfree = Engine.ARRAY.value if name is Engine.ARRAY else "port"
    while True:
        before = context.held.by_engine(int(env.now))
        command: Command | None = yield from queue.get()
        if command is None:
            break
        use = context.ops[command.op]
        stalls = use.array_stalls if name is Engine.ARRAY else None
        if (now := int(env.now)) > account.until:
            for full, cycles in context.held.by_engine(now).items():
                account.stall(full.value, account.until + cycles - before.get(full, 0), stalls)
            account.stall("command", now, stalls)
        for token in command.waits:
            if progress[token.engine].visible < token.commands:
                yield progress[token.engine].reached(token.commands)
                account.stall(token.engine.value, int(env.now), stalls)
        busy, complete, free = work(context, command)
        if free is not None:
            yield free
            account.stall(unfree, int(env.now), stalls)
        start = int(env.now)
        finished = max(finished, start + complete)
        progress[name].finish(finished - start)
        yield env.timeout(busy)
        until = start + busy
        account.work(busy, until)
        end = max(finished, until)
        use.busy[name] = use.busy.get(name, 0) + busy
        if use.start < 0 or start < use.start:
            use.start = start
        use.end = max(use.end, end)
        context.end = max(context.end, end)
        context.counters.commands += 1
        if context.events is not None:
            context.events.append(Event(name, command.op, start, until))


class _Account:
    """An engine's cycles so far, all of them accounted for."""

    def __init__(self, time: EngineTime) -> None:
        self._time, self.until = time, 0

    def stall(self, cause: str, until: int, also: dict[str, int] | None) -> None:
        if (cycles := until - self.until) > 0:
            self._time.stalls[cause] = self._time.stalls.get(cause, 0) + cycles
            if also is not None:
                also[cause] = also.get(cause, 0) + cycles
        self.until = until

    def work(self, busy: int, until: int) -> None:
        self._time.busy += busy
        self.until = until
