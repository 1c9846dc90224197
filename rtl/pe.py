"""Value-serial N:M processing element (SAT's USPE): multipliers behind operand selectors, adder tree, accumulators.

A beat multiplies up to `lanes` kept values, each by the element of the other operand that its index selects. The kept values
come from the row's operand or from the other one, which is the column's operand (OS) or the stationary registers (WS, IS);
a dense beat is one whose indices are 0, 1, 2, ... (the array's edge supplies them). Absent lanes add nothing.

The control word travels with the operands and says everything about a beat; the PE keeps no schedule of its own:

| field              | meaning                                                                                           |
|--------------------|---------------------------------------------------------------------------------------------------|
| `beat`             | operands enter in this cycle; without it the other fields of the beat mean nothing                |
| `lanes`            | the lanes that are present, a bit each (none: the sum passes unchanged)                           |
| `resident`         | the other operand is in the stationary registers (WS, IS), not on the column's bus (OS)           |
| `kept`             | the other operand holds the kept values and indices, not the row's                                |
| `bank`, `base`     | copy of the stationary registers; the register of lane 0, if they hold the kept values            |
| `slot`             | accumulator of this sum                                                                           |
| `first`            | first beat of the sum here: begin with the sum that has arrived in the slot                       |
| `fresh`            | with `first`: begin with +0 instead                                                               |
| `last`             | last beat of the sum here: the sum leaves by `leaving` (WS, IS)                                   |
| `load`             | `word` goes into register `load_at` of copy `load_bank` (with or without a beat)                  |

Sums arrive from above, or from the c buffer, by `arriving`, and wait in their slot until the first beat takes them; they may
arrive in the cycle of that addition. `copy` takes all accumulators' sums into a second set, which `drained` shows while the
next sums are made (OS). There is no back-pressure; with `en` low everything holds.

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
| 7     |                        |                                | both are in the second set: `drained`|
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false, reportCallIssue=false
# Amaranth makes ports attributes at run time.

from amaranth.hdl import Array, Cat, EnableInserter, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.fp import NUMBERS, Add, Multiply
from rtl.skew import delayed
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

    def __init__(self, spec: Spec) -> None:
        if spec.format not in NUMBERS:
            raise ValueError(f"Pe field 'format' must be one of {', '.join(NUMBERS)}, not {spec.format!r}")
        self.spec, self.number = spec, NUMBERS[spec.format]
        super().__init__(
            {
                "en": In(1),
                "control": In(control_layout(spec)),
                "row": In(operand_layout(spec)),
                "column": In(operand_layout(spec)),
                "word": In(word_layout(spec)),
                "arriving": In(sum_layout(spec)),
                "leaving": Out(sum_layout(spec)),
                "copy": In(1),
                "drain_slot": In(slot_bits(spec)),
                "drained": Out(spec.number.accumulator_bits),
            }
        )

    def elaborate(self, platform: object) -> object:  # noqa: ARG002
        m = Module()
        products = self._products(m)
        total = self._tree(m, products)
        self._accumulate(m, total)
        return EnableInserter(self.en)(m)

    def _products(self, m: Module) -> list[Value]:
        """Of each lane, or `Number.nothing`, `multiply_latency` cycles after the operands."""
        spec, control = self.spec, self.control
        layout = word_layout(spec)
        banks = [
            [Signal(layout, name=f"register_{bank}_{i}", reset_less=True) for i in range(spec.registers)] for bank in range(2)
        ]
        for bank, registers in enumerate(banks):
            for i, register in enumerate(registers):
                with m.If(control.load & (control.load_bank == bank) & (control.load_at == i)):
                    m.d.sync += register.eq(self.word)
        active = [Signal(layout, name=f"active_{i}") for i in range(spec.registers)]
        m.d.comb += [active[i].eq(Mux(control.bank, banks[1][i], banks[0][i])) for i in range(spec.registers)]

        wide = [Signal(spec.number.operand_bits, name=f"element_{i}") for i in range(width(spec))]
        for i, element in enumerate(wide):
            held = active[i].value if i < spec.registers else 0
            other = Mux(control.resident, held, self.column.values[i])
            m.d.comb += element.eq(Mux(control.kept, self.row.values[i], other))
        starts = range(0, spec.registers - spec.lanes + 1, spec.lanes)
        present = delayed(m, control.lanes, spec.multiply_latency, "present")
        products: list[Value] = []
        for lane in range(spec.lanes):
            word = Signal(layout, name=f"kept_word_{lane}")
            with m.Switch(control.base):
                for start in starts:
                    with m.Case(start):
                        m.d.comb += word.eq(active[start + lane])
            value = Signal(spec.number.operand_bits, name=f"kept_{lane}")
            index = Signal(index_bits(spec), name=f"index_{lane}")
            with m.If(~control.kept):
                m.d.comb += [value.eq(self.row.values[lane]), index.eq(self.row.index[lane])]
            with m.Elif(control.resident):
                m.d.comb += [value.eq(word.value), index.eq(word.index)]
            with m.Else():
                m.d.comb += [value.eq(self.column.values[lane]), index.eq(self.column.index[lane])]
            multiply = Multiply(self.number, spec.multiply_latency)
            m.submodules[f"multiply_{lane}"] = multiply
            m.d.comb += [multiply.en.eq(1), multiply.a.eq(value), multiply.b.eq(Array(wide)[index])]
            products.append(Mux(present[lane], multiply.product, self.number.nothing))
        return products

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

    def _accumulate(self, m: Module, total: Value) -> None:
        spec, control = self.spec, self.control
        bits = spec.number.accumulator_bits
        names = ("beat", "slot", "first", "fresh", "leave")
        leave = control.last & control.resident
        fields = [control.beat, control.slot, control.first, control.fresh, leave]
        # What the adder does in this cycle, and which sum leaves it in this cycle.
        late = dict(zip(names, self._later(m, fields, product_cycles(spec), "add"), strict=True))
        done = self._later(m, [late["beat"], late["slot"], late["leave"]], spec.accumulate_latency, "done")
        done_beat, done_slot, done_leave = done

        add = Add(self.number, spec.accumulate_latency)
        m.submodules.accumulate = add
        sums = [Signal(bits, name=f"accumulator_{i}", reset_less=True) for i in range(spec.interleave)]
        now = [Signal(bits, name=f"sum_{i}") for i in range(spec.interleave)]  # this cycle's result included
        waiting = [Signal(bits, name=f"arrived_{i}", reset_less=True) for i in range(spec.interleave)]
        begin = [Signal(bits, name=f"begin_{i}") for i in range(spec.interleave)]
        second = [Signal(bits, name=f"second_{i}", reset_less=True) for i in range(spec.interleave)]
        for i in range(spec.interleave):
            m.d.comb += now[i].eq(Mux(done_beat & (done_slot == i), add.sum, sums[i]))
            m.d.sync += sums[i].eq(now[i])
            arrives = self.arriving.valid & (self.arriving.slot == i)
            m.d.comb += begin[i].eq(Mux(arrives, self.arriving.sum, waiting[i]))
            m.d.sync += waiting[i].eq(begin[i])
            with m.If(self.copy):
                m.d.sync += second[i].eq(now[i])
        slot = late["slot"]
        start = Mux(late["fresh"], 0, Array(begin)[slot])
        m.d.comb += [
            add.en.eq(1),
            add.a.eq(Mux(late["first"], start, Array(now)[slot])),
            add.b.eq(total),
            self.leaving.valid.eq(done_beat & done_leave),
            self.leaving.slot.eq(done_slot),
            self.leaving.sum.eq(add.sum),
            self.drained.eq(Array(second)[self.drain_slot]),
        ]

    def _later(self, m: Module, fields: list[Value], cycles: int, name: str) -> list[Value]:
        """The control fields some cycles later, none of them after a reset."""
        packed = delayed(m, Cat(*fields), cycles, f"{name}_control", reset_less=False)
        offsets = [sum(len(field) for field in fields[:i]) for i in range(len(fields))]
        return [packed[at : at + len(field)] for at, field in zip(offsets, fields, strict=True)]
