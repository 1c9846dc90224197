"""The stream of a fold's beats: which steps, beats and outputs follow each other, and where their operands lie.

OS: step, beat, output. WS and IS: block of positions, beat, position.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false

from collections.abc import Mapping

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data

from rtl.array_folds import Terms
from rtl.array_ports import ENTRY_BITS, SIZE_BITS, beat_bits
from rtl.array_walk import scaled
from rtl.pe import slot_bits
from rtl.pipeline import wire
from simulator.arch import Accelerator

__all__ = ["Stream", "even"]


def even(accelerator: Accelerator) -> bool:
    """Whether every beat takes one cycle, so that what comes a cycle later is known."""
    return accelerator.pe.interleave == accelerator.pe.accumulate_latency == 1


class Stream:
    """Attributes are what they are in this cycle.

    `now`: there is a beat; `beat`, `last_beat`, `before`: of its step, and the kept values before it; `turn_cycle`: its slot;
    `step`; `left`: of the reduction (OS); `line`, `column`: of C. `ended`: the last beat's turn ends, or has ended;
    `ends_next`: so it will be in the next cycle (not in a command's first; only where `even` says so).
    `row_line` + `row_x`: entry of the row's operand; `column_line` + `column_x`: of the column's (OS). `word`, `low`: of the
    position's sum (WS, IS), see `rtl.array_walk.Words`.
    """

    def __init__(
        self,
        m: Module,
        accelerator: Accelerator,
        terms: Terms,
        command: data.View,
        fold: Mapping[str, Value],
        slot: Value,
        started: Value,
    ) -> None:
        pe, array = accelerator.pe, accelerator.array
        interleave, lag, lanes = pe.interleave, pe.accumulate_latency, pe.lanes
        self.m, self.terms = m, terms
        resident, along_v, words = terms.resident, terms.along_v, terms.words
        self.beat, self.turn_cycle = (
            Signal(beat_bits(pe), name="beat"),
            Signal(range(max(interleave, lag) + 1), name="turn_cycle"),
        )
        self.step, self.block = Signal(SIZE_BITS, name="step"), Signal(SIZE_BITS, name="block")
        self.left = Signal(SIZE_BITS, name="left")  # of the reduction (OS), or of the positions
        streaming, last_step = Signal(name="streaming"), Signal(name="last_step_held")
        self.streaming, self.last_step = streaming, last_step
        self.whole = wire(m, "whole_stream", Mux(resident, terms.u_end, command.k))
        at_once = wire(m, "at_once", Mux(resident, interleave, terms.depth))
        self.only_step = wire(m, "only_step", self.whole <= at_once)
        is_last_step = wire(m, "last_step", Mux(started, self.only_step, last_step))

        count: Value = Const(1, 1)  # beats of a turn
        if interleave > 1:
            several = wire(m, "several", Mux(along_v, fold["v_left"], fold["u_left"]))
            size = Mux(along_v, array.cols, array.rows)
            in_fold = sum((several > Mux(along_v, array.cols * i, array.rows * i) for i in range(1, interleave)), Const(1, 1))
            del size
            in_block = Mux(is_last_step, self.left[: interleave.bit_length()], interleave)
            count = Mux(resident, in_block, in_fold)
        count = self.count = wire(m, "count", count[: slot_bits(pe) + 1])
        turn = wire(m, "turn", Mux((resident & (terms.beats == 1)) | (count > lag), count, lag))
        turn_end = wire(m, "turn_end", self.turn_cycle + 1 >= turn)
        self.last_beat = wire(m, "last_beat", self.beat + 1 >= terms.beats)
        stream_end = wire(m, "stream_end", turn_end & self.last_beat & is_last_step)
        self.now = wire(m, "beat_now", slot & streaming & (self.turn_cycle < count))
        self.ended = stream_end | ~streaming
        self.before = wire(m, "before", scaled(self.beat, lanes))
        last_step_next = wire(m, "last_step_next", self.left <= (at_once << 1))
        of_next_step = self.last_beat & (terms.beats == 1) & last_step_next
        of_this_step = ~self.last_beat & (self.beat + 2 >= terms.beats)
        self.ends_next = ~streaming | (last_step & (self.last_beat | of_this_step)) | of_next_step

        # Where the operands lie: of the turn's first output, and of this one.
        def pair(name: str, bits: int) -> tuple[Signal, Signal]:
            return Signal(bits, name=f"{name}_first"), Signal(bits, name=name)

        self.lines, self.columns = pair("row_line", ENTRY_BITS), pair("column_line", ENTRY_BITS)
        self.row_xs, self.column_xs = pair("row_x", SIZE_BITS), pair("column_x", SIZE_BITS)
        self.words, self.lows = (
            pair("position_word", len(words.stride)),
            (words.new_low("position_low_first"), words.new_low("position_low")),
        )
        self.row_line, self.row_x, self.column_x = self.lines[1], self.row_xs[1], self.column_xs[1]
        self.column_line, self.word, self.low = self.columns[1], self.words[1], self.lows[1]
        row_x = wire(m, "row_x_after", (self.row_xs[0] + Mux(resident, 0, terms.row_entries))[:SIZE_BITS])
        column_x = wire(m, "column_x_after", (self.column_xs[0] + terms.column_entries)[:SIZE_BITS])
        line = wire(m, "row_line_after", (self.lines[0] + Mux(resident, scaled(terms.row_stride, interleave), 0))[:ENTRY_BITS])
        word, low = words.moved(self.words[0], self.lows[0], interleave)

        with m.If(started):
            m.d.sync += last_step.eq(self.only_step)
        with m.If(slot & streaming):
            m.d.sync += self.turn_cycle.eq(self.turn_cycle + 1)
            if interleave > 1:
                m.d.sync += [
                    self.row_line.eq(self.row_line + Mux(resident | ~along_v, terms.row_stride, 0)),
                    self.column_line.eq(self.column_line + Mux(along_v, terms.column_stride, 0)),
                ]
                m.d.sync += [
                    each.eq(new) for each, new in zip((self.word, self.low), words.moved(self.word, self.low, 1), strict=True)
                ]
            with m.If(turn_end):
                m.d.sync += [self.turn_cycle.eq(0), self.beat.eq(self.beat + 1)]
                m.d.sync += self.row_x.eq(self.row_x + Mux(terms.nm & ~terms.kept, lanes, 0))
                m.d.sync += self.column_x.eq(self.column_x + Mux(terms.kept, lanes, 0))
                for first, here in (self.lines, self.columns, self.words, self.lows):
                    m.d.sync += here.eq(first)
                with m.If(self.last_beat):
                    m.d.sync += [self.beat.eq(0), self.step.eq(self.step + 1), self.block.eq(self.block + interleave)]
                    m.d.sync += [self.left.eq(self.left - at_once), last_step.eq(last_step_next)]
                    after = (
                        (self.row_xs, row_x),
                        (self.column_xs, column_x),
                        (self.lines, line),
                        (self.words, word),
                        (self.lows, low),
                    )
                    for both, value in after:
                        m.d.sync += [each.eq(value) for each in both]
            with m.If(stream_end):
                m.d.sync += streaming.eq(0)

        # What a beat is, for tests.
        of_u, of_v = (Mux(along_v, 0, self.turn_cycle), Mux(along_v, self.turn_cycle, 0))
        position = (self.block + self.turn_cycle)[:SIZE_BITS]
        self.line = Mux(resident, position, fold["u"] + of_u * array.rows)
        self.column = fold["v"] + of_v * array.cols

    def begin_command(self, reduction: Value) -> None:
        """In the next cycle the first fold of a command of OS begins, if it need not wait; `reduction`: its elements."""
        self.m.d.sync += self.left.eq(reduction)
        self._begin(None)

    def begin(self, fold: Mapping[str, Value] | None) -> None:
        """In the next cycle this fold begins; the command's first if None."""
        self.m.d.sync += [self.left.eq(self.whole), self.last_step.eq(self.only_step)]
        self._begin(fold)

    def _begin(self, fold: Mapping[str, Value] | None) -> None:
        d = self.m.d
        d.sync += [each.eq(0) for each in (self.step, self.block, self.beat, self.turn_cycle)]
        d.sync += self.streaming.eq(1)
        starts = {"row_entry": self.lines, "column_entry": self.columns, "row_x": self.row_xs}
        for name, both in starts.items():
            d.sync += [each.eq(0 if fold is None else fold[name]) for each in both]
        d.sync += [each.eq(0) for each in (*self.column_xs, *self.words, *self.lows)]
