"""What follows from a command's fields: sizes along rows and columns, cycles, and which fold comes after which.

Nothing is multiplied but by small constants: what a fold's addresses are is added up from fold to fold.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data

from rtl.array_ports import ENTRY_BITS, SIZE_BITS, longest_hop, word_bits
from rtl.array_walk import Words, scaled
from rtl.pe import product_cycles
from rtl.skew import delayed
from simulator.arch import Accelerator, Dataflow

__all__ = ["Folds", "Terms", "derive", "settles"]


def settles(accelerator: Accelerator) -> bool:
    """Whether a command's first fold can't end before its terms have settled in registers: in its fourth cycle."""
    return accelerator.array.rows >= 4


def fold_fields(accelerator: Accelerator) -> dict[str, int]:
    """Bits of a fold's fields: its first lines and (WS, IS) step, and what is left from there on of u, v and the reduction.

    For addresses: entries of the rows' (OS) and the columns' operand before the fold's lines, and before its step (WS, IS);
    words of C before its line u, and its column fold. If the array `settles`, whether it is the last along u, and along v.
    """
    flags = {"last_u": 1, "last_v": 1} if settles(accelerator) else {}
    return flags | {
        "u": SIZE_BITS,
        "v": SIZE_BITS,
        "step": SIZE_BITS,
        "u_left": SIZE_BITS,
        "v_left": SIZE_BITS,
        "left": SIZE_BITS,
        "row_entry": ENTRY_BITS,
        "column_entry": ENTRY_BITS,
        "row_x": SIZE_BITS,
        "column_x": SIZE_BITS,
        "word": word_bits(accelerator),
        "column_fold": SIZE_BITS,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Functions of the command, by the names of `simulator.timing` where it has one.

    All but `along_v` are there in the command's first cycle; those that are `settled` a cycle later, if the array `settles`.
    """

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
    wide: dict[str, Value]  # lines of a fold along u, and along v
    only: dict[str, Value]  # settled: whether a fold has all lines along u, and along v
    registers: Value
    shift: Value
    hop: Value  # as far as there is a row below
    behind: Value  # settled
    again: Value  # settled
    part: Value  # settled: elements of the reduction in a fold (WS, IS)
    part_entries: Value  # settled: the columns' entries of a line for them
    words: Words


def derive(m: Module, accelerator: Accelerator, command: data.View) -> Terms:
    pe, array = accelerator.pe, accelerator.array
    rows, interleave, lag = array.rows, pe.interleave, pe.accumulate_latency
    flows = set(array.dataflows)

    def net(name: str, value: Value, bits: int | None = None) -> Signal:
        signal = Signal(bits or len(value), name=name)
        m.d.comb += signal.eq(value)
        return signal

    def settled(name: str, value: Value) -> Signal:
        if not settles(accelerator):
            return net(name, value)
        register = Signal(len(value), name=name, reset_less=True)
        m.d.sync += register.eq(value)
        return register

    either = Dataflow.OS in flows and len(flows) > 1
    resident = net("is_resident", command.dataflow != 0 if either else Const(int(Dataflow.OS not in flows), 1))
    swapped = net("is_swapped", command.dataflow == 2 if Dataflow.IS in flows else Const(0, 1))
    nm = net("is_sparse", command.group != 0)
    kept = net("kept_in_columns", nm & (command.sparse_b ^ swapped))
    u_end, v_end = net("u_end", Mux(swapped, command.n, command.m)), net("v_end", Mux(swapped, command.m, command.n))
    depth = net("depth", Mux(nm, command.group, pe.lanes))
    beats = net("beats", Mux(nm, (command.keep + (pe.lanes - 1)) // pe.lanes, 1))
    registers = net("registers", Mux(kept, scaled(beats, pe.lanes), depth))
    if interleave <= lag:
        full_turn = Const(lag)
    else:
        most = Mux(u_end < interleave, u_end, interleave)
        full_turn = net("full_turn", Mux(most > lag, most, lag), interleave.bit_length())
    later_beats = scaled(beats - 1, lag) if interleave <= lag else (beats - 1) * full_turn
    hop = Mux(resident, Mux(beats == 1, lag, later_beats + lag), 1)
    hop = net("hop", hop, longest_hop(accelerator).bit_length())
    column_entries = net("column_entries", Mux(kept, command.keep, depth))
    along_v = _along_v(m, accelerator, command)
    wide = {
        "u": Mux(along_v, rows, rows * interleave),
        "v": Mux(~resident & along_v, array.cols * interleave, array.cols),
    }
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
        column_entries=column_entries,
        row_stride=net("row_stride", Mux(swapped, command.b_stride, command.a_stride)),
        column_stride=net("column_stride", Mux(swapped, command.a_stride, command.b_stride)),
        along_v=along_v,
        wide=wide,
        only={side: settled(f"only_{side}", end <= wide[side]) for side, end in (("u", u_end), ("v", v_end))},
        registers=registers,
        shift=net("shift", Mux(resident, scaled(registers, rows), rows * interleave)),
        hop=hop,
        behind=settled("behind", Mux(resident, scaled((hop - 1)[: len(hop)], rows - 1), 0)),
        again=settled("again", scaled(hop, rows) + (product_cycles(pe) + 1)),
        part=settled("part", scaled(depth, rows)),
        part_entries=settled("part_entries", scaled(column_entries, rows)),
        words=Words.of(m, accelerator, command.c_stride, settled if interleave == 1 else net),  # else needed at once
    )


def _along_v(m: Module, accelerator: Accelerator, command: data.View) -> Signal:
    """OS: whether there are as many folds' widths along v as along u, ceil(n / cols) >= ceil(m / rows).

    With one accumulator nothing needs it before the second fold, so that it may settle until the command's third cycle.
    """
    rows, cols = accelerator.array.rows, accelerator.array.cols
    later = settles(accelerator) and accelerator.pe.interleave == 1
    shift, odd = (rows & -rows).bit_length() - 1, rows // (rows & -rows)
    above = (command.m - 1)[:SIZE_BITS] >> shift
    domain = m.d.sync if later else m.d.comb
    along_v = Signal(name="along_v", reset_less=True)
    if odd > 1 and odd & (odd + 1) == 0:  # no quotient: it is cols * (m - 1 - rest) / rows
        rest = Signal(range(rows), name="rest_above", reset_less=True)
        unit = gcd(rows, cols)
        here = scaled(command.n, rows // unit) + scaled(rest, cols // unit)
        domain += [
            rest.eq(Cat((command.m - 1)[:shift], _remainder(above[: SIZE_BITS - shift], odd.bit_length()))),
            along_v.eq(here >= scaled(command.m, cols // unit) - (cols // unit - 1)),
        ]
        return along_v
    if odd > 1:  # x // odd of less than 2**bits is x * ceil(2**places / odd) // 2**places: the error stays below 1 / odd
        bits = SIZE_BITS - shift
        places = bits + odd.bit_length()
        above = (above * -(-(1 << places) // odd)) >> places
    whole = Signal(SIZE_BITS - shift, name="whole_folds_above", reset_less=True)  # of all but the last line
    domain += [whole.eq(above), along_v.eq(command.n > scaled(whole, cols))]
    return along_v


def _remainder(value: Value, bits: int) -> Value:
    """``value % (2**bits - 1)``: of the sum of its digits of so many bits, which add up with the carry coming in again."""
    digits = [value[at : at + bits] for at in range(0, len(value), bits)]
    while len(digits) > 1:
        sums = [a + b for a, b in zip(digits[::2], digits[1::2], strict=False)]
        digits = [(total[:bits] + total[bits:])[:bits] for total in sums] + digits[len(sums) * 2 :]
    return Mux(digits[0].all(), 0, digits[0])


class Folds:
    """A command's folds, one after the other: `current`, and the one `following` while the current one's slot lasts.

    `last`: current is the command's last; `last_of_part`: (WS, IS) it is the last of its part of the reduction. If the array
    `settles`, all these are registers, which are there when the command's first slot, or head, ends at the latest.
    """

    def __init__(self, m: Module, accelerator: Accelerator, terms: Terms, started: Value, slot_end: Value) -> None:
        self.m, self.accelerator = m, accelerator
        self.current = self._registers("fold")
        if not settles(accelerator):
            self.following, self.last, self.last_of_part = next_fold(m, accelerator, terms, self.current)
            self._held = (self.current,)
            with m.If(slot_end):
                m.d.sync += [self.current[name].eq(self.following[name]) for name in self.current]
            return
        self.following, self._held = self._registers("next_fold"), ()
        self.last, self.last_of_part = Signal(name="is_last_fold"), Signal(name="is_last_of_part")
        self._held = (self.current, self.following)
        after, last, last_of_part = next_fold(m, accelerator, terms, self.following)
        settling = delayed(m, started, 1, "settling", reset_less=False)  # `only` is there
        with m.If(settling):
            m.d.sync += [self.following[f"last_{side}"].eq(only) for side, only in terms.only.items()]
        settled = delayed(m, started, 2, "settled", reset_less=False)  # the terms are there
        with m.If(settled | slot_end):
            m.d.sync += [self.last.eq(last), self.last_of_part.eq(last_of_part)]
            for name in after:
                m.d.sync += [self.current[name].eq(self.following[name]), self.following[name].eq(after[name])]

    def _registers(self, kind: str) -> dict[str, Signal]:
        return {name: Signal(bits, name=f"{kind}_{name}") for name, bits in fold_fields(self.accelerator).items()}

    def begin(self, command: data.View) -> None:
        """In the next cycle this command's first fold is the current one."""
        swapped = command.dataflow == 2 if Dataflow.IS in self.accelerator.array.dataflows else Const(0, 1)
        first = {
            "u_left": Mux(swapped, command.n, command.m),
            "v_left": Mux(swapped, command.m, command.n),
            "left": command.k,
        }
        for fold in self._held:
            self.m.d.sync += [fold[name].eq(first.get(name, 0)) for name in fold]


def next_fold(
    m: Module, accelerator: Accelerator, terms: Terms, fold: Mapping[str, Value]
) -> tuple[dict[str, Signal], Signal, Signal]:
    """The fold after this one, whether this is the command's last, and (WS, IS) the last of its part of the reduction."""
    rows, interleave = accelerator.array.rows, accelerator.pe.interleave
    following = {name: Signal(bits, name=f"following_{name}") for name, bits in fold_fields(accelerator).items()}
    last_fold, last_of_part, last_u, last_v = Signal(), Signal(), Signal(), Signal()
    resident, along_v = terms.resident, terms.along_v
    u_deep, v_deep = Signal(), Signal()  # a fold's interleaved outputs lie along u, or v
    m.d.comb += [u_deep.eq(~along_v), v_deep.eq(~resident & along_v)]
    u_wide, v_wide = terms.wide["u"], terms.wide["v"]
    flagged = settles(accelerator)
    m.d.comb += last_u.eq(fold["last_u"] if flagged else fold["u_left"] <= u_wide)
    m.d.comb += last_v.eq(fold["last_v"] if flagged else fold["v_left"] <= v_wide)
    m.d.comb += last_fold.eq(last_v & Mux(resident, fold["left"] <= terms.part, last_u))
    m.d.comb += last_of_part.eq(last_v)
    # One dimension after the other: all along v (WS, IS; OS if v is deep), or all along u, and then the other's next.
    v_first = resident | along_v
    v_again, u_again = v_first & last_v, ~v_first & last_u
    v_on, u_on = Mux(v_first, ~last_v, last_u), ~resident & Mux(v_first, last_v, ~last_u)
    part_on = resident & last_v
    rises = {
        "v": (v_again, v_on, v_wide),
        "column_fold": (v_again, v_on, Mux(v_deep, interleave, 1)),
        "column_entry": (v_again, v_on, _strides(terms.column_stride, v_deep, interleave)),
        "u": (u_again, u_on, u_wide),
        "row_entry": (u_again, u_on, _strides(terms.row_stride, u_deep, interleave)),
        "step": (0, part_on, rows),
        "row_x": (0, part_on, terms.row_entries),
        "column_x": (0, part_on, terms.part_entries),
    }
    for name, (again, on, by) in rises.items():
        here = fold[name]
        m.d.comb += following[name].eq(Mux(again, 0, here + Mux(on, by, 0)))
    for side, again, on in (("u", u_again, u_on), ("v", v_again, v_on)) if flagged else ():
        nearly = fold[f"{side}_left"] <= terms.wide[side] << 1  # what is left behind this fold is one
        m.d.comb += following[f"last_{side}"].eq(Mux(again, terms.only[side], Mux(on, nearly, fold[f"last_{side}"])))
    words = terms.words
    deep, _ = words.moved(fold["word"], words.low(fold["u"]), rows * interleave)
    flat, _ = words.moved(fold["word"], words.low(fold["u"]), rows)
    m.d.comb += following["word"].eq(Mux(u_again, 0, Mux(u_on, Mux(u_deep, deep, flat), fold["word"])))
    m.d.comb += following["v_left"].eq(Mux(v_again, terms.v_end, fold["v_left"] - Mux(v_on, v_wide, 0)))
    m.d.comb += following["u_left"].eq(Mux(u_again, terms.u_end, fold["u_left"] - Mux(u_on, u_wide, 0)))
    m.d.comb += following["left"].eq(fold["left"] - Mux(part_on, terms.part, 0))
    return following, last_fold, last_of_part


def _strides(stride: Value, deep: Value, interleave: int) -> Value:
    return stride if interleave == 1 else Mux(deep, scaled(stride, interleave), stride)
