# amaranth: UnusedElaboratable=no
"""Is the vector unit `vector_operation`, bit for bit, `VectorUnit.latency` cycles later, whatever stalls?"""

import functools
import json
import re
import types
from pathlib import Path

import numpy as np
import pytest
from rtl_kit.planted import mutant
from rtl_kit.require import need_rtl

need_rtl()

from fp_oracle import Bits, stored_bits, values_of  # noqa: E402
from fp_vectors import accumulator_pairs, operand_pairs  # noqa: E402
from lanes_bench import Traffic, mismatch, traffic  # noqa: E402
from port_rows import as_array, as_integers  # noqa: E402
from rtl_kit import NativeModel, run_cocotb  # noqa: E402

import rtl.vector  # noqa: E402
from rtl.emit import check, verilog_of  # noqa: E402
from rtl.native.toolchain import ports_of  # noqa: E402
from rtl.vector import VectorLane  # noqa: E402
from simulator.arch import Accelerator, Pe  # noqa: E402
from simulator.arch import VectorUnit as Spec  # noqa: E402
from simulator.formats import FORMATS, NumberFormat  # noqa: E402
from simulator.vector_operations import VectorOperation, vector_operation  # noqa: E402

CONTROL = ("en", "rst", "valid_in")
# Halves and quarters make ties; then typical, extreme, special and negative ones.
SCALARS = [0.5, 0.25, -0.125, 0.0123, 1.0, -3.7e-5, 3e38, 1e-42, 2.0**-24, 0.0, -0.0, np.inf, np.nan]


def machine(format_name: str, lanes: int, latency: int) -> Accelerator:
    return Accelerator(name="vector", pe=Pe(format=format_name), vector=Spec(lanes=lanes, latency=latency))


class Bench:
    """A vector unit's Verilog as a native model that takes and gives elements, one row of `lanes` in each cycle."""

    def __init__(self, accelerator: Accelerator, module: types.ModuleType = rtl.vector) -> None:
        self.name, self.lanes, self.latency = accelerator.pe.format, accelerator.vector.lanes, accelerator.vector.latency
        self.verilog = verilog_of(module.VectorUnit(accelerator), "vector_unit")
        self.bits = ports_of(self.verilog, "vector_unit")["x"].bits
        inputs = [*CONTROL, "operation", "scalar", "x", "y"]
        self.model = NativeModel(self.verilog, "vector_unit", inputs, ["valid_out", "result"])

    def packed(self, values: Bits) -> np.ndarray:
        """Rows of an array port from elements; their number must be a multiple of the lanes."""
        bits = self.bits // self.lanes
        if self.lanes == 1:
            return values
        rows = values.reshape(-1, self.lanes).tolist()
        return as_array([sum(value << lane * bits for lane, value in enumerate(row)) for row in rows], self.bits)

    def wrong(self, operation: VectorOperation, x: Bits, y: Bits, scalar: float, what: Traffic) -> str:
        """How the outputs differ from `vector_operation`; empty where they do not."""
        operands = {"x": self.packed(x), "y": self.packed(y)}
        static = {
            "operation": np.full(len(what.en), operation, np.uint8),
            "scalar": np.full(len(what.en), scalar_bits(scalar)),
        }
        controls = {name: getattr(what, name) for name in CONTROL}
        got = self.model.run({**operands, **static, **controls})
        return mismatch(what, got, {"result": self.packed(golden(self.name, operation, x, y, scalar))}, operands)


def scalar_bits(scalar: float) -> np.uint32:
    with np.errstate(all="ignore"):
        return np.array(scalar, np.float32).view(np.uint32)[()]


def golden(format_name: str, operation: VectorOperation, x: Bits, y: Bits, scalar: float) -> Bits:
    operands = values_of(format_name, x), values_of(format_name, y)
    return stored_bits(format_name, vector_operation(FORMATS[format_name], operation, *operands, scalar))


def elements_of(format_name: str, count: int, seed: int) -> tuple[Bits, Bits]:
    """At least `count` pairs: boundaries squared, sums that cancel, sums that tie, all single bit patterns, random ones."""
    rng = np.random.default_rng(seed)
    if format_name == "int8":
        a, b = accumulator_pairs("int8", count // 2, rng)
        small = rng.integers(-1200, 1200, (2, count // 2)).astype(np.uint32)
        return np.concatenate([a, small[0]]), np.concatenate([b, small[1]])
    a, b = operand_pairs(format_name, count // 2, rng)
    fraction = 10 if format_name == "fp16" else 7
    part = count // 4
    near = rng.integers(0, 1 << 16, part, dtype=np.uint16)
    opposite = (near ^ np.uint16(1 << 15)) + rng.integers(-2, 3, part).astype(np.uint16)
    large = rng.integers((fraction + 2) << fraction, 1 << 15, part, dtype=np.uint16) | np.uint16(1 << 15) * rng.integers(
        0, 2, part, dtype=np.uint16
    )
    half = large & np.uint16(((1 << 15) - 1) ^ ((1 << fraction) - 1))  # a power of two, half of large's last place:
    half = half - np.uint16((fraction + 1) << fraction) | rng.integers(0, 2, part, dtype=np.uint16) << np.uint16(15)
    every = np.arange(1 << 16, dtype=np.uint16)
    x = np.concatenate([a, near, large, every])
    return x, np.concatenate([b, opposite, half, rng.permutation(every)])


@functools.cache
def bench(format_name: str, lanes: int, latency: int) -> Bench:
    return Bench(machine(format_name, lanes, latency))


def values(format_name: str, latency: int, count: int, seed: int) -> None:
    lane = bench(format_name, 1, latency)
    for operation in VectorOperation:
        scalars = SCALARS if operation is VectorOperation.SCALE else SCALARS[-1:]
        for index, scalar in enumerate(scalars):
            each = seed + 20 * operation + index
            x, y = elements_of(format_name, count, each)
            what = traffic(len(x), latency, each, stall=0.3 * ((index + operation) % 2))
            wrong = lane.wrong(operation, x, y, scalar, what)
            assert not wrong, f"{operation.name}, scalar {scalar}: {wrong}"


@pytest.mark.parametrize(("format_name", "latency"), [("fp16", 16), ("bf16", 2), ("bf16", 40), ("int8", 5), ("int8", 1)])
def test_values(format_name: str, latency: int):
    """More than 10^5 pairs for every operation, some under stalls."""
    values(format_name, latency, 150_000, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("latency", [1, 2, 5, 13, 14, 15, 16, 40])
@pytest.mark.parametrize("format_name", ["fp16", "bf16", "int8"])
def test_many_values(format_name: str, latency: int):
    values(format_name, latency, 1_000_000, seed=1000)


@pytest.mark.parametrize("format_name", ["fp16", "bf16"])
def test_ties_are_among_the_elements(format_name: str):
    """Sums halfway between two numbers of the format: rounding in FP32 keeps them, and the store must round them to even."""
    with np.errstate(all="ignore"):
        x, y = (values_of(format_name, bits).astype(np.float64) for bits in elements_of(format_name, 150_000, 1))
        exact = x + y
        low = golden(format_name, VectorOperation.ADD, *elements_of(format_name, 150_000, 1), 0.0)
        above, below = (values_of(format_name, low + np.uint16(step)).astype(np.float64) for step in (1, 0xFFFF))
        rounded = values_of(format_name, low).astype(np.float64)
        ties = ((rounded + above) / 2 == exact) | ((rounded + below) / 2 == exact)
    assert (ties & np.isfinite(exact)).sum() > 1000


def test_definition():
    """The table's words, case by case, in plain numbers."""

    def of(name: str, operation: VectorOperation, x, y, scalar: float = 0.0) -> list[float]:
        number: NumberFormat = FORMATS[name]
        dtype = {"fp16": np.float16, "bf16": np.float32, "int8": np.int32}[name]
        return vector_operation(number, operation, np.array(x, dtype), np.array(y, dtype), scalar).tolist()

    assert of("fp16", VectorOperation.ADD, [1.0, 2048.0, 65504.0], [2.0, 1.0, 16.0]) == [3.0, 2048.0, np.inf]
    assert np.signbit(of("fp16", VectorOperation.RELU, [-0.0, -1.0, 2.0], [0, 0, 0])).tolist() == [False] * 3
    assert of("bf16", VectorOperation.RELU, [-0.0, -np.inf, 2.0], [0, 0, 0]) == [0.0, 0.0, 2.0]
    assert np.isnan(of("bf16", VectorOperation.RELU, [np.nan], [0])).all()
    gradient = of("fp16", VectorOperation.RELU_GRADIENT, [-3.0, 4.0, 5.0, 6.0, 7.0], [1.0, 0.0, -1.0, -0.0, np.nan])
    assert gradient == [-3.0, 0.0, 0.0, 0.0, 0.0]
    assert of("bf16", VectorOperation.MULTIPLY, [3.0, 257.0 - 1.0], [-0.5, 2.0]) == [-1.5, 512.0]
    assert of("fp16", VectorOperation.SCALE, [3.0, 60000.0], [0, 0], 2.0) == [6.0, np.inf]
    assert of("int8", VectorOperation.SCALE, [1, 3, 5, -3, 1000, -1000], [0] * 6, 0.5) == [0, 2, 2, -2, 127, -128]
    assert of("int8", VectorOperation.SCALE, [0, 7, -7], [0] * 3, np.inf) == [0, 127, -128]
    assert of("int8", VectorOperation.SCALE, [1], [0], np.nan) == [0]
    assert of("int8", VectorOperation.ADD, [2**31 - 1], [1]) == [-(2**31)]
    assert of("int8", VectorOperation.MULTIPLY, [1 << 20, -3], [1 << 12, 5]) == [0, -15]
    assert of("int8", VectorOperation.RELU, [-5, 5], [0, 0]) == [0, 5]
    assert of("int8", VectorOperation.COPY, [-5, 5], [9, 9]) == [-5, 5]
    payload = np.array([0x7E01, 0xFE00, 0x7C01], np.uint16)
    assert set(golden("fp16", VectorOperation.COPY, payload, payload, 0.0).tolist()) == {0x7E00}
    with pytest.raises(ValueError, match="Array 'y' of a fp16 machine must be float16, not float32"):
        vector_operation(FORMATS["fp16"], VectorOperation.ADD, np.zeros(1, np.float16), np.zeros(1, np.float32), 0.0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("format_name", ["fp16", "int8"])
def test_stalls_gaps_and_resets(format_name: str, seed: int):
    """Two lanes; a reset in mid-stream takes back what is on the way, and nothing else."""
    two = bench(format_name, 2, 5)
    x, y = (bits[:8000] for bits in elements_of(format_name, 8000, seed))
    what = traffic(4000, 5, seed, stall=0.2 * seed, gaps=0.3, resets=60)
    lost = np.flatnonzero((what.en & what.valid_in)[:-40]).size - len(np.unique(what.shown[what.shown >= 0]))
    assert lost > 60, "resets must have had something to take back"
    for operation in VectorOperation:
        assert not two.wrong(operation, x, y, 0.5, what), operation.name


def test_cycles_of_the_table():
    """The table in rtl/vector.py is what the unit does, for every operation."""
    rows = re.findall(r"^\| (\d+) +\| ([01]) +\| (.*?) +\| (.*?) *\|$", rtl.vector.__doc__ or "", re.MULTILINE)
    assert [int(row[0]) for row in rows] == list(range(7))
    entered = {text: cycle for cycle, _, text, _ in rows if text.startswith("element")}
    left = {text: cycle for cycle, _, _, text in rows if text.startswith("element")}
    assert list(entered) == list(left)
    assert len(entered) == 3
    lane = bench("bf16", 1, 2)
    x, y = (bits[-len(rows) :] for bits in elements_of("bf16", 100, 7))
    en = np.array([int(row[1]) for row in rows], np.uint8)
    valid = np.array([row[2].startswith("element") for row in rows], np.uint8)
    shown = np.array([int(entered.get(text, -1)) for *_, text in rows])
    for operation in VectorOperation:
        assert not lane.wrong(operation, x, y, 0.7, Traffic(en, np.zeros_like(en), valid, shown))


@pytest.mark.parametrize("operation", [VectorOperation.ADD, VectorOperation.SCALE])
def test_cocotb(operation: VectorOperation, tmp_path: Path):
    """Two lanes in a simulator that knows nothing of this project's native model: stalls, gaps and resets."""
    two, cycles, scalar = bench("int8", 2, 5), 2500, 0.125
    x, y = (bits[-2 * cycles :] for bits in elements_of("int8", 10_000, 11))
    what = traffic(cycles, 5, 11, stall=0.3, gaps=0.2, resets=20)
    static = {"operation": [int(operation)] * cycles, "scalar": [int(scalar_bits(scalar))] * cycles}
    controls = {name: getattr(what, name).tolist() for name in CONTROL}
    operands = {name: as_integers(two.packed(bits)) for name, bits in (("x", x), ("y", y))}
    want = {"result": as_integers(two.packed(golden("int8", operation, x, y, scalar)))}
    file = tmp_path / "table.json"
    file.write_text(json.dumps({"inputs": {**controls, **static, **operands}, "want": want, "shown": what.shown.tolist()}))
    run_cocotb(two.verilog, "vector_unit", "lanes_bench", {"TABLE": str(file)})


@pytest.mark.parametrize("format_name", ["fp16", "bf16", "int8"])
def test_clean(format_name: str):
    """No latch, loop or undriven net."""
    check(verilog_of(rtl.vector.VectorUnit(machine(format_name, 2, 4)), "vector_unit"), "vector_unit")


def test_bad_lanes():
    odd = NumberFormat(name="fp8", operand_bits=8, accumulator_bits=32, result_bits=8)
    with pytest.raises(ValueError, match="VectorLane field 'number' must be one of fp16, bf16, int8, not 'fp8'"):
        VectorLane(odd, 4)
    with pytest.raises(ValueError, match="VectorLane field 'latency' must be an integer of at least 1, not 0"):
        VectorLane(FORMATS["fp16"], 0)


# name: (format, operation, right text, wrong text)
FAULTS = {
    "none": ("fp16", VectorOperation.ADD, "else 1 << (len(y) - 1)", "else 1 << (len(y) - 1)"),
    "+0 is added": ("fp16", VectorOperation.COPY, "else 1 << (len(y) - 1)", "else 0"),
    "NaN is cut off": ("fp16", VectorOperation.RELU, "~(above | nan)", "~above"),
    "-0 is above zero": ("fp16", VectorOperation.RELU_GRADIENT, "~bits[-1] & bits[:-1].any() & ~nan", "bits[:-1].any() & ~nan"),
    "+0 is above zero": ("int8", VectorOperation.RELU_GRADIENT, "~bits[-1] & bits.any(), Value", "~bits[-1], Value"),
    "the output's NaN passes": ("bf16", VectorOperation.RELU_GRADIENT, "bits[:-1].any() & ~nan", "bits[:-1].any()"),
    "the gradient is rectified": ("int8", VectorOperation.RELU_GRADIENT, '_signs(m, "y", y)', '_signs(m, "y", x)'),
    "upper half is lost": ("int8", VectorOperation.MULTIPLY, '(state["high"] << 16)', '(state["high"] << 15)'),
    "scaled is the sum": ("int8", VectorOperation.SCALE, 'SCALE), state["scaled"]', 'COPY), state["scaled"]'),
    "lanes share an operand": ("int8", VectorOperation.COPY, "lane.x.eq(self.x[index])", "lane.x.eq(self.x[0])"),
    "a register too few": (
        "int8",
        VectorOperation.ADD,
        "VectorLane(self.number, self.spec.latency)",
        "VectorLane(self.number, self.spec.latency - 1)",
    ),
    "valid comes late": ("int8", VectorOperation.ADD, "in, self.spec.latency)", "in, self.spec.latency + 1)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found(fault: str):
    format_name, operation, right, wrong = FAULTS[fault]
    module = mutant("rtl/vector.py", (right, wrong))
    lanes = Bench(machine(format_name, 2, 5), module)
    x, y = (bits[:40_000] for bits in elements_of(format_name, 40_000, 9))
    found = lanes.wrong(operation, x, y, 0.5, traffic(20_000, 5, 9, 0.3, 0.2, 20))
    assert bool(found) == (fault != "none")
