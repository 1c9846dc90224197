"""How many multiplications each accepted Multiply does, for the counters: products of sizes, by few multipliers.

Four products are needed: the reduction that is kept, the outputs, and each of the two counts. The array takes commands at least
`least_occupancy` cycles apart: where that is 4 or more, one multiplier makes all four in turn; where it is 2 or 3, three do.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.frame import unit_layout
from simulator.arch import Accelerator, Dataflow
from simulator.encoding import FIELDS, Opcode
from simulator.layout import result_places, result_words

__all__ = ["MacCounts", "least_occupancy", "most_outputs"]

SIZES = FIELDS[Opcode.ARRAY]


def least_occupancy(accelerator: Accelerator) -> int:
    """Cycles for which any Multiply holds the array (`simulator.timing`): OS shifts out all sums of a fold, however few it
    uses; WS and IS shift in at least a value for each row, and again while the fold streams."""
    pe, rows = accelerator.pe, accelerator.array.rows
    output = max(pe.accumulate_latency, rows * pe.interleave)
    return min(output if dataflow is Dataflow.OS else 2 * rows for dataflow in accelerator.array.dataflows)


def most_outputs(accelerator: Accelerator) -> int:
    """Results that a slot of the c buffer holds: no Multiply has more (docs/machine.md, 'Result buffer')."""
    return result_words(accelerator) * result_places(accelerator) * accelerator.array.cols


class MacCounts(wiring.Component):
    """`macs` and `dense_macs` of each command, each in one cycle and 0 in all others; `clear` forgets what is begun."""

    def __init__(self, accelerator: Accelerator) -> None:
        least = least_occupancy(accelerator)
        self.multipliers = 1 if least >= 4 else 3 if least >= 2 else 4
        self.outputs_bits = min(SIZES["m"] + SIZES["n"], most_outputs(accelerator).bit_length())
        self.groups = range(1, accelerator.pe.group.bit_length())  # logarithms of groups greater than one
        counts = {name: Out(self.outputs_bits + SIZES["k"]) for name in ("macs", "dense_macs")}
        super().__init__({"clear": In(1), "accepted": In(1), "command": In(unit_layout(Opcode.ARRAY)), **counts})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        command = self.command
        sizes = {name: Signal(SIZES[name], name=name, reset_less=True) for name in ("m", "n", "k", "keep")}
        groups = Signal(SIZES["k"], reset_less=True)  # of the reduction, each of which keeps so many; dense: elements, and 1
        shifted = command.k
        for bit in self.groups:
            shifted = Mux(command.group[bit], command.k >> bit, shifted)
        with m.If(self.accepted):
            m.d.sync += [groups.eq(shifted), *(sizes[name].eq(command[name]) for name in ("m", "n", "k"))]
            m.d.sync += sizes["keep"].eq(Mux(command.group == 0, 1, command.keep))

        outputs, kept = Signal(self.outputs_bits, reset_less=True), Signal(SIZES["k"], reset_less=True)
        sides = [(sizes["m"], sizes["n"]), (groups, sizes["keep"]), (outputs, sizes["k"]), (outputs, kept)]
        step = Signal(5)  # how many cycles ago the command's sizes came here, a bit each
        m.d.sync += step.eq(Mux(self.clear, 0, self.accepted | step[:4] << 1))
        if self.multipliers == 1:
            product, first = self._in_turn(m, sides, step), 3
            for i, result in enumerate((outputs, kept)):
                with m.If(step[i + 1]):
                    m.d.sync += result.eq(product)
            counts = {"dense_macs": product, "macs": product}
        else:
            m.d.sync += [result.eq(x * y) for result, (x, y) in zip((outputs, kept), sides[:2], strict=True)]
            if self.multipliers == 3:
                product, first = self._in_turn(m, sides[2:], step[1:]), 2
                counts = {"dense_macs": product, "macs": product}
            else:
                later, first = Signal(SIZES["k"], reset_less=True), 1
                m.d.sync += later.eq(sizes["k"])
                counts = {"dense_macs": outputs * later, "macs": outputs * kept}
        for i, (name, product) in enumerate(counts.items()):
            comes = step[first + (i if self.multipliers < 4 else 0)]
            m.d.sync += getattr(self, name).eq(Mux(comes & ~self.clear, product, 0))
        return m

    def _in_turn(self, m: Module, sides: list[tuple[Value, Value]], step: Value) -> Value:
        """One multiplier's product: of pair i in the cycle after step i, in which the pair was put into registers before it."""
        x, y = (Signal(max(len(pair[side]) for pair in sides), reset_less=True) for side in (0, 1))
        for i, pair in enumerate(sides):
            with m.If(step[i]):
                m.d.sync += [x.eq(pair[0]), y.eq(pair[1])]
        return x * y
