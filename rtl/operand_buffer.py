"""An operand buffer: loads of either side's matrix are unpacked and spread over the banks, rows and columns of PEs read them.

Banks are linear memories of entries, a value and an index each: entry P of a bank is in word P // width, place P % width
(docs/machine.md says which entry of which bank an element is). A place has its own memory, so that any `width` consecutive
entries are read at once, and a beat of a load is written at once, wherever its entries lie, if no two of them meet in one
place of one bank. For memory rows that are steps (`across`) the stride between a bank's lines sees to it: an odd one for dense
operands; N * s for kept ones, s odd if N is a power of two, else s % width = 1. Otherwise any stride that holds a line will do.

Fill. `load` is high in the cycle in which a load starts, with its `fields`; loads may start while beats of others before them
are on their way. A `beat` (those of `rtl.dma`; every beat is full but the last of a memory row) is written at the end of the
cycle in which it is visible, so a request in the next cycle sees it. A row of memory is a *stream* of entries, units of U
entries each: the elements of a step or one element (dense), the N kept ones of a step and line. Units go to banks in turn,
round after round, but for `across` = 0 and a bank for each line. `position` counts the stream's entries of a round so far.

Example: 2 banks, width 8, beats of 4 entries, N = 3 kept of a step, banking 2, line 0; "2.1" is step 2, second entry:

| beat | entries         | position | bank 0: P of          | bank 1: P of              |
|------|-----------------|----------|-----------------------|---------------------------|
| 0    | 0.0 0.1 0.2 1.0 | 0        | 0.0: 0  0.1: 1  0.2: 2| 1.0: 0                    |
| 1    | 1.1 1.2 2.0 2.1 | 4        | 2.0: 3  2.1: 4        | 1.1: 1  1.2: 2            |
| 2    | 2.2 3.0 3.1 3.2 | 2        | 2.2: 5                | 3.0: 3  3.1: 4  3.2: 5    |

Within a beat a bank gets a few runs of entries (*blocks*), one of each round that the beat touches. Entry e of the beat, if it
is in the block, goes to P = A + e: the beat is rotated by A % width places.

Read. A request of `rtl.array` in a cycle is answered in the next one: the entries from `entry` on. The buffer answers what
is asked of it (a: rows without `operand_b`, columns with `operand_a`), and says so in `row_asked` and `column_asked`; a bank
has one read port, for the row and the column of its number (`rtl.array` says why they never meet).
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# Amaranth makes ports attributes at run time.

from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Literal

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from rtl.array_ports import ENTRY_BITS, column_request, row_request
from rtl.dma import bursts_in_flight
from rtl.operand_unpack import Unpack, beat_layout, entry_layout, load_layout
from rtl.pe import operand_layout, width
from rtl.pipeline import wire
from simulator.arch import Accelerator
from simulator.layout import Banking, bus_elements, operand_banks, operand_words, word_elements

__all__ = ["OperandBuffer"]


@dataclass(frozen=True, slots=True)
class _Beat:
    """What the scatter needs of the beat that is visible."""

    fields: data.View
    entries: Value  # `width` of them
    present: Value  # a bit each
    unit: Value  # entries of a unit
    round: Value  # entries of a round: a unit in each bank
    single: Value  # all go to one bank
    position: Value
    entry: Value  # of the round's, or the line's, first entry
    rise: Value  # from a round to the next
    bank: Value  # single: which


class OperandBuffer(wiring.Component):
    """The a or the b buffer of an accelerator."""

    def __init__(self, accelerator: Accelerator, side: Literal["a", "b"]) -> None:
        self.accelerator, self.side = accelerator, side
        pe, rows, cols = accelerator.pe, accelerator.array.rows, accelerator.array.cols
        self.banks, self.width, self.elements = (
            operand_banks(accelerator),
            word_elements(accelerator),
            bus_elements(accelerator),
        )
        self.words = operand_words(accelerator, side)
        self.slots = (accelerator.a_buffer if side == "a" else accelerator.b_buffer).slots
        self.place_bits, self.word_bits = (self.width - 1).bit_length(), max(1, (self.words - 1).bit_length())
        self.entry_layout = entry_layout(pe)
        super().__init__(
            {
                "load": In(1),
                "fields": In(load_layout()),
                "beat": In(beat_layout(accelerator)),
                "row_request": In(data.ArrayLayout(row_request(accelerator), rows)),
                "row_data": Out(data.ArrayLayout(operand_layout(pe), rows)),
                "row_asked": Out(rows),
                "column_request": In(data.ArrayLayout(column_request(accelerator), cols)),
                "column_data": Out(data.ArrayLayout(operand_layout(pe), cols)),
                "column_asked": Out(cols),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        beat = self._stream(m)
        for bank in range(self.banks):
            places = [self._memory(m, f"bank_{bank}_{place}") for place in range(self.width)]
            self._write(m, bank, beat, [write for write, _ in places])
            self._read(m, bank, [read for _, read in places])
        return m

    def _memory(self, m: Module, name: str) -> tuple[memory.WritePort, memory.ReadPort]:
        depth = (self.slots - 1 << self.word_bits) + self.words  # the slot's number is the address' high bits
        m.submodules[name] = block = memory.Memory(shape=self.entry_layout, depth=depth, init=[])
        return block.write_port(), block.read_port()

    def _blocks(self, banks: int) -> int:
        """Rounds of `banks` units of which a beat touches the same bank, at most."""
        units = range(1, width(self.accelerator.pe) + 1)
        return max((self.elements + unit - 2) // (banks * unit) + 1 for unit in units)

    def _stream(self, m: Module) -> _Beat:
        """Where in its load the beat is."""
        pe, array, beat = self.accelerator.pe, self.accelerator.array, self.beat
        depth = bursts_in_flight(self.accelerator) + 2  # one waits for the port, one has just been done
        m.submodules.loads = loads = SyncFIFO(width=load_layout().size, depth=depth)
        m.d.comb += [loads.w_en.eq(self.load), loads.w_data.eq(self.fields), loads.r_en.eq(beat.valid & beat.end)]
        fields = Signal(load_layout(), name="current")
        m.d.comb += fields.eq(loads.r_data)
        m.submodules.unpack = unpack = Unpack(self.accelerator)
        m.d.comb += [unpack.beat.eq(beat), unpack.kept.eq(fields.kept), unpack.group.eq(fields.group)]

        by_step, by_column = fields.banking == Banking.STEP_ROWS, fields.banking == Banking.LINE_COLS
        single = wire(m, "single", ~fields.across & ~by_step)
        step = Mux(fields.group == 0, pe.lanes, fields.group)
        unit = wire(m, "unit", Mux(fields.kept, fields.keep, Mux(fields.across, 1, step))[: width(pe).bit_length()])
        around = wire(m, "round", Mux(by_column, unit * array.cols, unit * array.rows))
        rise = wire(m, "rise", Mux(by_step, unit, fields.stride))

        position, entry = Signal(ENTRY_BITS), Signal(ENTRY_BITS)
        row_entry, bank = Signal(ENTRY_BITS), Signal(range(self.banks))
        last_bank = wire(m, "last_bank", bank == Mux(by_column, array.cols - 1, array.rows - 1))
        ahead = wire(m, "ahead", position + unpack.count)
        below = wire(m, "below", Mux(single & ~last_bank, row_entry, row_entry + Mux(fields.across, unit, fields.stride)))
        with m.If(beat.valid):
            m.d.sync += position.eq(ahead)
            least = min(array.rows, array.cols)
            for rounds in range(1, (least - 1 + self.elements) // least + 1):
                end = wire(m, f"end_{rounds}", around * rounds)
                with m.If(~single & (ahead >= end)):
                    m.d.sync += [position.eq(ahead - end), entry.eq(entry + rise * rounds)]
            with m.If(beat.last):
                m.d.sync += [position.eq(0), entry.eq(below), row_entry.eq(below), bank.eq(Mux(last_bank, 0, bank + 1))]
            with m.If(beat.end):
                m.d.sync += [position.eq(0), entry.eq(0), row_entry.eq(0), bank.eq(0)]
        present = wire(m, "present", unpack.present & beat.valid.replicate(self.elements))
        return _Beat(fields, unpack.entries, present, unit, around, single, position, entry, rise, bank)

    def _write(self, m: Module, bank: int, beat: _Beat, ports: list[memory.WritePort]) -> None:
        array, name = self.accelerator.array, f"bank_{bank}"
        widest = width(self.accelerator.pe)
        before = wire(m, f"{name}_before", beat.unit * bank)  # entries of a round before this bank's
        used = Mux(beat.fields.banking == Banking.LINE_COLS, int(bank < array.cols), int(bank < array.rows))
        behind = wire(m, f"{name}_behind", before + beat.unit <= beat.position)  # this round's unit came in earlier beats
        here = wire(m, f"{name}_here", beat.present & (beat.bank == bank).replicate(self.elements))
        ones = (Const(1) << beat.unit) - 1
        blocks = max(self._blocks(array.rows), self._blocks(array.cols))
        written: list[tuple[list[Signal], list[Signal], list[Value]]] = []  # a place's: here?, entry, word
        for block in range(blocks):
            label = f"{name}_{block}"
            rounds = wire(m, f"{label}_rounds", behind + block)
            first = wire(m, f"{label}_first", before + rounds * beat.round - beat.position)  # entry of the beat; may be < 0
            shift = wire(m, f"{label}_shift", (first + widest)[: (self.elements + widest).bit_length()])
            touched = wire(m, f"{label}_touched", (ones << shift)[widest : widest + self.elements])
            touched = touched & (used & (first < self.elements)).replicate(self.elements)
            # P of the beat's first entry, if that were of the block too.
            spread = beat.entry + rounds * beat.rise - first
            start = wire(m, f"{label}_start", Mux(beat.single, beat.entry + beat.position, spread)[:ENTRY_BITS])
            mine = Mux(beat.single, here if block == 0 else 0, touched & beat.present)
            place = start[: self.place_bits]
            mine = self._rotate(m, f"{label}_mine", Cat(mine, Const(0, self.width - self.elements)), place, 1, 1)
            entries = self._rotate(m, f"{label}_entries", beat.entries, place, self.entry_layout.size, 1)
            word = wire(m, f"{label}_word", start[self.place_bits :][: self.word_bits])
            mine, entries = (self._each(m, f"{label}_{i}", value) for i, value in (("mine", mine), ("entry", entries)))
            written.append((mine, entries, self._words(m, label, word, place)))
        slot = wire(m, f"{name}_slot", beat.fields.slot)
        for p, port in enumerate(ports):
            entry = reduce(or_, (Mux(mine[p], entries[p], 0) for mine, entries, _ in written))
            word = reduce(or_, (Mux(mine[p], words[p], 0) for mine, _, words in written))
            m.d.comb += [
                port.en.eq(reduce(or_, (mine[p] for mine, _, _ in written))),
                port.data.as_value().eq(entry),
                port.addr.eq(Cat(word, slot)),
            ]

    def _read(self, m: Module, bank: int, ports: list[memory.ReadPort]) -> None:
        pe, array, name = self.accelerator.pe, self.accelerator.array, f"bank_{bank}"
        asks: list[tuple[Value, data.View]] = []
        if bank < array.rows:
            request = self.row_request[bank]
            mine = request.operand_b if self.side == "b" else ~request.operand_b
            asks.append((request.valid & mine, request))
            m.d.sync += self.row_asked[bank].eq(asks[-1][0])
        if bank < array.cols:
            request = self.column_request[bank]
            mine = request.operand_a if self.side == "a" else ~request.operand_a
            asks.append((request.valid & mine, request))
            m.d.sync += self.column_asked[bank].eq(asks[-1][0])
        asked, (chosen, first), (_, last) = Cat(valid for valid, _ in asks).any(), asks[0], asks[-1]
        entry = wire(m, f"{name}_read_entry", Mux(chosen, first.entry, last.entry))
        slot = wire(m, f"{name}_read_slot", Mux(chosen, first.slot, last.slot))
        place = entry[: self.place_bits]
        at = self._words(m, f"{name}_read", entry[self.place_bits :][: self.word_bits], place)
        for p, port in enumerate(ports):
            m.d.comb += [port.en.eq(asked), port.addr.eq(Cat(at[p], slot))]
        turned = Signal(self.place_bits, name=f"{name}_turned", reset_less=True)
        m.d.sync += turned.eq(place)
        size = self.entry_layout.size
        found = self._rotate(m, f"{name}_found", Cat(port.data for port in ports), turned, size, -1)
        entries = [self.entry_layout(entry) for entry in self._each(m, f"{name}_entry", found)]
        answer = Signal(operand_layout(pe), name=f"{name}_answer")
        m.d.comb += answer.eq(Cat(*(entries[i].value for i in range(width(pe))), *(entries[i].index for i in range(pe.lanes))))
        if bank < array.rows:
            m.d.comb += self.row_data[bank].eq(answer)
        if bank < array.cols:
            m.d.comb += self.column_data[bank].eq(answer)

    def _rotate(self, m: Module, name: str, value: Value, by: Value, size: int, way: int) -> Value:
        """`width` items of `size` bits, each `by` places further (`way` = 1) or back (-1)."""
        for i in range(len(by)):
            value = wire(m, f"{name}_{i}", Mux(by[i], value.rotate_left(way * size << i), value))
        return value

    def _each(self, m: Module, name: str, value: Value) -> list[Signal]:
        """`width` equal parts of the value as nets of their own (a slice would drag the whole along wherever it is used)."""
        parts = [Signal(len(value) // self.width, name=f"{name}_of_{p}") for p in range(self.width)]
        m.d.comb += Cat(parts).eq(value)
        return parts

    def _words(self, m: Module, name: str, word: Value, place: Value) -> list[Value]:
        """Each place's word of `width` entries that begin at `place` of `word`."""
        following = wire(m, f"{name}_following", (word + 1)[: self.word_bits])
        wrapped = self._each(m, f"{name}_wrapped", ((Const(1) << place) - 1)[: self.width])
        return [Mux(each, following, word) for each in wrapped]
