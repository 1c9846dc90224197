"""Do the circuits' results appear in the cycle that the latency says, in a simulator that knows nothing of this project?"""

import json

import numpy as np
import pytest
from rtl_kit.require import need_rtl

need_rtl()

from fp_oracle import expected  # noqa: E402
from fp_tops import EveryLatency  # noqa: E402
from fp_vectors import vectors  # noqa: E402
from rtl_kit import run_cocotb  # noqa: E402

from rtl.emit import verilog_of  # noqa: E402

ROWS = 3000


@pytest.mark.parametrize(
    ("kind", "format_name", "latencies"),
    [
        ("multiply", "fp16", tuple(range(7))),
        ("multiply", "bf16", tuple(range(7))),
        ("multiply", "int8", tuple(range(7))),
        ("add", "fp16", tuple(range(1, 9))),
        ("add", "int8", tuple(range(1, 9))),
        ("widen", "fp16", (0, 1, 2)),
        ("narrow", "fp16", (0, 1, 2)),
    ],
)
def test_cycles(kind: str, format_name: str, latencies: tuple[int, ...], tmp_path):
    operands = vectors(kind, format_name, 50_000, seed=3)
    rows = np.random.default_rng(3).permutation(len(expected(kind, format_name, operands)))[:ROWS]
    operands = {name: values[rows] for name, values in operands.items()}
    file = tmp_path / "vectors.npz"
    np.savez(file, right=expected(kind, format_name, operands), **operands)
    top = f"every_{kind}_{format_name}"
    verilog = verilog_of(EveryLatency(kind, format_name, latencies), top)
    run_cocotb(verilog, top, "fp_bench", {"VECTORS": str(file), "LATENCIES": json.dumps(latencies)})
