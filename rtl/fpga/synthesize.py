"""Yosys: Verilog to a netlist of a family's cells, and how many there are of each."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rtl.fpga.absorb import absorb
from rtl.fpga.technology import FAMILIES, resources_of
from rtl.yosys_shim import run_yosys
from simulator.cost.devices import Resources

__all__ = ["Netlist", "synthesize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Netlist:
    """`path` is Yosys' JSON, one flat module; `cells` by type."""

    path: Path
    family: str
    cells: Mapping[str, int]
    absorbed: int  # flip-flops that became registers inside multipliers

    @property
    def resources(self) -> Resources:
        return resources_of(self.family, self.cells)


def synthesize(
    sources: Sequence[Path],
    top: str,
    family: str,
    folder: Path,
    *,
    apart: Sequence[str] = (),
    without: Sequence[str] = (),
    multipliers: bool = True,
) -> Netlist:
    """Map `top` of the source files (.v, .il) to the family's cells, into ``netlist.json`` in `folder`.

    Modules whose names match a pattern of `apart` are mapped once, by themselves, however many instances they have:
    thousands of PEs cost the time of one. Modules named in `without` are left out, their insides counted nowhere.
    `multipliers`: the chip has some. Raises YosysError.
    """
    command = FAMILIES[family].command + (f" {FAMILIES[family].multipliers}" if multipliers else "")
    # By names that don't depend on where the folder is: cells are named by them, and placed in the order of their names.
    named = {path: os.path.relpath(path, folder) for path in sources}
    read = [f"{'read_rtlil' if path.suffix == '.il' else 'read_verilog'} {name}" for path, name in named.items()]
    keep = [f"setattr -mod -set keep_hierarchy 1 {pattern}" for pattern in apart]
    script = [
        *read,
        *(f"blackbox {name}" for name in without),
        f"hierarchy -top {top}",
        *keep,
        # Mapped in two runs: without the wires split in between, abc9 can give two of them one name.
        f"{command} -top {top} -run begin:map_luts",
        "splitnets",
        f"{command} -top {top} -run map_luts:",
        "setattr -mod -unset keep_hierarchy *",
        "flatten",
        "opt_clean -purge",
        "delete t:$scopeinfo",
        "write_json netlist.json",
    ]
    run_yosys("\n".join(script), cwd=folder)
    path = folder / "netlist.json"
    design = json.loads(path.read_text())
    absorbed = absorb(design["modules"][top]) if family == "ecp5" else 0
    if absorbed:
        path.write_text(json.dumps(design))
    cells = Counter(str(cell["type"]) for cell in design["modules"][top]["cells"].values())
    return Netlist(path=path, family=family, cells=dict(sorted(cells.items())), absorbed=absorbed)
