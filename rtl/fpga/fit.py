"""Whether a design has room on a chip: by estimate, before anything is done, and by what synthesis counted."""

from simulator.arch import Accelerator
from simulator.cost.area import area, calibration
from simulator.cost.devices import DEVICES, Resources
from simulator.schedule import Unsupported, UnsupportedError

__all__ = ["check_fit", "foresee"]

_FAR = 1.5
"""Times a chip's size: beyond it not even an estimate that is off by a third can be right about the fit."""
_BLOCK_BITS = {"ecp5": 18 * 2**10, "gw1n": 18 * 2**10, "ice40": 4 * 2**10}
_ALIKE = "ecp5"
"""Estimated in place of a family that no synthesis runs were made for: it has the same look-up tables of four inputs, larger
block memories, and more that it does without them."""


def foresee(accelerator: Accelerator, device: str, part: str, memory_bytes: int = 0) -> None:
    """Raise UnsupportedError for a machine, or the array of one, that by all estimates is far too large; and for memories of
    `memory_bytes` that need more blocks than there are."""
    chip = DEVICES[device]
    limits = chip.limits.as_dict()
    blocks = -(-8 * memory_bytes // _BLOCK_BITS[chip.technology])
    if blocks > limits["bram"]:
        raise UnsupportedError(Unsupported(f"bram of {device}, for its on-chip memory alone", blocks, limits["bram"]))
    technology = next((name for name in (chip.technology, _ALIKE) if name in calibration()), None)
    if technology is None:
        return
    found = area(accelerator, technology)
    needs = found.total if part == "machine" else found.parts["pe"] + found.parts["array"]
    for name, need in needs.as_dict().items():
        if need > _FAR * limits[name] and limits[name]:  # a chip without multipliers makes them of tables
            raise UnsupportedError(Unsupported(f"{name} of {device}, by estimate", need, limits[name]))


def check_fit(demand: Resources, device: str) -> None:
    """Raise UnsupportedError that names the scarcest resource, where a device has less than is wanted."""
    if (reason := DEVICES[device].shortage(demand)) is not None:
        raise UnsupportedError(reason)
