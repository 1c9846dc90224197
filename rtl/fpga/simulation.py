"""A netlist of a family's cells as Verilog that a simulator runs: what comes out of synthesis, tested like what went in."""

import re
from importlib.util import find_spec
from pathlib import Path

from rtl.yosys_shim import run_yosys

__all__ = ["netlist_verilog"]

_OURS = Path(__file__).with_name("cells")
_FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    # By family: macros, and files in the order in which a compiler reads them. Yosys has no model of ECP5's memories and
    # multipliers, and an empty one of its memory in the file that includes these.
    "ecp5": ("NO_INCLUDES", ("lattice/common_sim.vh", "lattice/ccu2c_sim.vh", "ecp5.v")),
    "ice40": ("NO_ICE40_DEFAULT_ASSIGNMENTS", ("ice40/cells_sim.v",)),
}


def netlist_verilog(netlist: Path, top: str, family: str, folder: Path) -> list[Path]:
    """Write module `top` of a netlist (Yosys' JSON, as `rtl.fpga.synthesize` leaves it) and its cells' models into `folder`.

    The files are compiled together, without lint. Tables and the muxes behind them are written as expressions. Raises
    ValueError for a family without models.
    """
    if family not in _FAMILIES:
        raise ValueError(f"Family must be one of {', '.join(_FAMILIES)}, which have models, not {family!r}")
    gates, cells = folder / "netlist.v", folder / "cells.v"
    script = [
        f"read_json {netlist.resolve()}",
        f"select {top}",
        f"techmap -map {_OURS / 'tables.v'}",
        "splitnets",  # else Verilator sees loops through the bits of one vector
        "opt_clean -purge",
        "write_verilog -selected -noattr -norename netlist.v",
    ]
    run_yosys("\n".join(script), cwd=folder)
    macro, files = _FAMILIES[family]
    text = "\n".join([f"`define {macro}", *(_model(name) for name in files)])
    cells.write_text(text + "\n", encoding="utf-8")
    return [gates, cells]


def _model(name: str) -> str:
    """A file of ours or of Yosys; without its paths' delays, which a simulation in whole cycles has no use for."""
    path = _OURS / name if "/" not in name else _share() / name
    return re.sub(r"^\s*specify\b.*?^\s*endspecify\b", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def _share() -> Path:
    spec = find_spec("pyosys")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("Package 'pyosys' must be installed: pip install 'nmdse[rtl]'")
    return Path(spec.submodule_search_locations[0]) / "share"
