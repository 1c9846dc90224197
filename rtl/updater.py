"""The updater: lanes of a pipelined FP32 optimizer, SGD with momentum or Adam, with weight decay and SR-STE decay (SAT's WUVE).

Per element, bit for bit `simulator.arithmetic.sgd_momentum` or `simulator.optimizers.adam`, every operation rounded by itself:

    g = gradient + weight_decay*w;  where not kept: g = g + decay*w
    sgd-momentum: v = momentum*v + g;  w = w - lr*v
    adam: v = momentum*v + gain*g;  s = square_momentum*s + square_gain*(g*g)
          w = w - (lr*(v / (sqrt(s) + eps)) + decoupled_decay*w)
    copy = narrowed w

Every NaN that leaves is the positive quiet one without payload. The circuits, as steps, are in `rtl.optimizer`.
`latency` registers stand between these steps where they balance the stages (`rtl.pipeline.ranks`); more than there are steps
pile up at the output. Timing, counting only cycles with `en` high: an element whose operands are there in cycle t is out in
cycle t + latency; one element per lane and cycle; with `en` low everything holds. `valid_in` comes out as `valid_out` with the
results that belong to it, and reset clears all that are on the way; values without it mean nothing. There is no back-pressure
but `en`. Latency 2:

| cycle | en | in (valid_in) | out (valid_out) |
|-------|----|---------------|-----------------|
| 0     | 1  | element 0     |                 |
| 1     | 1  | element 1     |                 |
| 2     | 0  | (not taken)   | element 0       |
| 3     | 1  | nothing       | element 0       |
| 4     | 1  | element 2     | element 1       |
| 5     | 1  |               | nothing         |
| 6     | 1  |               | element 2       |

The coefficients are not registered: they must stay as they are from a command's first operands to its last results.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false
# Amaranth makes ports attributes at run time.

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.expression import expression
from rtl.fp import NUMBERS
from rtl.optimizer import ADAM_COEFFICIENTS, COEFFICIENTS, operations
from rtl.pipeline import Step, build, delayed_valid
from rtl.shared import shared
from simulator.arch import Accelerator
from simulator.formats import MASTER_BITS, NumberFormat

__all__ = ["Ports", "Updater", "UpdaterLane"]


class Ports:
    """Names and widths of a lane's ports: those of one element, and the static ones, which are FP32 bits but for `adam`."""

    def __init__(self, number: NumberFormat, optimizers: tuple[str, ...]) -> None:
        adam = "adam" in optimizers
        state = ("weight", "velocity", "second") if adam else ("weight", "velocity")
        self.inputs = {**dict.fromkeys(state, MASTER_BITS), "gradient": number.result_bits, "keep": 1}
        self.outputs = {**{f"new_{name}": MASTER_BITS for name in state}, "copy": number.operand_bits}
        self.static = dict.fromkeys(COEFFICIENTS + ADAM_COEFFICIENTS if adam else COEFFICIENTS, MASTER_BITS)
        if adam and "sgd-momentum" in optimizers:
            self.static["adam"] = 1


class UpdaterLane(wiring.Component):
    """One element per cycle: the new state and `copy` appear `latency` enabled cycles after the operands.

    `keep` is the element's bit of the mask (1: no SR-STE decay; constantly 1 where there is no mask).
    """

    def __init__(self, number: NumberFormat, latency: int, optimizers: tuple[str, ...] = ("sgd-momentum",)) -> None:
        if number.name not in NUMBERS or number.name == "int8":
            floating = [name for name in NUMBERS if name != "int8"]
            raise ValueError(f"UpdaterLane field 'number' must be one of {', '.join(floating)}, not {number.name!r}")
        if type(latency) is not int or latency < 1:
            raise ValueError(f"UpdaterLane field 'latency' must be an integer of at least 1, not {latency!r}")
        self.number, self.latency, self.optimizers = NUMBERS[number.name], latency, optimizers
        self.ports = Ports(number, optimizers)
        inputs = {name: In(bits) for name, bits in (self.ports.inputs | self.ports.static).items()}
        super().__init__({"en": In(1), **inputs, **{name: Out(bits) for name, bits in self.ports.outputs.items()}})

    def steps(self) -> tuple[Step, ...]:
        """From the element's operands to its results; the coefficients are wired in."""
        static = {name: getattr(self, name) for name in self.ports.static}
        return expression(operations(self.number, self.optimizers, static), (*self.ports.inputs,), (*self.ports.outputs,))

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        state = build(m, self.en, self.steps(), self.latency, {name: getattr(self, name) for name in self.ports.inputs})
        m.d.comb += [getattr(self, name).eq(state[name]) for name in self.ports.outputs]
        return m


class Updater(wiring.Component):
    """The update engine's datapath: `accelerator.updater.lanes` lanes side by side, an array port for each port of an element.

    Raises ValueError for an int8 machine, whose gradients have no FP32 update.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        number, self.spec = accelerator.pe.number, accelerator.updater
        if number.name == "int8":
            raise ValueError(f"Updater of {accelerator.name!r} must be for fp16 or bf16 gradients, not {number.name!r}")
        self.number = number
        self.ports = Ports(number, self.spec.optimizers)

        def array(bits: int) -> data.ArrayLayout:
            return data.ArrayLayout(bits, self.spec.lanes)

        super().__init__(
            {
                "en": In(1),
                "valid_in": In(1),
                **{name: In(array(bits)) for name, bits in self.ports.inputs.items()},
                **{name: In(bits) for name, bits in self.ports.static.items()},
                "valid_out": Out(1),
                **{name: Out(array(bits)) for name, bits in self.ports.outputs.items()},
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.d.comb += self.valid_out.eq(delayed_valid(m, self.en, self.valid_in, self.spec.latency))
        arguments = (self.number, self.spec.latency, self.spec.optimizers)
        for index in range(self.spec.lanes):
            lane = shared(m, f"lane_{index}", "updater_lane", arguments, lambda: UpdaterLane(*arguments))
            m.d.comb += [getattr(lane, name).eq(getattr(self, name)[index]) for name in self.ports.inputs]
            m.d.comb += [getattr(lane, name).eq(getattr(self, name)) for name in ("en", *self.ports.static)]
            m.d.comb += [getattr(self, name)[index].eq(getattr(lane, name)) for name in self.ports.outputs]
        return m
