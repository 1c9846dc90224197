"""Value-serial N:M processing element (SAT's USPE): multipliers behind operand selectors, adder tree, accumulators.

A beat multiplies up to `lanes` kept values, each by the element of the other operand that its index selects. The kept values
come from the row's operand or from the other one, which is the column's operand (OS) or the stationary registers (WS, IS);
a dense beat is one whose indices are 0, 1, 2, ... (the array's edge supplies them). Absent lanes add nothing. A PE has what its
array's dataflows need: no stationary registers in an array of OS alone, no second set of sums in one without OS.

The control word travels with the operands and says everything about a beat; the PE keeps no schedule of its own:

| field              | meaning                                                                                           |
|--------------------|---------------------------------------------------------------------------------------------------|
| `beat`             | operands enter in this cycle; without it the other fields of the beat mean nothing                |
| `lanes`            | the lanes that are present, a bit each (WS, IS: or none, the sum passes unchanged)                |
| `resident`         | the other operand is in the stationary registers (WS, IS), not on the column's bus (OS)           |
| `kept`             | the other operand holds the kept values and indices, not the row's                                |
| `bank`, `base`     | copy of the stationary registers; the register of lane 0, if they hold the kept values            |
| `slot`             | accumulator of this sum                                                                           |
| `first`            | first beat of the sum here: begin with an earlier sum                                            |
| `fresh`            | with `first`: begin with +0 instead                                                               |
| `last`             | last beat of the sum here: the sum leaves by `leaving` (WS, IS)                                   |
| `load`             | `word` goes into register `load_at` of copy `load_bank` (with or without a beat)                  |

An earlier sum comes from above, or from the c buffer into the first row, by `arriving` (WS, IS), in the cycle of the addition
that takes it, or up to that cycle where `interleave` exceeds the accumulate latency; and by `fill` (OS), before that cycle, or
up to it in a PE with `fill_in_time`. Until then it waits in its slot. `copy` ends the sums made so far: `drained` shows them,
slot by slot, while the next ones are made (OS). There is no back-pressure; with `en` low everything holds.

Example: multiply latency 1, accumulate latency 2, one lane (so pe.latency = 3), two sums of two beats each, slots 0 and 1:

| cycle | control                | addition                       | visible                              |
|-------|------------------------|--------------------------------|--------------------------------------|
| 0     | beat slot 0 first      |                                |                                      |
| 1     | beat slot 1 first      | slot 0: arrived sum + product  |                                      |
| 2     | beat slot 0 last       | slot 1: arrived sum + product  |                                      |
| 3     | beat slot 1 last       | slot 0: + product (fed back)   | slot 0's first sum                   |
| 4     |                        | slot 1: + product              | slot 1's first sum                   |
| 5     |                        |                                | slot 0 done: `leaving`               |
| 6     | (`copy`)               |                                | slot 1 done: `leaving`               |
| 7     |                        |                                | both stay to be seen: `drained`       |
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false, reportCallIssue=false
# Amaranth makes ports attributes at run time.

from collections.abc import Sequence
from functools import reduce
from operator import and_, or_

from amaranth.hdl import Cat, EnableInserter, Module, Mux, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from rtl.fp import NUMBERS, Add, Multiply
from rtl.pe_sums import Sums
from rtl.pipeline import wire
from rtl.skew import delayed
from simulator.arch import Dataflow
from simulator.arch import Pe as Spec

__all__ = ["Pe", "control_layout", "index_bits", "operand_layout", "product_cycles", "sum_layout", "width", "word_layout"]


def width(pe: Spec) -> int:
    """Elements on an operand's bus: the widest group, or the lanes of a dense beat."""
    return max(pe.group, pe.lanes)


def index_bits(pe: Spec) -> int:
    return max(1, (width(pe) - 1).bit_length())


def slot_bits(pe: Spec) -> int:
    return max(1, (pe.interleave - 1).bit_length())


def register_bits(pe: Spec) -> int:
    return max(1, (pe.registers - 1).bit_length())


def product_cycles(pe: Spec) -> int:
    """Cycles from a beat's operands to the addition of their sum to the accumulator."""
    return pe.latency - pe.accumulate_latency


def operand_layout(pe: Spec) -> data.StructLayout:
    """An operand for one beat: a dense group, or `lanes` kept values with their indices."""
    return data.StructLayout(
        {
            "values": data.ArrayLayout(pe.number.operand_bits, width(pe)),
            "index": data.ArrayLayout(index_bits(pe), pe.lanes),
        }
    )


def word_layout(pe: Spec) -> data.StructLayout:
    """A stationary operand: value, and index within its group if it is a kept one."""
    return data.StructLayout({"value": pe.number.operand_bits, "index": index_bits(pe)})


def sum_layout(pe: Spec) -> data.StructLayout:
    """A sum on its way into or out of a slot."""
    return data.StructLayout({"valid": 1, "slot": slot_bits(pe), "sum": pe.number.accumulator_bits})


def control_layout(pe: Spec) -> data.StructLayout:
    """The control word of the table above."""
    return data.StructLayout(
        {
            "beat": 1,
            "lanes": pe.lanes,
            "resident": 1,
            "kept": 1,
            "bank": 1,
            "base": register_bits(pe),
            "slot": slot_bits(pe),
            "first": 1,
            "fresh": 1,
            "last": 1,
            "load": 1,
            "load_bank": 1,
            "load_at": register_bits(pe),
        }
    )


class Pe(wiring.Component):
    """A sum is on `leaving`, and may be copied, `spec.latency` enabled cycles after its last beat's operands."""

    def __init__(self, spec: Spec, dataflows: Sequence[Dataflow] = tuple(Dataflow), *, fill_in_time: bool = False) -> None:
        if spec.format not in NUMBERS:
            raise ValueError(f"Pe field 'format' must be one of {', '.join(NUMBERS)}, not {spec.format!r}")
        self.spec, self.number, self.fill_in_time = spec, NUMBERS[spec.format], fill_in_time
        self.streams = Dataflow.OS in dataflows  # the other operand may come by the columns
        self.holds = set(dataflows) != {Dataflow.OS}  # ... or be in the stationary registers
        super().__init__(
            {
                "en": In(1),
                "control": In(control_layout(spec)),
                "row": In(operand_layout(spec)),
                "column": In(operand_layout(spec)),
                "word": In(word_layout(spec)),
                "arriving": In(sum_layout(spec)),
                "fill": In(sum_layout(spec)),
                "leaving": Out(sum_layout(spec)),
                "copy": In(1),
                "drain_slot": In(slot_bits(spec)),
                "drained": Out(spec.number.accumulator_bits),
            }
        )

    def elaborate(self, platform: object) -> object:  # noqa: ARG002
        m = Module()
        total = self._tree(m, [self._product(m, lane) for lane in range(self.spec.lanes)])
        m.submodules.sums = sums = Sums(self.spec, streams=self.streams, holds=self.holds, fill_in_time=self.fill_in_time)
        control = self.control
        resident = control.resident if self.streams else 1
        m.d.comb += [
            sums.beat.eq(control.beat),
            sums.slot.eq(control.slot),
            sums.first.eq(control.first),
            sums.fresh.eq(control.fresh),
            sums.leave.eq(control.last & resident),
            sums.resident.eq(resident),
            sums.total.eq(total),
            sums.copy.eq(self.copy),
            sums.drain_slot.eq(self.drain_slot),
            self.drained.eq(sums.drained),
        ]
        for name in ("valid", "slot", "sum"):
            m.d.comb += [sums.arriving[name].eq(self.arriving[name]), sums.fill[name].eq(self.fill[name])]
            m.d.comb += self.leaving[name].eq(sums.leaving[name])
        return EnableInserter(self.en)(m)

    def _product(self, m: Module, lane: int) -> Value:
        """Of a lane, or `Number.nothing`, `multiply_latency` cycles after the operands.

        The row's element times the column's or the register's: whichever is dense is selected by the kept one's index, which
        is there first. Each bus is selected from before they meet.
        """
        spec, control, row, column = self.spec, self.control, self.row, self.column
        present = control.lanes[lane]
        always = lane == 0 and not self.holds  # a beat has a first lane, but in a row beyond the reduction
        nothing_from_zero = not always and self.number.nothing == 0  # a product with zero is one
        gates = [present] if nothing_from_zero else []
        of_column, of_register = list(gates), list(gates)  # all that must be for an operand to be taken
        if self.streams and self.holds:
            of_column.append(~control.resident)
            of_register.append(control.resident)

        select = spec.group > 1  # else lane i multiplies element i, always
        lane_or_index = Mux(control.kept, lane, row.index[lane])[: index_bits(spec)]
        chosen = wire(m, f"chosen_{lane}", lane_or_index) if select else None
        index, others = column.index[lane], []
        if self.holds:
            word = self._register(m, lane, chosen)
            others.append(_only(m, f"held_{lane}", word.value, of_register))
            index = Mux(control.resident, word.index, index) if self.streams else word.index
        if self.streams and select:
            others.append(_choice(m, f"column_{lane}", column.values, chosen, of_column))
        elif self.streams:
            others.append(_only(m, f"column_{lane}", column.values[lane], of_column))
        of_row = row.values[lane]
        if select:
            of_row = _choice(m, f"row_{lane}", row.values, Mux(control.kept, index, lane)[: index_bits(spec)], [])

        m.submodules[f"multiply_{lane}"] = multiply = Multiply(self.number, spec.multiply_latency)
        m.d.comb += [multiply.en.eq(1), multiply.a.eq(of_row), multiply.b.eq(reduce(or_, others))]
        if always or nothing_from_zero:
            return multiply.product
        late = delayed(m, present, spec.multiply_latency, f"present_{lane}")
        return Mux(late, multiply.product, self.number.nothing)

    def _register(self, m: Module, lane: int, chosen: Value | None) -> data.View:
        """A lane's stationary operand: a kept one of its own, or the one of the dense group that its index chooses."""
        spec, control = self.spec, self.control
        bits = 0 if chosen is None else max(1, (spec.registers - 1).bit_length())
        m.submodules[f"registers_{lane}"] = held = memory.Memory(shape=word_layout(spec), depth=2 << bits, init=[])
        write, read = held.write_port(), held.read_port(domain="comb")
        mine = control.load_at == lane if chosen is None else 1
        m.d.comb += [write.en.eq(control.load & mine), write.data.eq(self.word)]
        if chosen is None:
            m.d.comb += [write.addr.eq(control.load_bank), read.addr.eq(control.bank)]
        else:
            at = Mux(control.kept, control.base + lane, chosen)[:bits]
            m.d.comb += [write.addr.eq(Cat(control.load_at[:bits], control.load_bank)), read.addr.eq(Cat(at, control.bank))]
        return read.data

    def _tree(self, m: Module, level: list[Value]) -> Value:
        """Neighbours add, level by level; an odd last value waits for the next level."""
        depth = 0
        while len(level) > 1:
            sums: list[Value] = []
            for i in range(0, len(level) - 1, 2):
                add = Add(self.number, self.spec.accumulate_latency)
                m.submodules[f"tree_{depth}_{i // 2}"] = add
                m.d.comb += [add.en.eq(1), add.a.eq(level[i]), add.b.eq(level[i + 1])]
                sums.append(add.sum)
            if len(level) % 2:
                sums.append(delayed(m, level[-1], self.spec.accumulate_latency, f"odd_{depth}"))
            level, depth = sums, depth + 1
        return level[0]


def _only(m: Module, name: str, value: Value, gates: list[Value]) -> Value:
    """The value if all gates are open, else 0."""
    return value & wire(m, f"{name}_taken", reduce(and_, gates)).replicate(len(value)) if gates else value


def _choice(m: Module, name: str, values: Sequence[Value], index: Value, gates: list[Value]) -> Value:
    """``values[index]`` if all gates are open, else 0: pairs chosen by the lowest bit, each behind a decoder of the others."""
    pairs: list[Value] = []
    for i in range(0, len(values), 2):
        pair = Mux(index[0], values[i + 1], values[i]) if i + 1 < len(values) else values[i]
        decoded = [index[1:] == i // 2] if len(index) > 1 else []
        pairs.append(_only(m, f"{name}_{i}", pair, decoded + gates))
    return reduce(or_, pairs)
