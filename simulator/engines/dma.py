"""Loads and stores: the port for as long as the bursts take, the memory's latency behind the last of them."""

from simulator.engines.frame import Context, Timing
from simulator.layout import transfer_complete
from simulator.schedule import Engine, Load, Store

__all__ = ["transfer"]

_RANK = {engine: rank for rank, engine in enumerate(Engine)}


def transfer(context: Context, command: Load | Store) -> Timing:
    """The next command's request may follow while this one's data are under way: the latency is pipelined."""
    accelerator, shape = context.accelerator, (command.runs, command.run_bytes)
    if (time := context.transfers.get(shape)) is None:
        held = accelerator.dram.transfer_cycles(*shape, accelerator.clock_hz)
        time = context.transfers[shape] = held, transfer_complete(accelerator, *shape)
    busy, complete = time
    moved = command.runs * command.run_bytes
    if isinstance(command, Load):
        context.counters.dram_read_bytes += moved
    else:
        context.counters.dram_write_bytes += moved
    context.ops[command.op].dram_bytes += moved
    return busy, complete, context.port.request(_RANK[command.engine], busy)
