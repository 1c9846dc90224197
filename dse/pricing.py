"""What a point costs: area, clock and energy in every technology that there are numbers for, as columns of a sweep."""

from functools import lru_cache

from simulator.arch import Accelerator
from simulator.cost.actions import Actions
from simulator.cost.area import RESOURCES, Area, area, calibration, misfit
from simulator.cost.devices import DEVICES
from simulator.cost.energy import columns
from simulator.cost.technology import tables
from simulator.schedule import Unsupported

__all__ = ["COST_COLUMNS", "areas", "cost_columns", "too_large"]

_ENERGY = ("energy_uj", "energy_uj_per_image", "power_w", "edp_js", "unpriced")
_CLOCK = ("fmax_mhz", "latency_ms")
COST_COLUMNS = (
    *(
        f"{technology}_{name}"
        for technology, known in calibration().items()
        for name in (*RESOURCES, "extrapolated", *(_CLOCK if known.get("clock") else ()))
    ),
    *(f"{technology.replace('-', '_')}_{name}" for technology in tables().technologies for name in _ENERGY),
)
"""By technology: cells, how many settings are outside what was calibrated, the clock that place and route should reach, the
step's time at it (at the description's clock if that is slower), energy of the step and of an image, power, energy times delay.
"""


@lru_cache(maxsize=1024)
def areas(accelerator: Accelerator) -> dict[str, Area]:
    """Estimates by technology."""
    return {technology: area(accelerator, technology) for technology in calibration()}


def too_large(accelerator: Accelerator, device: str) -> Unsupported | None:
    """What of a device a machine exceeds, by the estimate."""
    return misfit(areas(accelerator)[DEVICES[device].technology], device)


def cost_columns(accelerator: Accelerator, actions: Actions, cycles: int, batch: int) -> dict[str, float]:
    """`COST_COLUMNS` of a run. Cells and energies are of the machine: no board, no memory chips but DRAM accesses."""
    row: dict[str, float] = {}
    for technology, found in areas(accelerator).items():
        row |= {f"{technology}_{name}": count for name, count in found.total.as_dict().items()}
        row[f"{technology}_extrapolated"] = len(found.notes)
        if found.fmax_hz:
            row[f"{technology}_fmax_mhz"] = found.fmax_hz / 1e6
            row[f"{technology}_latency_ms"] = 1e3 * cycles / min(found.fmax_hz, accelerator.clock_hz)
    return row | columns(actions, cycles, accelerator, batch)
