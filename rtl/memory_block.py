"""A memory of one port that reads or writes a word in a cycle: block RAM, or a chip's own kind of memory in its place."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false

from collections.abc import Callable

from amaranth.hdl import Module
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["BlockMaker", "MemoryBlock", "block_signature"]


def block_signature(words: int, word_bytes: int) -> wiring.Signature:
    """The port. In a cycle with `enable` high, the word at `address` is read if `write` is 0, else its bytes whose bit is set
    are written. `read_data` shows the word in the cycle after a read, and anything in all others."""
    return wiring.Signature(
        {
            "enable": In(1),
            "write": In(word_bytes),
            "address": In(range(words)),
            "write_data": In(8 * word_bytes),
            "read_data": Out(8 * word_bytes),
        }
    )


class MemoryBlock(wiring.Component):
    """`words` of `word_bytes` in inferred block RAM, with no initial contents.

    To use another kind of memory, give `System` a function of the same two arguments that returns a component whose ports
    are `block_signature(words, word_bytes)`.
    """

    def __init__(self, words: int, word_bytes: int) -> None:
        self.words, self.word_bytes = words, word_bytes
        super().__init__(block_signature(words, word_bytes))

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.data = data = memory.Memory(shape=8 * self.word_bytes, depth=self.words, init=[])
        read, write = data.read_port(), data.write_port(granularity=8)
        m.d.comb += [
            read.en.eq(self.enable & (self.write == 0)),
            read.addr.eq(self.address),
            self.read_data.eq(read.data),
            write.en.eq(self.write & self.enable.replicate(self.word_bytes)),
            write.addr.eq(self.address),
            write.data.eq(self.write_data),
        ]
        return m


BlockMaker = Callable[[int, int], wiring.Component]
