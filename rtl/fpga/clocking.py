"""The clock generator between a board's oscillator and the machine, configured by the tools' own calculators."""

import re
from dataclasses import dataclass
from pathlib import Path

from rtl.fpga.place import Chip, ToolError, run_tool

__all__ = ["Clock", "make_clock"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The machine's clock. `source` is Verilog of a module `pll` (clock_in, clock_out, locked); None: the oscillator itself."""

    hz: int
    source: Path | None


def make_clock(chip: Chip, oscillator_hz: int, wanted_hz: int, folder: Path) -> Clock:
    """The clock nearest to what is wanted. Raises ValueError where the generator has none near it, ToolError for lack of it."""
    if wanted_hz == oscillator_hz:
        return Clock(hz=oscillator_hz, source=None)
    given, wanted = (f"{hz / 1e6:.6f}" for hz in (oscillator_hz, wanted_hz))
    made = folder / "pll_tool.v"
    rule = f"that the chip's generator can make of {oscillator_hz / 1e6:g} MHz, within {_NEAR:.0%}"
    impossible = ValueError(f"Clock must be one {rule}, not {wanted_hz / 1e6:g} MHz")
    command = _CALCULATORS[chip.family]
    log = folder / "pll.log"
    try:
        run_tool([*command, *chip.clocking, "-i", given, "-o", wanted, "-f", made.name], log, cwd=folder)
    except ToolError as error:
        if not log.exists():  # the tool isn't there
            raise
        raise impossible from error
    if not made.exists():
        raise impossible
    said, pattern = (log, r"clkout0 frequency: ([0-9.e+]+) MHz") if chip.family == "ecp5" else (made, _ACHIEVED)
    found = re.search(pattern, said.read_text())
    if found is None or abs(1e6 * float(found[1]) - wanted_hz) > _NEAR * wanted_hz:
        raise impossible
    source = folder / "pll.v"
    source.write_text(made.read_text())
    return Clock(hz=round(1e6 * float(found[1])), source=source)


_CALCULATORS = {
    "ecp5": ("ecppll", "--module", "pll", "--clkin_name", "clock_in", "--clkout0_name", "clock_out"),
    "ice40": ("icepll", "-m"),
    "gw1n": ("gowin_pll", "-m", "pll"),
}
"""By family: the program and the switches with which it writes the module `pll`."""
_NEAR = 0.02
"""Share of the wanted clock by which a generator's may differ: its dividers are coarse."""
_ACHIEVED = r"Achieved output frequency: +([0-9.]+) MHz"
