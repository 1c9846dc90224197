# amaranth: UnusedElaboratable=no
"""One part of a machine through Yosys: how many cells it takes."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rtl.array import Array
from rtl.emit import verilog_of
from rtl.fpga.synthesize import synthesize
from rtl.operand_buffer import OperandBuffer
from rtl.prune_engine import PruneEngine
from rtl.result_buffer import ResultBuffer
from rtl.top import Machine
from rtl.work_buffer import WorkBuffer
from rtl.work_engines import UpdateEngine, VectorEngine
from simulator.arch import Accelerator
from simulator.cost.devices import Resources

__all__ = ["PARTS", "measure", "source_of"]

PARTS: dict[str, Callable[[Accelerator], Any]] = {
    "a_buffer": lambda a: OperandBuffer(a, "a"),
    "b_buffer": lambda a: OperandBuffer(a, "b"),
    "c_buffer": ResultBuffer,
    "work_buffer": WorkBuffer,
    "prune": PruneEngine,
    "update": UpdateEngine,
    "vector": VectorEngine,
}
_PE = ("*.pe", "*.pe_*")


def source_of(accelerator: Accelerator, part: str) -> str:
    """Verilog of what is synthesised for a part, as module `unit`: the array with its PEs, the whole machine for `control`."""
    makers: dict[str, Callable[[Accelerator], Any]] = {"array": Array, "control": Machine, **PARTS}
    return verilog_of(makers[part](accelerator), "unit")


def measure(accelerator: Accelerator, part: str, technology: str, verilog: str) -> dict[str, Resources]:
    """Cells of a part, made from its source: of `array` those of one PE as well; `control` is the machine without all other
    parts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "design.v"
        source.write_text(verilog)

        def cells(top: str = "unit", without: tuple[str, ...] = ()) -> Resources:
            return synthesize([source], top, technology, folder, apart=_PE, without=without).resources

        match part:
            case "array":
                pe, count = cells("unit.pe"), accelerator.array.rows * accelerator.array.cols
                return {"pe": pe, "array": _less(cells(), pe, count)}
            case "control":
                present = [name for name in ("array", *PARTS) if f"module \\unit.{name} " in verilog]
                return {"control": cells(without=tuple(f"unit.{name}" for name in present))}
            case _:
                return {part: cells()}


def _less(whole: Resources, part: Resources, count: int) -> Resources:
    a, b = whole.as_dict(), part.as_dict()
    return Resources(**{name: a[name] - count * b[name] for name in a})
