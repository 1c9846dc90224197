"""Cells of a component on a Lattice ECP5 after synthesis: `python -m rtl.area`.

Counts of `synth_ecp5` in the Yosys of pyosys, before place and route: no timing, and no packing of carry chains.
"""

import json
import tempfile
from pathlib import Path

from rtl.emit import verilog_of
from rtl.fp import NUMBERS, Add, Multiply
from rtl.yosys_shim import run_yosys

__all__ = ["ecp5_cells"]


def ecp5_cells(verilog: str, top: str) -> dict[str, int]:
    """Number of cells by type: LUT4, CCU2C (two bits of carry chain), TRELLIS_FF, MULT18X18D, ..."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "design.v").write_text(verilog)
        script = ["read_verilog design.v", f"synth_ecp5 -top {top}", "tee -o stat.json stat -json"]
        run_yosys("\n".join(script), cwd=Path(folder))
        cells = json.loads((Path(folder) / "stat.json").read_text())["design"]["num_cells_by_type"]
    return {name: int(count) for name, count in sorted(cells.items())}


if __name__ == "__main__":
    units = [(name, Multiply, 2) for name in NUMBERS] + [("fp16", Add, 4), ("int8", Add, 1)]
    for name, unit, latency in units:
        top = f"{unit.__name__.lower()}_{name}_{latency}"
        print(top, ecp5_cells(verilog_of(unit(NUMBERS[name], latency), top), top))
