"""Executes one Multiply after another: says for every cycle what the array's corner does, asks for, and sends out.

Folds, their order and their slots are those of `simulator.timing`. In a slot's first cycles the next fold's stationary words
are asked for (WS, IS), or its earlier sums (OS, accumulating); in the head, before the first slot, the first fold's.

| state  | lasts                                                                 | emits                                     |
|--------|-----------------------------------------------------------------------|-------------------------------------------|
| head   | shift cycles; none in OS without accumulation                         | the first fold's words, or sums           |
| slot   | max(stream, shift), and until the partial sums of a part's first fold | beats; the next fold's words, or sums     |
|        | are in the c buffer, if the next part of the reduction is to follow   |                                           |
| behind | (rows - 1) * (hop - 1) cycles                                         | nothing                                   |

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

from rtl.array_folds import FOLD, derive, next_fold
from rtl.array_ports import (
    ENTRY_BITS,
    SIZE_BITS,
    arrival_layout,
    buffer_slot_bits,
    bundle_layout,
    column_request,
    command_layout,
    drain_layout,
)
from rtl.pe import slot_bits
from simulator.arch import Accelerator, ceil_div
from simulator.layout import result_places

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
        pe, array = self.accelerator.pe, self.accelerator.array
        rows, cols, interleave, lag = array.rows, array.cols, pe.interleave, pe.accumulate_latency
        sizes, wide = SIZE_BITS, SIZE_BITS + 8

        def net(name: str, value: Value, bits: int | None = None) -> Signal:
            signal = Signal(bits or len(value), name=name)
            m.d.comb += signal.eq(value)
            return signal

        command = Signal(command_layout(self.accelerator))
        terms = derive(m, self.accelerator, command)
        resident, swapped, nm, kept, along_v = terms.resident, terms.swapped, terms.nm, terms.kept, terms.along_v
        u_end, v_end, depth, beats, shift = terms.u_end, terms.v_end, terms.depth, terms.beats, terms.shift
        fold = {name: Signal(sizes, name=f"fold_{name}") for name in FOLD}
        following, last_fold, last_of_part = next_fold(m, self.accelerator, terms, fold)
        first_part = net("first_part", fold["step"] == 0)

        # The stream: OS step, beat, output; WS and IS block, beat, position.
        step, left = Signal(sizes), Signal(sizes)  # OS
        row_x, column_x = Signal(sizes), Signal(sizes)  # OS: entries of a line before the step
        block = Signal(sizes)  # WS, IS: first position
        beat, turn_cycle = Signal(range(max(2, ceil_div(pe.group, pe.lanes)))), Signal(range(max(interleave, lag) + 1))
        several = net("several", Mux(along_v, v_end - fold["v"], u_end - fold["u"]), sizes)
        size = Mux(along_v, cols, rows)
        in_fold = sum((several > (size * i)[:wide] for i in range(interleave)), Const(0, 1))
        block_left = net("block_left", u_end - block, sizes)
        in_block = Mux(block_left < interleave, block_left, interleave)
        count = net("count", Mux(resident, in_block, in_fold), slot_bits(pe) + 1)
        turn = net("turn", Mux((resident & (beats == 1)) | (count > lag), count, lag))
        turn_end = net("turn_end", turn_cycle + 1 >= turn)
        last_beat = net("last_beat", beat + 1 >= beats)
        last_step = net("last_step", Mux(resident, block_left <= interleave, left <= depth))
        stream_end = net("stream_end", turn_end & last_beat & last_step)

        # States.
        head, slot, waiting_behind = Signal(), Signal(), Signal()
        streaming, bank = Signal(), Signal()
        cycle, since_part, fetched = Signal(wide), Signal(wide), Signal()
        started = Signal()
        behind_cycle = Signal(wide)
        m.d.sync += [started.eq(0), cycle.eq(cycle + 1), since_part.eq(since_part + 1)]
        shifted = net("shifted", cycle + 1 >= shift)
        sums_back = net("sums_back", ~(resident & last_of_part) | last_fold | (since_part + 1 >= terms.again))
        slot_end = net("slot_end", slot & (stream_end | ~streaming) & shifted & sums_back)

        def enter_slot(new_part: Value) -> None:
            m.d.sync += [slot.eq(1), streaming.eq(1), cycle.eq(0), fetched.eq(0)]
            m.d.sync += [step.eq(0), block.eq(0), beat.eq(0), turn_cycle.eq(0), row_x.eq(0), column_x.eq(0)]
            with m.If(new_part):
                m.d.sync += since_part.eq(0)

        with m.If(slot & streaming):
            m.d.sync += turn_cycle.eq(turn_cycle + 1)
            with m.If(turn_end):
                m.d.sync += [turn_cycle.eq(0), beat.eq(beat + 1)]
                with m.If(last_beat):
                    m.d.sync += [beat.eq(0), step.eq(step + 1), left.eq(left - depth), block.eq(block + interleave)]
                    m.d.sync += [row_x.eq(row_x + terms.row_entries), column_x.eq(column_x + terms.column_entries)]
            with m.If(stream_end):
                m.d.sync += streaming.eq(0)
        with m.If(head & shifted):
            m.d.sync += [head.eq(0), left.eq(command.k)]
            enter_slot(Const(1))
        with m.If(slot_end):
            m.d.sync += [fold[name].eq(following[name]) for name in fold]
            m.d.sync += [bank.eq(~bank), left.eq(command.k)]
            with m.If(~last_fold):
                enter_slot(last_of_part)
            with m.Else():
                m.d.sync += [slot.eq(0), waiting_behind.eq(terms.behind != 0), behind_cycle.eq(terms.behind)]
        with m.If(waiting_behind):
            m.d.sync += behind_cycle.eq(behind_cycle - 1)
            with m.If(behind_cycle == 1):
                m.d.sync += waiting_behind.eq(0)
        finished = (slot_end & last_fold & (terms.behind == 0)) | (waiting_behind & (behind_cycle == 1))
        m.d.comb += [
            self.started.eq(started),
            self.resident.eq(resident),
            self.finished.eq(finished),
            self.commands.ready.eq(finished | ~(head | slot | waiting_behind)),
        ]
        with m.If(self.commands.valid & self.commands.ready):
            new = self.commands.payload
            m.d.sync += [command.eq(new), started.eq(1), cycle.eq(0), fetched.eq(0)]
            m.d.sync += [fold[name].eq(new.k if name == "left" else 0) for name in FOLD]
            m.d.sync += left.eq(new.k)
            with m.If((new.dataflow != 0) | new.accumulate):
                m.d.sync += [head.eq(1), slot.eq(0)]
            with m.Else():
                enter_slot(Const(1))

        # The next fold's stationary words or earlier sums, `shift` of them from the head's or slot's first cycle.
        fetch_row, fetch_index = Signal(range(rows + 1)), Signal(range(max(2, pe.registers, interleave)))
        fetch_x = Signal(sizes)  # entries of a line before the word's step, from the fold's on
        per_row = net("per_row", Mux(resident, terms.registers, interleave))
        first = cycle == 0
        row_now, index_now = net("fetch_row_now", Mux(first, 0, fetch_row)), net("fetch_index_now", Mux(first, 0, fetch_index))
        wanted = Mux(head, 1, slot & ~last_fold) & (resident | command.accumulate)
        fetch = net("fetch", wanted & (first | ~fetched))
        row_end = net("fetch_row_end", index_now + 1 >= per_row)
        m.d.sync += [fetch_index.eq(Mux(row_end, 0, index_now + 1)), fetch_row.eq(row_now + row_end)]
        x_now = net("fetch_x_now", Mux(first, 0, fetch_x))
        m.d.sync += fetch_x.eq(x_now + Mux(row_end, terms.column_entries, 0))
        with m.If(row_end & (row_now == rows - 1)):
            m.d.sync += fetched.eq(1)
        with m.If(self.commands.valid & self.commands.ready | slot_end | (head & shifted)):
            m.d.sync += fetched.eq(0)
        target = {name: net(f"target_{name}", Mux(head, fold[name], following[name])) for name in fold}

        def sum_address(name: str, u: Value, quotient: Value, stride: Value) -> tuple[Signal, Signal]:
            """Word and place of the sum at (u, v), quotient = v // cols."""
            places = result_places(self.accelerator)
            word = net(f"{name}_word", (u >> (places - 1).bit_length()) * stride + quotient)
            return word, net(f"{name}_place", (u + quotient) & (places - 1))

        # The sums of an OS fold leave.
        drain, kept_fields = self.drain, ("u", "v", "u_end", "v_end", "quotient", "stride")
        leaving, leave = Signal(), {name: Signal(sizes, name=f"leave_{name}") for name in kept_fields}
        leave_buffer = Signal(buffer_slot_bits(self.accelerator))
        leave_along_v, leave_row, leave_slot = Signal(), Signal(range(rows + 1)), Signal(slot_bits(pe))
        with m.If(leaving):
            m.d.sync += leave_slot.eq(leave_slot + 1)
            with m.If(leave_slot == interleave - 1):
                m.d.sync += [leave_slot.eq(0), leave_row.eq(leave_row + 1)]
                with m.If(leave_row == rows - 1):
                    m.d.sync += leaving.eq(0)
        with m.If(slot_end & ~resident):
            m.d.comb += drain.copy.eq(1)
            m.d.sync += [leaving.eq(1), leave_row.eq(0), leave_slot.eq(0), leave_along_v.eq(along_v)]
            m.d.sync += leave_buffer.eq(command.c_slot)
            m.d.sync += [leave["u"].eq(fold["u"]), leave["v"].eq(fold["v"]), leave["u_end"].eq(u_end), leave["v_end"].eq(v_end)]
            m.d.sync += [leave["quotient"].eq(fold["v_quotient"]), leave["stride"].eq(command.c_stride)]
        leave_u = net("leave_line", leave["u"] + leave_row + Mux(leave_along_v, 0, leave_slot * rows), wide)
        leave_v = net("leave_column", leave["v"] + Mux(leave_along_v, leave_slot * cols, 0), wide)
        leave_quotient = leave["quotient"] + Mux(leave_along_v, leave_slot, 0)
        leave_word, leave_at = sum_address("leave", leave_u, leave_quotient, leave["stride"])
        m.d.comb += [
            drain.turn.eq(leave_row),
            drain.slot.eq(leave_slot),
            drain.valid.eq(leaving & (leave_u < leave["u_end"]) & (leave_v < leave["v_end"])),
            drain.u.eq(leave_u),
            drain.v.eq(leave_v),
            drain.v_end.eq(leave["v_end"]),
            drain.c_slot.eq(leave_buffer),
            drain.c_word.eq(leave_word),
            drain.c_place.eq(leave_at),
        ]

        # The corner's beat.
        bundle, control = self.bundle, self.bundle.control
        now = net("beat_now", slot & streaming & (turn_cycle < count))
        kept_left = net("kept_left", command.keep - beat * pe.lanes)
        line = fold["u"] + Mux(along_v, 0, turn_cycle * rows)
        position = net("position", block + turn_cycle, sizes)
        row_quotient = net("row_quotient", Mux(resident, position, fold["u_quotient"] + Mux(along_v, 0, turn_cycle)))
        row_offset = Mux(resident, fold["row_x"], row_x) + Mux(nm & ~kept, beat * pe.lanes, 0)
        row_entry = net("row_entry", row_quotient * terms.row_stride + row_offset, ENTRY_BITS)
        sum_word, sum_place = sum_address("sum", position, fold["v_quotient"], command.c_stride)
        first_beat = (beat == 0) & (resident | (step == 0))
        begins = net("begins", Mux(resident, first_part & ~command.accumulate, ~command.accumulate))
        m.d.comb += [
            bundle.start.eq(started),
            bundle.hop.eq(terms.hop),
            control.beat.eq(now),
            control.lanes.eq(Cat(kept_left > i for i in range(pe.lanes))),
            control.resident.eq(resident),
            control.kept.eq(kept),
            control.bank.eq(bank),
            control.base.eq(Mux(kept & resident, beat * pe.lanes, 0)),
            control.slot.eq(turn_cycle),
            control.first.eq(first_beat),
            control.fresh.eq(begins),
            control.last.eq(last_beat),
            control.load.eq(fetch & resident),
            control.load_bank.eq(Mux(head, bank, ~bank)),
            control.load_at.eq(index_now),
            bundle.dense.eq(~nm),
            bundle.left.eq(Mux(resident, fold["left"], left)),
            bundle.depth.eq(depth),
            bundle.swapped.eq(swapped),
            bundle.kept_row.eq(nm & ~kept),
            bundle.line.eq(Mux(resident, position, line)),
            bundle.step.eq(Mux(resident, fold["step"], step)),
            bundle.beat.eq(beat),
            bundle.turn.eq(row_now),
            bundle.v.eq(fold["v"]),
            bundle.v_end.eq(v_end),
            bundle.slot.eq(Mux(swapped, command.b_slot, command.a_slot)),
            bundle.entry.eq(row_entry),
            bundle.c_slot.eq(command.c_slot),
            bundle.c_word.eq(sum_word),
            bundle.c_place.eq(sum_place),
        ]
        column = self.column
        column_quotient = Mux(resident, target["v_quotient"], fold["v_quotient"] + Mux(along_v, turn_cycle, 0))
        column_offset = Mux(resident, target["column_x"] + x_now + index_now, column_x + Mux(kept, beat * pe.lanes, 0))
        column_entry = net("column_entry", column_quotient * terms.column_stride + column_offset, ENTRY_BITS)
        m.d.comb += [
            column.valid.eq(Mux(resident, fetch, now)),
            column.operand_a.eq(swapped),
            column.kept.eq(kept),
            column.slot.eq(Mux(swapped, command.a_slot, command.b_slot)),
            column.entry.eq(column_entry),
            column.word.eq(resident),
            column.line.eq(Mux(resident, target["v"], fold["v"] + Mux(along_v, turn_cycle * cols, 0))),
            column.step.eq(Mux(resident, target["step"] + row_now, step)),
            column.beat.eq(beat),
            column.register.eq(index_now),
        ]
        # Sums go straight to their addition, or wait for it: those a cycle later, for the last fold's may begin until then.
        straight = Signal(arrival_layout(self.accelerator))
        waits, waited = Signal.like(straight), Signal.like(straight)
        wait_u = net("wait_line", target["u"] + row_now + Mux(along_v, 0, index_now * rows), wide)
        wait_quotient = target["v_quotient"] + Mux(along_v, index_now, 0)
        wait_word, wait_place = sum_address("wait", wait_u, wait_quotient, command.c_stride)
        m.d.comb += [
            straight.request.valid.eq(resident & now & first_beat & ~begins),
            straight.request.swapped.eq(swapped),
            straight.request.slot.eq(command.c_slot),
            straight.request.word.eq(sum_word),
            straight.request.place.eq(sum_place),
            straight.request.u.eq(position),
            straight.request.v.eq(fold["v"]),
            straight.slot.eq(turn_cycle),
            waits.request.valid.eq(~resident & fetch),
            waits.request.slot.eq(command.c_slot),
            waits.request.word.eq(wait_word),
            waits.request.place.eq(wait_place),
            waits.request.u.eq(wait_u),
            waits.request.v.eq(target["v"] + Mux(along_v, index_now * cols, 0)),
            waits.fill.eq(1),
            waits.turn.eq(row_now),
            waits.slot.eq(index_now),
            self.arrival.eq(Mux(waited.request.valid, waited, straight)),
        ]
        m.d.sync += waited.eq(waits)
        return m
