"""From a bus beat of an operand's memory row to entries: dense elements, or values and indices of a packed N:M operand.

Entries of a packed row are `operand_bits + index_bits` wide and follow each other without gaps (docs/machine.md, 'Memory');
one that is cut by a beat's end is completed by the next beat: the beat's last bits are kept, and stand below those of the next.
Where the first entry begins, and how many bytes each entry needs, `rtl.operand_scatter` knows ahead.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.pe import index_bits
from rtl.pipeline import wire
from simulator.arch import Accelerator, Pe
from simulator.encoding import FIELDS, Opcode
from simulator.layout import bus_bytes, bus_elements

__all__ = ["Unpack", "beat_layout", "entry_layout", "load_layout", "longest_entry"]


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


def longest_entry(pe: Pe) -> int:
    """Bits of an entry of the widest group."""
    return pe.number.operand_bits + (pe.group - 1).bit_length()


class Unpack(wiring.Component):
    """`entries` of the beat, and which are `present`; combinational, but for the bits that are kept.

    `extra` are an entry's index bits, `skip` the kept bits that are not of the first one, `least[e]` the bytes of the beat with
    which entry e is complete.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator, self.pe = accelerator, accelerator.pe
        self.elements, self.kept = bus_elements(accelerator), longest_entry(accelerator.pe) - 1
        super().__init__(
            {
                "beat": In(beat_layout(accelerator)),
                "extra": In(range((self.pe.group - 1).bit_length() + 1)),
                "skip": In(range(longest_entry(accelerator.pe))),
                "least": In(data.ArrayLayout(range(2 * bus_bytes(accelerator) + 1), self.elements)),
                "entries": Out(data.ArrayLayout(entry_layout(self.pe), self.elements)),
                "present": Out(self.elements),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        beat, bits, spare = self.beat, self.pe.number.operand_bits, index_bits(self.pe)
        bus, before = len(beat.data), Signal(self.kept, reset_less=True)
        with m.If(beat.valid):
            m.d.sync += before.eq(beat.data[-self.kept :])
        stream = wire(m, "stream", (Cat(before, beat.data) >> self.skip)[: bus + self.kept])
        with m.Switch(self.extra):
            for extra in range((self.pe.group - 1).bit_length() + 1):
                size = bits + extra
                with m.Case(extra):
                    entries = [Cat(stream[e * size : (e + 1) * size], Const(0, spare - extra)) for e in range(self.elements)]
                    m.d.comb += [self.entries[e].eq(entry) for e, entry in enumerate(entries) if len(entry) == bits + spare]
        m.d.comb += self.present.eq(Cat(beat.valid & (beat.bytes >= least) for least in self.least))
        return m
