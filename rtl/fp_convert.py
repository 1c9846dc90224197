"""Conversions between operands and accumulators as pipeline steps: fp16 and bf16 to FP32, and FP32 back, rounded.

| conversion    | steps                                                                                     |
|---------------|-------------------------------------------------------------------------------------------|
| fp16 to FP32  | count (leading zeros of a subnormal), shift (normalise, add the difference of the biases)  |
| bf16 to FP32  | append (zeros; a NaN becomes the canonical one)                                           |
| FP32 to fp16  | shift (significand down to where fp16 ends, with a sticky bit), round (to nearest even)   |
| FP32 to bf16  | round                                                                                     |
| int8 to int32 | extend (the sign)                                                                         |
| int32 as it is| store (nothing)                                                                           |
"""

# pyright: basic

from amaranth.hdl import Cat, Const, Module, Mux, Value

from rtl.fp_bits import BRAIN, HALF, SINGLE, leading_zeros, pack, shift_left, shift_right, single_result, unpack
from rtl.pipeline import State, Step, wire

__all__ = ["BF16_NARROW", "BF16_WIDEN", "FP16_NARROW", "FP16_WIDEN", "INT8_NARROW", "INT8_WIDEN"]

_REBIAS = SINGLE.bias - HALF.bias


def _fp16_count(m: Module, state: State) -> dict[str, Value]:
    value = unpack(m, "value", HALF, state["value"])
    _, zeros = leading_zeros(value.significand)
    return {
        "sign": value.sign,
        "exponent": value.exponent,
        "significand": value.significand,
        "by": zeros,
        "infinite": value.infinite,
        "nan": value.nan,
    }


def _fp16_shift(m: Module, state: State) -> dict[str, Value]:
    significand = shift_left(m, "normal", state["significand"], state["by"])
    exponent = (state["exponent"] + _REBIAS - state["by"])[:8]
    finite = Cat(Const(0, SINGLE.fraction_bits - HALF.fraction_bits), significand[:-1], exponent)
    finite = Mux(significand[-1], finite, 0)
    return single_result(state, finite)


def _bf16_append(m: Module, state: State) -> dict[str, Value]:
    value = unpack(m, "value", BRAIN, state["value"])
    return {"result": Mux(value.nan, SINGLE.quiet_nan, Cat(Const(0, 16), state["value"]))[:32]}


def _fp32_shift(m: Module, state: State) -> dict[str, Value]:
    value = unpack(m, "value", SINGLE, state["value"])
    least = _REBIAS + 1  # FP32's exponent of fp16's least normal number
    distance = wire(m, "distance", Mux(value.exponent < least, least - value.exponent, 0)[:7])
    near = shift_right(m, "shifted", value.significand, distance[:5])
    far = wire(m, "far", distance[5:].any())
    return {
        "sign": value.sign,
        "exponent": (value.exponent - _REBIAS)[: HALF.exponent_bits],
        "significand": Mux(far, 0, near),  # less than half of the least subnormal
        "infinite": value.infinite | (value.exponent >= _REBIAS + HALF.top_exponent),
        "nan": value.nan,
    }


def _fp16_round(m: Module, state: State) -> dict[str, Value]:
    significand = state["significand"]
    dropped = 1 + SINGLE.fraction_bits - HALF.fraction_bits  # and the sticky bit
    finite = pack(m, "value", HALF, significand[dropped:], significand[:dropped], state["exponent"])
    magnitude = Mux(state["infinite"], HALF.top_exponent << HALF.fraction_bits, finite)[:15]
    return {"result": Mux(state["nan"], HALF.quiet_nan, Cat(magnitude, state["sign"]))[:16]}


def _bf16_round(m: Module, state: State) -> dict[str, Value]:
    bits = state["value"]
    value = unpack(m, "value", SINGLE, bits)
    up = wire(m, "up", bits[15] & (bits[16] | bits[:15].any()))
    return {"result": Mux(value.nan, BRAIN.quiet_nan, Cat((bits[16:31] + up)[:15], bits[31]))[:16]}


def _int8_extend(_: Module, state: State) -> dict[str, Value]:
    return {"result": Cat(state["value"], state["value"][-1].replicate(24))}


def _int32_store(_: Module, state: State) -> dict[str, Value]:
    return {"result": state["value"]}


FP16_WIDEN = (Step("count", 5, _fp16_count), Step("shift", 6, _fp16_shift))
BF16_WIDEN = (Step("append", 4, _bf16_append),)
INT8_WIDEN = (Step("extend", 0, _int8_extend),)
FP16_NARROW = (Step("shift", 9, _fp32_shift), Step("round", 5, _fp16_round))
BF16_NARROW = (Step("round", 7, _bf16_round),)
INT8_NARROW = (Step("store", 0, _int32_store),)
