# amaranth: UnusedElaboratable=no
"""One part of a machine through Yosys: how many cells it takes."""

import json
import re
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from rtl.emit import verilog_of
from rtl.fpga.synthesize import Netlist, synthesize
from rtl.fpga.technology import resources_of
from rtl.part import PARTS, Placed
from rtl.top import Machine
from simulator.arch import Accelerator, Dataflow
from simulator.cost.array_actions import operand_bus_bits
from simulator.cost.devices import Resources

__all__ = ["measure", "source_of"]

_PE = ("*.pe", "*.pe_*")
_PES = re.compile(r"(\$flatten\\)?inner\.\\?pe_\d+_\d+\.")


def source_of(accelerator: Accelerator, part: str) -> str:
    """Verilog of what is synthesised for a part, or has it inside, as module `unit`: the array with its PEs for `pe` and
    `array`, the whole machine for `control` and `machine`."""
    if part in ("control", "machine"):
        return verilog_of(Machine(accelerator), "unit")
    return verilog_of(Placed(accelerator, "array" if part == "pe" else part), "unit")


def measure(accelerator: Accelerator, part: str, technology: str, verilog: str) -> Resources:
    """Cells of a part, made from its source: `array` is what is around the PEs, `control` the machine without other parts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "design.v"
        source.write_text(verilog)

        def netlist(top: str = "unit", without: tuple[str, ...] = ()) -> Netlist:
            return synthesize([source], top, technology, folder, apart=_PE, without=without)

        match part:
            case "pe":
                return netlist("unit.pe").resources
            case "array":
                found = netlist()
                return _less(found.resources, _inside(found, _PES))
            case "control":
                present = [name for name in PARTS if f"module \\unit.{name} " in verilog]
                found = netlist(without=tuple(f"unit.{name}" for name in present)).resources
                return replace(found, lut=found.lut - _no_choice(accelerator))
            case _:
                return netlist().resources


def _no_choice(accelerator: Accelerator) -> int:
    """Bits of operands that black boxes make come from either operand buffer, though without IS each comes from one."""
    array = accelerator.array
    return 0 if Dataflow.IS in array.dataflows else (array.rows + array.cols) * operand_bus_bits(accelerator.pe)


def _inside(netlist: Netlist, instances: re.Pattern[str]) -> Resources:
    """Cells of these instances, whose names theirs begin with."""
    found = json.loads(netlist.path.read_text())["modules"]["unit"]["cells"]
    return resources_of(netlist.family, Counter(cell["type"] for label, cell in found.items() if instances.match(label)))


def _less(whole: Resources, part: Resources) -> Resources:
    a, b = whole.as_dict(), part.as_dict()
    return Resources(**{name: a[name] - b[name] for name in a})
