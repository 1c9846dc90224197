"""FP32 division and square root as pipeline steps, a binary digit a step, correctly rounded.

Round to nearest, ties to even, subnormals in and out, overflow to infinity, the one quiet NaN. Division by zero is infinite
(0 / 0 and infinity / infinity: NaN). The root of -0 is -0, of any other negative number NaN.

| divide    | square root | computes                                                                              |
|-----------|-------------|---------------------------------------------------------------------------------------|
| unpack    | unpack      | significands, exponents, special cases                                                |
| count     | count       | leading zeros, of subnormal operands                                                  |
| shift     | shift       | significands shifted up; the result's exponent; radicand in [1, 4)                    |
| 26 digits | 25 digits   | trial subtraction: the next digit of the result, and the remainder                    |
| normal    | -           | quotient in [1, 2), sticky bit of the remainder                                       |
| denormal  | -           | as of products                                                                        |
| round     | round       | as of products; a root is normal and neither overflows nor lies below                 |
"""

# pyright: basic

from collections.abc import Callable
from functools import partial

from amaranth.hdl import Cat, Const, Module, Mux, Value

from rtl.fp32 import FP32_MULTIPLY
from rtl.fp_bits import SINGLE, leading_zeros, pack, shift_left, single_result, unpack
from rtl.pipeline import State, Step, wire

__all__ = ["FP32_DIVIDE", "FP32_SQUARE_ROOT"]

_BITS = SINGLE.fraction_bits + 1
_QUOTIENT_DIGITS = _BITS + 2  # a quotient below 1 has its leading one in the second digit; and a guard bit
_ROOT_DIGITS = _BITS + 1


def _divide_unpack(m: Module, state: State) -> dict[str, Value]:
    a, b = (unpack(m, name, SINGLE, state[name]) for name in ("a", "b"))
    a_zero, b_zero = wire(m, "a_zero", ~a.significand.any()), wire(m, "b_zero", ~b.significand.any())
    return {
        "sign": a.sign ^ b.sign,
        "exponent": (a.exponent - b.exponent).as_signed(),
        "a": a.significand,
        "b": b.significand,
        "infinite": a.infinite | b_zero,
        "zero": b.infinite,
        "nan": a.nan | b.nan | (a_zero & b_zero) | (a.infinite & b.infinite),
    }


def _divide_count(_: Module, state: State) -> dict[str, Value]:
    return {**state, "a_by": leading_zeros(state["a"])[1], "b_by": leading_zeros(state["b"])[1]}


def _divide_shift(m: Module, state: State) -> dict[str, Value]:
    return {
        **{name: state[name] for name in ("sign", "infinite", "zero", "nan")},
        "exponent": (state["exponent"] + SINGLE.bias - state["a_by"] + state["b_by"]).as_signed(),
        "remainder": Cat(shift_left(m, "a", state["a"], state["a_by"]), Const(0, 1)),
        "b": shift_left(m, "b", state["b"], state["b_by"]),
    }


def _divide_digit(at: int, m: Module, state: State) -> dict[str, Value]:
    """The remainder is below twice the divisor: what is left after the digit is below the divisor."""
    remainder = state["remainder"]
    less = wire(m, "less", (remainder - state["b"])[: _BITS + 1])
    digit = wire(m, "digit", remainder >= state["b"])
    quotient = Cat(digit, state["quotient"]) if at else digit
    return {**state, "remainder": Cat(Const(0, 1), Mux(digit, less, remainder)[:_BITS]), "quotient": quotient}


def _divide_normal(m: Module, state: State) -> dict[str, Value]:
    quotient, exponent = state["quotient"], state["exponent"]
    low = wire(m, "below_1", ~quotient[-1])
    normal = Mux(low, Cat(Const(0, 1), quotient[:-1]), quotient)
    sticky = normal[0] | state["remainder"].any()
    return {
        **{name: state[name] for name in ("sign", "infinite", "nan")},
        "exponent": (exponent - low).as_signed(),
        "product": Mux(state["zero"], 0, Cat(sticky, normal[1:]))[:_QUOTIENT_DIGITS],
    }


def _root_unpack(m: Module, state: State) -> dict[str, Value]:
    value = unpack(m, "value", SINGLE, state["value"])
    some = wire(m, "some", value.significand.any())
    return {
        "sign": value.sign,
        "exponent": value.exponent,
        "significand": value.significand,
        "infinite": value.infinite,
        "nan": value.nan | (value.sign & some),
    }


def _root_count(_: Module, state: State) -> dict[str, Value]:
    return {**state, "by": leading_zeros(state["significand"])[1]}


def _root_shift(m: Module, state: State) -> dict[str, Value]:
    normal = shift_left(m, "normal", state["significand"], state["by"])
    # Twice the result's biased exponent is the operand's plus the bias, less one where that is odd.
    double = wire(m, "double", (state["exponent"] + SINGLE.bias - state["by"])[:9])
    return {
        **{name: state[name] for name in ("sign", "infinite", "nan")},
        "exponent": double[1:],
        "radicand": Mux(double[0], Cat(Const(0, 2), normal), Cat(Const(0, 1), normal, Const(0, 1))),
    }


def _root_digit(at: int, m: Module, state: State) -> dict[str, Value]:
    """The remainder is at most twice the root: it has two bits more than the root has digits, with the next two digits down."""
    passed = {name: state[name] for name in ("sign", "infinite", "nan", "exponent")}
    coming = state["radicand"][-2:] if "radicand" in state else Const(0, 2)
    if "radicand" in state and len(state["radicand"]) > 2:
        passed["radicand"] = state["radicand"][:-2]
    remainder = Cat(coming, state["remainder"]) if at else coming
    trial = Cat(Const(1, 2), state["root"]) if at else Const(1, 2)
    digit = wire(m, "digit", remainder >= trial)
    rest = wire(m, "rest", Mux(digit, remainder - trial, remainder)[: at + 2])
    return {**passed, "remainder": rest, "root": Cat(digit, state["root"]) if at else digit}


def _root_round(m: Module, state: State) -> dict[str, Value]:
    root = state["root"]
    below = Cat(state["remainder"].any(), root[0])
    finite = Mux(root[-1], pack(m, "root", SINGLE, root[1:], below, state["exponent"]), 0)  # zero has no leading one
    return single_result(state, finite)


def _digits(compute: Callable[[int, Module, State], dict[str, Value]], count: int) -> tuple[Step, ...]:
    return tuple(Step(f"digit{at}", 5, partial(compute, at)) for at in range(count))


FP32_DIVIDE = (
    Step("unpack", 4, _divide_unpack),
    Step("count", 4, _divide_count),
    Step("shift", 6, _divide_shift),
    *_digits(_divide_digit, _QUOTIENT_DIGITS),
    Step("normal", 4, _divide_normal),
    *FP32_MULTIPLY[-2:],  # denormal and round, whose significand, guard and sticky bit are `product`
)
FP32_SQUARE_ROOT = (
    Step("unpack", 4, _root_unpack),
    Step("count", 4, _root_count),
    Step("shift", 6, _root_shift),
    *_digits(_root_digit, _ROOT_DIGITS),
    Step("round", 4, _root_round),
)
