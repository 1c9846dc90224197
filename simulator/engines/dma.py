"""Loads and stores: the port for as long as the bursts take, then the memory's latency behind it."""

from collections.abc import Generator
from typing import Any

import simpy

from simulator.engines.frame import Context
from simulator.schedule import Engine, Load, Store

__all__ = ["transfer"]

_RANK = {engine: rank for rank, engine in enumerate(Engine)}


def transfer(context: Context, command: Load | Store) -> Generator[simpy.Event, Any, tuple[int, int]]:
    """The next command's request may follow while this one's data are under way: the latency is pipelined."""
    accelerator = context.accelerator
    cycles = accelerator.dram.transfer_cycles(command.runs, command.run_bytes, accelerator.clock_hz)
    yield context.port.request(_RANK[command.engine], cycles)
    yield context.env.timeout(cycles)
    moved = command.runs * command.run_bytes
    if isinstance(command, Load):
        context.counters.dram_read_bytes += moved
    else:
        context.counters.dram_write_bytes += moved
    context.ops[command.op].dram_bytes += moved
    return cycles, accelerator.dram.latency_cycles(accelerator.clock_hz)
