"""A Gowin netlist in the cells whose delays nextpnr knows, and which of its cells have none.

Of tables nextpnr 0.11.1 has the delays of a LUT4 alone: a path through a LUT1, LUT2 or LUT3 is cut there and counts for no
clock. So is one through a table that nextpnr itself puts before a flip-flop once all is routed, for a Gowin flip-flop hears
nothing but the table beside it. Therefore all tables become LUT4s here, and those before flip-flops are there from the
beginning. Block memories and multipliers have no delays at all: no path that begins in them or leads through them is timed.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from typing import Any

from rtl.fpga.synthesize import Netlist
from rtl.fpga.technology import FAMILIES

__all__ = ["untimed", "with_delays"]

_UNTIMED = frozenset(cell for cell, takes in FAMILIES["gw1n"].cells.items() if takes.dsp or takes.bram)
_TABLES = ("LUT1", "LUT2", "LUT3", "LUT4")
_BITS = 16  # of a LUT4's table
_SAME = "10"  # the table of a LUT1 that shows its input


def with_delays(netlist: Netlist) -> Netlist:
    """The netlist, its file rewritten."""
    design: dict[str, Any] = json.loads(netlist.path.read_text())
    (module,) = (module for module in design["modules"].values() if int(module["attributes"].get("top", "0"), 2))
    _rewrite(module)
    netlist.path.write_text(json.dumps(design))
    cells = Counter(str(cell["type"]) for cell in module["cells"].values())
    return replace(netlist, cells=dict(sorted(cells.items())))


def _rewrite(module: dict[str, Any]) -> None:
    """Rewrite a module of Yosys' JSON. Inputs that a smaller table lacks stay open, and change nothing."""
    cells: dict[str, dict[str, Any]] = module["cells"]
    shown = {cell["connections"]["F"][0] for cell in cells.values() if cell["type"] in _TABLES}  # nets that tables drive
    loads: Counter[int] = Counter(bit for port in module["ports"].values() for bit in port["bits"])
    for cell in cells.values():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                loads.update(bits)
    free = count(1 + max(bit for net in module["netnames"].values() for bit in net["bits"] if isinstance(bit, int)))
    flip_flops = [name for name, cell in cells.items() if cell["type"].startswith("DFF")]
    for name in flip_flops:
        connections = cells[name]["connections"]
        (data,) = connections["D"]
        if isinstance(data, int) and (data not in shown or loads[data] > 1):
            connections["D"] = [next(free)]
            cells[f"{name}_table"] = {
                "type": "LUT1",
                "parameters": {"INIT": _SAME},
                "attributes": {},
                "port_directions": {"I0": "input", "F": "output"},
                "connections": {"I0": [data], "F": connections["D"]},
            }
    for cell in cells.values():
        if cell["type"] in _TABLES:
            table = cell["parameters"]["INIT"]
            cell["type"], cell["parameters"]["INIT"] = _TABLES[-1], table * (_BITS // len(table))


def untimed(cells: Mapping[str, int]) -> dict[str, int]:
    """Those of a netlist's `cells` (numbers by type) that nextpnr has no delays of: none of another family's."""
    return {cell: number for cell, number in cells.items() if cell in _UNTIMED}
