"""Do the tests bite? One-line faults, planted in a copy of `rtl`, must each give a wrong value or a wrong cycle."""

import subprocess
import sys
from pathlib import Path

import pytest
from rtl_kit.planted import ROOT, planted_copy
from rtl_kit.require import need_rtl

need_rtl()

from fp_oracle import enables, mismatches  # noqa: E402
from fp_tops import result_name  # noqa: E402
from fp_vectors import vectors  # noqa: E402
from rtl_kit import NativeModel  # noqa: E402

LATENCY = 2
EMIT = """
from fp_tops import EveryLatency
from rtl.emit import verilog_of
print(verilog_of(EveryLatency({kind!r}, {format_name!r}, ({latency},)), "mutant"))
"""
ROUND = "below[-1] & (significand[0] | below[:-1].any())"
FAULTS = {
    "none": ("add", "fp16", "fp_bits.py", ROUND, ROUND),
    "sticky bit dropped, add": ("add", "fp16", "fp_bits.py", "lost | (amount[bit] & value[:by].any())", "lost"),
    "sticky bit dropped, fp16": ("narrow", "fp16", "fp_bits.py", "lost | (amount[bit] & value[:by].any())", "lost"),
    "sticky bit dropped, bf16": ("multiply", "bf16", "fp_bits.py", "lost | (amount[bit] & value[:by].any())", "lost"),
    "ties away from zero": ("add", "fp16", "fp_bits.py", ROUND, "below[-1]"),
    "ties toward zero": ("narrow", "fp16", "fp_bits.py", ROUND, "below[-1] & below[:-1].any()"),
    "ties away, bf16 store": ("narrow", "bf16", "fp_convert.py", "bits[15] & (bits[16] | bits[:15].any())", "bits[15]"),
    "subnormal operand at half": ("multiply", "fp16", "fp_bits.py", "exponent[0] | ~normal", "exponent[0]"),
    "subnormal product off by one": ("multiply", "bf16", "fp_multiply.py", "1 - exponent, 0", "2 - exponent, 0"),
    "subnormal fp16 off by one": ("narrow", "fp16", "fp_convert.py", "least = _REBIAS + 1", "least = _REBIAS"),
    "sum below subnormals": ("add", "fp16", "fp_add.py", "Mux(zeros > exponent, exponent, zeros)", "zeros"),
    "no carry into difference": ("add", "fp16", "fp_add.py", "Cat(subtract, state", "Cat(Const(0, 1), state"),
    "-0 + -0 is +0": ("add", "fp16", "fp_add.py", '"both_negative": large.sign & small.sign', '"both_negative": Const(0, 1)'),
    "inf - inf is inf": ("add", "fp16", "fp_add.py", " | (large.infinite & small.infinite & subtract)", ""),
    "sum does not overflow": (
        "add",
        "fp16",
        "fp_add.py",
        '"infinite": state["infinite"] | exponent.all()',
        '"infinite": state["infinite"]',
    ),
    "0 * inf is inf": ("multiply", "fp16", "fp_multiply.py", " | (a.infinite & ~b.significand.any())", ""),
    "product overflows late": (
        "multiply",
        "bf16",
        "fp_multiply.py",
        "exponent >= SINGLE.top_exponent",
        "exponent > SINGLE.top_exponent",
    ),
    "one register too few": ("add", "int8", "pipeline.py", "latency - inner\n", "latency - inner - 1\n"),
    "clock enable ignored": ("add", "int8", "pipeline.py", "with m.If(enable):", "with m.If(enable | 1):"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found(fault: str, tmp_path: Path):
    kind, format_name, file, right, wrong = FAULTS[fault]
    planted_copy(tmp_path, f"rtl/{file}", right, wrong)
    program = EMIT.format(kind=kind, format_name=format_name, latency=LATENCY)
    path = [str(tmp_path), str(ROOT), str(Path(__file__).parent)]
    code = f"import sys\nsys.path[:0] = {path!r}\n{program}"
    emitted = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert not emitted.returncode, emitted.stderr
    operands = vectors(kind, format_name, 50_000, seed=4)
    en = enables(len(next(iter(operands.values()))), seed=4, stall=0.1)
    out = result_name(LATENCY)
    got = NativeModel(emitted.stdout, "mutant", ["en", *operands], [out]).run({"en": en, **operands})[out]
    assert bool(mismatches(kind, format_name, operands, en, got, LATENCY)) == (fault != "none")
