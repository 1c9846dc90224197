"""Area and clock of a design point, estimated from synthesis runs that are stored beside the reports.

`coefficients.json` is made by ``python -m reports.synthesis`` from those runs, for each technology: factors of the drivers in
`simulator.cost.components`, and the range of each setting that the runs covered. How far the estimate is off where the fit saw
nothing: `reports/synthesis/README.md`.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from simulator.arch import Accelerator, leaf_fields
from simulator.cost.components import COMPONENTS, cells, instances
from simulator.cost.devices import DEVICES, Resources
from simulator.layout import bus_bytes
from simulator.schedule import Unsupported

__all__ = [
    "RESOURCES",
    "Area",
    "area",
    "calibration",
    "clock_drivers",
    "misfit",
    "part_cells",
    "prices_digest",
    "routed_hz",
    "settings_of",
]

RESOURCES = ("lut", "ff", "dsp", "bram")
_ARRAY_FIELDS = (
    "array.rows",
    "array.cols",
    "pe.group",
    "pe.lanes",
    "pe.registers",
    "pe.interleave",
    "pe.multiply_latency",
    "pe.accumulate_latency",
    "pruner.lanes",
    "pruner.latency",
    "updater.lanes",
    "updater.latency",
    "vector.lanes",
    "vector.latency",
    "sequencer.queue_depth",
)
_FACTORS_OF = {"b_buffer": "a_buffer"}
"""Parts of the same circuit as another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """An estimate. `parts` are of one instance each but for `pe`, of which it is all. `fmax_hz` is what place and route is
    expected to reach, of which `fmax_spread` (a share) is the standard deviation among the runs; 0 where nothing was routed.
    `notes` say where the point is outside what was measured."""

    technology: str
    total: Resources
    parts: Mapping[str, Resources]
    fmax_hz: float
    fmax_spread: float
    notes: tuple[str, ...]


@cache
def calibration() -> Mapping[str, Any]:
    """The stored coefficients, by technology."""
    return json.loads((files("simulator.cost") / "coefficients.json").read_text(encoding="utf-8"))


@cache
def prices_digest() -> str:
    """Identity of what is read here and in `simulator.cost.technology`: results rest on it."""
    tables = ("coefficients.json", "energy_tables.toml")
    return hashlib.sha256(b"".join((files("simulator.cost") / name).read_bytes() for name in tables)).hexdigest()[:12]


def settings_of(accelerator: Accelerator) -> dict[str, int]:
    """What of a description its area depends on, and the ranges are given for."""
    leaves = leaf_fields(accelerator)
    found = {name: int(str(leaves[name])) for name in _ARRAY_FIELDS}
    buffers = ("a_buffer", "b_buffer", "c_buffer", "work_buffer")
    found |= {f"{name}.bytes": getattr(accelerator, name).bytes for name in buffers}
    return found | {"bus bytes": bus_bytes(accelerator)}


def area(accelerator: Accelerator, technology: str, known: Mapping[str, Any] | None = None) -> Area:
    """Estimate a machine's cells, without the memories and the link that a board build adds. `known`: factors other than
    those that are stored. Raises ValueError for a technology that was not calibrated."""
    if known is None and technology not in calibration():
        raise ValueError(f"Technology must be one of {', '.join(calibration())}, not {technology!r}")
    factors_of = known if known is not None else calibration()[technology]
    parts: dict[str, Resources] = {}
    for name in COMPONENTS:
        count, found = instances(accelerator, name), part_cells(accelerator, name, technology, factors_of)
        parts[name] = Resources(**{resource: round(each * count) for resource, each in found.items()})
    total = Resources(**{resource: sum(getattr(part, resource) for part in parts.values()) for resource in RESOURCES})
    absent = {name for name, part in parts.items() if not part.lut}
    fmax, spread = routed_hz(accelerator, factors_of, absent)
    return Area(
        technology=technology,
        total=total,
        parts=parts,
        fmax_hz=fmax,
        fmax_spread=spread,
        notes=tuple(_outside(accelerator, factors_of["ranges"])),
    )


def part_cells(accelerator: Accelerator, name: str, technology: str, known: Mapping[str, Any]) -> dict[str, float]:
    """Of one instance of a part in a machine, by resource; not rounded. `known`: the technology's factors.

    A machine is mapped in one piece, but for its PEs: its parts take less than each by itself (`together`), since fewer paths
    are its slowest.
    """
    factors = known["parts"].get(_FACTORS_OF.get(name, name), {})
    together: Mapping[str, float] = {} if name == "pe" else known.get("together", {})
    sizes = COMPONENTS[name](accelerator, technology)
    return {
        resource: cells(amounts, factors.get(resource, {})) * together.get(resource, 1.0) for resource, amounts in sizes.items()
    }


def clock_drivers(group: int, pes: int) -> dict[str, float]:
    """What lengthens an array's paths: a wider selector, a larger area of the chip."""
    return {"one": 1.0, "group": (group - 1).bit_length(), "size": pes**0.5}


def routed_hz(accelerator: Accelerator, known: Mapping[str, Any], absent: Collection[str]) -> tuple[float, float]:
    """What place and route should reach, and its spread: the slowest of the array, by its fit, and of the other parts but those
    that the machine doesn't have; 0 where nothing was routed. Of the machine it reads the PE and the array's size."""
    clock = known.get("clock", {})
    array = clock.get("array", {}).get(accelerator.pe.format)
    if not array:
        return 0.0, 0.0
    drivers = clock_drivers(accelerator.pe.group, accelerator.array.rows * accelerator.array.cols)
    period = sum(factor * drivers[name] for name, factor in array["period_ns"].items())
    there = [hz for name, hz in clock["parts"].items() if name not in absent]
    return 1e6 * min([1000 / period, *there]), array["spread"]


def _outside(accelerator: Accelerator, ranges: Mapping[str, tuple[int, int]]) -> list[str]:
    values = settings_of(accelerator)
    return [
        f"{name} = {values[name]} is outside the calibrated {low} to {high}"
        for name, (low, high) in ranges.items()
        if not low <= values[name] <= high
    ]


def misfit(estimate: Area, device: str) -> Unsupported | None:
    """The resource of a device that an estimate exceeds most; None if it fits. Raises ValueError for a device of another
    technology or an unknown one."""
    if device not in DEVICES:
        raise ValueError(f"Device must be one of {', '.join(DEVICES)}, not {device!r}")
    found = DEVICES[device]
    if found.technology != estimate.technology:
        raise ValueError(f"Device {device!r} must be estimated as {found.technology}, not {estimate.technology}")
    return found.shortage(estimate.total)
