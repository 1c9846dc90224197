# amaranth: UnusedElaboratable=no
"""Does the whole machine do what its host asks, over AXI4-Lite and AXI4, again and again and after a reset?"""

import pickle

from rtl_kit.require import need_rtl

need_rtl()

from machines import MACHINES, verilog_of_machine  # noqa: E402
from rtl_kit import run_cocotb  # noqa: E402

from dse.verify_programs import Case, cases  # noqa: E402

NAME = "int8-2x2"
PROGRAMS = ("os 5x7x9 dense", "ws 33x17x68 1:4 of b", "vector add, 80 elements")


def chosen() -> list[Case]:
    found = {case.name: case for case in cases(MACHINES[NAME], seed=3) if isinstance(case, Case)}
    return [found[name] for name in PROGRAMS]


def test_host_programs_and_resets(tmp_path):
    """machine_cocotb.py: programs back to back, resets in the middle, memories that stall, the registers."""
    plans = tmp_path / "cases"
    plans.write_bytes(pickle.dumps((MACHINES[NAME], chosen())))
    run_cocotb(verilog_of_machine(NAME), "machine", "machine_cocotb", {"CASES": str(plans)})
