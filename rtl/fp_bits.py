"""Pieces of floating-point circuits: fields of a number, leading zeros, shifters, final packing."""

# pyright: basic

from collections.abc import Mapping
from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Value

from rtl.pipeline import wire

__all__ = ["BRAIN", "HALF", "SINGLE", "Fields", "Layout", "leading_zeros", "pack", "shift_left", "shift_right"]
__all__ += ["single_result", "unpack"]


@dataclass(frozen=True, slots=True)
class Layout:
    """An IEEE 754 interchange format: sign, biased exponent, fraction, from the most significant bit down."""

    exponent_bits: int
    fraction_bits: int

    @property
    def bits(self) -> int:
        return 1 + self.exponent_bits + self.fraction_bits

    @property
    def bias(self) -> int:
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def top_exponent(self) -> int:
        """The exponent field of infinities and NaNs."""
        return (1 << self.exponent_bits) - 1

    @property
    def quiet_nan(self) -> int:
        """The one NaN that circuits make: positive, quiet, no payload."""
        return (2 * self.top_exponent + 1) << (self.fraction_bits - 1)


HALF = Layout(5, 10)
BRAIN = Layout(8, 7)
SINGLE = Layout(8, 23)


@dataclass(frozen=True, slots=True)
class Fields:
    """A number taken apart: value = significand * 2**(exponent - bias - fraction_bits) unless infinite or NaN."""

    sign: Value
    exponent: Value  # biased, at least 1: a subnormal has the exponent of the least normal number
    significand: Value  # with the hidden bit on top
    infinite: Value
    nan: Value


def unpack(m: Module, name: str, layout: Layout, bits: Value) -> Fields:
    fraction = bits[: layout.fraction_bits]
    exponent = bits[layout.fraction_bits : layout.bits - 1]
    normal = wire(m, f"{name}_normal", exponent.any())
    special = wire(m, f"{name}_special", exponent.all())
    some = wire(m, f"{name}_some", fraction.any())
    least = Cat(exponent[0] | ~normal, exponent[1:])
    return Fields(bits[-1], least, Cat(fraction, normal), special & ~some, special & some)


def leading_zeros(value: Value) -> tuple[Value, Value]:
    """Whether `value` is zero, and how many zeros stand above its top one (where it is not zero), as a balanced tree."""
    width = len(value)
    if width == 2:
        return ~value.any(), ~value[1]
    low_bits = 1 << ((width - 1).bit_length() - 1)  # the lower half, made a power of two by zeros below
    full = Cat(Const(0, 2 * low_bits - width), value) if width < 2 * low_bits else value
    (high_zero, high), (low_zero, low) = leading_zeros(full[low_bits:]), leading_zeros(full[:low_bits])
    return high_zero & low_zero, Cat(Mux(high_zero, low, high), high_zero)


def shift_left(m: Module, name: str, value: Value, amount: Value) -> Value:
    """`value` shifted up by `amount`, same width, as a chain of multiplexers from the widest shift down."""
    width = len(value)
    for bit in reversed(range(len(amount))):
        by = min(1 << bit, width)
        value = wire(m, f"{name}_{by}", Mux(amount[bit], Cat(Const(0, by), value[: width - by]), value))
    return value


def shift_right(m: Module, name: str, value: Value, amount: Value) -> Value:
    """`value` shifted down by `amount`, with one bit more below: the sticky bit, the OR of all that was shifted out."""
    width, lost = len(value), Const(0, 1)
    for bit in reversed(range(len(amount))):
        by = min(1 << bit, width)
        lost = wire(m, f"{name}_lost_{bit}", lost | (amount[bit] & value[:by].any()))
        value = wire(m, f"{name}_{bit}", Mux(amount[bit], Cat(value[by:], Const(0, by)), value))
    return Cat(lost, value)


def pack(m: Module, name: str, layout: Layout, significand: Value, below: Value, exponent: Value) -> Value:
    """Exponent and fraction fields of a finite number, rounded to nearest, ties to even; may become infinity.

    `significand` has its hidden bit on top, and where that is 0 the number is subnormal and `exponent`, as wide as the
    field, is not used. `below` are the bits under the significand. Rounding up carries from fraction into exponent,
    which is right for subnormals that become normal and for the largest number that becomes infinity.
    """
    field = Mux(significand[-1], exponent, 0)[: layout.exponent_bits]
    up = wire(m, f"{name}_up", below[-1] & (significand[0] | below[:-1].any()))
    return (Cat(significand[:-1], field) + up)[: layout.bits - 1]


def single_result(state: Mapping[str, Value], finite: Value) -> dict[str, Value]:
    """An FP32 `result` of a finite number's exponent and fraction, or of `infinite`, or of `nan`, with `sign`, of the state."""
    magnitude = Mux(state["infinite"], SINGLE.top_exponent << SINGLE.fraction_bits, finite)[:31]
    return {"result": Mux(state["nan"], SINGLE.quiet_nan, Cat(magnitude, state["sign"]))[:32]}
