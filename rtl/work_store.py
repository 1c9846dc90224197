"""Stores of the work buffer: a plane's rows, or the packed rows of a pruned copy's two planes, as a stream of bus beats.

A command comes in cycle s (`command.valid`); many may wait. Its first beat is valid in cycle s + 4, if those before it are
gone; from then on there is a beat in every cycle in which `ready` is high, across rows and commands. A beat stays until it is
taken. W is the bus's width in bytes, E the operands in a beat.

* `kept` = 0: `rows` rows of `row_bytes` bytes each, which follow each other in `plane` without gaps; ceil(row_bytes/W) beats a
  row. Bytes beyond the row are 0.
* `kept` = 1: `rows` rows of `entries` entries. Entry i of the tensor is element i of `plane` and byte i of `indices`; in the
  row it is operand_bits + ceil(log2 group) bits, value lowest, without gaps; the row is filled up with zeros to
  ceil(row_bytes/W) beats, row_bytes being what the entries take up, in bytes rounded up.

| cycle | what the first beat's data do                                                                          |
|-------|--------------------------------------------------------------------------------------------------------|
| s     | command comes                                                                                          |
| s + 1 | read: sub-words of W bytes (values) and E bytes (indices) are read in order, each once                 |
| s + 2 | shown by the memories                                                                                  |
| s + 3 | gather: the row's next W bytes or E entries, from the queue's first word and what is left of the last  |
| s + 4 | join: they are put behind the bits that are left of the row; the lowest 8*W bits are the beat          |
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false
# Amaranth makes ports attributes at run time.

from functools import reduce
from operator import add

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from rtl.dma import bursts_in_flight
from rtl.pipeline import wire
from rtl.work_ports import log2, read_layout, readers
from simulator.arch import Accelerator
from simulator.encoding import FIELDS, Opcode
from simulator.layout import bus_bytes, bus_elements, plane_bytes

__all__ = ["WorkStore", "store_layout"]

WORDS = 4  # read ahead: a word is in the queue two cycles after it is asked for
_FIELDS = ("slot", "plane", "kept", "indices", "group", "entries", "rows", "row_bytes")


def store_layout() -> data.StructLayout:
    """What of a STORE_WORK command the buffer needs."""
    fields = FIELDS[Opcode.STORE_WORK]
    return data.StructLayout({"valid": 1} | {name: fields[name] for name in _FIELDS})


class WorkStore(wiring.Component):
    """From commands to beats; reads the planes by two requests of the buffer."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.spec, number = accelerator, accelerator.pe.number
        self.bus, self.entries, self.operand = bus_bytes(accelerator), bus_elements(accelerator), number.operand_bits
        self.index_bits = (accelerator.pe.group - 1).bit_length()  # at most
        self._size = plane_bytes(accelerator).bit_length()  # of a number of bytes of a plane
        widths = readers(accelerator)
        super().__init__(
            {
                "command": In(store_layout()),
                "read_store_values": Out(read_layout(accelerator, widths["store_values"])),
                "data_store_values": In(8 * widths["store_values"]),
                "read_store_indices": Out(read_layout(accelerator, widths["store_indices"])),
                "data_store_indices": In(8 * widths["store_indices"]),
                "beats": Out(stream.Signature(8 * self.bus)),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        words = self._read(m)
        part, free = self._gather(m, words)
        m.d.comb += free.eq(self._join(m, part))
        return m

    def _commands(self, m: Module, name: str) -> tuple[SyncFIFO, data.View, Value]:
        """A queue of commands, the oldest, and the bytes of each of its rows in the plane of values."""
        m.submodules[name] = queue = SyncFIFO(width=store_layout().size, depth=bursts_in_flight(self.spec) + 2)
        m.d.comb += [queue.w_en.eq(self.command.valid), queue.w_data.eq(self.command)]
        head = store_layout()(queue.r_data)
        values = head.entries << log2(self.operand // 8)
        return queue, head, wire(m, f"{name}_row", Mux(head.kept, values, head.row_bytes)[: self._size])

    def _read(self, m: Module) -> SyncFIFO:
        """Asks for the words of command after command, each once; returns their queue.

        A word that holds the end of a row and the beginning of the next belongs to the first; a row that needs no word of its
        own takes a cycle. A row has at least as many beats as that takes cycles, so reading is never the slower.
        """
        queue, head, row_size = self._commands(m, "to_read")
        m.submodules.words = words = SyncFIFO(width=self.bus * self._item, depth=WORDS)
        at, begin, row = Signal(self._size), Signal(self._size), Signal(len(head.rows))
        end = wire(m, "row_end", begin + row_size)
        needs = wire(m, "needs", (at << log2(self.bus)) < end)
        held, arrives = Signal(range(WORDS + 1)), Signal()
        asks = wire(m, "asks", queue.r_rdy & needs & (held != WORDS))
        after = wire(m, "after", (at + asks) << log2(self.bus))
        ends_row = wire(m, "ends_row", queue.r_rdy & (asks | ~needs) & (after >= end))
        ends = wire(m, "ends_command", ends_row & (row + 1 == head.rows))
        m.d.comb += queue.r_en.eq(ends)
        m.d.sync += [held.eq(held + asks - words.r_en), arrives.eq(asks)]
        with m.If(ends):
            m.d.sync += [at.eq(0), begin.eq(0), row.eq(0)]
        with m.Else():
            m.d.sync += at.eq(at + asks)
            with m.If(ends_row):
                m.d.sync += [begin.eq(end), row.eq(row + 1)]
        values, indices = self.read_store_values, self.read_store_indices
        m.d.comb += [request.slot.eq(head.slot) for request in (values, indices)]
        m.d.comb += [request.at.eq(at) for request in (values, indices)]
        m.d.comb += [values.valid.eq(asks), indices.valid.eq(asks & head.kept)]
        m.d.comb += [values.plane.eq(head.plane), indices.plane.eq(head.indices)]
        m.d.comb += [words.w_en.eq(arrives), words.w_data.eq(self._items())]
        return words

    @property
    def _item(self) -> int:
        """Bits of a byte with the index of the entry that begins there."""
        return 8 + self.index_bits

    def _items(self) -> Value:
        """The word that arrives, byte by byte, so that values and indices move together."""
        items = []
        for byte in range(self.bus):
            entry, rest = divmod(byte, self.operand // 8)
            index = Const(0, self.index_bits) if rest else self.data_store_indices.word_select(entry, 8)[: self.index_bits]
            items.append(Cat(self.data_store_values.word_select(byte, 8), index))
        return Cat(items)

    def _gather(self, m: Module, words: SyncFIFO) -> tuple[data.View, Signal]:
        """The next part of a row, at most a beat's bytes or entries, as bits without gaps, in a register.

        Returns it, and the signal that says that the register may take the next.
        """
        queue, head, row_size = self._commands(m, "to_gather")
        part = Signal(self._part_layout(), reset_less=True, name="part")
        full, free = Signal(name="part_valid"), Signal(name="part_free")
        rest = Signal((self.bus - 1) * self._item, reset_less=True)  # items of the last word that are not taken
        have, taken, row = Signal(range(self.bus)), Signal(self._size), Signal(len(head.rows))
        left = wire(m, "left", (row_size - taken)[: self._size])
        ends_row = wire(m, "gathers_last", left <= self.bus)
        want = wire(m, "want", Mux(ends_row, left, self.bus)[: self.bus.bit_length()])
        more = wire(m, "more", have < want)
        takes = wire(m, "takes", queue.r_rdy & (words.r_rdy | ~more) & (free | ~full))
        ends = wire(m, "gathers_end", takes & ends_row & (row + 1 == head.rows))
        mine = Cat(Mux(have > byte, rest.word_select(byte, self._item), 0) for byte in range(self.bus - 1))
        pool = wire(m, "pool", mine | _moved(m, "arrived", Mux(more, words.r_data, 0), have, self._item))
        m.d.comb += [words.r_en.eq(takes & more), queue.r_en.eq(ends)]
        unused = _moved(m, "unused", pool, want, -self._item)
        with m.If(takes):
            m.d.sync += [rest.eq(unused), have.eq(Mux(ends, 0, have + Mux(more, self.bus, 0) - want))]
            m.d.sync += [taken.eq(Mux(ends_row, 0, taken + self.bus)), row.eq(Mux(ends, 0, row + ends_row))]
        m.d.sync += full.eq(takes | full & ~free)

        items = [Mux(want > byte, pool.word_select(byte, self._item), 0) for byte in range(self.bus)]
        step = self.operand // 8
        values = [Cat(item[:8] for item in items[first : first + step]) for first in range(0, self.bus, step)]
        indices = [item[8:] for item in items[::step]]
        index_bits = reduce(add, (head.group > (1 << bit) for bit in range(self.index_bits)), 0)
        packed, size = Signal(len(part.bits)), Signal(len(part.size))
        with m.Switch(Mux(head.kept, index_bits, 0)):
            for bits in range(self.index_bits + 1):
                with m.Case(bits):
                    m.d.comb += packed.eq(Cat(Cat(v, i[:bits]) for v, i in zip(values, indices, strict=True)))
                    m.d.comb += size.eq((want << 3) + (want >> log2(step)) * bits)
        with m.If(takes):
            m.d.sync += [part.bits.eq(packed), part.size.eq(size), part.last.eq(ends_row)]
        shown = Signal(data.StructLayout({"valid": 1, "part": part.shape()}), name="shown")
        m.d.comb += [shown.valid.eq(full), shown.part.eq(part)]
        return shown, free

    def _part_layout(self) -> data.StructLayout:
        """Bits of a row, how many they are, and whether the row ends with them."""
        most = self.entries * (self.operand + self.index_bits)
        return data.StructLayout({"bits": most, "size": range(most + 1), "last": 1})

    def _join(self, m: Module, part: data.View) -> Value:
        """Beats of the bits that are left of the row, and a part where those are less than a beat; whether the part is taken.

        Every part but a row's last is a beat or more, so each step gives a beat.
        """
        beat, most = 8 * self.bus, len(part.part.bits)
        rest, size = Signal(most), Signal(range(most + 1))  # beyond `size`, `rest` is 0
        closing = Signal()  # what is left is the row's last
        enough = wire(m, "enough", closing | (size >= beat))
        bits = wire(m, "bits", rest | Mux(enough, 0, part.part.bits << size[: beat.bit_length() - 1]))
        total = wire(m, "total", size + Mux(enough, 0, part.part.size))
        moves = wire(m, "moves", self.beats.valid & self.beats.ready)
        over = wire(m, "over", total > beat)
        last = wire(m, "last", Mux(enough, closing, part.part.last))
        m.d.comb += [self.beats.valid.eq(enough | part.valid), self.beats.payload.eq(bits)]
        with m.If(moves):
            m.d.sync += [rest.eq(bits[beat:]), closing.eq(last & over)]
            m.d.sync += size.eq(Mux(total >= beat, total - beat, 0))
        return moves & ~enough


def _moved(m: Module, name: str, value: Value, count: Value, size: int) -> Value:
    """`value` moved up by `count` pieces of `size` bits, down where that is negative: a choice for each bit of `count`."""
    for i, bit in enumerate(count):
        by = value << (size << i) if size > 0 else value >> (-size << i)
        value = wire(m, f"{name}_{i}", Mux(bit, by, value))
    return value
