"""The result buffer: accumulators that the array adds to and that a store reads, rounds and sends to memory row by row.

Column c of the array owns bank c (docs/machine.md, 'Result buffer'). Each place of a bank's word has its own memory, and so has
each slot: the array and a store work on different slots at the same time.

Array. A sum that is asked for in a cycle is shown in the next; `results` are written in the cycle in which they are shown, and
a request of that cycle sees them only where the array needs that (no cycle for multiplication and tree).

Store. `start` is high in the cycle in which a store starts, with its `fields`: rows are m, columns n. `beats` are its rows in
bus beats, n fastest, results narrowed; if nothing stands before it, the first is valid 4 cycles later, then one a cycle. Unused
bits of a row's last beat are 0. A store may start when the last beat of the one before the one before it has been taken.

| cycle after start | 1                 | 2                          | 3        | 4       |
|-------------------|-------------------|----------------------------|----------|---------|
| first beat        | asks the memories | chosen from what they show | narrowed | `beats` |

The results of a beat lie in different places of a bank if they lie in one bank: those of a row, in column folds that follow
each other, by the fold's turn; those of a swapped row, in places that follow each other.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# Amaranth makes ports attributes at run time.

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from rtl.array_ports import buffer_slot_bits, place_bits, sum_request, sum_write, word_bits
from rtl.block_ram import block_ram
from rtl.dma import bursts_in_flight
from rtl.fp import NUMBERS, Narrow
from rtl.pe import product_cycles
from rtl.pipeline import wire
from simulator.arch import Accelerator
from simulator.encoding import FIELDS, Opcode
from simulator.layout import bus_bytes, result_places, result_words

__all__ = ["ResultBuffer", "store_layout"]


def store_layout() -> data.StructLayout:
    """The fields of a store that say what to read."""
    return data.StructLayout({name: FIELDS[Opcode.STORE_C][name] for name in ("slot", "rows", "swapped", "columns", "stride")})


class ResultBuffer(wiring.Component):
    """The c buffer of an accelerator."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator, number = accelerator, accelerator.pe.number
        self.cols, self.slots = accelerator.array.cols, accelerator.c_buffer.slots
        self.places, self.words = result_places(accelerator), result_words(accelerator)
        self.bits, self.bus_bits = number.accumulator_bits, 8 * bus_bytes(accelerator)
        super().__init__(
            {
                "sums_request": In(data.ArrayLayout(sum_request(accelerator), self.cols)),
                "sums_data": Out(data.ArrayLayout(self.bits, self.cols)),
                "results": In(data.ArrayLayout(sum_write(accelerator), self.cols)),
                "start": In(1),
                "fields": In(store_layout()),
                "beats": Out(stream.Signature(self.bus_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        ask = _Ask(m, self)
        shown: dict[tuple[int, int, int], Value] = {}
        for slot in range(self.slots):
            stores = wire(m, f"slot_{slot}_stores", ask.valid & (ask.slot == slot))
            for bank in range(self.cols):
                for place in range(self.places):
                    shown[slot, bank, place] = self._memory(m, slot, bank, place, stores, ask)
        self._answers(m, shown)
        self._beats(m, ask, shown)
        return m

    def _memory(self, m: Module, slot: int, bank: int, place: int, stores: Value, ask: "_Ask") -> Value:
        later = product_cycles(self.accelerator.pe) > 0  # a sum is asked for when it is in the memory, or on its way into it
        block = block_ram(self.bits, self.words) if later else memory.Memory(shape=self.bits, depth=self.words, init=[])
        m.submodules[f"sums_{slot}_{bank}_{place}"] = block
        write = block.write_port()
        read = block.read_port(transparent_for=() if later else (write,))
        result, request = self.results[bank], self.sums_request[bank]
        wanted = request.valid & (request.slot == slot) & (request.place == place)
        m.d.comb += [
            write.en.eq(result.valid & (result.slot == slot) & (result.place == place)),
            write.addr.eq(result.word),
            write.data.eq(result.sum),
            read.en.eq(wanted | (stores & ask.moves)),
            read.addr.eq(Mux(stores, ask.words[place], request.word)),
        ]
        return read.data

    def _answers(self, m: Module, shown: dict[tuple[int, int, int], Value]) -> None:
        for bank in range(self.cols):
            request = self.sums_request[bank]
            slot = Signal(buffer_slot_bits(self.accelerator), name=f"slot_{bank}", reset_less=True)
            place = Signal(place_bits(self.accelerator), name=f"place_{bank}", reset_less=True)
            m.d.sync += [slot.eq(request.slot), place.eq(request.place)]
            each = ((i, p, shown[i, bank, p]) for i in range(self.slots) for p in range(self.places))
            m.d.comb += self.sums_data[bank].eq(reduce(or_, (Mux((slot == i) & (place == p), x, 0) for i, p, x in each)))

    def _beats(self, m: Module, ask: "_Ask", shown: dict[tuple[int, int, int], Value]) -> None:
        """From what the memories show to the bus: the beat's sums in order of n, then rounded."""
        places, cols, bits = self.places, self.cols, self.bits
        about = Signal(ask.layout, name="chosen")  # what was asked for in the cycle before
        rounded = Signal(ask.layout, name="narrowed")
        with m.If(ask.moves):
            m.d.sync += [about.eq(ask.about), rounded.eq(about)]
        turned: list[Value] = []  # of each bank, from the beat's first fold or line on
        for bank in range(cols):
            slots = ((Mux(about.slot == i, Cat(shown[i, bank, p] for p in range(places)), 0)) for i in range(self.slots))
            value = wire(m, f"bank_{bank}", reduce(or_, slots))
            for i in range((places - 1).bit_length()):
                value = wire(m, f"turned_{bank}_{i}", Mux(about.turn[i], value.rotate_right(bits << i), value))
            turned.append(value)
        folds = (cols - 1 + places - 1) // cols + 1  # that a beat touches, at most
        sums = [self._each(m, f"sum_{bank}", turned[bank], places) for bank in range(cols)]
        row = wire(m, "row", Cat(sums[bank][fold] for fold in range(min(folds, places)) for bank in range(cols)))
        row = wire(m, "wide_row", Cat(row, Const(0, max(0, (cols + places) * bits - len(row)))))
        for i in range((cols - 1).bit_length()):
            row = wire(m, f"row_{i}", Mux(about.bank[i], row >> (bits << i), row))
        line = wire(m, "line", reduce(or_, (Mux(about.bank == bank, turned[bank], 0) for bank in range(cols))))
        chosen = Signal(places * bits, reset_less=True)
        with m.If(ask.moves):
            m.d.sync += chosen.eq(Mux(about.swapped, line, row[: places * bits]))
        number, results = NUMBERS[self.accelerator.pe.format], []
        for i, value in enumerate(self._each(m, "chosen_sum", chosen, places)):
            m.submodules[f"narrow_{i}"] = narrow = Narrow(number, 0)
            m.d.comb += [narrow.en.eq(1), narrow.value.eq(value)]
            results.append(Mux(rounded.left > i, narrow.result, 0))
        payload, valid = Signal(self.bus_bits, reset_less=True), Signal()
        with m.If(ask.moves):
            m.d.sync += [payload.eq(Cat(results)), valid.eq(rounded.valid)]
        m.d.comb += [self.beats.payload.eq(payload), self.beats.valid.eq(valid), ask.moves.eq(self.beats.ready | ~valid)]

    def _each(self, m: Module, name: str, value: Value, count: int) -> list[Signal]:
        """Equal parts of the value as nets of their own."""
        parts = [Signal(len(value) // count, name=f"{name}_{i}") for i in range(count)]
        m.d.comb += Cat(parts).eq(value)
        return parts


class _Ask:
    """Walks through the stores' beats: in each cycle in which the beats behind it move (`moves`), the next.

    `words`: what each place's memories show in the next cycle. `about`: the beat; `bank` is its first result's (swapped: the
    row's), `turn` that result's place, `left` the row's results from there on.
    """

    def __init__(self, m: Module, buffer: ResultBuffer) -> None:
        cols, places = buffer.cols, buffer.places
        size, low = FIELDS[Opcode.STORE_C]["columns"], (places - 1).bit_length()
        waiting = bursts_in_flight(buffer.accelerator) + 1  # stores whose beats a slow memory has not taken
        m.submodules.stores = stores = SyncFIFO(width=store_layout().size, depth=waiting)
        fields = Signal(store_layout(), name="store")
        m.d.comb += [stores.w_en.eq(buffer.start), stores.w_data.eq(buffer.fields), fields.eq(stores.r_data)]
        self.layout = data.StructLayout(
            {"valid": 1, "slot": 4, "swapped": 1, "bank": range(max(2, cols)), "turn": max(1, low), "left": size}
        )
        self.about, self.moves = Signal(self.layout, name="asked"), Signal(name="moves")
        self.valid, self.slot = wire(m, "asks", stores.r_rdy), fields.slot
        row, n = Signal(len(fields.rows)), Signal(size)  # of the beat; its first column
        bank, fold = Signal(range(max(2, cols))), Signal(size)  # of n (swapped: of the row)
        wide = max(size, word_bits(buffer.accelerator))
        base, word = Signal(wide), Signal(wide)  # before the row's words; swapped: before the beat's
        left = wire(m, "left", fields.columns - n)
        last = wire(m, "last", left <= places)
        ends = wire(m, "ends", last & (row + 1 == fields.rows))
        moves = wire(m, "asks_and_moves", self.valid & self.moves)
        m.d.comb += stores.r_en.eq(moves & ends)
        further = wire(m, "further", bank + places % cols)  # the next beat's bank, if in range
        with m.If(moves):
            m.d.sync += [n.eq(n + places), word.eq(word + fields.stride)]
            with m.If(~fields.swapped):
                m.d.sync += [bank.eq(further), fold.eq(fold + places // cols)]
                with m.If(further >= cols):
                    m.d.sync += [bank.eq(further - cols), fold.eq(fold + places // cols + 1)]
            with m.If(last):
                m.d.sync += [n.eq(0), word.eq(0), row.eq(row + 1)]
                with m.If(~fields.swapped):
                    m.d.sync += [bank.eq(0), fold.eq(0)]
                    with m.If((row + 1)[:low] == 0 if low else Const(1)):
                        m.d.sync += base.eq(base + fields.stride)
                with m.Else():
                    m.d.sync += bank.eq(bank + 1)
                    with m.If(bank == cols - 1):
                        m.d.sync += [bank.eq(0), fold.eq(fold + 1)]
            with m.If(ends):
                m.d.sync += [row.eq(0), bank.eq(0), fold.eq(0), base.eq(0)]
        turn = wire(m, "turn", (Mux(fields.swapped, 0, row) + fold)[: max(1, low)] if low else Const(0, 1))
        bits = word_bits(buffer.accelerator)
        self.words: list[Value] = []
        for place in range(places):
            later = (place - turn)[:low] if low else Const(0, 1)  # folds after the beat's first that lie in this place
            self.words.append(wire(m, f"word_{place}", (Mux(fields.swapped, word + fold, base + fold + later))[:bits]))
        m.d.comb += [
            self.about.valid.eq(self.valid),
            self.about.slot.eq(fields.slot),
            self.about.swapped.eq(fields.swapped),
            self.about.bank.eq(bank),
            self.about.turn.eq(turn),
            self.about.left.eq(left),
        ]
