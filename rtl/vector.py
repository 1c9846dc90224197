"""The vector unit's datapath: lanes that add, multiply, scale, copy and rectify elements between GEMMs.

What each operation gives is `simulator.vector_operations`, bit for bit. A lane is one adder and one multiplier: whatever is no
product is a sum, of x or +0 and of y or what adds nothing (-0 for FP32). So every operation takes the same way:

| step       | fp16, bf16                                                  | int8 machines                                    |
|------------|-------------------------------------------------------------|--------------------------------------------------|
| choose     | x or +0; y or -0                                            | x or 0; y or 0                                   |
| widen      | both to FP32                                                | x to FP32, for SCALE                             |
| (operate)  | sum; product of x and y or the scalar                       | sum; product of integers; x by scalar, rounded   |
| select     | sum or product                                              | one of the three                                 |
| narrow     | FP32 to the format                                          |                                                  |

Timing, counting only cycles with `en` high: elements whose operands are there in cycle t are out in cycle t + latency, for
every operation; one element per lane and cycle; with `en` low everything holds. `valid_in` comes out as `valid_out` with the
results that belong to it, and reset clears all that are on the way; values without it mean nothing. `operation` and `scalar`
are taken with the operands, so that a command's may follow another's in the next cycle. Latency 2:

| cycle | en | in (valid_in) | out (valid_out) |
|-------|----|---------------|-----------------|
| 0     | 1  | element 0     |                 |
| 1     | 1  | element 1     |                 |
| 2     | 0  | (not taken)   | element 0       |
| 3     | 1  | nothing       | element 0       |
| 4     | 1  | element 2     | element 1       |
| 5     | 1  |               | nothing         |
| 6     | 1  |               | element 2       |
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false
# Amaranth makes ports attributes at run time.

from collections.abc import Mapping

from amaranth.hdl import Module, Mux, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.expression import Operation, expression, select
from rtl.fp import NUMBERS
from rtl.fp32 import FP32_MULTIPLY, FP32_TO_INT8, INT32_TO_FP32
from rtl.fp_bits import BRAIN, HALF, unpack
from rtl.pipeline import State, Step, build, delayed_valid, wire
from rtl.shared import shared
from simulator.arch import Accelerator
from simulator.formats import NumberFormat
from simulator.vector_operations import VectorOperation

__all__ = ["OPERATION_BITS", "VectorLane", "VectorUnit"]

OPERATION_BITS = max(VectorOperation).bit_length()
_INPUTS = ("x", "y", "operation", "scalar")
_LAYOUTS = {"fp16": HALF, "bf16": BRAIN}


def _is(state: Mapping[str, Value], *operations: VectorOperation) -> Value:
    return state["operation"].matches(*operations)


def _multiply_low(_: Module, state: State) -> dict[str, Value]:
    """Two halves of an integer product modulo 2^32."""
    x, y = state["a"], state["b"]
    return {"low": x * y[:16], "high": (x[:16] * y[16:])[:16]}


def _multiply_total(_: Module, state: State) -> dict[str, Value]:
    return {"result": (state["low"][:32] + (state["high"] << 16))[:32]}


INT32_MULTIPLY = (Step("multiply", 8, _multiply_low), Step("total", 4, _multiply_total))


class VectorLane(wiring.Component):
    """One element per cycle: `result` comes `latency` enabled cycles after its operands. `operation` is a `VectorOperation`."""

    def __init__(self, number: NumberFormat, latency: int) -> None:
        if number.name not in NUMBERS:
            raise ValueError(f"VectorLane field 'number' must be one of {', '.join(NUMBERS)}, not {number.name!r}")
        if type(latency) is not int or latency < 1:
            raise ValueError(f"VectorLane field 'latency' must be an integer of at least 1, not {latency!r}")
        self.number, self.latency = NUMBERS[number.name], latency
        bits = number.result_bits
        super().__init__(
            {
                "en": In(1),
                "operation": In(OPERATION_BITS),
                "scalar": In(32),
                "x": In(bits),
                "y": In(bits),
                "result": Out(bits),
            }
        )

    def _signs(self, m: Module, name: str, bits: Value) -> tuple[Value, Value]:
        """Whether an element is above zero, and whether it is a NaN."""
        if self.number.format.name == "int8":
            return ~bits[-1] & bits.any(), Value.cast(0)
        nan = unpack(m, name, _LAYOUTS[self.number.format.name], bits).nan
        return ~bits[-1] & bits[:-1].any() & ~nan, nan

    def _choose_x(self, m: Module, state: State) -> dict[str, Value]:
        x, y = state["x"], state["y"]
        above, nan = self._signs(m, "x", x)
        y_above, _ = self._signs(m, "y", y)
        rectified = _is(state, VectorOperation.RELU) & ~(above | nan)
        blocked = _is(state, VectorOperation.RELU_GRADIENT) & ~y_above
        return {"result": Mux(wire(m, "zero", rectified | blocked), 0, x)[: len(x)]}

    def _choose_y(self, _: Module, state: State) -> dict[str, Value]:
        y = state["y"]
        nothing = 0 if self.number.nothing == 0 else 1 << (len(y) - 1)
        return {"result": Mux(_is(state, VectorOperation.ADD, VectorOperation.MULTIPLY), y, nothing)[: len(y)]}

    def steps(self) -> tuple[Step, ...]:
        """From x, y, operation and scalar to the result."""
        chosen = (
            Operation("chosen_x", (Step("choose", 5, self._choose_x),), {"x": "x", "y": "y", "operation": "operation"}),
            Operation("chosen_y", (Step("choose", 2, self._choose_y),), {"y": "y", "operation": "operation"}),
        )
        rest = self._integers() if self.number.format.name == "int8" else self._floats()
        return expression((*chosen, *rest), _INPUTS, ("result",))

    def _floats(self) -> tuple[Operation, ...]:
        def factor(state: State) -> Value:
            return Mux(_is(state, VectorOperation.SCALE), state["scalar"], state["y"])

        def either(state: State) -> Value:
            return Mux(_is(state, VectorOperation.SCALE, VectorOperation.MULTIPLY), state["product"], state["sum"])

        return (
            Operation("wide_x", self.number.widen, {"value": "chosen_x"}),
            Operation("wide_y", self.number.widen, {"value": "chosen_y"}),
            Operation("factor", select(1, factor), {"y": "wide_y", "operation": "operation", "scalar": "scalar"}),
            Operation("product", FP32_MULTIPLY, {"a": "wide_x", "b": "factor"}),
            Operation("sum", self.number.add, {"a": "wide_x", "b": "wide_y"}),
            Operation("either", select(1, either), {"product": "product", "sum": "sum", "operation": "operation"}),
            Operation("result", self.number.narrow, {"value": "either"}),
        )

    def _integers(self) -> tuple[Operation, ...]:
        def one(state: Mapping[str, Value]) -> Value:
            other = Mux(_is(state, VectorOperation.MULTIPLY), state["product"], state["sum"])
            return Mux(_is(state, VectorOperation.SCALE), state["scaled"], other)

        return (
            Operation("sum", self.number.add, {"a": "chosen_x", "b": "chosen_y"}),
            Operation("product", INT32_MULTIPLY, {"a": "chosen_x", "b": "chosen_y"}),
            Operation("wide_x", INT32_TO_FP32, {"value": "chosen_x"}),
            Operation("scaled_x", FP32_MULTIPLY, {"a": "wide_x", "b": "scalar"}),
            Operation("scaled", FP32_TO_INT8, {"value": "scaled_x"}),
            Operation("result", select(2, one), {name: name for name in ("sum", "product", "scaled", "operation")}),
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        state = build(m, self.en, self.steps(), self.latency, {name: getattr(self, name) for name in _INPUTS})
        m.d.comb += self.result.eq(state["result"])
        return m


class VectorUnit(wiring.Component):
    """The vector engine's datapath: `accelerator.vector.lanes` lanes side by side, array ports `x`, `y` and `result`."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.number, self.spec = accelerator.pe.number, accelerator.vector
        elements = data.ArrayLayout(self.number.result_bits, self.spec.lanes)
        super().__init__(
            {
                "en": In(1),
                "operation": In(OPERATION_BITS),
                "scalar": In(32),
                "valid_in": In(1),
                "x": In(elements),
                "y": In(elements),
                "valid_out": Out(1),
                "result": Out(elements),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.d.comb += self.valid_out.eq(delayed_valid(m, self.en, self.valid_in, self.spec.latency))
        for index in range(self.spec.lanes):
            key = (self.number, self.spec.latency)
            lane = shared(m, f"lane_{index}", "vector_lane", key, lambda: VectorLane(self.number, self.spec.latency))
            m.d.comb += [getattr(lane, name).eq(getattr(self, name)) for name in ("en", "operation", "scalar")]
            m.d.comb += [lane.x.eq(self.x[index]), lane.y.eq(self.y[index]), self.result[index].eq(lane.result)]
        return m
