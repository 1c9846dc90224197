"""Pruner, updater and vector unit: the pruner one command at a time, the others busy as long as their lanes accept elements."""

from simulator.engines.frame import Context, Timing
from simulator.schedule import Prune, Update, Vector

__all__ = ["prune", "update", "vector"]


def prune(context: Context, command: Prune) -> Timing:
    """Top-N of M: M cycles per group and lane, and the first round's turn and the last round's way out."""
    busy = context.accelerator.pruner.busy(command.elements, command.pattern, across=command.across)
    context.counters.pruned_elements += command.elements
    return busy, busy, None


def update(context: Context, command: Update) -> Timing:
    """The optimizer: one element per lane and cycle."""
    updater = context.accelerator.updater
    busy = updater.cycles(command.elements)
    context.counters.updated_elements += command.elements
    return busy, busy + updater.latency, None


def vector(context: Context, command: Vector) -> Timing:
    """Element operations: one per lane and cycle."""
    unit = context.accelerator.vector
    busy = unit.cycles(command.work)
    context.counters.vector_operations += command.work
    return busy, busy + unit.latency, None
