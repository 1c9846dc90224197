"""The whole machine, event-driven: a sequencer, nine engines, one memory port."""

import simpy
from simpy.events import ProcessGenerator

from simulator.arch import Accelerator
from simulator.channel import Channel, Progress
from simulator.engines.array import multiply
from simulator.engines.dma import transfer
from simulator.engines.frame import Context, Work, engine
from simulator.engines.streams import prune, update, vector
from simulator.memory import MemoryPort
from simulator.result import EngineTime, OpTime, Result
from simulator.schedule import Command, Commands, Engine

__all__ = ["run"]

_WORK: dict[Engine, Work] = {
    Engine.LOAD_A: transfer,
    Engine.LOAD_B: transfer,
    Engine.LOAD_WORK: transfer,
    Engine.ARRAY: multiply,
    Engine.PRUNE: prune,
    Engine.UPDATE: update,
    Engine.VECTOR: vector,
    Engine.STORE_C: transfer,
    Engine.STORE_WORK: transfer,
}


def run(program: Commands, accelerator: Accelerator, *, record_events: bool = False) -> Result:
    """Run a program to its end.

    Raises RuntimeError where it stops early: a command waits for one that never comes.
    """
    env = simpy.Environment()
    sequencer = accelerator.sequencer
    context = Context(
        env=env,
        accelerator=accelerator,
        port=MemoryPort(env),
        progress={name: Progress(env, latency=sequencer.token_latency) for name in Engine},
        times={name: EngineTime() for name in Engine},
        ops=tuple(OpTime() for _ in range(program.tags)),
        events=[] if record_events else None,
    )
    queues: dict[Engine, Channel[Command | None]] = {
        name: Channel(env, capacity=sequencer.queue_depth, latency=sequencer.dispatch_cycles) for name in Engine
    }
    engines = [env.process(engine(name, queues[name], context, work)) for name, work in _WORK.items()]
    env.process(_sequence(program, context, queues))
    env.run()
    if stuck := [name.value for name, process in zip(_WORK, engines, strict=True) if process.is_alive]:
        raise RuntimeError(f"Program must not wait for a command that never comes: {', '.join(stuck)} stopped early")
    for time in context.times.values():
        if (rest := context.end - time.total) > 0:
            time.stalls["drained"] = rest
    frontier = 0
    for op in context.ops:
        op.cycles = max(0, op.end - frontier)
        frontier = max(frontier, op.end)
    return Result(
        accelerator=accelerator.digest,
        cycles=context.end,
        multipliers=accelerator.multipliers,
        clock_hz=accelerator.clock_hz,
        counters=context.counters,
        engines=context.times,
        ops=context.ops,
        port_busy_cycles=context.port.busy_cycles,
        events=tuple(context.events or ()),
    )


def _sequence(program: Commands, context: Context, queues: dict[Engine, Channel[Command | None]]) -> ProcessGenerator:
    env, held = context.env, context.held
    for command in program:
        room = queues[command.engine].put(command)
        if not room.triggered:
            held.start(command.engine, int(env.now))
            yield room
            held.stop(int(env.now))
        yield env.timeout(context.accelerator.sequencer.dispatch_cycles)
    for queue in queues.values():
        yield queue.put(None)
