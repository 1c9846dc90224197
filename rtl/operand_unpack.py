"""From a bus beat of an operand's memory row to entries: dense elements, or values and indices of a packed N:M operand.

Entries of a packed row are `operand_bits + index_bits` wide and follow each other without gaps (docs/machine.md, 'Memory');
one that is cut by a beat's end is kept until the next beat.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.pe import index_bits
from rtl.pipeline import wire
from simulator.arch import Accelerator, Pe
from simulator.encoding import FIELDS, Opcode
from simulator.layout import bus_bytes, bus_elements, word_elements

__all__ = ["Unpack", "beat_layout", "entry_layout", "load_layout"]


def load_layout() -> data.StructLayout:
    """The fields of a load that say where entries go."""
    names = ("slot", "kept", "across", "banking", "keep", "group", "stride")
    return data.StructLayout({name: FIELDS[Opcode.LOAD_A][name] for name in names})


def beat_layout(accelerator: Accelerator) -> data.StructLayout:
    """A beat as `rtl.dma` shows it; `bytes` belong to the row; `first`, `last`: of the row; `end`: last of the load."""
    bus = bus_bytes(accelerator)
    return data.StructLayout({"valid": 1, "data": 8 * bus, "bytes": range(bus + 1), "first": 1, "last": 1, "end": 1})


def entry_layout(pe: Pe) -> data.StructLayout:
    """What a bank holds of an element."""
    return data.StructLayout({"value": pe.number.operand_bits, "index": index_bits(pe)})


class Unpack(wiring.Component):
    """`entries` (0 after the first `bus_elements`), which are `present`, and their `count` unless it is the row's last beat.

    Combinational, but for the bits of a cut entry.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator, self.pe = accelerator, accelerator.pe
        self.elements = bus_elements(accelerator)
        super().__init__(
            {
                "beat": In(beat_layout(accelerator)),
                "kept": In(1),
                "group": In(FIELDS[Opcode.LOAD_A]["group"]),
                "entries": Out(word_elements(accelerator) * entry_layout(self.pe).size),
                "present": Out(self.elements),
                "count": Out(range(self.elements + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        beat, bits, spare = self.beat, self.pe.number.operand_bits, index_bits(self.pe)
        bus, most = len(beat.data), (self.pe.group - 1).bit_length()
        cut, cut_bits = Signal(bits + most - 1, reset_less=True), Signal(range(bits + most))
        stream = wire(m, "stream", Cat(cut & ((Const(1) << cut_bits) - 1)[: len(cut)], Const(0, bus)) | (beat.data << cut_bits))
        available = wire(m, "available", cut_bits + (beat.bytes << 3))
        index = wire(m, "index", sum((self.group > 1 << i for i in range(most)), Const(0, 1)))
        with m.If(beat.valid):
            m.d.sync += cut_bits.eq(0)
        with m.If(~self.kept):
            elements = [Cat(beat.data.word_select(i, bits), Const(0, spare)) for i in range(self.elements)]
            m.d.comb += [
                self.entries.eq(Cat(elements)),
                self.present.eq(Cat(beat.bytes > i * bits // 8 for i in range(self.elements))),
                self.count.eq(self.elements),
            ]
        for extra in range(most + 1):
            size = bits + extra
            whole, longest = bus // size, (bus + size - 1) // size if extra else bus // size
            assert longest <= self.elements
            with m.If(self.kept & (index == extra)):
                entries = [stream[i * size : (i + 1) * size] for i in range(longest)]
                one_more = available >= (whole + 1) * size
                m.d.comb += [
                    self.entries.eq(Cat(Cat(entry, Const(0, spare - extra)) for entry in entries)),
                    self.present.eq(Cat(available >= (i + 1) * size for i in range(longest))),
                    self.count.eq(Mux(one_more, whole + 1, whole)),
                ]
                with m.If(beat.valid & ~beat.last):
                    m.d.sync += [
                        cut.eq(Mux(one_more, stream[(whole + 1) * size :], stream[whole * size :])),
                        cut_bits.eq(available - Mux(one_more, (whole + 1) * size, whole * size)),
                    ]
        return m
