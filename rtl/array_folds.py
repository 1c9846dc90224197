"""What follows from a command's fields: sizes along rows and columns, cycles, and which fold comes after which."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false

from collections.abc import Mapping
from dataclasses import dataclass

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data

from rtl.array_ports import SIZE_BITS, longest_hop
from rtl.pe import product_cycles
from simulator.arch import Accelerator

__all__ = ["FOLD", "Terms", "derive", "next_fold"]

# A fold's first lines, first step (WS, IS), and elements of the reduction from there on; and for addresses u // rows (OS),
# v // cols, and (WS, IS) the rows' and the columns' entries of a line before the fold.
FOLD = ("u", "v", "step", "left", "u_quotient", "v_quotient", "row_x", "column_x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Combinational functions of the command, by the names of `simulator.timing` where it has one."""

    resident: Value  # WS, IS
    swapped: Value  # IS
    nm: Value
    kept: Value  # the kept values come by the columns
    u_end: Value
    v_end: Value
    depth: Value
    beats: Value
    row_entries: Value  # of a step of the rows' operand (docs/machine.md: D)
    column_entries: Value
    row_stride: Value
    column_stride: Value
    along_v: Value  # OS: interleaved outputs lie along v
    registers: Value
    shift: Value
    hop: Value  # as far as there is a row below
    behind: Value
    again: Value


def derive(m: Module, accelerator: Accelerator, command: data.View) -> Terms:
    pe, array = accelerator.pe, accelerator.array
    rows, cols, interleave, lag = array.rows, array.cols, pe.interleave, pe.accumulate_latency

    def net(name: str, value: Value, bits: int | None = None) -> Signal:
        signal = Signal(bits or len(value), name=name)
        m.d.comb += signal.eq(value)
        return signal

    resident, swapped = net("is_resident", command.dataflow != 0), net("is_swapped", command.dataflow == 2)
    nm = net("is_sparse", command.group != 0)
    kept = net("kept_in_columns", nm & (command.sparse_b ^ swapped))
    u_end, v_end = net("u_end", Mux(swapped, command.n, command.m)), net("v_end", Mux(swapped, command.m, command.n))
    depth = net("depth", Mux(nm, command.group, pe.lanes))
    beats = net("beats", Mux(nm, (command.keep + (pe.lanes - 1)) // pe.lanes, 1))
    registers = net("registers", Mux(kept, beats * pe.lanes, depth))
    most = Mux(u_end < interleave, u_end, interleave)
    full_turn = net("full_turn", Mux(most > lag, most, lag))
    hop = net("hop_cycles", Mux(resident, Mux(beats == 1, lag, (beats - 1) * full_turn + lag), 1))
    return Terms(
        resident=resident,
        swapped=swapped,
        nm=nm,
        kept=kept,
        u_end=u_end,
        v_end=v_end,
        depth=depth,
        beats=beats,
        row_entries=net("row_entries", Mux(nm & ~kept, command.keep, depth)),
        column_entries=net("column_entries", Mux(kept, command.keep, depth)),
        row_stride=net("row_stride", Mux(swapped, command.b_stride, command.a_stride)),
        column_stride=net("column_stride", Mux(swapped, command.a_stride, command.b_stride)),
        along_v=net("along_v", (v_end + (cols - 1)) // cols >= (u_end + (rows - 1)) // rows),
        registers=registers,
        shift=net("shift", Mux(resident, registers * rows, rows * interleave)),
        hop=net("hop", hop, longest_hop(accelerator).bit_length()),
        behind=net("behind", Mux(resident, (hop - 1) * (rows - 1), 0)),
        again=net("again", hop * rows + product_cycles(pe) + 1),
    )


def next_fold(
    m: Module, accelerator: Accelerator, terms: Terms, fold: Mapping[str, Signal]
) -> tuple[dict[str, Signal], Signal, Signal]:
    """The fold after this one, whether this is the command's last, and (WS, IS) the last of its part of the reduction."""
    rows, cols, interleave = accelerator.array.rows, accelerator.array.cols, accelerator.pe.interleave
    following = {name: Signal(SIZE_BITS, name=f"following_{name}") for name in fold}
    last_fold, last_of_part, last_u, last_v = Signal(), Signal(), Signal(), Signal()
    u_left, v_left = Signal(SIZE_BITS), Signal(SIZE_BITS)
    u_wide = Mux(terms.along_v, rows, rows * interleave)
    v_wide = Mux(terms.resident | ~terms.along_v, cols, cols * interleave)
    part = terms.depth * rows
    m.d.comb += [following[name].eq(fold[name]) for name in fold]
    m.d.comb += [u_left.eq(terms.u_end - fold["u"]), v_left.eq(terms.v_end - fold["v"])]
    m.d.comb += [last_u.eq(u_left <= u_wide), last_v.eq(v_left <= v_wide)]
    with m.If(terms.resident):  # all columns, then the next part
        m.d.comb += [last_fold.eq(last_v & (fold["left"] <= part)), last_of_part.eq(last_v)]
        m.d.comb += following["v"].eq(Mux(last_v, 0, fold["v"] + cols))
        m.d.comb += following["v_quotient"].eq(Mux(last_v, 0, fold["v_quotient"] + 1))
        with m.If(last_v):
            m.d.comb += [following["step"].eq(fold["step"] + rows), following["left"].eq(fold["left"] - part)]
            m.d.comb += following["row_x"].eq(fold["row_x"] + terms.row_entries)
            m.d.comb += following["column_x"].eq(fold["column_x"] + terms.column_entries * rows)
    with m.Else():
        m.d.comb += last_fold.eq(last_u & last_v)
        with m.If(terms.along_v):
            m.d.comb += following["v"].eq(Mux(last_v, 0, fold["v"] + v_wide))
            m.d.comb += following["u"].eq(Mux(last_v, fold["u"] + u_wide, fold["u"]))
            m.d.comb += following["v_quotient"].eq(Mux(last_v, 0, fold["v_quotient"] + interleave))
            m.d.comb += following["u_quotient"].eq(fold["u_quotient"] + last_v)
        with m.Else():
            m.d.comb += following["u"].eq(Mux(last_u, 0, fold["u"] + u_wide))
            m.d.comb += following["v"].eq(Mux(last_u, fold["v"] + v_wide, fold["v"]))
            m.d.comb += following["u_quotient"].eq(Mux(last_u, 0, fold["u_quotient"] + interleave))
            m.d.comb += following["v_quotient"].eq(fold["v_quotient"] + last_u)
    return following, last_fold, last_of_part
