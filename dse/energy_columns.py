"""Energy of many machines' runs at once: the columns of `simulator.cost.energy.columns`, equal to them in every bit."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflows.analytic.machines import Machines
from simulator.cost.energy import action_prices, memory_kib, picojoules
from simulator.cost.technology import Technology, tables, technology

__all__ = ["energy_columns"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_MEMORIES: Mapping[str, Sequence[str]] = {
    **{name: ("clock_hz", "pe", "array", name, "dram") for name in ("a_buffer", "b_buffer", "c_buffer")},
    "work_buffer": ("clock_hz", "pe", "array", "work_buffer", "dram", "pruner", "updater", "vector"),
}
"""By memory, the parts of a machine that the size of what an access reaches into depends on."""


def energy_columns(machines: Machines, actions: Mapping[str, Ints], cycles: Ints, batch: int) -> dict[str, Floats]:
    """By column, a value for each machine, from its actions and cycles (0: it did not run)."""
    seconds = cycles / machines.clock_hz
    forms = np.array([pe.format for pe in machines.parts["pe"]], np.object_)[machines.index["pe"]]
    sizes = {name: _sizes(machines, name) for name in _MEMORIES}
    found: dict[str, Floats] = {}
    for name in tables().technologies:
        tech, prefix = technology(name), name.replace("-", "_")
        joules, unpriced = np.zeros(len(machines)), np.zeros(len(machines))
        for form in dict.fromkeys(forms):
            at = np.flatnonzero(forms == form)
            prices = action_prices(tech, str(form), {memory: _prices(tech, *sizes[memory])[at] for memory in sizes})
            counts = {action: actions[action][at] for action in prices}
            joules[at] = 1e-12 * sum(picojoules(counts, prices).values())
            unpriced[at] = sum((counts[action] > 0 for action, price in prices.items() if price is None), start=0)
        joules = joules + (tech.static.watts if tech.static else 0.0) * seconds
        with np.errstate(divide="ignore", invalid="ignore"):
            found[f"{prefix}_power_w"] = np.where(seconds > 0, joules / seconds, 0.0)
        found[f"{prefix}_energy_uj"] = 1e6 * joules
        found[f"{prefix}_energy_uj_per_image"] = 1e6 * (joules / batch)
        found[f"{prefix}_edp_js"] = joules * seconds
        found[f"{prefix}_unpriced"] = unpriced
    return found


def _sizes(machines: Machines, memory: str) -> tuple[list[float], Ints]:
    """KiB of the memory in machines that differ in it, and for each machine which of them."""
    alike, which = machines.distinct(*_MEMORIES[memory])
    return [memory_kib(alike[number])[memory] for number in range(len(alike))], which


def _prices(tech: Technology, kib: Sequence[float], which: Ints) -> Any:
    return np.array([tech.sram.pj_per_bit(each) for each in kib])[which]
