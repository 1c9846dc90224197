"""Verifies some programs in a checkout with a planted fault, against the RTL of the sound one; prints what differs.

Arguments: the checkout, the sound machine's Verilog, and the tests' folder. Exit code 3 if anything differs.
"""

import sys
from pathlib import Path

checkout, verilog, tests = sys.argv[1:]
sys.path[:0] = [checkout, f"{tests}/machine", tests]

from machines import MACHINES  # noqa: E402

import simulator.arch  # noqa: E402
from dse.verify import verify  # noqa: E402
from dse.verify_programs import Case, cases  # noqa: E402
from rtl.native.machine import MachineModel  # noqa: E402

assert simulator.arch.__file__.startswith(checkout), simulator.arch.__file__
NAMES = (
    "os 33x17x65 dense",
    "ws 33x17x72 2:8 of b",
    "is 5x7x8 3:8 of a",
    "online pruning 1:8",
    "training step 6x8x8, 2:8, SR-STE decay",
)
accelerator = MACHINES["fp16-3x4"]
model = MachineModel(Path(verilog).read_text(), "machine", accelerator)
chosen = [case for case in cases(accelerator) if isinstance(case, Case) and case.name in NAMES]
assert len(chosen) == len(NAMES), [case.name for case in chosen]
differences = [
    (case.name, each) for case in chosen for each in verify(model, case.data, case.image, case.registers).differences
]
for name, difference in differences:
    print(f"{name}: {difference}")
sys.exit(3 if differences else 0)
