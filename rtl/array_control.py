"""Executes one Multiply after another: says for every cycle what the array's corner does, asks for, and sends out.

Folds, their order and their slots are those of `simulator.timing`. In a slot's first cycles the next fold's stationary words
are asked for (WS, IS), or its earlier sums (OS, accumulating); in the head, before the first slot, the first fold's.

| state  | lasts                                                                 | emits                                     |
|--------|-----------------------------------------------------------------------|-------------------------------------------|
| head   | shift cycles; none in OS without accumulation                         | the first fold's words, or sums           |
| slot   | max(stream, shift), and until the partial sums of a part's first fold | beats; the next fold's words, or sums     |
|        | are in the c buffer, if the next part of the reduction is to follow   |                                           |
| behind | (rows - 1) * (hop - 1) cycles                                         | nothing                                   |

In an array of some rows a command's terms, and the fold after its first, take registers' time to settle: nothing needs them
earlier; with a beat a cycle, a slot's end is a register too, worked out in the cycle before, since hundreds of registers wait
for it. Addresses are added up from request to request.

The sums of an OS fold are copied at the end of its slot and leave in the cycles after it, row by row, whatever the state.

Example, OS, one PE of interleave 1, dense, m=1, k=2, n=2, accumulate latency 1, multiply latency 0, no accumulation:

| cycle after acceptance | 1        | 2        | 3        | 4        | 5            | 6        | 7            |
|------------------------|----------|----------|----------|----------|--------------|----------|--------------|
| asked for              | n=0, k=0 | n=0, k=1 | n=1, k=0 | n=1, k=1 | next command |          |              |
| beat                   |          | n=0, k=0 | n=0, k=1 | n=1, k=0 | n=1, k=1     |          |              |
| copied                 |          |          |          | n=0      |              | n=1      |              |
| written                |          |          |          |          | n=0          |          | n=1: done    |
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.array_fetch import fetch_next
from rtl.array_folds import Folds, derive, settles
from rtl.array_ports import (
    arrival_layout,
    bundle_layout,
    column_request,
    command_layout,
    drain_layout,
    left_bits,
)
from rtl.array_stream import Stream, even
from rtl.array_sums import at_most, drain_fold
from rtl.pipeline import wire
from simulator.arch import Accelerator

__all__ = ["Control"]


class Control(wiring.Component):
    """`finished` is high in a command's last cycle, with `resident` for WS and IS; the next may be accepted in that cycle."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        super().__init__(
            {
                "commands": In(stream.Signature(command_layout(accelerator))),
                "bundle": Out(bundle_layout(accelerator)),
                "column": Out(column_request(accelerator)),
                "arrival": Out(arrival_layout(accelerator)),
                "drain": Out(drain_layout(accelerator)),
                "started": Out(1),
                "finished": Out(1),
                "resident": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        pe, rows, cols = self.accelerator.pe, self.accelerator.array.rows, self.accelerator.array.cols
        command, new = Signal(command_layout(self.accelerator)), self.commands.payload
        accepted, started, slot_end = Signal(), Signal(), Signal()
        terms = derive(m, self.accelerator, command)
        resident, swapped, kept = terms.resident, terms.swapped, terms.kept
        folds = Folds(m, self.accelerator, terms, started, slot_end)
        fold, following = folds.current, folds.following

        # States.
        head, slot, waiting_behind = Signal(), Signal(), Signal()
        bank = Signal()
        beats = Stream(m, self.accelerator, terms, command, fold, slot, started)
        since_start = Signal()  # the head's or slot's first cycle
        to_shift = Signal(range(max(2, max(pe.registers + pe.lanes, pe.interleave) * rows)))  # cycles after this one
        to_again, to_behind = Signal(len(terms.again)), Signal(len(terms.behind))
        m.d.sync += [started.eq(0), since_start.eq(0)]
        only_cycle = started & (terms.shift == 1) if rows == 1 else Const(0, 1)
        shifted = wire(m, "shifted", Mux(started, only_cycle, to_shift == 0))
        with m.If(started):
            m.d.sync += to_shift.eq(Mux(only_cycle, 0, terms.shift - 2))
        with m.Elif(to_shift != 0):
            m.d.sync += to_shift.eq(to_shift - 1)
        with m.If(to_again != 0):
            m.d.sync += to_again.eq(to_again - 1)
        sums_back = ~(resident & folds.last_of_part) | folds.last | (to_again == 0)
        if settles(self.accelerator) and even(self.accelerator):  # no slot ends in its first cycle, or in a command's
            back_next = ~(resident & folds.last_of_part) | folds.last | (to_again <= 1)
            m.d.sync += slot_end.eq(slot & ~slot_end & ~started & beats.ends_next & (to_shift <= 1) & back_next)
        else:
            m.d.comb += slot_end.eq(slot & beats.ended & shifted & sums_back)

        def enter_slot(new_part: Value, first_fold: bool) -> None:
            m.d.sync += [slot.eq(1), since_start.eq(1), to_shift.eq(terms.shift - 1)]
            beats.begin(None if first_fold else following)
            with m.If(new_part):
                m.d.sync += to_again.eq(terms.again - 1)

        with m.If(head & shifted):
            m.d.sync += head.eq(0)
            enter_slot(Const(1, 1), first_fold=True)
        with m.If(slot_end):
            m.d.sync += bank.eq(~bank)
            with m.If(~folds.last):
                enter_slot(folds.last_of_part, first_fold=False)
            with m.Else():
                m.d.sync += [slot.eq(0), waiting_behind.eq(terms.behind != 0), to_behind.eq(terms.behind)]
        with m.If(waiting_behind):
            m.d.sync += to_behind.eq(to_behind - 1)
            with m.If(to_behind == 1):
                m.d.sync += waiting_behind.eq(0)
        finished = (slot_end & folds.last & (terms.behind == 0)) | (waiting_behind & (to_behind == 1))
        m.d.comb += [
            self.started.eq(started),
            self.resident.eq(resident),
            self.finished.eq(finished),
            self.commands.ready.eq(finished | ~(head | slot | waiting_behind)),
            accepted.eq(self.commands.valid & self.commands.ready),
        ]
        with m.If(accepted):
            m.d.sync += [command.eq(new), started.eq(1), since_start.eq(1)]
            folds.begin(new)
            beats.begin_command(new.k)
            with m.If((new.dataflow != 0) | new.accumulate):
                m.d.sync += [head.eq(1), slot.eq(0)]
            with m.Else():
                m.d.sync += slot.eq(1)
        drain_fold(m, self.accelerator, terms, command, fold, slot_end & ~resident, self.drain)
        fetch = fetch_next(
            m,
            self.accelerator,
            terms,
            command,
            following,
            head=head,
            first=since_start,
            wanted=(head | (slot & ~folds.last)) & (resident | command.accumulate),
            again=accepted | slot_end | (head & shifted),
        )

        # The corner's beat.
        bundle, control = self.bundle, self.bundle.control
        kept_left = wire(m, "kept_left", command.keep - beats.before)
        first_beat = (beats.beat == 0) & (resident | (beats.step == 0))
        first_part = fold["step"] == 0
        begins = wire(m, "begins", ~command.accumulate & (first_part | ~resident))
        sum_word, sum_place = terms.words.at(beats.word, beats.low, fold["column_fold"])
        reduction_left = wire(m, "reduction_left", Mux(resident, fold["left"], beats.left))
        bits = left_bits(self.accelerator)
        m.d.comb += [
            bundle.start.eq(started),
            bundle.hop.eq(terms.hop),
            control.beat.eq(beats.now),
            control.lanes.eq(Cat(kept_left > i for i in range(pe.lanes))),
            control.resident.eq(resident),
            control.kept.eq(kept),
            control.bank.eq(bank),
            control.base.eq(Mux(kept & resident, beats.before, 0)),
            control.slot.eq(beats.turn_cycle),
            control.first.eq(first_beat),
            control.fresh.eq(begins),
            control.last.eq(beats.last_beat),
            control.load.eq(fetch.now & resident),
            control.load_bank.eq(Mux(head, bank, ~bank)),
            control.load_at.eq(fetch.index),
            bundle.dense.eq(~terms.nm),
            bundle.left.eq(Mux(reduction_left[bits:].any(), (1 << bits) - 1, reduction_left[:bits])),
            bundle.depth.eq(terms.depth),
            bundle.swapped.eq(swapped),
            bundle.kept_row.eq(terms.nm & ~kept),
            bundle.line.eq(beats.line),
            bundle.step.eq(Mux(resident, fold["step"], beats.step)),
            bundle.beat.eq(beats.beat),
            bundle.turn.eq(fetch.row),
            bundle.v.eq(fold["v"]),
            bundle.columns.eq(at_most(fold["v_left"], cols)),
            bundle.slot.eq(Mux(swapped, command.b_slot, command.a_slot)),
            bundle.entry.eq(beats.row_line + beats.row_x),
            bundle.c_slot.eq(command.c_slot),
            bundle.c_word.eq(sum_word),
            bundle.c_place.eq(sum_place),
        ]
        column = self.column
        m.d.comb += [
            column.valid.eq(Mux(resident, fetch.now, beats.now)),
            column.operand_a.eq(swapped),
            column.kept.eq(kept),
            column.slot.eq(Mux(swapped, command.a_slot, command.b_slot)),
            column.entry.eq(Mux(resident, fetch.line, beats.column_line) + Mux(resident, fetch.x, beats.column_x)),
            column.word.eq(resident),
            column.line.eq(Mux(resident, fetch.v, beats.column)),
            column.step.eq(Mux(resident, fetch.step, beats.step)),
            column.beat.eq(beats.beat),
            column.register.eq(fetch.index),
        ]
        # Sums go straight to their addition, or wait for it: those a cycle later, for the last fold's may begin until then.
        straight = Signal(arrival_layout(self.accelerator))
        waited = Signal.like(straight)
        m.d.comb += [
            straight.request.valid.eq(resident & beats.now & first_beat & ~begins),
            straight.request.swapped.eq(swapped),
            straight.request.slot.eq(command.c_slot),
            straight.request.word.eq(sum_word),
            straight.request.place.eq(sum_place),
            straight.request.u.eq(beats.line),
            straight.request.v.eq(fold["v"]),
            straight.slot.eq(beats.turn_cycle),
            self.arrival.eq(Mux(waited.request.valid, waited, straight)),
        ]
        m.d.sync += waited.eq(fetch.sum)
        return m
