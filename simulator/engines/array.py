"""The array: busy for a Multiply's closed form; its results are complete a tail later."""

from dataclasses import fields

from simulator.arch import Dataflow
from simulator.engines.frame import Context, Timing
from simulator.schedule import Multiply
from simulator.timing import MultiplyTime, multiply_time

__all__ = ["multiply"]


def multiply(context: Context, command: Multiply) -> Timing:
    """One tile: as many folds as it needs, for each entry of its batch.

    The c buffer has one write port, so that a WS or IS command starts a cycle after an OS command before it is complete.
    """
    tile, now = command.tile, int(context.env.now)
    batch, m, n, k = len(tile.batch), len(tile.m), len(tile.n), len(tile.k)
    shape = (command.dataflow, m, n, k, command.pattern, command.sparse, command.accumulate)
    if (time := context.known.get(shape)) is None:
        time = context.known[shape] = _whole(multiply_time(context.accelerator, *shape))
    occupancy = batch * time.occupancy
    complete = occupancy + time.tail
    free = None
    if command.dataflow is Dataflow.OS:
        context.shifted_out = now + complete
    elif context.shifted_out >= now:
        free = context.env.timeout(context.shifted_out + 1 - now)
    dense = batch * m * n * k
    macs = dense * command.pattern.density
    assert macs.denominator == 1
    use = context.ops[command.op]
    use.macs += macs.numerator
    context.counters.macs += macs.numerator
    context.counters.dense_macs += dense
    causes = use.array
    causes.compute += batch * time.compute
    causes.latency += batch * time.latency
    causes.bandwidth += batch * time.bandwidth
    causes.shift += batch * time.shift
    causes.fill += batch * time.fill
    return occupancy, complete, free


def _whole(time: MultiplyTime) -> MultiplyTime:
    """In Python's integers."""
    return MultiplyTime(**{field.name: int(getattr(time, field.name)) for field in fields(time)})
