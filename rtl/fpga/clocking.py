"""The clock generator between a board's oscillator and the machine, configured by the tools' own calculators."""

import re
from dataclasses import dataclass
from pathlib import Path

from rtl.fpga.place import ToolError, run_tool

__all__ = ["Clock", "make_clock"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The machine's clock. `source` is Verilog of a module `pll` (clock_in, clock_out, locked); None: the oscillator itself."""

    hz: int
    source: Path | None


def make_clock(family: str, oscillator_hz: int, wanted_hz: int, folder: Path) -> Clock:
    """The clock nearest to what is wanted. Raises ToolError where the generator can't make one that is anywhere near."""
    if wanted_hz == oscillator_hz:
        return Clock(hz=oscillator_hz, source=None)
    given, wanted = f"{oscillator_hz / 1e6:.6f}", f"{wanted_hz / 1e6:.6f}"
    made = folder / "pll_tool.v"
    if family == "ecp5":
        names = ["--module", "pll", "--clkin_name", "clock_in", "--clkout0_name", "clock_out"]
        run_tool(["ecppll", "-i", given, "-o", wanted, "-f", made.name, *names], folder / "pll.log", cwd=folder)
        found = re.search(r"clkout0 frequency: ([0-9.e+]+) MHz", (folder / "pll.log").read_text())
    else:
        run_tool(["icepll", "-i", given, "-o", wanted, "-m", "-f", made.name], folder / "pll.log", cwd=folder)
        found = re.search(r"Achieved output frequency: +([0-9.]+) MHz", made.read_text())
    if found is None or not made.exists():
        raise ToolError(f"Clock must be one that the chip's generator can make of {given} MHz, not {wanted} MHz")
    source = folder / "pll.v"
    source.write_text(made.read_text())
    return Clock(hz=round(1e6 * float(found[1])), source=source)
