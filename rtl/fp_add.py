"""FP32 addition as pipeline steps: round to nearest even, subnormals, infinities, one quiet NaN.

| step  | computes                                                                            |
|-------|-------------------------------------------------------------------------------------|
| swap  | larger and smaller magnitude, exponent difference, special cases                    |
| align | smaller significand shifted down, with guard, round and sticky bits                 |
| sum   | larger plus or minus smaller: never negative                                        |
| count | leading zeros, but no more than the exponent can pay for                            |
| shift | sum shifted up to its leading one, or to where subnormals stand                     |
| round | to nearest even, packed, infinities and NaN put in                                  |

Bits of the 28-bit sum: 27 carry, 26 the larger operand's hidden bit, 25:3 fraction, 2 guard, 1 round, 0 sticky. One
sticky bit is enough: if it is not zero the exponents differ by 3 or more, and the sum loses at most its top bit.
An exact zero is +0, except that -0 + -0 is -0.
"""

# pyright: basic

from amaranth.hdl import Cat, Const, Module, Mux, Value

from rtl.fp_bits import SINGLE, leading_zeros, pack, shift_left, shift_right, single_result, unpack
from rtl.pipeline import State, Step, wire

__all__ = ["FP32_ADD"]

_BEFORE_SUM = ("sign", "both_negative", "subtract", "exponent", "infinite", "nan")
_BEFORE_COUNT = ("sign", "both_negative", "exponent", "infinite", "nan")


def _keep(state: State, names: tuple[str, ...]) -> dict[str, Value]:
    return {name: state[name] for name in names}


def _swap(m: Module, state: State) -> dict[str, Value]:
    a, b = state["a"], state["b"]
    swapped = wire(m, "swapped", a[:-1] < b[:-1])
    large = unpack(m, "large", SINGLE, wire(m, "large", Mux(swapped, b, a)))
    small = unpack(m, "small", SINGLE, wire(m, "small", Mux(swapped, a, b)))
    subtract = wire(m, "signs_differ", large.sign ^ small.sign)
    return {
        "sign": large.sign,
        "both_negative": large.sign & small.sign,
        "subtract": subtract,
        "exponent": large.exponent,
        "distance": (large.exponent - small.exponent)[:8],
        "large": large.significand,
        "small": small.significand,
        "infinite": large.infinite,
        "nan": large.nan | (large.infinite & small.infinite & subtract),  # a NaN has the larger magnitude
    }


def _align(m: Module, state: State) -> dict[str, Value]:
    distance = state["distance"]
    near = shift_right(m, "aligned", Cat(Const(0, 2), state["small"]), distance[:5])
    far = wire(m, "far", distance[5:].any())
    # From 26 binades on, the smaller number changes nothing: no sticky bit is needed where all of it is far below.
    return {**_keep(state, _BEFORE_SUM), "large": state["large"], "aligned": Mux(far, 0, near)}


def _sum(_: Module, state: State) -> dict[str, Value]:
    subtract = state["subtract"]
    large = Cat(Const(1, 1), Const(0, 3), state["large"])  # the lowest bit turns `subtract` into a carry in
    small = Cat(subtract, state["aligned"] ^ subtract.replicate(27))
    total = (large + small)[1:]
    return {**_keep(state, _BEFORE_COUNT), "total": Cat(total[:27], total[27] & ~subtract)}


def _count(m: Module, state: State) -> dict[str, Value]:
    total, exponent = state["total"], state["exponent"]
    zero, zeros = leading_zeros(total)
    zeros = wire(m, "zeros", zeros)
    return {
        "sign": Mux(zero, state["both_negative"], state["sign"]),
        "exponent": exponent,
        "total": total,
        "by": Mux(zeros > exponent, exponent, zeros)[:5],
        "infinite": state["infinite"],
        "nan": state["nan"],
    }


def _shift(m: Module, state: State) -> dict[str, Value]:
    exponent = (state["exponent"] + 1 - state["by"])[:8]
    return {
        "sign": state["sign"],
        "total": shift_left(m, "normal", state["total"], state["by"]),
        "exponent": exponent,
        "infinite": state["infinite"] | exponent.all(),  # an infinity's exponent wraps to less, a NaN's does not matter
        "nan": state["nan"],
    }


def _round(m: Module, state: State) -> dict[str, Value]:
    total = state["total"]
    finite = pack(m, "sum", SINGLE, total[4:], total[:4], state["exponent"])
    return single_result(state, finite)


FP32_ADD = (
    Step("swap", 6, _swap),
    Step("align", 6, _align),
    Step("sum", 4, _sum),
    Step("count", 5, _count),
    Step("shift", 6, _shift),
    Step("round", 4, _round),
)
