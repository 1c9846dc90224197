"""Arithmetic of the multiply-accumulate path: one exchangeable `Number` per format, and pipelined components around it.

Values equal `simulator.arithmetic` bit for bit; a NaN is always the positive quiet one without payload. Ports carry raw
bits (integers in two's complement), so that a PE is the same for every format.

Timing of every component: operands sampled in cycle t appear as the result in cycle t + latency, counting only cycles
with `en` high; with `en` low every register holds. There is no valid bit and no reset. The last register is the output,
so the latency counts every register once: an accumulator that feeds the sum of `Add` back to its input takes a
dependent addition every `latency` cycles.

Registers after these steps (`rtl.pipeline.ranks`); more than there are steps pile up at the output:

| delay | fp16 product                         | bf16 product                               | FP32 sum                         |
|-------|--------------------------------------|--------------------------------------------|----------------------------------|
| 0     | -                                    | -                                          | -                                |
| 1     | round                                | round                                      | round                            |
| 2     | multiply round                       | count round                                | sum round                        |
| 3     | multiply count round                 | multiply shift round                       | align count round                |
| 4     | unpack multiply count round          | multiply shift denormal round              | swap align count round           |
| 5     | unpack multiply count shift round    | unpack multiply shift denormal round       | swap align count shift round     |
| 6     | unpack multiply count shift round x2 | unpack multiply count shift denormal round | swap align sum count shift round |
"""

# pyright: basic, reportAttributeAccessIssue=false
# Amaranth makes ports attributes at run time.

from dataclasses import dataclass

from amaranth.hdl import Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.fp_add import FP32_ADD
from rtl.fp_convert import BF16_NARROW, BF16_WIDEN, FP16_NARROW, FP16_WIDEN, INT8_NARROW, INT8_WIDEN
from rtl.fp_multiply import BF16_MULTIPLY, FP16_MULTIPLY, INT8_MULTIPLY
from rtl.pipeline import State, Step, build
from simulator.formats import FORMATS, NumberFormat

__all__ = ["NUMBERS", "Add", "Multiply", "Narrow", "Number", "Widen"]


def _add_integers(_: Module, state: State) -> dict[str, Value]:
    return {"result": (state["a"] + state["b"])[:32]}


INT32_ADD = (Step("sum", 4, _add_integers),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """The circuits of one `NumberFormat`, each as pipeline steps from its operands' bits to `result`."""

    format: NumberFormat
    multiply: tuple[Step, ...]  # a, b: operands -> accumulator
    add: tuple[Step, ...]  # a, b: accumulators -> accumulator
    widen: tuple[Step, ...]  # value: operand -> accumulator
    narrow: tuple[Step, ...]  # value: accumulator -> result as it is stored
    nothing: int  # bits x with x + y = y for every y: what an absent lane feeds into an adder tree (-0, not +0)


NUMBERS = {
    "fp16": Number(
        format=FORMATS["fp16"],
        multiply=FP16_MULTIPLY,
        add=FP32_ADD,
        widen=FP16_WIDEN,
        narrow=FP16_NARROW,
        nothing=1 << 31,
    ),
    "bf16": Number(
        format=FORMATS["bf16"],
        multiply=BF16_MULTIPLY,
        add=FP32_ADD,
        widen=BF16_WIDEN,
        narrow=BF16_NARROW,
        nothing=1 << 31,
    ),
    "int8": Number(
        format=FORMATS["int8"],
        multiply=INT8_MULTIPLY,
        add=INT32_ADD,
        widen=INT8_WIDEN,
        narrow=INT8_NARROW,
        nothing=0,
    ),
}


class Multiply(wiring.Component):
    """``product = a * b`` of operands, `latency` (0: combinational) enabled cycles later."""

    def __init__(self, number: Number, latency: int) -> None:
        self.number, self.latency = number, _checked("Multiply", latency, 0)
        operand, wide = number.format.operand_bits, number.format.accumulator_bits
        super().__init__({"en": In(1), "a": In(operand), "b": In(operand), "product": Out(wide)})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        state = build(m, self.en, self.number.multiply, self.latency, {"a": self.a, "b": self.b})
        m.d.comb += self.product.eq(state["result"])
        return m


class Add(wiring.Component):
    """``sum = a + b`` of accumulators, `latency` (at least 1: the accumulator itself) enabled cycles later."""

    def __init__(self, number: Number, latency: int) -> None:
        self.number, self.latency = number, _checked("Add", latency, 1)
        wide = number.format.accumulator_bits
        super().__init__({"en": In(1), "a": In(wide), "b": In(wide), "sum": Out(wide)})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        state = build(m, self.en, self.number.add, self.latency, {"a": self.a, "b": self.b})
        m.d.comb += self.sum.eq(state["result"])
        return m


class Widen(wiring.Component):
    """``result`` is the operand `value` as an accumulator holds it, `latency` (0: combinational) enabled cycles later."""

    def __init__(self, number: Number, latency: int) -> None:
        self.number, self.latency = number, _checked("Widen", latency, 0)
        super().__init__({"en": In(1), "value": In(number.format.operand_bits), "result": Out(number.format.accumulator_bits)})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        state = build(m, self.en, self.number.widen, self.latency, {"value": self.value})
        m.d.comb += self.result.eq(state["result"])
        return m


class Narrow(wiring.Component):
    """``result`` is the accumulator `value` as a store writes it, `latency` (0: combinational) enabled cycles later."""

    def __init__(self, number: Number, latency: int) -> None:
        self.number, self.latency = number, _checked("Narrow", latency, 0)
        super().__init__({"en": In(1), "value": In(number.format.accumulator_bits), "result": Out(number.format.result_bits)})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        state = build(m, self.en, self.number.narrow, self.latency, {"value": self.value})
        m.d.comb += self.result.eq(state["result"])
        return m


def _checked(thing: str, latency: int, least: int) -> int:
    if type(latency) is not int or latency < least:
        raise ValueError(f"{thing} field 'latency' must be an integer of at least {least}, not {latency!r}")
    return latency
