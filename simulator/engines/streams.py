"""Pruner, updater and vector unit: streaming units, busy for as long as their lanes accept elements."""

from collections.abc import Generator
from typing import Any

import simpy

from simulator.engines.frame import Context
from simulator.schedule import Prune, Update, Vector

__all__ = ["prune", "update", "vector"]


def prune(context: Context, command: Prune) -> Generator[simpy.Event, Any, tuple[int, int]]:
    """Top-N of M: M cycles per group and lane."""
    pruner = context.accelerator.pruner
    busy = pruner.cycles(command.elements, command.pattern)
    yield context.env.timeout(busy)
    context.counters.pruned_elements += command.elements
    return busy, pruner.latency


def update(context: Context, command: Update) -> Generator[simpy.Event, Any, tuple[int, int]]:
    """The optimizer: one element per lane and cycle."""
    updater = context.accelerator.updater
    busy = updater.cycles(command.elements)
    yield context.env.timeout(busy)
    context.counters.updated_elements += command.elements
    return busy, updater.latency


def vector(context: Context, command: Vector) -> Generator[simpy.Event, Any, tuple[int, int]]:
    """Element operations: one per lane and cycle."""
    unit = context.accelerator.vector
    busy = unit.cycles(command.work)
    yield context.env.timeout(busy)
    context.counters.vector_operations += command.work
    return busy, unit.latency
