"""Products of two fp16 or bf16 operands in FP32, and of two int8 operands in int32, as pipeline steps.

| step     | fp16     | bf16     | int8     | computes                                                              |
|----------|----------|----------|----------|-----------------------------------------------------------------------|
| unpack   | yes      | yes      | -        | significands with hidden bits, sum of exponents, special cases        |
| multiply | 11 x 11  | 8 x 8    | 8 x 8    | the exact integer product: one DSP slice                              |
| count    | yes      | yes      | -        | leading zeros, of subnormal operands                                  |
| shift    | yes      | yes      | -        | product shifted up to its leading one, its exponent                   |
| denormal | -        | yes      | -        | product below FP32's normal numbers shifted down, with a sticky bit   |
| round    | pack     | yes      | -        | to nearest even (where bits were shifted out), packed, special cases  |

A product of two fp16 numbers is always exact and normal in FP32 (at least 2**-48), so that path cannot round. A product
of two bf16 numbers has 16 bits, so that only a subnormal FP32 result rounds, once; and it overflows to infinity.
"""

# pyright: basic

from collections.abc import Callable
from functools import partial

from amaranth.hdl import Cat, Const, Module, Mux, Value

from rtl.fp_bits import BRAIN, HALF, SINGLE, Layout, leading_zeros, pack, shift_left, shift_right, single_result, unpack
from rtl.pipeline import State, Step, wire

__all__ = ["BF16_MULTIPLY", "FP16_MULTIPLY", "INT8_MULTIPLY", "open_factors"]


def open_factors(layout: Layout, m: Module, state: State) -> dict[str, Value]:
    """What a product needs of its factors `a` and `b`: significands, sign, sum of the biased exponents, special cases."""
    a, b = (unpack(m, name, layout, state[name]) for name in ("a", "b"))
    return {
        "sign": a.sign ^ b.sign,
        "exponent": a.exponent + b.exponent,
        "a": a.significand,
        "b": b.significand,
        "infinite": a.infinite | b.infinite,
        "nan": a.nan | b.nan | (a.infinite & ~b.significand.any()) | (b.infinite & ~a.significand.any()),
    }


def _multiply(_: Module, state: State) -> dict[str, Value]:
    passed = {name: state[name] for name in ("sign", "exponent", "infinite", "nan")}
    return {**passed, "product": state["a"] * state["b"]}


def _count(_: Module, state: State) -> dict[str, Value]:
    return {**state, "by": leading_zeros(state["product"])[1]}


def _shift(layout: Layout, m: Module, state: State) -> dict[str, Value]:
    # The sum holds the operands' bias twice; the product's top bit stands for twice the significands' top bits.
    # bf16: from -139 (the least subnormal squared) to 382.
    exponent = wire(m, "rebiased", (state["exponent"] + (SINGLE.bias - 2 * layout.bias + 1) - state["by"]).as_signed())
    passed = {name: state[name] for name in ("sign", "infinite", "nan")}
    return {**passed, "exponent": exponent, "product": shift_left(m, "normal", state["product"], state["by"])}


def _denormal(m: Module, state: State) -> dict[str, Value]:
    exponent = state["exponent"]
    below = wire(m, "below", exponent < 1)
    distance = wire(m, "distance", Mux(below, 1 - exponent, 0)[:9])
    wide = Cat(Const(0, 9), state["product"])  # 24 bits of significand and a guard bit
    near = shift_right(m, "denormal", wide, distance[:5])
    far = wire(m, "far", distance[5:].any())
    return {
        "sign": state["sign"],
        "exponent": exponent[:8],
        "product": Mux(far, 0, near),  # less than half of the least subnormal
        "infinite": state["infinite"] | (exponent >= SINGLE.top_exponent),
        "nan": state["nan"],
    }


def _pack_exact(_: Module, state: State) -> dict[str, Value]:
    product = state["product"]
    fraction = Cat(Const(0, SINGLE.fraction_bits + 1 - len(product)), product[:-1])
    return single_result(state, Mux(product[-1], Cat(fraction, state["exponent"][:8]), 0))


def _round(m: Module, state: State) -> dict[str, Value]:
    product = state["product"]
    return single_result(state, pack(m, "product", SINGLE, product[2:], product[:2], state["exponent"]))


def _multiply_integers(_: Module, state: State) -> dict[str, Value]:
    product = state["a"].as_signed() * state["b"].as_signed()
    return {"result": Cat(product, product[-1].replicate(16))}


def _front(layout: Layout) -> tuple[Step, ...]:
    open_up: Callable[[Module, State], dict[str, Value]] = partial(open_factors, layout)
    move_up: Callable[[Module, State], dict[str, Value]] = partial(_shift, layout)
    return Step("unpack", 3, open_up), Step("multiply", 7, _multiply), Step("count", 4, _count), Step("shift", 5, move_up)


FP16_MULTIPLY = (*_front(HALF), Step("round", 2, _pack_exact))
BF16_MULTIPLY = (*_front(BRAIN), Step("denormal", 6, _denormal), Step("round", 4, _round))
INT8_MULTIPLY = (Step("operands", 0, lambda _, state: dict(state)), Step("multiply", 7, _multiply_integers))
