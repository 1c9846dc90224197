"""Energy of a run: its actions times their prices in a technology, and static power times its time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.arch import Accelerator
from simulator.cost.actions import Actions
from simulator.cost.array_actions import entry_bits
from simulator.cost.technology import Technology, tables, technology
from simulator.layout import operand_words, plane_bytes, result_places, result_words, word_elements

__all__ = ["GROUPS", "Energy", "action_prices", "columns", "energy", "memory_kib", "picojoules"]

_MULTIPLY, _ADD = "multiply", "add"  # priced in the machine's format
_REGISTER, _DRAM = "register_bit", "dram_bit"

GROUPS: dict[str, dict[str, str]] = {
    "multiply": {"multiplications": _MULTIPLY},
    "accumulate": {"accumulations": _ADD},
    "padding": {"padded_multiplications": _MULTIPLY, "padded_accumulations": _ADD},
    "array_registers": {
        "accumulator_bits": _REGISTER,
        "stationary_bits": _REGISTER,
        "operand_hop_bits": _REGISTER,
        "sum_hop_bits": _REGISTER,
    },
    "operand_buffers": {name: f"{name[0]}_buffer" for name in ("a_read_bits", "a_write_bits", "b_read_bits", "b_write_bits")},
    "result_buffer": {"c_read_bits": "c_buffer", "c_write_bits": "c_buffer"},
    "work_buffer": {"work_read_bits": "work_buffer", "work_write_bits": "work_buffer"},
    "prune": {"comparison_bits": "comparison_bit", "turn_bits": _REGISTER},
    "update": {
        "update_multiplications": "fp32_multiply",
        "update_additions": "fp32_add",
        "update_divisions": "fp32_divide",
        "update_roots": "fp32_root",
    },
    "vector": {
        "vector_multiplications": "fp32_multiply",
        "vector_additions": "fp32_add",
        "vector_integer_multiplications": "int32_multiply",
        "vector_integer_additions": "int32_add",
    },
    "dram": {"dram_burst_bits": _DRAM},
}
"""By group, the actions that it adds up and what each is priced as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Of one run. Where actions are `unpriced`, or static power isn't known (`static_w` None), totals are lower bounds."""

    technology: str
    seconds: float
    pj: Mapping[str, float]  # dynamic, by group
    static_w: float | None
    unpriced: tuple[str, ...]  # actions of this run without a price
    notes: tuple[str, ...]  # extrapolations and assumptions

    @property
    def dynamic_j(self) -> float:
        return 1e-12 * sum(self.pj.values())

    @property
    def static_j(self) -> float:
        return (self.static_w or 0.0) * self.seconds

    @property
    def joules(self) -> float:
        return self.dynamic_j + self.static_j

    @property
    def watts(self) -> float:
        """On average."""
        return self.joules / self.seconds if self.seconds else 0.0

    @property
    def edp(self) -> float:
        """Energy times delay, in joule seconds."""
        return self.joules * self.seconds

    def joules_per(self, count: int) -> float:
        """Of one of `count` images or steps in the run."""
        return self.joules / count


def memory_kib(accelerator: Accelerator) -> dict[str, float]:
    """KiB that an access reaches into: a bank of an operand buffer, a bank of a slot of sums, a plane of a work slot."""
    pe = accelerator.pe
    word = word_elements(accelerator) * entry_bits(pe)
    bits = {
        "a_buffer": accelerator.a_buffer.slots * operand_words(accelerator, "a") * word,
        "b_buffer": accelerator.b_buffer.slots * operand_words(accelerator, "b") * word,
        "c_buffer": result_words(accelerator) * result_places(accelerator) * pe.number.accumulator_bits,
        "work_buffer": 8 * plane_bytes(accelerator),
    }
    return {name: each / 8192 for name, each in bits.items()}


def action_prices(tech: Technology, form: str, memories: Mapping[str, Any]) -> dict[str, Any]:
    """By action, picojoules in a machine of that format, None where there is no price. `memories`: those of a bit, by buffer,
    of one machine or as arrays of many."""
    names = {_MULTIPLY: f"{form}_multiply", _ADD: "int32_add" if form == "int8" else "fp32_add"}
    prices: dict[str, Any] = {name: price.pj for name, price in tech.prices.items()} | dict(memories)
    return {action: prices.get(names.get(what, what)) for parts in GROUPS.values() for action, what in parts.items()}


def picojoules(counts: Mapping[str, Any], prices: Mapping[str, Any]) -> dict[str, Any]:
    """Dynamic energy by group, of one machine's counts and prices or of arrays of many; what has no price counts as 0."""
    return {
        group: sum((counts[action] * prices[action] for action in parts if prices[action] is not None), start=0.0)
        for group, parts in GROUPS.items()
    }


def energy(actions: Actions, cycles: int, accelerator: Accelerator, tech: Technology | str) -> Energy:
    """The energy of a run of `cycles` cycles in a technology or the one of that name (ValueError if there is none)."""
    tech = technology(tech) if isinstance(tech, str) else tech
    sizes, counts = memory_kib(accelerator), actions.as_dict()
    prices = action_prices(tech, accelerator.pe.format, {name: tech.sram.pj_per_bit(kib) for name, kib in sizes.items()})
    unpriced = [action for action, price in prices.items() if price is None and counts[action]]
    used = {
        what: sizes[what] for parts in GROUPS.values() for action, what in parts.items() if what in sizes and counts[action]
    }
    return Energy(
        technology=tech.name,
        seconds=cycles / accelerator.clock_hz,
        pj=picojoules(counts, prices),
        static_w=tech.static.watts if tech.static else None,
        unpriced=tuple(unpriced),
        notes=(*_notes(tech, used, unpriced), *tech.assumptions),
    )


def _notes(tech: Technology, used: Mapping[str, float], unpriced: list[str]) -> list[str]:
    """What of this run's energy is beyond the tables."""
    found = [f"{action}: no price in {tech.name}, counted as 0" for action in unpriced]
    if tech.static is None:
        found.append(f"static power: not known for {tech.name}, counted as 0")
    for name, kib in used.items():
        if not tech.sram.covers(kib):
            low, high = tech.sram.kib[0], tech.sram.kib[-1]
            how = f"priced as {low:g} KiB" if kib < low else "extrapolated"
            found.append(f"{name}: memories of {kib:g} KiB are beyond the table's {low:g} to {high:g} KiB, {how}")
    return found


def columns(actions: Actions, cycles: int, accelerator: Accelerator, batch: int) -> dict[str, float]:
    """A row of a sweep, for each technology: energy of the step and of an image, mean power, energy times delay, and how many
    actions have no price (then, and where static power isn't known, the others are lower bounds)."""
    row: dict[str, float] = {}
    for name in tables().technologies:
        found, prefix = energy(actions, cycles, accelerator, name), name.replace("-", "_")
        row[f"{prefix}_energy_uj"] = 1e6 * found.joules
        row[f"{prefix}_energy_uj_per_image"] = 1e6 * found.joules_per(batch)
        row[f"{prefix}_power_w"] = found.watts
        row[f"{prefix}_edp_js"] = found.edp
        row[f"{prefix}_unpriced"] = float(len(found.unpriced))
    return row
