"""What the next fold needs is asked for while one streams: stationary words (WS, IS), or earlier sums (OS)."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false

from collections.abc import Mapping
from dataclasses import dataclass

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data

from rtl.array_folds import Terms
from rtl.array_ports import ENTRY_BITS, SIZE_BITS, arrival_layout
from rtl.array_walk import Walk, scaled
from rtl.pipeline import wire
from simulator.arch import Accelerator

__all__ = ["Fetch", "fetch_next"]


@dataclass(frozen=True, slots=True)
class Fetch:
    """In this cycle: a word, or a sum, is asked for (`now`), for this `row` and register or slot (`index`)."""

    now: Value
    row: Value
    index: Value
    line: Value  # word: entry of its line, and entries of the line before it
    x: Value
    v: Value  # word: its line and its step, for tests
    step: Value
    sum: data.View  # the request for a sum, and where it goes


def fetch_next(
    m: Module,
    accelerator: Accelerator,
    terms: Terms,
    command: data.View,
    following: Mapping[str, Value],
    *,
    head: Value,
    first: Value,
    wanted: Value,
    again: Value,
) -> Fetch:
    """For all rows, from the `first` cycle of the head (the first fold's) or of a slot (the next fold's), if `wanted`."""
    pe, rows, cols = accelerator.pe, accelerator.array.rows, accelerator.array.cols
    resident, along_v, words = terms.resident, terms.along_v, terms.words
    row_held = Signal(range(rows + 1), name="fetch_row")
    index_held = Signal(range(max(2, pe.registers, pe.interleave)), name="fetch_index")
    fetched = Signal()
    per_row = wire(m, "per_row", Mux(resident, terms.registers, pe.interleave))
    row, index = wire(m, "fetch_row_now", Mux(first, 0, row_held)), wire(m, "fetch_index_now", Mux(first, 0, index_held))
    now = wire(m, "fetch", wanted & (first | ~fetched))
    row_end = wire(m, "fetch_row_end", index + 1 >= per_row)
    m.d.sync += [index_held.eq(Mux(row_end, 0, index + 1)), row_held.eq(row + row_end)]
    with m.If(row_end & (row == rows - 1)):
        m.d.sync += fetched.eq(1)
    with m.If(again):
        m.d.sync += fetched.eq(0)

    # The first fold's fields are 0.
    target = {name: wire(m, f"target_{name}", Mux(head, 0, following[name])) for name in following}
    x_row, x_held = Signal(SIZE_BITS, name="fetch_x_of_row"), Signal(SIZE_BITS, name="fetch_x")
    here, x = Mux(first, target["column_x"], x_row), Mux(first, target["column_x"], x_held)
    below = wire(m, "fetch_x_below", (here + terms.column_entries)[:SIZE_BITS])
    m.d.sync += [x_row.eq(Mux(row_end, below, here)), x_held.eq(Mux(row_end, below, x + 1))]

    start = target["word"], words.low(target["u"])
    walk = Walk(m, words, "fetch", first=first, start=start, along_v=along_v, row_end=row_end)
    slot = index[: pe.interleave.bit_length()]
    of_u, of_v = Mux(along_v, 0, slot), Mux(along_v, slot, 0)
    if pe.interleave == 1:
        of_u, of_v = of_u & 0, of_v & 0
    word, place = words.at(walk.word, walk.low, target["column_fold"] + of_v)
    total = Signal(arrival_layout(accelerator), name="waits")
    m.d.comb += [
        total.request.valid.eq(~resident & now),
        total.request.slot.eq(command.c_slot),
        total.request.word.eq(word),
        total.request.place.eq(place),
        total.request.u.eq(target["u"] + row + scaled(of_u, rows)),
        total.request.v.eq(target["v"] + scaled(of_v, cols)),
        total.fill.eq(1),
        total.turn.eq(row),
        total.slot.eq(index),
    ]
    return Fetch(
        now=now,
        row=row,
        index=index,
        line=target["column_entry"][:ENTRY_BITS],
        x=x,
        v=target["v"],
        step=target["step"] + row,
        sum=total,
    )
