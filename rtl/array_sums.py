"""Sums of OS on their way out of the array: where each of a fold's goes, from the end of its slot on."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false

from collections.abc import Mapping

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data

from rtl.array_folds import Terms
from rtl.array_ports import SIZE_BITS, buffer_slot_bits, word_bits
from rtl.array_walk import Walk, Words, scaled
from rtl.pe import slot_bits
from rtl.pipeline import wire
from simulator.arch import Accelerator

__all__ = ["at_most", "drain_fold"]


def at_most(value: Value, most: int) -> Value:
    """``min(value, most)``, in the bits of `most`."""
    return Mux(value < most, value, most)[: most.bit_length()]


def drain_fold(
    m: Module,
    accelerator: Accelerator,
    terms: Terms,
    command: data.View,
    fold: Mapping[str, Value],
    slot_end: Value,
    drain: data.View,
) -> None:
    """`slot_end` (of OS) copies all sums; they leave in the cycles after it, row by row, slot by slot."""
    rows, cols, interleave = accelerator.array.rows, accelerator.array.cols, accelerator.pe.interleave
    stride = Signal(word_bits(accelerator), name="leaving_stride")
    words = Words.of(m, accelerator, stride, lambda name, value: wire(m, f"leaving_{name}", value))
    leaving, along_v = Signal(), Signal(name="leaving_along_v")
    row, slot = Signal(range(rows + 1), name="leaving_row"), Signal(slot_bits(accelerator.pe), name="leaving_slot")
    buffer, first_fold = Signal(buffer_slot_bits(accelerator), name="leaving_buffer"), Signal(SIZE_BITS, name="leaving_fold")
    lines, columns = Signal(range(rows * interleave + 1), name="leaving_lines"), Signal(range(cols * interleave + 1))
    u, v = Signal(SIZE_BITS, name="leaving_u"), Signal(SIZE_BITS, name="leaving_v")
    row_end = slot == interleave - 1
    with m.If(leaving):
        m.d.sync += slot.eq(slot + 1)
        with m.If(row_end):
            m.d.sync += [slot.eq(0), row.eq(row + 1)]
            with m.If(row == rows - 1):
                m.d.sync += leaving.eq(0)
    with m.If(slot_end):
        m.d.comb += drain.copy.eq(1)
        m.d.sync += [
            leaving.eq(1),
            row.eq(0),
            slot.eq(0),
            along_v.eq(terms.along_v),
            buffer.eq(command.c_slot),  # the next command may be here before the last sum has left
            stride.eq(command.c_stride),
            first_fold.eq(fold["column_fold"]),
            lines.eq(at_most(fold["u_left"], rows * interleave)),
            columns.eq(at_most(fold["v_left"], cols * interleave)),
            u.eq(fold["u"]),
            v.eq(fold["v"]),
        ]
    walk = Walk(
        m,
        words,
        "leaving",
        first=slot_end,
        start=(fold["word"], words.low(fold["u"])),
        along_v=along_v,
        row_end=row_end,
        registered=True,
    )
    by_u, by_v = Mux(along_v, 0, slot), Mux(along_v, slot, 0)
    if interleave == 1:
        by_u = by_v = 0
    before = scaled(by_v, cols) if interleave > 1 else 0  # columns of the slots before
    left = Signal(range(cols * interleave + 1), name="leaving_columns_left")
    m.d.comb += left.eq(Mux(columns > before, columns - before, 0))
    word, place = words.at(walk.word, walk.low, first_fold + by_v)
    line = row + (scaled(by_u, rows) if interleave > 1 else 0)
    m.d.comb += [
        drain.turn.eq(row),
        drain.slot.eq(slot),
        drain.valid.eq(leaving & (line < lines) & left.any()),
        drain.u.eq(u + line),
        drain.v.eq(v + before),
        drain.columns.eq(at_most(left, cols)),
        drain.c_slot.eq(buffer),
        drain.c_word.eq(word),
        drain.c_place.eq(place),
    ]
