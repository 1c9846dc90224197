"""Rows x columns of PEs that execute Multiply commands, output, weight or input stationary, dense or N:M.

The corner's control (`rtl.array_control`) spreads from row to row with the command's hop, and from column to column with a
cycle; operands, words and sums are asked for where and when they are needed, so that the buffers' ports see a skewed wave and
the array holds no skewing triangles. Every port answers in the next cycle, always.

| port        | asks, or shows, in cycle (t: the beat's first request, by row 0 and column 0)       | on its way        |
|-------------|-------------------------------------------------------------------------------------|-------------------|
| `row` r     | t + r * hop                                                                         | along the row     |
| `column` c  | t + c: operands (OS); the next fold's words in a fold's first cycles, row after row | down              |
| `sums` c    | t + c + multiply latency + adder tree (OS: a cycle more)                            | into row 0, down  |
| `results` c | t + c + (rows-1) * hop + pe.latency + 1: a sum leaves the last row (WS, IS)         |                   |
|             | slot's end + c + rows-1 + pe.latency + 1 and on: row by row, slot by slot (OS)      |                   |

Operands and earlier sums of OS go down a row a cycle, words a row a hop, as the control does.

A command is accepted with the stream's handshake and starts in the next cycle, s. The next can be accepted in cycle
``s + occupancy - 1`` and starts at ``s + occupancy``; its last result is written in ``s + occupancy + tail`` at the latest,
when `done` is high: exactly `simulator.timing`. An OS command's last results leave while the next command runs, so a WS or IS
command that follows may be accepted in the cycle of the OS command's `done` at the earliest, not before: whoever gives commands
sees to it. So a column writes one result a cycle at most, and commands are done in their order.

Where multiplication and tree take no cycle, the c buffer must show a sum that is written in the cycle in which it is asked
for. Lines and steps beyond the matrices may be asked for: any answer does. A row and the column of the same number never ask
the same buffer in one cycle: row r's last request comes r cycles after the command's last cycle at the latest, and the next
command asks by column r later. `en` low freezes everything.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# Amaranth makes ports attributes at run time.

from typing import Any

from amaranth.hdl import Cat, EnableInserter, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.array_control import Control
from rtl.array_ports import (
    SIZE_BITS,
    arrival_layout,
    bundle_layout,
    check_array,
    column_request,
    command_layout,
    drain_layout,
    longest_hop,
    row_request,
    sum_request,
    sum_write,
)
from rtl.pe import Pe, control_layout, operand_layout, product_cycles, slot_bits, sum_layout, word_layout
from rtl.shared import shared
from rtl.skew import Hop, delayed
from simulator.arch import Accelerator

__all__ = ["Array"]


class Array(wiring.Component):
    """Raises ValueError for an accelerator whose array it isn't: single buffered, or with ports that make it wait."""

    def __init__(self, spec: Accelerator) -> None:
        check_array(spec)
        self.spec = spec
        rows, cols, pe = spec.array.rows, spec.array.cols, spec.pe
        super().__init__(
            {
                "en": In(1),
                "commands": In(stream.Signature(command_layout(spec))),
                "row_request": Out(data.ArrayLayout(row_request(spec), rows)),
                "row_data": In(data.ArrayLayout(operand_layout(pe), rows)),
                "column_request": Out(data.ArrayLayout(column_request(spec), cols)),
                "column_data": In(data.ArrayLayout(operand_layout(pe), cols)),
                "sums_request": Out(data.ArrayLayout(sum_request(spec), cols)),
                "sums_data": In(data.ArrayLayout(pe.number.accumulator_bits, cols)),
                "results": Out(data.ArrayLayout(sum_write(spec), cols)),
                "started": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> object:  # noqa: ARG002
        m = Module()
        rows, cols = self.spec.array.rows, self.spec.array.cols
        m.submodules.control = control = Control(self.spec)
        m.d.comb += [
            control.commands.valid.eq(self.commands.valid),
            control.commands.payload.eq(self.commands.payload),
            self.commands.ready.eq(control.commands.ready & self.en),
        ]
        spec = self.spec.pe
        pes = [[shared(m, f"pe_{r}_{c}", "pe", spec, lambda: Pe(spec)) for c in range(cols)] for r in range(rows)]
        m.d.comb += [pe.en.eq(self.en) for row in pes for pe in row]
        bundles = self._rows(m, control, pes)
        self._columns(m, control, pes)
        self._arrivals(m, control, pes)
        self._results(m, bundles[-1], pes[-1], *self._drain(m, control, pes))
        self._done(m, control)
        return EnableInserter(self.en)(m)

    def _rows(self, m: Module, control: Control, pes: list[list[Pe]]) -> list[data.View]:
        """The bundle of each row, its request, and control, operand and words for its PEs."""
        spec, pe = self.spec, self.spec.pe
        layout = bundle_layout(spec)
        bundle: data.View = control.bundle
        bundles: list[data.View] = []
        for r in range(spec.array.rows):
            bundles.append(bundle)
            request = self.row_request[r]
            m.d.comb += [
                request.valid.eq(bundle.control.beat),
                request.operand_b.eq(bundle.swapped),
                request.slot.eq(bundle.slot),
                request.entry.eq(bundle.entry),
                request.kept.eq(bundle.kept_row),
                request.line.eq(bundle.line),
                request.step.eq(bundle.step),
                request.beat.eq(bundle.beat),
            ]
            word = Signal(control_layout(pe), name=f"row_{r}_control")
            dense = Signal(name=f"row_{r}_dense")
            dense_lanes = Cat(bundle.left > lane for lane in range(pe.lanes))
            sparse_lanes = bundle.control.lanes & (bundle.left != 0).replicate(pe.lanes)
            m.d.sync += [
                word.eq(bundle.control),
                word.lanes.eq(Mux(bundle.dense, dense_lanes, sparse_lanes)),
                word.load.eq(bundle.control.load & (bundle.turn == 0)),
                dense.eq(bundle.dense),
            ]
            operand = Signal(operand_layout(pe), name=f"row_{r}_operand")
            m.d.comb += operand.values.eq(self.row_data[r].values)
            for lane in range(pe.lanes):
                m.d.comb += operand.index[lane].eq(Mux(dense, lane, self.row_data[r].index[lane]))
            last = r + 1 == spec.array.rows
            hop, below = (Signal(), bundle) if last else self._below(m, r, bundle, layout)
            for c, each in enumerate(pes[r]):
                m.d.comb += [each.control.eq(word), each.row.eq(operand)]
                if not last:
                    m.submodules[f"word_{r}_{c}"] = line = Hop(word_layout(pe).size, longest_hop(spec))
                    hop = delayed(m, hop, 1, f"hop_{r}_{c}")
                    m.d.comb += [line.hop.eq(hop), line.value.eq(each.word), pes[r + 1][c].word.eq(line.later)]
                word, operand = _next(m, word, f"control_{r}_{c}", reset_less=False), _next(m, operand, f"operand_{r}_{c}")
            bundle = below
        return bundles

    def _below(self, m: Module, r: int, bundle: data.View, layout: data.StructLayout) -> tuple[Value, data.View]:
        """The row's hop, and its bundle a hop later as the row below takes it; nothing until the command's first is there."""
        longest = longest_hop(self.spec)
        m.submodules[f"bundle_{r}"] = line = Hop(layout.size, longest)
        hop = Signal(range(longest + 1), name=f"hop_{r}", init=1)
        old = Signal(range(2 * longest + 2), name=f"old_{r}", init=2 * longest + 1)  # after reset: all that the line holds
        with m.If(old != 0):
            m.d.sync += old.eq(old - 1)
        with m.If(bundle.start):
            m.d.sync += [hop.eq(bundle.hop), old.eq(bundle.hop - 1)]
        later = data.View(layout, line.later)
        below = Signal(layout, name=f"bundle_{r + 1}")
        resident = later.control.resident
        m.d.comb += [line.hop.eq(hop), line.value.eq(bundle), below.eq(later)]
        with m.If(resident):
            m.d.comb += [
                below.step.eq(later.step + 1),
                below.left.eq(Mux(later.left > later.depth, later.left - later.depth, 0)),
                below.control.fresh.eq(0),
                below.turn.eq(later.turn - 1),
                below.control.load.eq(later.control.load & (later.turn != 0)),
            ]
        with m.Else():
            m.d.comb += below.line.eq(later.line + 1)
        with m.If(old != 0):
            m.d.comb += [below.start.eq(0), below.control.beat.eq(0), below.control.load.eq(0)]
        return hop, below

    def _columns(self, m: Module, control: Control, pes: list[list[Pe]]) -> None:
        """Requests of each column, and operands on their way down."""
        request: data.View = control.column
        for c in range(self.spec.array.cols):
            m.d.comb += self.column_request[c].eq(request)
            answer = self.column_data[c]
            word = pes[0][c].word
            m.d.comb += [word.value.eq(answer.values[0]), word.index.eq(answer.index[0])]
            operand: data.View = answer
            for r, row in enumerate(pes):
                m.d.comb += row[c].column.eq(operand)
                operand = _next(m, operand, f"down_{r}_{c}")
            request = _next(m, request, f"column_request_{c}", {"line": request.line + 1}, reset_less=False)

    def _arrivals(self, m: Module, control: Control, pes: list[list[Pe]]) -> None:
        """Earlier sums: from the c buffer into row 0, or down to the row whose turn it is; and from row to row."""
        spec, pe = self.spec, self.spec.pe
        layout = arrival_layout(spec)
        late = delayed(m, control.arrival.as_value(), product_cycles(pe), "arrival", reset_less=False)
        ask = Signal(layout, name="ask_0")
        m.d.comb += ask.eq(late)
        for c in range(spec.array.cols):
            m.d.comb += self.sums_request[c].eq(ask.request)
            answered = _next(m, ask, f"answered_{c}", {"request": {"v": ask.request.v + 1}}, reset_less=False)
            fill = Signal(_fill_layout(spec), name=f"fill_0_{c}")
            m.d.comb += [
                fill.valid.eq(answered.request.valid & answered.fill),
                fill.turn.eq(answered.turn),
                fill.slot.eq(answered.slot),
                fill.sum.eq(self.sums_data[c]),
            ]
            above = Signal(sum_layout(pe), name=f"above_0_{c}")
            m.d.comb += [
                above.valid.eq(answered.request.valid & ~answered.fill),
                above.slot.eq(answered.slot),
                above.sum.eq(self.sums_data[c]),
            ]
            for r, row in enumerate(pes):
                mine = fill.valid & (fill.turn == 0)
                arriving = row[c].arriving
                m.d.comb += [
                    arriving.valid.eq(mine | above.valid),
                    arriving.slot.eq(Mux(mine, fill.slot, above.slot)),
                    arriving.sum.eq(Mux(mine, fill.sum, above.sum)),
                ]
                above = row[c].leaving
                further = {"valid": fill.valid & (fill.turn != 0), "turn": fill.turn - 1}
                fill = _next(m, fill, f"fill_{r + 1}_{c}", further, reset_less=False)
            ask = answered

    def _drain(self, m: Module, control: Control, pes: list[list[Pe]]) -> tuple[Value, list[Value]]:
        """OS: copies, and sums on their way down the columns, in turns: where column 0's goes, and each column's sum."""
        spec = self.spec
        layout, sums = drain_layout(spec), []
        late = delayed(m, control.drain.as_value(), spec.pe.latency + 1, "drain", reset_less=False)
        top = Signal(layout, name="drain_0")
        m.d.comb += top.eq(late)
        for c in range(spec.array.cols):
            step, total = top, None
            for r, row in enumerate(pes):
                pe = row[c]
                m.d.comb += [pe.copy.eq(step.copy), pe.drain_slot.eq(step.slot)]
                total = pe.drained if total is None else Mux(step.turn == 0, pe.drained, total)
                if r + 1 < len(pes):
                    step = _next(m, step, f"drain_{r}_{c}", {"turn": step.turn - 1}, reset_less=False)
                    total = delayed(m, total, 1, f"drained_{r}_{c}")
            sums.append(total)
            top = _next(m, top, f"drain_top_{c}", reset_less=False)
        return delayed(m, late, spec.array.rows - 1, "drain_down", reset_less=False), sums

    def _results(self, m: Module, bundle: data.View, last_row: list[Pe], drain: Value, drained: list[Value]) -> None:
        """Where the sums go that leave the last row (WS, IS), or come down the columns (OS)."""
        layout = sum_write(self.spec)
        ends = data.StructLayout({"write": layout, "v_end": SIZE_BITS, "drained": 1})
        now = Signal(ends)
        m.d.comb += [
            now.write.valid.eq(bundle.control.beat & bundle.control.last & bundle.control.resident),
            now.write.swapped.eq(bundle.swapped),
            now.write.slot.eq(bundle.c_slot),
            now.write.word.eq(bundle.c_word),
            now.write.place.eq(bundle.c_place),
            now.write.u.eq(bundle.line),
            now.write.v.eq(bundle.v),
            now.v_end.eq(bundle.v_end),
        ]
        down = Signal(drain_layout(self.spec), name="drained_0")
        where = Signal(ends, name="result_0")
        m.d.comb += down.eq(drain)
        m.d.comb += where.eq(delayed(m, now.as_value(), self.spec.pe.latency + 1, "result", reset_less=False))
        with m.If(down.valid):
            m.d.comb += [
                where.drained.eq(1),
                where.write.valid.eq(1),
                where.write.swapped.eq(0),
                where.write.slot.eq(down.c_slot),
                where.write.word.eq(down.c_word),
                where.write.place.eq(down.c_place),
                where.write.u.eq(down.u),
                where.write.v.eq(down.v),
                where.v_end.eq(down.v_end),
            ]
        for c, pe in enumerate(last_row):
            m.d.comb += [
                self.results[c].eq(where.write),
                self.results[c].valid.eq(where.write.valid & (where.write.v < where.v_end)),
                self.results[c].sum.eq(Mux(where.drained, drained[c], pe.leaving.sum)),
            ]
            where = _next(m, where, f"result_{c + 1}", {"write": {"v": where.write.v + 1}}, reset_less=False)

    def _done(self, m: Module, control: Control) -> None:
        array, pe = self.spec.array, self.spec.pe
        skew = array.rows + array.cols - 2 + pe.latency
        results, drained = control.finished & control.resident, control.finished & ~control.resident
        done_results = delayed(m, results, skew + 1, "done_results", reset_less=False)
        done_drained = delayed(m, drained, skew + array.rows * pe.interleave + 1, "done_drained", reset_less=False)
        m.d.comb += [self.started.eq(control.started), self.done.eq(done_results | done_drained)]


def _fill_layout(spec: Accelerator) -> data.StructLayout:
    slot, bits = slot_bits(spec.pe), spec.pe.number.accumulator_bits
    return data.StructLayout({"valid": 1, "turn": range(spec.array.rows + 1), "slot": slot, "sum": bits})


def _next(m: Module, view: data.View, name: str, changes: dict | None = None, *, reset_less: bool = True) -> Any:
    """The view a cycle later, some of its fields changed."""
    register = Signal(view.shape(), name=name, reset_less=reset_less)
    m.d.sync += register.eq(view)
    for field, value in (changes or {}).items():
        if isinstance(value, dict):
            m.d.sync += [register[field][inner].eq(each) for inner, each in value.items()]
        else:
            m.d.sync += register[field].eq(value)
    return register
