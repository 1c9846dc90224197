"""The array: busy for a Multiply's closed form; its results are complete a tail later."""

from collections.abc import Generator
from dataclasses import fields
from typing import Any

import simpy

from simulator.engines.frame import Context
from simulator.schedule import Multiply
from simulator.timing import MultiplyTime, multiply_time

__all__ = ["multiply"]


def multiply(context: Context, command: Multiply) -> Generator[simpy.Event, Any, tuple[int, int]]:
    """One tile: as many folds as it needs, for each entry of its batch."""
    tile = command.tile
    batch, m, n, k = len(tile.batch), len(tile.m), len(tile.n), len(tile.k)
    shape = (command.dataflow, m, n, k, command.pattern, command.sparse, command.accumulate)
    if (time := context.known.get(shape)) is None:
        time = context.known[shape] = _whole(multiply_time(context.accelerator, *shape))
    occupancy = batch * time.occupancy
    yield context.env.timeout(occupancy)
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
    return occupancy, time.tail


def _whole(time: MultiplyTime) -> MultiplyTime:
    """In Python's integers."""
    return MultiplyTime(**{field.name: int(getattr(time, field.name)) for field in fields(time)})
