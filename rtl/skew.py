"""Delays between rows and columns of the array: fixed ones, and a hop that each command sets."""

# pyright: basic, reportAttributeAccessIssue=false

from dataclasses import dataclass

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Hop", "Pointers", "delayed"]


def delayed(m: Module, value: Value, cycles: int, name: str, *, reset_less: bool = True) -> Value:
    """The bits of `value` `cycles` cycles later (0: themselves); zeros after a reset unless `reset_less`."""
    for i in range(cycles):
        register = Signal(len(value), name=f"{name}_q{i}", reset_less=reset_less)
        m.d.sync += register.eq(value)
        value = register
    return value


def _pointer_bits(longest: int) -> int:
    return max(1, (longest - 1).bit_length())


@dataclass(frozen=True, slots=True)
class Pointers:
    """Where a `Hop` writes (`at`), and where it reads (`back`): a hop before that, all around."""

    at: Value
    back: Value

    @classmethod
    def of(cls, m: Module, longest: int, start: Value, hop: Value, name: str) -> "Pointers":
        """A hop that holds from the cycle after `start` on; 1 until the first."""
        at = Signal(_pointer_bits(longest), name=f"{name}_at")
        back = Signal(_pointer_bits(longest), name=f"{name}_back", init=(1 << _pointer_bits(longest)) - 1)
        m.d.sync += [at.eq(at + 1), back.eq(back + 1)]
        with m.If(start):
            m.d.sync += back.eq(at + 1 - hop)
        return cls(at, back)

    def later(self, m: Module, name: str) -> "Pointers":
        """The same a cycle later, for a value that comes a cycle later."""
        return Pointers(*(delayed(m, each, 1, f"{name}_{i}") for i, each in enumerate((self.at, self.back))))


class Hop(wiring.Component):
    """``later`` is `value` of a hop ago, 1 to `longest` cycles: a ring of words, written in every cycle.

    The hop may change between two words that matter if the older has left: what comes out before the newer one is old.
    A power of two of words, `longest` or more, of distributed memory (asynchronous read); one word is a register.
    """

    def __init__(self, bits: int, longest: int) -> None:
        if longest < 1:
            raise ValueError(f"Hop field 'longest' must be at least 1, not {longest}")
        self.bits, self.longest = bits, longest
        pointer = _pointer_bits(longest)
        super().__init__({"at": In(pointer), "back": In(pointer), "value": In(bits), "later": Out(bits)})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        if self.longest == 1:
            register = Signal(self.bits, reset_less=True)
            m.d.sync += register.eq(self.value)
            m.d.comb += self.later.eq(register)
            return m
        m.submodules.ring = ring = memory.Memory(shape=self.bits, depth=1 << _pointer_bits(self.longest), init=[])
        write, read = ring.write_port(), ring.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(1),
            write.addr.eq(self.at),
            write.data.eq(self.value),
            read.addr.eq(self.back),
            self.later.eq(read.data),
        ]
        return m
