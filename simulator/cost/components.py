"""The parts that area is counted in, each with what of the description its size depends on.

A *driver* is an amount of something that takes cells, counted from the part's own circuit: bits to choose from, bits in
registers, adders' bits. It is given in the cells that it would take by itself, as far as that is known; how many it really
takes, a factor near one, comes from synthesis (`simulator.cost.area`). Memories follow the tool's rules: no factor.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from simulator.arch import Accelerator
from simulator.cost.array_drivers import array, control, pe
from simulator.cost.buffer_drivers import operand_buffer, result_buffer
from simulator.cost.sizes import Sizes
from simulator.cost.work_drivers import prune, update, vector, work_buffer

__all__ = ["COMPONENTS", "cells", "instances"]

COMPONENTS: Mapping[str, Callable[[Accelerator, str], Sizes]] = MappingProxyType(
    {
        "pe": pe,
        "array": array,
        "a_buffer": operand_buffer("a"),
        "b_buffer": operand_buffer("b"),
        "c_buffer": result_buffer,
        "work_buffer": work_buffer,
        "prune": prune,
        "update": update,
        "vector": vector,
        "control": control,
    }
)
"""Drivers by part, for a technology. `array` is what is around the PEs; `control` all that is not named otherwise."""


def instances(accelerator: Accelerator, component: str) -> int:
    """How many there are of a part."""
    return accelerator.array.rows * accelerator.array.cols if component == "pe" else 1


def cells(sizes: Mapping[str, float], factors: Mapping[str, float]) -> float:
    """Of one resource of a part: drivers times their factors, those that no run had at one."""
    return sum(amount * factors.get(name, 1.0) for name, amount in sizes.items())
