"""The Verilog of a whole system, from anywhere, simulated: the host driver runs programs on it by its serial line."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtl_kit import run_cocotb

from dse.verify_programs import Case
from simulator.arch import Accelerator

__all__ = ["Board", "run_system"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What the system was made with."""

    accelerator: Accelerator
    memory_bytes: int
    program_bytes: int
    divisor: int
    clock_hz: int
    idle_cycles: int
    wide_program: bool = True


def run_system(files: Sequence[Path], top: str, board: Board, cases: Sequence[Case], folder: Path) -> None:
    """Run system_cocotb.py on module `top` of Verilog files that Yosys wrote (a netlist's cell models may be among them).

    Only the ports of `rtl.system.System` are used. `folder` is for the plan. Raises AssertionError where a value, a counter or
    a cycle is not that of the other views.
    """
    plan = folder / "plan"
    plan.write_bytes(pickle.dumps((board, tuple(cases))))
    verilog = "\n".join(file.read_text() for file in files)
    run_cocotb(verilog, top, "system_cocotb", {"PLAN": str(plan)})
