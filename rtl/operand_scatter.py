"""Where the entries of a beat of a load go: each one's bank and place in it, known in a register when the beat is visible.

A row of memory is a *stream* of entries, units of U entries each: the elements of a step or one element (dense), the N kept
ones of a step and line. Units go to banks in turn, round after round, but for `across` = 0 and a bank for each line, where a
row goes to one bank (`single`). Every beat is full but the last of a memory row, so where the next beat begins does not depend
on what is in this one: only on whether it is the row's or the load's last. Both ways are worked out ahead:

| register | what                                                                                                     |
|----------|----------------------------------------------------------------------------------------------------------|
| head     | the load whose beats come; behind it one that waits in `next`, others in a queue                         |
| ports    | banks and places of the visible beat, or of the next to come                                             |
| ahead    | where the beat after that begins, if that is in the same row: offset in the unit, bank, the round's base  |
| below    | bank and base of the next row                                                                            |

Example: 2 banks, width 8, beats of 4 entries, N = 3 kept of a step, banking 2, line 0; "2.1" is step 2, second entry:

| beat | entries         | begins at      | bank 0: P of          | bank 1: P of              |
|------|-----------------|----------------|-----------------------|---------------------------|
| 0    | 0.0 0.1 0.2 1.0 | bank 0, P 0    | 0.0: 0  0.1: 1  0.2: 2| 1.0: 0                    |
| 1    | 1.1 1.2 2.0 2.1 | bank 1, P 1    | 2.0: 3  2.1: 4        | 1.1: 1  1.2: 2            |
| 2    | 2.2 3.0 3.1 3.2 | bank 0, P 5    | 2.2: 5                | 3.0: 3  3.1: 4  3.2: 5    |

A load is announced (`load`, with its `fields`) two cycles before its first beat or earlier: the memory answers a cycle after a
request at the earliest, and the DMA shows what it answered a cycle later.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Literal

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from rtl.choose import choose
from rtl.dma import bursts_in_flight
from rtl.operand_unpack import load_layout, longest_entry
from rtl.pe import width
from rtl.pipeline import wire
from simulator.arch import Accelerator
from simulator.layout import Banking, bus_bytes, bus_elements, operand_banks, operand_words, word_elements

FEW = 8  # elements of a beat up to which every number of units that they pass is worked out

__all__ = ["Scatter", "blocks", "entry_bits"]


def entry_bits(accelerator: Accelerator, side: Literal["a", "b"]) -> tuple[int, int]:
    """Bits of an entry's place in its word, and of the word in the slot."""
    return (word_elements(accelerator) - 1).bit_length(), max(1, (operand_words(accelerator, side) - 1).bit_length())


def blocks(accelerator: Accelerator) -> int:
    """Rounds of which a beat touches the same bank, at most: a bank gets a run of entries of each."""
    elements, units = bus_elements(accelerator), range(1, width(accelerator.pe) + 1)
    banks = min(accelerator.array.rows, accelerator.array.cols)
    return max((elements + unit - 2) // (banks * unit) + 1 for unit in units)


class Scatter(wiring.Component):
    """For entry e of the beat: its `bank`, of which `block` there it is, and `origin` = P - e, the same for all of a block."""

    def __init__(self, accelerator: Accelerator, side: Literal["a", "b"]) -> None:
        self.accelerator = accelerator
        self.elements, self.width = bus_elements(accelerator), word_elements(accelerator)
        self.entry_bits = sum(entry_bits(accelerator, side))
        array, elements = accelerator.array, self.elements
        least = min(array.rows, array.cols)
        self.rounds = (least - 1 + elements) // least  # that a beat, and the entry after it, may begin
        self.slots = (accelerator.a_buffer if side == "a" else accelerator.b_buffer).slots
        self.most = (accelerator.pe.group - 1).bit_length()  # index bits
        self._bank = range(operand_banks(accelerator))
        super().__init__(
            {
                "load": In(1),
                "fields": In(load_layout()),
                "valid": In(1),
                "last": In(1),
                "end": In(1),
                "slot": Out(range(self.slots)),
                "extra": Out(range(self.most + 1)),
                "skip": Out(range(longest_entry(accelerator.pe))),
                "least": Out(data.ArrayLayout(range(2 * bus_bytes(accelerator) + 1), elements)),
                "bank": Out(data.ArrayLayout(self._bank, elements)),
                "block": Out(data.ArrayLayout(range(self.rounds + 1), elements)),
                "origin": Out(data.ArrayLayout(self.entry_bits, elements)),
            }
        )

    def _load_layout(self) -> data.StructLayout:
        """What a load means for its beats."""
        return data.StructLayout(
            {
                "slot": range(self.slots),
                "extra": range(self.most + 1),  # index bits of an entry
                "unit": range(self.width + 1),
                "rise": self.entry_bits,  # from a round to the next
                "fall": self.entry_bits,  # from a row to the next, or to the next of the same bank
                "single": 1,
                "columns": 1,
            }
        )

    def _point_layout(self) -> data.StructLayout:
        """Where a beat begins: in the unit, in which bank, the round's first entry there; bits of its first entry before it.

        `more`: with them a full beat completes an entry more than without any.
        """
        cut = self.skip.shape()
        return data.StructLayout(
            {"offset": range(self.width), "bank": self._bank, "base": self.entry_bits, "cut": cut, "more": 1}
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        following, starts, head = self._loads(m)
        load = Signal(self._load_layout(), name="load_of_next")
        m.d.comb += load.eq(Mux(starts, following, head))
        point, ahead = Signal(self._point_layout(), name="point"), Signal(self._point_layout(), name="ahead")
        row, below = Signal(self._point_layout(), name="row"), Signal(self._point_layout(), name="below")
        rows = Mux(load.columns, self.accelerator.array.cols, self.accelerator.array.rows)
        with m.If(~starts):
            m.d.comb += [point.eq(Mux(self.last, below, ahead)), row.eq(below)]
        last_bank = wire(m, "last_bank", row.bank + 1 == rows)
        with m.If(starts | (self.valid & self.last)):
            m.d.sync += [
                below.bank.eq(Mux(load.single & ~last_bank, row.bank + 1, 0)),
                below.base.eq(row.base + Mux(load.single & ~last_bank, 0, load.fall)),
            ]
        moves = wire(m, "moves", starts | self.valid)
        with m.If(moves):
            m.d.sync += [head.eq(load), ahead.eq(self._place(m, moves, load, point, rows))]
        m.d.comb += [self.slot.eq(head.slot), self.extra.eq(head.extra)]
        return m

    def _loads(self, m: Module) -> tuple[data.View, Value, data.View]:
        """The load that follows, whether it starts (its first beat is the next), and the one whose beats come."""
        fields, pe, layout = self.fields, self.accelerator.pe, self._load_layout()
        steps, columns = fields.banking == Banking.STEP_ROWS, fields.banking == Banking.LINE_COLS
        depth = Mux(fields.group == 0, pe.lanes, fields.group)
        index = sum((fields.group > 1 << i for i in range(self.most)), Const(0, 1))
        came = Signal(layout, name="came")
        m.d.comb += [
            came.slot.eq(fields.slot),
            came.extra.eq(Mux(fields.kept, index, 0)),
            came.unit.eq(Mux(fields.kept, fields.keep, Mux(fields.across, 1, depth))),
            came.rise.eq(Mux(steps, came.unit, fields.stride)),
            came.fall.eq(Mux(fields.across, came.unit, fields.stride)),
            came.single.eq(~fields.across & ~steps),
            came.columns.eq(columns),
        ]
        depth = bursts_in_flight(self.accelerator) + 2  # one waits for the port, one has just been done
        m.submodules.loads = queue = SyncFIFO(width=layout.size, depth=depth)
        head, following = Signal(layout, name="head", reset_less=True), Signal(layout, name="next", reset_less=True)
        waits, busy = Signal(), Signal()
        leaves = wire(m, "leaves", self.valid & self.end)
        starts = wire(m, "starts", waits & (~busy | leaves))
        refills = wire(m, "refills", ~waits | starts)
        m.d.sync += busy.eq(starts | (busy & ~leaves))
        m.d.comb += [
            queue.w_data.eq(came),
            queue.w_en.eq(self.load & (queue.r_rdy | ~refills)),
            queue.r_en.eq(refills),
        ]
        with m.If(refills):
            m.d.sync += [waits.eq(queue.r_rdy | self.load), following.eq(Mux(queue.r_rdy, layout(queue.r_data), came))]
        return following, starts, head

    def _place(self, m: Module, moves: Value, load: data.View, point: data.View, rows: Value) -> data.View:
        """Registers the ports of the beat that begins at `point`; returns where the one after it begins."""
        # Unit after unit: bit i is set if entry i begins one, counted from the first entry of the point's unit.
        sizes = [wire(m, f"unit_is_{size}", load.unit == size) for size in range(1, self.width + 1)]
        longest = self.width + self.elements
        marks = [
            reduce(or_, (sizes[size - 1] for size in range(1, self.width + 1) if i % size == 0)) for i in range(1, longest)
        ]
        pattern = wire(m, "pattern", Mux(load.single, 0, Cat(Const(0, 1), *marks)))
        begins = wire(m, "begins", (pattern >> point.offset)[: self.elements + 1])

        ahead = Signal(self._point_layout(), name="ahead_next")
        count = self._advance(m, moves, load, point, ahead)
        bases = [wire(m, f"base_{r}", (point.base + load.rise * r)[: self.entry_bits]) for r in range(self.rounds + 1)]
        bank_of = self._banks(m, point, rows)
        for e, (units, offset) in enumerate(self._scan(m, begins, point.offset)):
            bank, whole = bank_of(e, units)
            base = choose(m, f"base_of_{e}", bases, whole)
            if e < self.elements:
                origin = wire(m, f"origin_{e}", (base + offset - e)[: self.entry_bits])
                with m.If(moves):
                    m.d.sync += [
                        self.bank[e].eq(bank),
                        self.block[e].eq(whole - (bank < point.bank)),
                        self.origin[e].eq(origin),
                    ]
            with m.If(count == e):
                m.d.comb += [
                    ahead.offset.eq(Mux(load.single, 0, offset)),
                    ahead.bank.eq(bank),
                    ahead.base.eq(Mux(load.single, point.base + e, base)),
                ]
        return ahead

    def _banks(self, m: Module, point: data.View, rows: Value) -> Callable[[int, Value], tuple[Value, Value]]:
        """What gives bank and round of an entry whose unit is some units behind the point's."""
        kind = data.StructLayout({"bank": self._bank, "round": range(self.rounds + 1)})

        def behind(name: str, units: Value) -> data.View:
            total, found = wire(m, f"{name}_total", point.bank + units), Signal(kind, name=name)
            m.d.comb += found.round.eq(sum((total >= rows * r for r in range(1, self.rounds + 1)), Const(0, 1)))
            less = choose(
                m,
                f"{name}_less",
                [Const(0, len(total)), *((rows * r)[: len(total)] for r in range(1, self.rounds + 1))],
                found.round,
            )
            m.d.comb += found.bank.eq(total - less)
            return found

        if self.elements <= FEW:  # all there can be, side by side
            each = [behind(f"bank_after_{units}", Const(units)) for units in range(self.elements + 1)]

            def of(e: int, units: Value) -> tuple[Value, Value]:
                found = kind(choose(m, f"bank_of_{e}", each[: e + 1], units))
                return found.bank, found.round
        else:

            def of(e: int, units: Value) -> tuple[Value, Value]:
                found = behind(f"bank_of_{e}", units)
                return found.bank, found.round

        return of

    def _advance(self, m: Module, moves: Value, load: data.View, point: data.View, ahead: data.View) -> Value:
        """Entries that a full beat from `point` on completes, and what it leaves; registers what `rtl.operand_unpack` needs."""
        bits, bus = self.accelerator.pe.number.operand_bits, 8 * bus_bytes(self.accelerator)
        count, least = Signal(range(self.elements + 1), name="count"), Signal(self.least.shape(), name="least_next")
        with m.Switch(load.extra):
            for extra in range(self.most + 1):
                size = bits + extra
                whole, rest = divmod(bus, size)
                with m.Case(extra):
                    m.d.comb += [
                        count.eq(Mux(point.more, whole + 1, whole)),
                        ahead.cut.eq(point.cut + Mux(point.more, rest - size, rest)),
                        ahead.more.eq(point.cut >= Mux(point.more, 2 * (size - rest), max(0, size - 2 * rest))),
                    ]
                    m.d.comb += [least[e].eq(((e + 1) * size + 7 - point.cut) >> 3) for e in range(self.elements)]
        with m.If(moves):
            m.d.sync += [self.skip.eq(longest_entry(self.accelerator.pe) - 1 - point.cut), self.least.eq(least)]
        return count

    def _scan(self, m: Module, begins: Value, offset: Value) -> list[tuple[Value, Value]]:
        """For each entry, and the one after the beat's last: units that began up to it, and where it is in its unit."""
        size = len(begins)
        found = [(wire(m, f"scan_0_{e}", begins[e]), begins[e], Const(0, 1) if e else offset) for e in range(size)]
        step = 1
        while step < size:  # an entry's are those of a run of entries that ends with it: two runs make a longer one
            runs = list(found)
            for e in range(step, size):
                (units, some, at), (before, any_before, at_before) = found[e], found[e - step]
                runs[e] = (
                    wire(m, f"units_{step}_{e}", (units + before)[: size.bit_length()]),
                    wire(m, f"some_{step}_{e}", some | any_before),
                    wire(m, f"at_{step}_{e}", Mux(some, at, at_before + step)[: (2 * self.width - 1).bit_length()]),
                )
            found, step = runs, 2 * step
        return [(units, at) for units, _, at in found]
