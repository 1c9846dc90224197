# amaranth: UnusedElaboratable=no
"""Are FP32 products, quotients, roots, and conversions between integers and FP32 those of numpy, bit for bit?"""

import functools
from functools import partial

import numpy as np
import pytest
from amaranth.hdl import Const, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from rtl_kit.planted import mutant
from rtl_kit.require import need_rtl

need_rtl()

from fp_oracle import Bits  # noqa: E402
from fp_vectors import accumulator_pairs  # noqa: E402
from rtl_kit import NativeModel  # noqa: E402

from rtl.emit import check, verilog_of  # noqa: E402
from rtl.fp32 import FP32_MULTIPLY, FP32_TO_INT8, INT32_TO_FP32  # noqa: E402
from rtl.fp32_divide import FP32_DIVIDE, FP32_SQUARE_ROOT  # noqa: E402
from rtl.pipeline import Step, build  # noqa: E402

NAN = np.uint32(0x7FC00000)
UNITS = {
    "multiply": (FP32_MULTIPLY, ("a", "b")),
    "divide": (FP32_DIVIDE, ("a", "b")),
    "root": (FP32_SQUARE_ROOT, ("value",)),
    "to_fp32": (INT32_TO_FP32, ("value",)),
    "to_int8": (FP32_TO_INT8, ("value",)),
}


class Unit(wiring.Component):
    """Steps without registers, between ports."""

    def __init__(self, steps: tuple[Step, ...], names: tuple[str, ...]) -> None:
        self.steps, self.names = steps, names
        super().__init__({**{name: In(32) for name in self.names}, "result": Out(32)})

    def elaborate(self, platform):  # noqa: ARG002
        m = Module()
        operands = {name: getattr(self, name) for name in self.names}
        m.d.comb += self.result.eq(build(m, Const(1), self.steps, 0, operands)["result"])
        return m


@functools.cache
def model(kind: str) -> NativeModel:
    return circuit_of(*UNITS[kind])


def circuit_of(steps: tuple[Step, ...], names: tuple[str, ...]) -> NativeModel:
    verilog = verilog_of(Unit(steps, names), "fp32_unit")
    check(verilog, "fp32_unit")
    return NativeModel(verilog, "fp32_unit", names, ["result"])


def canonical(values: np.ndarray) -> Bits:
    return np.where(np.isnan(values), NAN, values.view(np.uint32))


def differing(kind: str, operands: dict[str, Bits], right: Bits, circuit: NativeModel | None = None) -> str:
    got = (circuit or model(kind)).run(operands)["result"]
    wrong = np.flatnonzero(got != right)
    if not len(wrong):
        return ""
    case = ", ".join(f"{name}={int(values[wrong[0]]):#x}" for name, values in operands.items())
    return f"{len(wrong)} of {len(right)} wrong; first: {case} gives {got[wrong[0]]:#x}, not {right[wrong[0]]:#x}"


def hard_products(count: int, rng: np.random.Generator) -> tuple[Bits, Bits]:
    """Pairs whose product is a tie or next to one, with its exponent anywhere, mostly around FP32's least numbers.

    A significand of i bits times one of 25 - i bits has 25 bits or 24, as a tie has; one more or less in the last place of a
    factor makes it a near tie.
    """
    bits = rng.integers(1, 25, count)
    a, b = (
        ((rng.integers(1 << 23, 1 << 24, count) >> 24 - width) | 1) << 24 - width  # `width` bits and odd, at the top
        for width in (bits, 25 - bits)
    )
    b = np.clip(b + rng.choice([0, 0, 0, 1, -1], count), 1 << 23, (1 << 24) - 1)
    total = np.where(rng.random(count) < 0.7, rng.integers(127 - 30, 127 + 4, count), rng.integers(0, 509, count))
    low = np.maximum(0, total - 254)
    a_exponent = rng.integers(low, np.minimum(total, 254) + 1)
    signs = rng.integers(0, 2, (2, count))
    pack = [
        sign << 31 | exponent << 23 | significand & 0x7FFFFF
        for sign, exponent, significand in ((signs[0], a_exponent, a), (signs[1], total - a_exponent, b))
    ]
    return pack[0].astype(np.uint32), pack[1].astype(np.uint32)


def products(count: int, seed: int, circuit: NativeModel | None = None) -> str:
    rng = np.random.default_rng(seed)
    near, far = hard_products(count // 2, rng), accumulator_pairs("fp32", count // 2, rng)
    a, b = (np.concatenate(parts) for parts in zip(near, far, strict=True))
    with np.errstate(all="ignore"):
        right = canonical(a.view(np.float32) * b.view(np.float32))
        exact = a.view(np.float32).astype(np.float64) * b.view(np.float32).astype(np.float64)
        middle = np.abs(exact - right.view(np.float32).astype(np.float64)) * 2  # of rounded, finite results: a gap if a tie
        gap = np.abs(np.spacing(right.view(np.float32))).astype(np.float64)
        assert (middle == gap).sum() > count // 50, "ties must be among the operands"
    assert len(right) >= count
    return differing("multiply", {"a": a, "b": b}, right, circuit)


def test_products():
    """1.2 * 10^6 pairs: every boundary against every other, ties and near ties, subnormal results, random bits."""
    assert not products(1_200_000, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_products(seed: int):
    assert not products(8_000_000, seed)


def quotients(count: int, seed: int, circuit: NativeModel | None = None) -> str:
    """Boundaries by boundaries, random bits, quotients of products (exact, or ties of subnormals) and their neighbours."""
    rng = np.random.default_rng(seed)
    a, b = accumulator_pairs("fp32", count // 2, rng)
    factor, divisor = hard_products(count // 2, rng)
    with np.errstate(all="ignore"):
        multiple = (factor.view(np.float32) * divisor.view(np.float32)).view(np.uint32)
    odd, half = rng.integers(0, 1 << 11, (2, count // 8)) * 2 + 1  # the quotient is half times the least subnormal: a tie
    scale = rng.integers(30, 110, count // 8)
    small = [np.ldexp(odd * half, scale - 150), np.ldexp(odd, scale)]
    small_a, small_b = (np.float32(exact).view(np.uint32) for exact in small)
    small_a = small_a + rng.integers(-1, 2, len(small_a)).astype(np.uint32)
    a = np.concatenate([a, multiple + rng.integers(-1, 2, len(multiple)).astype(np.uint32), factor, small_a])
    b = np.concatenate([b, divisor, divisor, small_b])
    with np.errstate(all="ignore"):
        right = canonical(a.view(np.float32) / b.view(np.float32))
    magnitude = right & np.uint32(0x7FFFFFFF)
    assert ((magnitude > 0) & (magnitude < 1 << 23)).sum() > count // 50, "subnormal quotients must be among the results"
    return differing("divide", {"a": a, "b": b}, right, circuit)


def roots(count: int, seed: int, circuit: NativeModel | None = None) -> str:
    """Boundaries, random bits, and squares with their neighbours."""
    rng = np.random.default_rng(seed)
    a, b = accumulator_pairs("fp32", count // 2, rng)
    with np.errstate(all="ignore"):
        squares = np.square(rng.integers(1 << 10, 1 << 12, count // 4).astype(np.float32)).view(np.uint32)
        squares = (
            squares
            + rng.integers(-1, 2, len(squares)).astype(np.uint32)
            - (rng.integers(0, 120, len(squares)) << 23).astype(np.uint32)
        )
        values = np.concatenate([a, b & np.uint32(0x7FFFFFFF), squares])
        return differing("root", {"value": values}, canonical(np.sqrt(values.view(np.float32))), circuit)


def test_quotients_and_roots():
    """More than 10^6 of each."""
    assert not quotients(1_000_000, seed=1)
    assert not roots(1_000_000, seed=1)


@pytest.mark.slow
def test_every_mantissa_has_its_root():
    """All significands of four neighbouring exponents, which stand for all normal numbers."""
    values = np.arange(125 << 23, 129 << 23, dtype=np.uint32)
    assert not differing("root", {"value": values}, np.sqrt(values.view(np.float32)).view(np.uint32))
    assert not quotients(8_000_000, seed=2)


def integers(circuit: NativeModel | None = None) -> str:
    rng = np.random.default_rng(3)
    powers = (np.int64(1) << np.arange(32))[:, None] + np.arange(-300, 301)
    sized = rng.integers(0, 1 << 32, 1_000_000) >> rng.integers(0, 32, 1_000_000)
    values = np.concatenate([powers.ravel(), -powers.ravel(), sized, -sized]).astype(np.uint32)
    return differing("to_fp32", {"value": values}, values.view(np.int32).astype(np.float32).view(np.uint32), circuit)


def test_from_integers():
    """Both sides of every power of two, ties, and 10^6 random integers of every size."""
    assert not integers()


def to_bytes(circuit: NativeModel | None = None) -> str:
    rng = np.random.default_rng(4)
    quarters = (np.arange(1200) / 4).astype(np.float32).view(np.uint32)
    around = np.concatenate([quarters, quarters + np.uint32(1), quarters[1:] - np.uint32(1)])
    special, _ = accumulator_pairs("fp32", 0, rng)
    near = rng.integers(120 << 23, 137 << 23, 500_000, dtype=np.uint32)
    values = np.concatenate([around, near, special, rng.integers(0, 1 << 32, 500_000, dtype=np.uint32)])
    values = np.concatenate([values, values ^ np.uint32(1 << 31)])
    numbers = values.view(np.float32)
    right = np.clip(np.rint(np.where(np.isnan(numbers), np.float32(0), numbers)), -128, 127).astype(np.int32)
    return differing("to_int8", {"value": values}, right.view(np.uint32), circuit)


def test_to_bytes():
    """Every quarter up to 300 and its neighbours, both signs, special values, and 10^6 random ones."""
    assert not to_bytes()


# name: (unit, right text, wrong text)
FAULTS = {
    "none": ("multiply", "1 - exponent, 0", "1 - exponent, 0"),
    "sticky bit dropped": ("multiply", "Cat(product[:-_KEPT].any(), product", "Cat(product[-_KEPT - 1], product"),
    "subnormal off by one": ("multiply", "1 - exponent, 0", "2 - exponent, 0"),
    "overflows late": ("multiply", "exponent >= SINGLE.top_exponent", "exponent > SINGLE.top_exponent"),
    "0 * inf is inf": ("factors", " | (a.infinite & ~b.significand.any())", ""),
    "upper half loses its carry": ("multiply", "(high + low[_HALF:])", "(high ^ low[_HALF:])"),
    "remainder dropped": ("divide", 'normal[0] | state["remainder"].any()', "normal[0]"),
    "0 / 0 is inf": ("divide", "(a_zero & b_zero) | ", ""),
    "quotient below 1": ("divide", "(exponent - low)", "(exponent - 0)"),
    "root rounds down": ("root", 'Cat(state["remainder"].any(), root[0])', 'Cat(state["remainder"].any(), Const(0, 1))'),
    "odd exponents": ("root", "double[0], Cat", "~double[0], Cat"),
    "integer rounds down": ("to_fp32", "magnitude[:below], state", "magnitude[below - 2 : below - 1], state"),
    "ties away from zero": ("to_int8", "below[-1] & (units[0] | below[:-1].any())", "below[-1]"),
    "-128 saturates at -127": ("to_int8", "127 + sign", "127"),
    "NaN is not 0": ("to_int8", 'Mux(state["nan"], 0, Cat(byte', "Mux(0, 0, Cat(byte"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found(fault: str):
    kind, right, wrong = FAULTS[fault]
    if kind == "factors":  # what products of all formats share
        changed = mutant("rtl/fp_multiply.py", (right, wrong)).open_factors
        module, kind = mutant("rtl/fp32.py", open_factors=changed), "multiply"
    else:
        module = mutant("rtl/fp32_divide.py" if kind in ("divide", "root") else "rtl/fp32.py", (right, wrong))
    steps, search = {
        "multiply": ("FP32_MULTIPLY", partial(products, 200_000, 5)),
        "divide": ("FP32_DIVIDE", partial(quotients, 200_000, 5)),
        "root": ("FP32_SQUARE_ROOT", partial(roots, 200_000, 5)),
        "to_fp32": ("INT32_TO_FP32", integers),
        "to_int8": ("FP32_TO_INT8", to_bytes),
    }[kind]
    found = search(circuit_of(getattr(module, steps), UNITS[kind][1]))
    assert bool(found) == (fault != "none")
