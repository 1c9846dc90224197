"""FP32 multiplication, and conversions between integers and FP32, as pipeline steps; addition is `rtl.fp_add`.

All round to nearest, ties to even, keep subnormals, overflow to infinity, and make the one quiet NaN.

| multiply | computes                                                                                             |
|----------|------------------------------------------------------------------------------------------------------|
| unpack   | significands with hidden bits, sum of exponents, special cases                                       |
| multiply | one significand times each half of the other                                                         |
| total    | the exact product, 48 bits                                                                           |
| count    | its leading zeros                                                                                    |
| shift    | product shifted up to its leading one, cut to 24 bits, a guard bit and a sticky bit; its exponent    |
| denormal | product below the normal numbers shifted down                                                        |
| round    | to nearest even, packed, infinities and NaN put in                                                   |

int32 to FP32: count (magnitude, its leading zeros), shift, round. FP32 to int8: shift (to where the units stand), round (and
saturate: at -128 and 127, infinities too; a NaN becomes 0; the result is sign-extended to 32 bits).
"""

# pyright: basic

from amaranth.hdl import Cat, Module, Mux, Value

from rtl.fp_bits import SINGLE, leading_zeros, pack, shift_left, shift_right, single_result, unpack
from rtl.fp_multiply import open_factors
from rtl.pipeline import State, Step, wire

__all__ = ["FP32_MULTIPLY", "FP32_TO_INT8", "INT32_TO_FP32"]

_HALF = (SINGLE.fraction_bits + 1) // 2
_KEPT = SINGLE.fraction_bits + 2  # significand and guard bit


def _passed(state: State, *names: str) -> dict[str, Value]:
    return {name: state[name] for name in names}


def _unpack(m: Module, state: State) -> dict[str, Value]:
    return open_factors(SINGLE, m, state)


def _multiply(_: Module, state: State) -> dict[str, Value]:
    a, b = state["a"], state["b"]
    return {**_passed(state, "sign", "exponent", "infinite", "nan"), "low": a * b[:_HALF], "high": a * b[_HALF:]}


def _total(_: Module, state: State) -> dict[str, Value]:
    low, high = state["low"], state["high"]
    above = (high + low[_HALF:])[: len(high)]  # the product of two 24-bit numbers has 48 bits
    return {**_passed(state, "sign", "exponent", "infinite", "nan"), "product": Cat(low[:_HALF], above)}


def _count(_: Module, state: State) -> dict[str, Value]:
    return {**state, "by": leading_zeros(state["product"])[1]}


def _shift(m: Module, state: State) -> dict[str, Value]:
    product = shift_left(m, "normal", state["product"], state["by"])
    # The sum holds the bias twice; the product's top bit stands for twice the significands' top bits.
    exponent = wire(m, "rebiased", (state["exponent"] + (1 - SINGLE.bias) - state["by"]).as_signed())
    short = Cat(product[:-_KEPT].any(), product[-_KEPT:])
    return {**_passed(state, "sign", "infinite", "nan"), "exponent": exponent, "product": short}


def _denormal(m: Module, state: State) -> dict[str, Value]:
    exponent = state["exponent"]
    below = wire(m, "below", exponent < 1)
    distance = wire(m, "distance", Mux(below, 1 - exponent, 0)[:9])
    near = shift_right(m, "denormal", state["product"], distance[:5])
    far = wire(m, "far", distance[5:].any())
    return {
        "sign": state["sign"],
        "exponent": exponent[:8],
        "product": Mux(far, 0, near),  # less than half of the least subnormal
        "infinite": state["infinite"] | (exponent >= SINGLE.top_exponent),
        "nan": state["nan"],
    }


def _round(m: Module, state: State) -> dict[str, Value]:
    product = state["product"]
    finite = pack(m, "product", SINGLE, product[3:], product[:3], state["exponent"])
    return single_result(state, finite)


def _integer_count(m: Module, state: State) -> dict[str, Value]:
    value = state["value"]
    magnitude = wire(m, "magnitude", Mux(value[-1], -value, value)[: len(value)])
    return {"sign": value[-1], "magnitude": magnitude, "by": leading_zeros(magnitude)[1]}


def _integer_shift(m: Module, state: State) -> dict[str, Value]:
    magnitude = state["magnitude"]
    exponent = (SINGLE.bias + len(magnitude) - 1 - state["by"])[:8]
    return {"sign": state["sign"], "exponent": exponent, "magnitude": shift_left(m, "normal", magnitude, state["by"])}


def _integer_round(m: Module, state: State) -> dict[str, Value]:
    magnitude = state["magnitude"]  # zero only if the integer is: then its top bit makes the exponent field 0
    below = len(magnitude) - SINGLE.fraction_bits - 1
    finite = pack(m, "integer", SINGLE, magnitude[below:], magnitude[:below], state["exponent"])
    return {"result": Cat(finite, state["sign"])}


_UNITS = SINGLE.bias + 7  # the exponent of numbers from 128 on, whose significand's top 8 bits are the integer part


def _byte_shift(m: Module, state: State) -> dict[str, Value]:
    value = unpack(m, "value", SINGLE, state["value"])
    large = wire(m, "large", value.exponent > _UNITS)
    distance = wire(m, "distance", Mux(large, 0, _UNITS - value.exponent)[:8])
    near = shift_right(m, "units", value.significand, distance[:5])
    far = wire(m, "far", distance[5:].any())  # less than half of 1
    return {"sign": value.sign, "large": large, "magnitude": Mux(far, 0, near), "nan": value.nan}


def _byte_round(m: Module, state: State) -> dict[str, Value]:
    sign, magnitude = state["sign"], state["magnitude"]
    units, below = magnitude[-8:], magnitude[:-8]
    up = wire(m, "up", below[-1] & (units[0] | below[:-1].any()))
    rounded = wire(m, "rounded", units + up)
    saturated = wire(m, "saturated", Mux(state["large"] | (rounded > 127), 127 + sign, rounded)[:8])
    byte = wire(m, "byte", Mux(sign, -saturated, saturated)[:8])
    return {"result": Mux(state["nan"], 0, Cat(byte, byte[-1].replicate(24)))[:32]}


FP32_MULTIPLY = (
    Step("unpack", 3, _unpack),
    Step("multiply", 7, _multiply),
    Step("total", 4, _total),
    Step("count", 5, _count),
    Step("shift", 6, _shift),
    Step("denormal", 6, _denormal),
    Step("round", 4, _round),
)
INT32_TO_FP32 = (
    Step("count", 8, _integer_count),
    Step("shift", 6, _integer_shift),
    Step("round", 4, _integer_round),
)
FP32_TO_INT8 = (Step("shift", 8, _byte_shift), Step("round", 6, _byte_round))
