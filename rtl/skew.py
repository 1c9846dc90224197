"""Delays between rows and columns of the array: fixed ones, and a hop that each command sets."""

# pyright: basic, reportAttributeAccessIssue=false

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Hop", "delayed"]


def delayed(m: Module, value: Value, cycles: int, name: str, *, reset_less: bool = True) -> Value:
    """The bits of `value` `cycles` cycles later (0: themselves); zeros after a reset unless `reset_less`."""
    for i in range(cycles):
        register = Signal(len(value), name=f"{name}_q{i}", reset_less=reset_less)
        m.d.sync += register.eq(value)
        value = register
    return value


class Hop(wiring.Component):
    """``later`` is `value` of `hop` cycles ago, 1 to `longest`: a ring of words, written in every cycle.

    The hop may change between two words that matter if the older has left: what comes out before the newer one is old.
    `longest` words of distributed memory (asynchronous read); one word is a register.
    """

    def __init__(self, bits: int, longest: int) -> None:
        if longest < 1:
            raise ValueError(f"Hop field 'longest' must be at least 1, not {longest}")
        self.bits, self.longest = bits, longest
        super().__init__({"hop": In(range(longest + 1)), "value": In(bits), "later": Out(bits)})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        if self.longest == 1:
            register = Signal(self.bits, reset_less=True)
            m.d.sync += register.eq(self.value)
            m.d.comb += self.later.eq(register)
            return m
        depth = 1 << self.longest.bit_length()  # a power of two above the longest hop
        m.submodules.ring = ring = memory.Memory(shape=self.bits, depth=depth, init=[])
        write, read = ring.write_port(), ring.read_port(domain="comb")
        at = Signal(range(depth))
        m.d.sync += at.eq(at + 1)
        m.d.comb += [
            write.en.eq(1),
            write.addr.eq(at),
            write.data.eq(self.value),
            read.addr.eq(at - self.hop),
            self.later.eq(read.data),
        ]
        return m
