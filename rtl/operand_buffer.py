"""An operand buffer: loads of either side's matrix are unpacked and spread over the banks, rows and columns of PEs read them.

Banks are linear memories of entries, a value and an index each: entry P of a bank is in word P // width, place P % width
(docs/machine.md says which entry of which bank an element is). A beat of a load is written at once if no two of its entries
meet in one place of one bank. For memory rows that are steps (`across`) the stride between a bank's lines sees to it where a
beat has more elements than there are banks: an odd one for dense operands; N * s for kept ones, s odd if N is a power of two,
else s % width = 1. So no two of them meet in one *lane* either, P % E for beats of E elements: a bank writes a lane of each.

Fill. `load` is high in the cycle in which a load starts, with its `fields`, at least two cycles before its first beat; loads
may start while beats of others before them are on their way. A `beat` (those of `rtl.dma`) is written at the end of the cycle
in which it is visible, so a request in the next cycle sees it. `rtl.operand_scatter` says where its entries go. A bank gets a
few runs of them (*blocks*), one of each round that the beat touches: entry e of a block goes to P = origin + e.

Read. A request of `rtl.array` in a cycle is answered in the next one: the entries from `entry` on. The buffer answers what
is asked of it (a: rows without `operand_b`, columns with `operand_a`), and says so in `row_asked` and `column_asked`; a bank
has one read port, for the row and the column of its number (`rtl.array` says why they never meet).

What may be asked for decides how much of a bank is built. If beats have no more elements than there are rows and columns,
strides are whole steps (docs/machine.md; the interpreter insists). Then dense reads begin at multiples of the D entries of a
step, a power of two, and stay within a word: entry i > 0 matters only where D > i, so its place is i modulo the least power of
two above i. Only the first `lanes` entries, those of a kept operand's beat, come from any place. Otherwise all do.

| memories of a bank    | where                                    | why that is enough                                  |
|-----------------------|------------------------------------------|-----------------------------------------------------|
| two, half a word each | E <= rows, cols; E, lanes <= half a word | a run of E or lanes entries touches two halves that |
|                       |                                          | follow each other, at most: one in either memory    |
| one for each place    | otherwise                                | any `width` consecutive entries, or several runs    |
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# Amaranth makes ports attributes at run time.

from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Literal

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from rtl.array_ports import column_request, row_request
from rtl.choose import choose
from rtl.operand_scatter import Scatter, blocks, entry_bits
from rtl.operand_unpack import Unpack, beat_layout, entry_layout, load_layout
from rtl.pe import operand_layout, width
from rtl.pipeline import wire
from simulator.arch import Accelerator
from simulator.layout import bus_elements, operand_banks, operand_words, word_elements

__all__ = ["OperandBuffer"]


@dataclass(frozen=True, slots=True)
class _Beat:
    """The visible beat: entries as bits, which are present, and for each its bank, its block there, and `origin` = P - e."""

    entries: list[Value]
    present: Value
    slot: Value
    bank: list[Value]
    block: list[Value]
    origin: list[Value]
    chunk: list[Value]  # origin // E, and the one after it
    next_chunk: list[Value]
    low_word: list[Value]  # of the lower halves that E entries from the origin on touch


@dataclass(frozen=True, slots=True)
class _Run:
    """A block in a bank: the lanes that it writes, and its origin's lane and chunks."""

    lanes: Value
    turn: Value
    chunk: Value
    next_chunk: Value
    low_word: Value


@dataclass(frozen=True, slots=True)
class _Lane:
    """What a bank gets for P % E = the lane: is there anything, its bits, and its chunk P // E."""

    here: Value
    entry: Value
    chunk: Value


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
        self.place_bits, self.word_bits = entry_bits(accelerator, side)
        self.lane_bits = (self.elements - 1).bit_length()
        self.entry_layout = entry_layout(pe)
        self.blocks = blocks(accelerator)
        self.aligned = self.elements <= min(rows, cols)
        halves = self.aligned and 2 * max(self.elements, pe.lanes) <= self.width
        self.memories = 2 if halves else self.width
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
        beat = self._beat(m)
        for bank in range(self.banks):
            ports = [self._memory(m, f"bank_{bank}_{number}") for number in range(self.memories)]
            self._write(m, bank, beat, [write for write, _ in ports])
            self._read(m, bank, [read for _, read in ports])
        return m

    def _memory(self, m: Module, name: str) -> tuple[memory.WritePort, memory.ReadPort]:
        depth = (self.slots - 1 << self.word_bits) + self.words  # the slot's number is the address' high bits
        shape = data.ArrayLayout(self.entry_layout, self.width // self.memories)
        m.submodules[name] = block = memory.Memory(shape=shape, depth=depth, init=[])
        return block.write_port(granularity=1), block.read_port()

    def _beat(self, m: Module) -> _Beat:
        m.submodules.scatter = scatter = Scatter(self.accelerator, self.side)
        m.submodules.unpack = unpack = Unpack(self.accelerator)
        m.d.comb += [scatter.load.eq(self.load), scatter.fields.eq(self.fields), unpack.beat.eq(self.beat)]
        m.d.comb += [getattr(scatter, name).eq(getattr(self.beat, name)) for name in ("valid", "last", "end")]
        m.d.comb += [getattr(unpack, name).eq(getattr(scatter, name)) for name in ("extra", "skip", "least")]
        each = range(self.elements)
        origin = [scatter.origin[e] for e in each]
        chunk = [origin[e][self.lane_bits :] for e in each]
        halves = [(value[self.place_bits :], value[self.place_bits - 1] if self.place_bits else 0) for value in origin]
        return _Beat(
            entries=[wire(m, f"entry_{e}", unpack.entries[e].as_value()) for e in each],
            present=unpack.present,
            slot=scatter.slot,
            bank=[scatter.bank[e] for e in each],
            block=[scatter.block[e] for e in each],
            origin=origin,
            chunk=chunk,
            next_chunk=[wire(m, f"next_chunk_{e}", (chunk[e] + 1)[: len(chunk[e])]) for e in each],
            low_word=[wire(m, f"low_word_{e}", (word + half)[: self.word_bits]) for e, (word, half) in enumerate(halves)],
        )

    def _write(self, m: Module, bank: int, beat: _Beat, ports: list[memory.WritePort]) -> None:
        name = f"bank_{bank}"
        here = wire(m, f"{name}_here", Cat(beat.present[e] & (beat.bank[e] == bank) for e in range(self.elements)))
        runs = [self._run(m, name, beat, here, number) for number in range(self.blocks)]
        lanes = [self._lane(m, name, beat, runs, lane) for lane in range(self.elements)]
        deep = self.place_bits - self.lane_bits  # bits of P // E that say which of a lane's places it is
        each = self.width // self.memories
        for number, port in enumerate(ports):
            places = range(number * each, (number + 1) * each)
            mine = [lanes[place % self.elements] for place in places]
            halves = (runs[0].low_word, runs[0].chunk[deep:])
            word = mine[0].chunk[deep:] if each == 1 else halves[number]
            chunks = [place // self.elements for place in places]
            m.d.comb += [
                port.en.eq(Cat(lane.here & (lane.chunk[:deep] == chunk) for lane, chunk in zip(mine, chunks, strict=True))),
                port.data.as_value().eq(Cat(lane.entry for lane in mine)),
                port.addr.eq(Cat(word[: self.word_bits], beat.slot)),
            ]

    def _run(self, m: Module, name: str, beat: _Beat, here: Value, number: int) -> _Run:
        """A bank's entries of one round of the beat, and where they go."""
        label = f"{name}_{number}"
        if self.blocks > 1:
            here = Cat(here[e] & (beat.block[e] == number) for e in range(self.elements))
        here = wire(m, f"{label}_run", here)
        before = [here[:e].any() for e in range(self.elements)]
        bits = (self.elements - 1).bit_length()
        first = wire(
            m, f"{label}_first", reduce(or_, (Mux(here[e] & ~before[e], e, 0) for e in range(self.elements)))[: max(1, bits)]
        )

        def of(what: str, values: list[Value]) -> Signal:
            return choose(m, f"{label}_{what}", values, first)

        turn = of("turn", [origin[: self.lane_bits] for origin in beat.origin]) if self.lane_bits else Const(0, 1)
        lanes = wire(m, f"{label}_lanes", self._turned(m, f"{label}_here", here, turn, 1))
        chunks = of("chunk", beat.chunk), of("next_chunk", beat.next_chunk)
        return _Run(lanes, turn, *chunks, of("low_word", beat.low_word))

    def _lane(self, m: Module, name: str, beat: _Beat, runs: list[_Run], lane: int) -> _Lane:
        """What of the beat goes to the bank's places of a lane."""
        label = f"{name}_{lane}"
        chunks = [Mux(run.turn > lane, run.next_chunk, run.chunk) for run in runs]
        number = [(lane - run.turn)[: self.lane_bits] for run in runs]  # of the entry
        if self.blocks == 1:
            chunk, chosen = chunks[0], number[0]
        else:
            chunk = reduce(or_, (Mux(run.lanes[lane], value, 0) for run, value in zip(runs, chunks, strict=True)))
            chosen = reduce(or_, (Mux(run.lanes[lane], value, 0) for run, value in zip(runs, number, strict=True)))
        here = wire(m, f"{label}_written", Cat(run.lanes[lane] for run in runs).any())
        chosen = wire(m, f"{label}_chosen", chosen[: max(1, self.lane_bits)])
        entry = choose(m, f"{label}_data", beat.entries, chosen)
        return _Lane(here, entry, wire(m, f"{label}_chunk", chunk))

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
        word = wire(m, f"{name}_read_word", entry[self.place_bits :][: self.word_bits])
        following = wire(m, f"{name}_read_following", (word + 1)[: self.word_bits])
        each, reach = self.width // self.memories, pe.lanes if self.aligned else self.width
        for number, port in enumerate(ports):
            # A run of `reach` entries gets to this memory in the next word if it begins behind it.
            behind = place >= (number + 1) * each if number * each < reach - 1 else Const(0, 1)
            m.d.comb += [port.en.eq(asked), port.addr.eq(Cat(Mux(behind, following, word), slot))]
        turned = Signal(self.place_bits, name=f"{name}_turned", reset_less=True)
        m.d.sync += turned.eq(place)
        answer = Signal(operand_layout(pe), name=f"{name}_answer")
        entries = self._found(m, name, [port.data[place] for port in ports for place in range(each)], turned)
        m.d.comb += answer.eq(Cat(*(entries[i].value for i in range(width(pe))), *(entries[i].index for i in range(pe.lanes))))
        if bank < array.rows:
            m.d.comb += self.row_data[bank].eq(answer)
        if bank < array.cols:
            m.d.comb += self.column_data[bank].eq(answer)

    def _found(self, m: Module, name: str, places: list[data.View], turned: Value) -> list[data.View]:
        """The entries from place `turned` on, as far as they matter."""
        reach, size = self.accelerator.pe.lanes if self.aligned else self.width, self.entry_layout.size
        shown = [wire(m, f"{name}_place_{p}", place.as_value()) for p, place in enumerate(places)]
        if reach == 1:
            rotated = choose(m, f"{name}_first", shown, turned)
        else:
            rotated = self._turned(m, f"{name}_found", Cat(shown), turned, -size)
        found = [wire(m, f"{name}_entry_{i}", rotated[i * size : (i + 1) * size]) for i in range(reach)]
        for i in range(reach, self.width):
            low = i.bit_length()
            choice = shown[i :: 1 << low]
            found.append(choose(m, f"{name}_entry_{i}", choice, turned[low:]))
        return [self.entry_layout(entry) for entry in found]

    def _turned(self, m: Module, name: str, value: Value, by: Value, size: int) -> Value:
        """Items of |size| bits, each `by` places further, or back where size < 0."""
        for i in range(len(by)):
            value = wire(m, f"{name}_{i}", Mux(by[i], value.rotate_left(size << i if size > 0 else -(-size << i)), value))
        return value
