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

from itertools import pairwise
from typing import Any

from amaranth.hdl import Cat, EnableInserter, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.array_control import Control
from rtl.array_ports import (
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
from rtl.pe import Pe, control_layout, operand_layout, product_cycles, slot_bits, word_layout
from rtl.shared import shared
from rtl.skew import Hop, Pointers, delayed
from simulator.arch import Accelerator, Dataflow

__all__ = ["Array"]


class Array(wiring.Component):
    """Raises ValueError for an accelerator whose array it isn't: single buffered, or with ports that make it wait."""

    def __init__(self, spec: Accelerator) -> None:
        check_array(spec)
        self.spec = spec
        rows, cols, pe = spec.array.rows, spec.array.cols, spec.pe
        self.streams = Dataflow.OS in spec.array.dataflows
        self.holds = set(spec.array.dataflows) != {Dataflow.OS}
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
        spec, dataflows = self.spec.pe, self.spec.array.dataflows
        in_time = rows * spec.interleave == 1  # else a sum of OS comes before the cycle of its addition
        key = (spec, frozenset(dataflows), in_time)

        def make() -> Pe:
            return Pe(spec, dataflows, fill_in_time=in_time)

        pes = [[shared(m, f"pe_{r}_{c}", "pe", key, make) for c in range(cols)] for r in range(rows)]
        m.d.comb += [pe.en.eq(self.en) for row in pes for pe in row]
        bundles = self._rows(m, control, pes)
        self._columns(m, control, pes)
        self._arrivals(m, control, pes)
        drain, drained = self._drain(m, control, pes) if self.streams else (None, [])
        self._results(m, bundles[-1], pes[-1], drain, drained)
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
            pointers, below = (None, bundle) if last else self._below(m, r, bundle, layout)
            for c, each in enumerate(pes[r]):
                m.d.comb += [each.control.eq(word), each.row.eq(operand)]
                if pointers is not None and self.holds:
                    pointers = pointers.later(m, f"hop_{r}_{c}")
                    m.submodules[f"word_{r}_{c}"] = line = Hop(word_layout(pe).size, longest_hop(spec))
                    m.d.comb += [
                        line.at.eq(pointers.at),
                        line.back.eq(pointers.back),
                        line.value.eq(each.word),
                        pes[r + 1][c].word.eq(line.later),
                    ]
                word, operand = _next(m, word, f"control_{r}_{c}", reset_less=False), _next(m, operand, f"operand_{r}_{c}")
            bundle = below
        return bundles

    def _below(self, m: Module, r: int, bundle: data.View, layout: data.StructLayout) -> tuple[Pointers, data.View]:
        """The row's hop, and its bundle a hop later as the row below takes it; nothing until the command's first is there."""
        longest = longest_hop(self.spec)
        m.submodules[f"bundle_{r}"] = line = Hop(layout.size, longest)
        pointers = Pointers.of(m, longest, bundle.start, bundle.hop, f"hop_{r}")
        old = Signal(range(2 * longest + 2), name=f"old_{r}", init=2 * longest + 1)  # after reset: all that the line holds
        with m.If(old != 0):
            m.d.sync += old.eq(old - 1)
        with m.If(bundle.start):
            m.d.sync += old.eq(bundle.hop - 1)
        later = data.View(layout, line.later)
        below = Signal(layout, name=f"bundle_{r + 1}")
        m.d.comb += [line.at.eq(pointers.at), line.back.eq(pointers.back), line.value.eq(bundle), below.eq(later)]
        with m.If(later.control.resident):
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
        return pointers, below

    def _columns(self, m: Module, control: Control, pes: list[list[Pe]]) -> None:
        """Requests of each column, and operands on their way down."""
        request: data.View = control.column
        for c in range(self.spec.array.cols):
            m.d.comb += self.column_request[c].eq(request)
            answer = self.column_data[c]
            word = pes[0][c].word
            m.d.comb += [word.value.eq(answer.values[0]), word.index.eq(answer.index[0])]
            operand: data.View = answer
            for r, row in enumerate(pes if self.streams else []):
                m.d.comb += row[c].column.eq(operand)
                operand = _next(m, operand, f"down_{r}_{c}")
            request = _next(m, request, f"column_request_{c}", {"line": request.line + 1}, reset_less=False)

    def _arrivals(self, m: Module, control: Control, pes: list[list[Pe]]) -> None:
        """Earlier sums: from the c buffer into row 0 and from row to row (WS, IS), or down to the row whose turn it is (OS).

        A row below the first takes its sum from the register of the row above, a cycle before it would come by itself.
        """
        spec, pe = self.spec, self.spec.pe
        late = delayed(m, control.arrival.as_value(), product_cycles(pe), "arrival", reset_less=False)
        ask = Signal(arrival_layout(spec), name="ask_0")
        m.d.comb += ask.eq(late)
        fills: list[data.View] = []
        for c in range(spec.array.cols):
            m.d.comb += self.sums_request[c].eq(ask.request)
            ask = _next(m, ask, f"answered_{c}", {"request": {"v": ask.request.v + 1}}, reset_less=False)
            if self.holds:
                first = pes[0][c].arriving
                m.d.comb += [first.valid.eq(ask.request.valid & ~ask.fill), first.slot.eq(ask.slot)]
                m.d.comb += first.sum.eq(self.sums_data[c])
                for above, below in pairwise(pes):
                    m.d.comb += below[c].arriving.eq(above[c].leaving)
            if not self.streams:
                continue
            if not fills:  # what column 0's rows do; every other's do it a cycle after its neighbour
                step = Signal(_fill_layout(spec), name="fill_0")
                m.d.comb += [step.valid.eq(ask.request.valid & ask.fill), step.turn.eq(ask.turn), step.slot.eq(ask.slot)]
                fills = self._down(m, step, "fill")
            else:
                fills = [_next(m, fill, f"fill_{r}_{c}", reset_less=False) for r, fill in enumerate(fills)]
            total = self.sums_data[c]
            for r, row in enumerate(pes):
                if r > 1:
                    total = delayed(m, total, 1, f"filled_{r - 1}_{c}")
                fill = row[c].fill
                m.d.comb += [fill.valid.eq(fills[r].valid), fill.slot.eq(fills[r].slot), fill.sum.eq(total)]

    def _down(self, m: Module, step: data.View, name: str) -> list[data.View]:
        """For each row the step and whether it is its turn: row 1 with row 0, those below a cycle after the one above."""
        steps: list[data.View] = []
        for r in range(self.spec.array.rows):
            if r > 1:
                step = _next(m, step, f"{name}_down_{r}", reset_less=False)
            mine = Signal(data.StructLayout({"valid": 1, "slot": slot_bits(self.spec.pe)}), name=f"{name}_of_row_{r}")
            m.d.comb += [mine.valid.eq(step.valid & (step.turn == r)), mine.slot.eq(step.slot)]
            steps.append(mine)
        return steps

    def _drain(self, m: Module, control: Control, pes: list[list[Pe]]) -> tuple[Any, list[Value]]:
        """OS: copies, and sums on their way down the columns, in turns: where column 0's goes, and each column's sum."""
        rows, pe = self.spec.array.rows, self.spec.pe
        late = delayed(m, control.drain.as_value(), pe.latency + 1, "drain", reset_less=False)
        step = Signal(drain_layout(self.spec), name="drain_0")
        m.d.comb += step.eq(late)
        sums: list[Value] = []
        layout = data.StructLayout({"copy": 1, "mine": 1, "slot": slot_bits(pe)})
        for r, row in enumerate(pes):
            here = Signal(layout, name=f"drain_of_row_{r}")
            m.d.comb += [here.copy.eq(step.copy), here.mine.eq(step.turn == r), here.slot.eq(step.slot)]
            for c, each in enumerate(row):
                m.d.comb += [each.copy.eq(here.copy), each.drain_slot.eq(here.slot)]
                if r == 0:
                    sums.append(each.drained)
                else:
                    above = delayed(m, sums[c], 1, f"drained_{r - 1}_{c}")
                    sums[c] = Mux(here.mine, each.drained, above)
                if c + 1 < len(row):
                    here = _next(m, here, f"drain_{r}_{c}", reset_less=False)
            if r + 1 < rows:
                step = _next(m, step, f"drain_{r + 1}", reset_less=False)
        return step, sums

    def _results(self, m: Module, bundle: data.View, last_row: list[Pe], drain: data.View | None, drained: list[Value]) -> None:
        """Where the sums go that leave the last row (WS, IS), or come down the columns (OS)."""
        layout = sum_write(self.spec)
        ends = data.StructLayout({"write": layout, "columns": range(self.spec.array.cols + 1), "drained": 1})
        now = Signal(ends)
        m.d.comb += [
            now.write.valid.eq(bundle.control.beat & bundle.control.last & bundle.control.resident),
            now.write.swapped.eq(bundle.swapped),
            now.write.slot.eq(bundle.c_slot),
            now.write.word.eq(bundle.c_word),
            now.write.place.eq(bundle.c_place),
            now.write.u.eq(bundle.line),
            now.write.v.eq(bundle.v),
            now.columns.eq(bundle.columns),
        ]
        where = Signal(ends, name="result_0")
        if self.holds:
            m.d.comb += where.eq(delayed(m, now.as_value(), self.spec.pe.latency + 1, "result", reset_less=False))
        else:
            m.d.comb += where.write.sum.eq(drained[0])  # read by nobody: each column takes its own below
        if drain is not None:
            with m.If(drain.valid):
                m.d.comb += [
                    where.drained.eq(1),
                    where.write.valid.eq(1),
                    where.write.swapped.eq(0),
                    where.write.slot.eq(drain.c_slot),
                    where.write.word.eq(drain.c_word),
                    where.write.place.eq(drain.c_place),
                    where.write.u.eq(drain.u),
                    where.write.v.eq(drain.v),
                    where.columns.eq(drain.columns),
                ]
        for c, pe in enumerate(last_row):
            m.d.comb += [
                self.results[c].eq(where.write),
                self.results[c].valid.eq(where.write.valid & (where.columns > c)),
            ]
            if drain is None:
                m.d.comb += self.results[c].sum.eq(pe.leaving.sum)
            elif not self.holds:
                m.d.comb += self.results[c].sum.eq(drained[c])
            else:
                m.d.comb += self.results[c].sum.eq(Mux(where.drained, drained[c], pe.leaving.sum))
            where = _next(m, where, f"result_{c + 1}", {"write": {"v": where.write.v + 1}}, reset_less=False)

    def _done(self, m: Module, control: Control) -> None:
        array, pe = self.spec.array, self.spec.pe
        skew = array.rows + array.cols - 2 + pe.latency
        results, drained = control.finished & control.resident, control.finished & ~control.resident
        done_results = delayed(m, results, skew + 1, "done_results", reset_less=False)
        done_drained = delayed(m, drained, skew + array.rows * pe.interleave + 1, "done_drained", reset_less=False)
        m.d.comb += [self.started.eq(control.started), self.done.eq(done_results | done_drained)]


def _fill_layout(spec: Accelerator) -> data.StructLayout:
    return data.StructLayout({"valid": 1, "turn": range(spec.array.rows + 1), "slot": slot_bits(spec.pe)})


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
