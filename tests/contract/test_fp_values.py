"""Are the circuits' values those of `simulator.arithmetic`, bit for bit, at every latency and under stalls?"""

import functools

import pytest
from rtl_kit.require import need_rtl

need_rtl()

from fp_oracle import enables, mismatches  # noqa: E402
from fp_tops import EveryLatency, result_name  # noqa: E402
from fp_vectors import vectors  # noqa: E402
from rtl_kit import NativeModel  # noqa: E402

from rtl.emit import verilog_of  # noqa: E402

LATENCIES = {"multiply": tuple(range(7)), "add": tuple(range(1, 9)), "widen": (0, 1, 2), "narrow": (0, 1, 2)}
UNITS = [
    ("multiply", "fp16"),
    ("multiply", "bf16"),
    ("multiply", "int8"),
    ("add", "fp16"),  # FP32, also bf16's
    ("add", "int8"),
    ("widen", "fp16"),
    ("widen", "bf16"),
    ("widen", "int8"),
    ("narrow", "fp16"),
    ("narrow", "bf16"),
    ("narrow", "int8"),
]


@functools.cache
def model(kind: str, format_name: str) -> NativeModel:
    latencies = LATENCIES[kind]
    verilog = verilog_of(EveryLatency(kind, format_name, latencies), f"every_{kind}_{format_name}")
    inputs = ["en", "a", "b"] if kind in ("multiply", "add") else ["en", "value"]
    return NativeModel(verilog, f"every_{kind}_{format_name}", inputs, [result_name(latency) for latency in latencies])


def run(kind: str, format_name: str, count: int, seed: int, stall: float) -> int:
    """Compare every row of every latency; returns the number of operands accepted."""
    operands = vectors(kind, format_name, count, seed)
    en = enables(len(next(iter(operands.values()))), seed, stall)
    results = model(kind, format_name).run({"en": en, **operands})
    for latency in LATENCIES[kind]:
        wrong = mismatches(kind, format_name, operands, en, results[result_name(latency)], latency)
        assert not wrong, f"{kind} {format_name} latency {latency}: {wrong}"
    return int(en.sum())


@pytest.mark.parametrize(("kind", "format_name"), UNITS)
def test_values(kind: str, format_name: str):
    """10^6 operands and more (widening and int8 products: all there are), one in every cycle."""
    exhaustive = {("widen", "fp16"): 1 << 16, ("widen", "bf16"): 1 << 16, ("widen", "int8"): 256, ("multiply", "int8"): 1 << 16}
    assert run(kind, format_name, 1_000_000, seed=1, stall=0.0) >= exhaustive.get((kind, format_name), 1_000_000)


@pytest.mark.parametrize(("kind", "format_name"), UNITS)
def test_values_under_stalls(kind: str, format_name: str):
    run(kind, format_name, 100_000, seed=2, stall=0.4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 16))
@pytest.mark.parametrize(
    ("kind", "format_name"), [("multiply", "fp16"), ("multiply", "bf16"), ("add", "fp16"), ("narrow", "fp16")]
)
def test_many_values(kind: str, format_name: str, seed: int):
    run(kind, format_name, 4_000_000, seed, stall=0.0)
