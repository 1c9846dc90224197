"""The updater: lanes of a pipelined FP32 optimizer, SGD with momentum, weight decay and SR-STE decay (SAT's WUVE).

Per element, bit for bit `simulator.arithmetic.sgd_momentum`, each product and each sum rounded by itself:

    g = gradient + weight_decay*w;  where not kept: g = g + decay*w;  v = momentum*v + g;  w = w - lr*v;  copy = narrowed w

Every NaN that leaves is the positive quiet one without payload. Products whose operands are there early run beside the chain:

| steps | chain               | beside it                                     |
|-------|---------------------|-----------------------------------------------|
| 7     | weight_decay*w      | momentum*v, decay*w, gradient widened to FP32 |
| 6     | gradient + product  |                                               |
| 6     | g + decay*w         |                                               |
| 1     | g of either, by `keep` |                                            |
| 6     | momentum*v + g      |                                               |
| 7     | lr*v                |                                               |
| 6     | w - product         |                                               |
| 1 or 2| copy: bf16 or fp16  |                                               |

`latency` registers stand between these steps where they balance the stages (`rtl.pipeline.ranks`); more than there are steps
pile up at the output. Timing, counting only cycles with `en` high: an element whose operands are there in cycle t is out in
cycle t + latency; one element per lane and cycle; with `en` low everything holds. `valid_in` comes out as `valid_out` with the
results that belong to it, and reset clears all that are on the way; values without it mean nothing. There is no back-pressure
but `en`. Latency 3:

| cycle | en | in (valid_in)  | out (valid_out) |
|-------|----|----------------|-----------------|
| 0     | 1  | element 0      |                 |
| 1     | 1  | element 1      |                 |
| 2     | 0  | (not taken)    |                 |
| 3     | 1  | nothing        |                 |
| 4     | 1  | element 2      | element 0       |
| 5     | 1  |                | element 1       |
| 6     | 1  |                | nothing         |
| 7     | 1  |                | element 2       |

The coefficients are not registered: they must stay as they are from a command's first operands to its last results.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false
# Amaranth makes ports attributes at run time.

from amaranth.hdl import Cat, Module, Mux, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.expression import Operation, expression, select
from rtl.fp import NUMBERS
from rtl.fp32 import FP32_MULTIPLY
from rtl.fp_add import FP32_ADD
from rtl.pipeline import Step, build, delayed_valid
from simulator.arch import Accelerator
from simulator.formats import MASTER_BITS, NumberFormat

__all__ = ["COEFFICIENTS", "Updater", "UpdaterLane"]

COEFFICIENTS = ("lr", "momentum", "weight_decay", "decay")  # FP32 bits, static during a command
_INPUTS = ("weight", "velocity", "gradient", "keep")
_OUTPUTS = ("new_weight", "new_velocity", "copy")


def _element(number: NumberFormat) -> dict[str, int]:
    """Bits of one element's ports."""
    return {
        "weight": MASTER_BITS,
        "velocity": MASTER_BITS,
        "gradient": number.result_bits,
        "keep": 1,
        "new_weight": MASTER_BITS,
        "new_velocity": MASTER_BITS,
        "copy": number.operand_bits,
    }


class UpdaterLane(wiring.Component):
    """One element per cycle: `new_weight`, `new_velocity`, `copy` appear `latency` enabled cycles after the operands.

    `keep` is the element's bit of the mask (1: no SR-STE decay; constantly 1 where there is no mask).
    """

    def __init__(self, number: NumberFormat, latency: int) -> None:
        if number.name not in NUMBERS or number.name == "int8":
            floating = [name for name in NUMBERS if name != "int8"]
            raise ValueError(f"UpdaterLane field 'number' must be one of {', '.join(floating)}, not {number.name!r}")
        if type(latency) is not int or latency < 1:
            raise ValueError(f"UpdaterLane field 'latency' must be an integer of at least 1, not {latency!r}")
        self.number, self.latency = NUMBERS[number.name], latency
        bits = _element(number)
        ports = {name: In(bits[name]) for name in _INPUTS} | {name: In(MASTER_BITS) for name in COEFFICIENTS}
        super().__init__({"en": In(1), **ports, **{name: Out(bits[name]) for name in _OUTPUTS}})

    def steps(self) -> tuple[Step, ...]:
        """From the element's operands to its results; the coefficients are wired in."""

        def product(result: str, coefficient: Value, of: str) -> Operation:
            return Operation(result, FP32_MULTIPLY, {"a": of, "b": coefficient})

        def total(result: str, a: str, b: str) -> Operation:
            return Operation(result, FP32_ADD, {"a": a, "b": b})

        pick = select(1, lambda state: Mux(state["keep"], state["kept"], state["dropped"]))
        falling = Cat(self.lr[:-1], ~self.lr[-1])  # -lr*v rounds to the negative of lr*v
        operations = (
            product("shrink", self.weight_decay, "weight"),
            product("regrow", self.decay, "weight"),
            product("inertia", self.momentum, "velocity"),
            Operation("wide", self.number.widen, {"value": "gradient"}),
            total("kept", "wide", "shrink"),
            total("dropped", "kept", "regrow"),
            Operation("slope", pick, {"keep": "keep", "kept": "kept", "dropped": "dropped"}),
            total("new_velocity", "inertia", "slope"),
            product("change", falling, "new_velocity"),
            total("new_weight", "weight", "change"),
            Operation("copy", self.number.narrow, {"value": "new_weight"}),
        )
        return expression(operations, _INPUTS, _OUTPUTS)

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        state = build(m, self.en, self.steps(), self.latency, {name: getattr(self, name) for name in _INPUTS})
        m.d.comb += [getattr(self, name).eq(state[name]) for name in _OUTPUTS]
        return m


class Updater(wiring.Component):
    """The update engine's datapath: `accelerator.updater.lanes` lanes side by side, an array port for each lane port.

    Raises ValueError for an int8 machine, whose gradients have no FP32 update.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        number, self.spec = accelerator.pe.number, accelerator.updater
        if number.name == "int8":
            raise ValueError(f"Updater of {accelerator.name!r} must be for fp16 or bf16 gradients, not {number.name!r}")
        self.number = number
        bits = _element(number)
        arrays = {name: data.ArrayLayout(bits[name], self.spec.lanes) for name in (*_INPUTS, *_OUTPUTS)}
        super().__init__(
            {
                "en": In(1),
                "valid_in": In(1),
                **{name: In(arrays[name]) for name in _INPUTS},
                **{name: In(MASTER_BITS) for name in COEFFICIENTS},
                "valid_out": Out(1),
                **{name: Out(arrays[name]) for name in _OUTPUTS},
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.d.comb += self.valid_out.eq(delayed_valid(m, self.en, self.valid_in, self.spec.latency))
        for index in range(self.spec.lanes):
            m.submodules[f"lane_{index}"] = lane = UpdaterLane(self.number, self.spec.latency)
            m.d.comb += [getattr(lane, name).eq(getattr(self, name)[index]) for name in _INPUTS]
            m.d.comb += [getattr(lane, name).eq(getattr(self, name)) for name in ("en", *COEFFICIENTS)]
            m.d.comb += [getattr(self, name)[index].eq(getattr(lane, name)) for name in _OUTPUTS]
        return m
