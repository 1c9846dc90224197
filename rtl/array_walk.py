"""Addresses of sums in the result buffer, one line or some lines further at a time: additions instead of products."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from collections.abc import Callable
from dataclasses import dataclass, field

from amaranth.hdl import Const, Module, Mux, Signal, Value

from rtl.array_ports import word_bits
from rtl.pipeline import wire
from simulator.arch import Accelerator
from simulator.layout import result_places

__all__ = ["Walk", "Words", "scaled"]


def scaled(value: Value, factor: int) -> Value:
    """``value * factor`` of a constant, from shifts and additions; no wider than it must be."""
    bits = [i for i in range(factor.bit_length()) if factor >> i & 1]
    if not bits:
        return Const(0, 1)
    total = value << bits[0]
    for bit in bits[1:]:
        total = total + (value << bit)
    return total[: len(value) + factor.bit_length()]


@dataclass(frozen=True, slots=True)
class Words:
    """How a sum's word and place move along u: word (u // places) * stride + fold, place (u + fold) % places (docs/machine.md).

    `low` is u % places.
    """

    accelerator: Accelerator
    stride: Value
    settled: Callable[[str, Value], Signal]
    _rises: dict[int, tuple[Value, Value]] = field(default_factory=dict)

    @classmethod
    def of(cls, m: Module, accelerator: Accelerator, stride: Value, settled: Callable[[str, Value], Signal]) -> "Words":
        return cls(accelerator, wire(m, "word_stride", stride[: word_bits(accelerator)]), settled)

    @property
    def low_bits(self) -> int:
        return (result_places(self.accelerator) - 1).bit_length()

    def low(self, u: Value) -> Value:
        """u % places; a bit of 0 where a word has one place."""
        return u[: self.low_bits] if self.low_bits else Const(0, 1)

    def new_low(self, name: str) -> Signal:
        return Signal(max(1, self.low_bits), name=name)

    def moved(self, word: Value, low: Value, lines: int) -> tuple[Value, Value]:
        """The word before the fold is added, and `low`, some lines further."""
        bits, places = len(self.stride), 1 << self.low_bits
        whole, rest = lines >> self.low_bits, lines & (places - 1)
        if whole not in self._rises:
            rise = scaled(self.stride, whole)[:bits]
            if whole > 1:
                rise = self.settled(f"words_{whole}", rise)
            more = (rise + self.stride)[:bits]
            self._rises[whole] = rise, self.settled(f"words_{whole}_and_one", more) if whole else more
        rise, more = self._rises[whole]
        if not rest:
            return (word + rise)[:bits], low
        carry = (low + rest)[self.low_bits]
        return (word + Mux(carry, more, rise))[:bits], (low + rest)[: self.low_bits]

    def at(self, word: Value, low: Value, fold: Value) -> tuple[Value, Value]:
        """The word and the place of a sum."""
        return (word + fold)[: len(self.stride)], self.low(low + fold)


class Walk:
    """All sums of a fold of OS, row after row, slot after slot: `word` (before the fold is added) and `low` of this cycle's.

    The first is at `start`: in the cycle of `first`, or in the cycle after it if `registered`.
    """

    def __init__(
        self,
        m: Module,
        words: Words,
        name: str,
        *,
        first: Value,
        start: tuple[Value, Value],
        along_v: Value,
        row_end: Value,
        registered: bool = False,
    ) -> None:
        rows, interleave = words.accelerator.array.rows, words.accelerator.pe.interleave

        def state(what: str) -> tuple[Signal, Signal]:
            return Signal(len(words.stride), name=f"{name}_{what}_word"), words.new_low(f"{name}_{what}_low")

        def change(target: tuple[Value, Value], value: tuple[Value, Value]) -> None:
            m.d.sync += [each.eq(new) for each, new in zip(target, value, strict=True)]

        row, slot = state("row"), state("slot")  # of the row's first slot, and of this one
        here, now = row, slot
        if not registered:
            here, now = (
                tuple(Mux(first, begin, each) for begin, each in zip(start, held, strict=True)) for held in (row, slot)
            )
        self.word, self.low = now
        if not registered:
            change(row, here)
        if interleave > 1:
            further = words.moved(*now, rows)
            change(slot, tuple(Mux(along_v, old, new) for old, new in zip(now, further, strict=True)))
        with m.If(row_end):
            below = words.moved(*here, 1)
            change(row, below)
            change(slot, below)
        if registered:
            with m.If(first):
                change(row, start)
                change(slot, start)
