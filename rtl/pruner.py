"""The pruner: lanes of streaming top-N-of-M selectors that pack what they keep (SAT's SORE, arXiv:2309.13015).

A command gives the pattern N:M (`keep`, `group`, with 1 <= keep <= group <= pe.group) and how many groups follow (at least 1;
a ragged last group is filled up with zeros by whoever feeds it). Other commands are undefined. Group g of a command goes to
lane g mod lanes, so that a round of M input beats carries one element of each lane's group, element 0 first; in the last
round lanes without a group take and give nothing of meaning. A finished round is one output beat: `entries[lane][i]` for
i < keep holds the kept values and their indices, indices ascending; `lanes` says which lanes have a group, `last` ends the
command. Entries from keep on are undefined. Which axis is pruned, and so whether the forward or the backward copy of the
weights is made, is the order in which elements are streamed: consecutive beats walk along the axis.

Kept are exactly the elements of `NM.mask`: the largest magnitudes, compared as raw bits without the sign (+0 equals -0,
infinity is below NaN, |-128| is 128); among equals the lower index. NaNs are the canonical one, as everywhere in the machine
(payloads would be compared too).

A lane keeps the best N elements so far in order of arrival, each with its rank, the number of kept elements before it. A new
element is compared with all of them at once. Those that it beats go down one rank; the one that reaches rank N leaves, those
behind it close the gap, and the new element enters at the end. If none reaches rank N, the new element is not kept.

Cycles of one lane with latency 2, two groups of 2:4, values 5 -7 5 6 and 1 1 9 0, nothing stalls. A command is taken in one
cycle, which may be the one with the last element of the command before. "5@0/1" is value 5 of index 0 with rank 1.

| cycle | accepted   | slots in this cycle | output       |
|-------|------------|---------------------|--------------|
| 0     | command    | -                   |              |
| 1     | 5          | -                   |              |
| 2     | -7         | 5@0/0               |              |
| 3     | 5          | 5@0/1 -7@1/0        |              |
| 4     | 6          | 5@0/1 -7@1/0        |              |
| 5     | 1          | -7@1/0 6@3/1        |              |
| 6     | 1          | 1@0/0               | -7@1 6@3     |
| 7     | 9          | 1@0/0 1@1/1         |              |
| 8     | 0, command | 1@0/1 9@2/0         |              |
| 9     | (next)     | 1@0/1 9@2/0         |              |
| 10    | (next)     |                     | 1@0 9@2 last |

So E elements take `Pruner.cycles(E, pattern)` cycles, and a round is out `Pruner.latency` cycles after its last element: the
slots are the first register of that latency, the rest follow. When the output stalls, rounds move up until these registers
are full, and then input stalls.
"""

# pyright: basic, reportAttributeAccessIssue=false
# Amaranth makes ports attributes at run time.

from functools import reduce
from operator import add

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.pipeline import wire
from rtl.shared import shared
from simulator.arch import Accelerator, Pe

__all__ = ["GROUPS_BITS", "Pruner", "Selector", "command_layout", "entry_layout", "magnitude", "packed_layout"]

GROUPS_BITS = 32  # groups of one command


def entry_layout(pe: Pe) -> data.StructLayout:
    """A kept element and its place in its group."""
    return data.StructLayout({"value": pe.number.operand_bits, "index": max(1, (pe.group - 1).bit_length())})


def command_layout(pe: Pe) -> data.StructLayout:
    """The pattern keep:group, and the number of groups."""
    size = pe.group.bit_length()
    return data.StructLayout({"keep": size, "group": size, "groups": GROUPS_BITS})


def packed_layout(pe: Pe, lanes: int) -> data.StructLayout:
    """One round's kept elements, which lanes have a group in it, N, and whether the command ends here."""
    entries = data.ArrayLayout(data.ArrayLayout(entry_layout(pe), pe.group), lanes)
    return data.StructLayout({"entries": entries, "lanes": lanes, "keep": pe.group.bit_length(), "last": 1})


def magnitude(pe: Pe, bits: Value) -> Value:
    """An operand's magnitude as an unsigned integer that is ordered as magnitudes are."""
    if pe.format == "int8":
        return Mux(bits[-1], -bits, bits)[: len(bits)]
    return bits[:-1]


class Selector(wiring.Component):
    """One lane: in each cycle with `en` takes the element at `position`; `entries` shows the best so far in the next cycle.

    What depends on the command only comes from outside: `occupied` slots, the slot to `fill` while there are fewer than N
    elements, the last of the N slots (`tail`) from then on, and the rank of the worst kept element.
    """

    def __init__(self, pe: Pe) -> None:
        self.pe = pe
        slots = pe.group
        rank = max(1, (slots - 1).bit_length())
        super().__init__(
            {
                "en": In(1),
                "element": In(pe.number.operand_bits),
                "position": In(rank),
                "occupied": In(slots),
                "fill": In(slots),
                "tail": In(slots),
                "worst": In(rank),
                "entries": Out(data.ArrayLayout(entry_layout(pe), slots)),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        slots, new = range(self.pe.group), magnitude(self.pe, self.element)
        values = [Signal.like(self.element, name=f"value_{j}", reset_less=True) for j in slots]
        indices = [Signal.like(self.position, name=f"index_{j}", reset_less=True) for j in slots]
        ranks = [Signal.like(self.worst, name=f"rank_{j}", reset_less=True) for j in slots]
        beaten = wire(m, "beaten", Cat(new > magnitude(self.pe, value) for value in values) & self.occupied)
        leaves = wire(m, "leaves", Cat(beaten[j] & (ranks[j] == self.worst) for j in slots))
        before = wire(m, "before", reduce(add, (self.occupied[j] & ~beaten[j] for j in slots)))
        enters = wire(m, "enters", self.fill | Mux(leaves.any(), self.tail, 0))
        later = [wire(m, f"later_{j}", ranks[j] + beaten[j])[: len(self.worst)] for j in slots]
        with m.If(self.en):
            for j in slots:
                with m.If(enters[j]):
                    m.d.sync += [values[j].eq(self.element), indices[j].eq(self.position), ranks[j].eq(before)]
                with m.Elif(leaves[: j + 1].any()):
                    if j + 1 < self.pe.group:
                        m.d.sync += [values[j].eq(values[j + 1]), indices[j].eq(indices[j + 1]), ranks[j].eq(later[j + 1])]
                with m.Else():
                    m.d.sync += ranks[j].eq(later[j])
        for j in slots:
            m.d.comb += [self.entries[j].value.eq(values[j]), self.entries[j].index.eq(indices[j])]
        return m


class Pruner(wiring.Component):
    """The pruning engine of an accelerator: streams of `commands` and `elements` in, of `packed` rounds out."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.spec, self.pe = accelerator.pruner, accelerator.pe
        lanes = self.spec.lanes
        super().__init__(
            {
                "commands": In(stream.Signature(command_layout(self.pe))),
                "elements": In(stream.Signature(data.ArrayLayout(self.pe.number.operand_bits, lanes))),
                "packed": Out(stream.Signature(packed_layout(self.pe, lanes))),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        slots, lanes = range(self.pe.group), self.spec.lanes
        busy = Signal()
        command = Signal(command_layout(self.pe), reset_less=True)  # `groups` counts down: those not yet finished
        position = Signal(range(max(2, self.pe.group)))
        moves = Signal()  # the slots are free, or their round moves on in this cycle
        accept = wire(m, "accept", self.elements.valid & self.elements.ready)
        finishes = wire(m, "finishes", accept & (position + 1 == command.group))
        ends = wire(m, "ends", finishes & (command.groups <= lanes))
        present = wire(m, "present", Cat(command.groups > lane for lane in range(lanes)))
        m.d.comb += [self.elements.ready.eq(busy & moves), self.commands.ready.eq(~busy | ends)]
        with m.If(accept):
            m.d.sync += position.eq(Mux(finishes, 0, position + 1))
        with m.If(self.commands.ready):
            m.d.sync += [busy.eq(self.commands.valid), command.eq(self.commands.payload)]
        with m.Elif(finishes):
            m.d.sync += command.groups.eq(command.groups - lanes)

        full = wire(m, "full", position >= command.keep)
        occupied = wire(m, "occupied", Cat((position > j) & (command.keep > j) for j in slots))
        fill = wire(m, "fill", Cat((position == j) & ~full for j in slots))
        tail = wire(m, "tail", Cat((command.keep == j + 1) & full for j in slots))
        worst = wire(m, "worst", (command.keep - 1)[: len(position)])
        round_ = Signal(packed_layout(self.pe, lanes))
        for lane in range(lanes):
            selector = shared(m, f"lane_{lane}", "selector", self.pe, lambda: Selector(self.pe))
            m.d.comb += [
                selector.en.eq(accept),
                selector.element.eq(self.elements.payload[lane]),
                selector.position.eq(position),
                selector.occupied.eq(occupied),
                selector.fill.eq(fill),
                selector.tail.eq(tail),
                selector.worst.eq(worst),
                round_.entries[lane].eq(selector.entries),
            ]
        about = [(name, Signal.like(getattr(round_, name), name=f"round_{name}", reset_less=True)) for name in _ABOUT]
        now = {"lanes": present, "keep": command.keep, "last": ends}
        for name, register in about:
            m.d.comb += getattr(round_, name).eq(register)
            with m.If(finishes):
                m.d.sync += register.eq(now[name])
        self._deliver(m, finishes, moves, round_)
        return m

    def _deliver(self, m: Module, finishes: Value, moves: Signal, round_: data.View) -> None:
        """The rest of the latency: registers behind the slots, each of which moves when the next is free or moves."""
        ranks = self.spec.latency
        ready = [moves, *(Signal(name=f"ready_{rank}") for rank in range(1, ranks)), self.packed.ready]
        valid, payload = finishes, round_
        for rank in range(ranks):
            full = Signal(name=f"full_{rank}")
            m.d.comb += ready[rank].eq(~full | ready[rank + 1])
            with m.If(ready[rank]):
                m.d.sync += full.eq(valid)
            if rank:
                held = Signal(packed_layout(self.pe, self.spec.lanes), name=f"round_{rank}", reset_less=True)
                with m.If(ready[rank]):
                    m.d.sync += held.eq(payload)
                payload = held
            valid = full
        m.d.comb += [self.packed.valid.eq(valid), self.packed.payload.eq(payload)]


_ABOUT = ("lanes", "keep", "last")
