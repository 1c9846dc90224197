"""The prune engine: dense elements of one plane to kept values and indices in two others, packed, through `rtl.pruner`.

A command is taken in cycle s - 1 (`accept`, only when `ready` is high) and starts in cycle s, when `started` is high. `group`
is a power of two. Groups are taken in rounds of `lanes`:

* `across` = 1: a group goes down `group` rows of `row_elements` elements, lanes are neighbouring columns, so that the `lanes`
  elements that are read in a cycle are a beat of the pruner. Rounds go along the columns, then to the next `group` rows.
  `lanes` divides row_elements, and group the rows.
* `across` = 0: a group is `group` elements in a row, a round lanes*group of them. It is read in `group` cycles and turned:
  while its beats go to the pruner, element 0 of every group first, the next round is read. `group` divides `elements`; the last
  round may have fewer groups, and then as many cycles all the same.

The entries of the stream of groups are elements 0, 1, ... of plane `values` and bytes 0, 1, ... of plane `indices`. A round's
entries, group after group, are written `lanes` at a time in `keep` cycles. Nothing is written for groups that there are not.

With C = Pruner.cycles(elements, pattern), L the pruner's latency, and T = group if across = 0, else 0:

| cycle                            | what happens                                                                           |
|----------------------------------|----------------------------------------------------------------------------------------|
| s ... s + C - 1                  | reads                                                                                  |
| s + T + 1 ... s + T + C          | the pruner takes the elements                                                          |
| s + T + C + L                    | its last round is out, and its first `lanes` entries are written                       |
| s + T + C + L + keep - 1         | its last `lanes` entries are written; `done`                                           |

So busy = T + C + L + keep - 1; `ended` and `ready` are high in cycle s + busy - 1; the next command may start in d = s + busy.

The pruner never stalls: rounds are taken in the cycle in which they are out (`packed.ready` is always high) and held here, and
the next comes `group` >= `keep` cycles later, when the last entries of this one have been written. Its command comes in
cycle s, after the last element of the command before (in s - L - keep + 1 at the latest), before the first of its own.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false, reportOptionalMemberAccess=false
# Amaranth makes ports attributes at run time.

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring

from rtl.pipeline import wire
from rtl.pruner import Pruner, packed_layout
from rtl.work_engines import engine_ports
from rtl.work_ports import check_lanes, fields_layout, log2
from simulator.arch import Accelerator
from simulator.encoding import Opcode

__all__ = ["PruneEngine"]


class PruneEngine(wiring.Component):
    """Reads `source`; writes `values` and `indices`. Raises ValueError for lanes or a group that are no powers of two."""

    def __init__(self, accelerator: Accelerator) -> None:
        check_lanes(accelerator)
        self.spec, self.pe, self.lanes = accelerator, accelerator.pe, accelerator.pruner.lanes
        super().__init__(engine_ports(accelerator, Opcode.PRUNE, ("source",), ("values", "indices")))

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.pruner = pruner = Pruner(self.spec)
        command = Signal(fields_layout(Opcode.PRUNE), name="command_q", reset_less=True)
        with m.If(self.accept):
            m.d.sync += command.eq(self.command)
        m.d.sync += [self.started.eq(self.accept), self.done.eq(self.ended)]
        groups = wire(m, "groups", _divided(command.elements, command.group, self.pe.group))
        fields = {"keep": command.keep, "group": command.group, "groups": groups}
        m.d.comb += [getattr(pruner.commands.payload, name).eq(value) for name, value in fields.items()]
        m.d.comb += [pruner.commands.valid.eq(self.started), pruner.packed.ready.eq(1)]
        self._feed(m, command, pruner, *self._read(m, command))
        self._write(m, command, pruner.packed)
        return m

    def _read(self, m: Module, command: data.View) -> tuple[Value, Value]:
        """Reads round after round, and counts what is to come after the last; whether a word arrives, a round's last."""
        shift = log2(self.lanes)
        request = self.read_source
        reading, left = Signal(), Signal.like(command.elements, reset_less=True)  # elements from this round on
        at, begin = Signal.like(request.at), Signal.like(request.at, name="round_begin")
        index, column = Signal.like(command.group, name="index"), Signal.like(command.row_elements, name="column")
        rest = Signal(range(2 * self.pe.group + self.spec.pruner.latency))  # cycles to come after the last read
        width = wire(m, "row_words", command.row_elements >> shift)
        ends_round = wire(m, "ends_round", reading & (index == command.group - 1))
        last = wire(m, "last_round", left <= command.group << shift)
        ends_row = wire(m, "ends_row", column == width - 1)
        m.d.comb += [self.ended.eq(rest == 1), self.ready.eq(~reading & (rest <= 1))]
        m.d.comb += [request.valid.eq(reading), request.slot.eq(command.slot), request.plane.eq(command.source)]
        m.d.comb += request.at.eq(at)
        with m.If(self.accept):
            m.d.sync += [reading.eq(1), left.eq(self.command.elements), rest.eq(0)]
            m.d.sync += [register.eq(0) for register in (at, begin, index, column)]
        with m.Elif(reading):
            m.d.sync += [index.eq(Mux(ends_round, 0, index + 1)), at.eq(at + Mux(command.across, width, 1))]
            with m.If(ends_round):
                m.d.sync += [left.eq(left - (command.group << shift)), column.eq(Mux(ends_row, 0, column + 1))]
                with m.If(command.across):
                    following = wire(m, "following", Mux(ends_row, at, begin) + 1)
                    m.d.sync += [at.eq(following), begin.eq(following)]
                with m.If(last):
                    turn = Mux(command.across, 0, command.group)
                    m.d.sync += [reading.eq(0), rest.eq(self.spec.pruner.latency + command.keep - 1 + turn)]
        with m.Elif(rest != 0):
            m.d.sync += rest.eq(rest - 1)
        arrives, arrives_last = Signal(), Signal()
        m.d.sync += [arrives.eq(reading), arrives_last.eq(ends_round)]
        return arrives, arrives_last

    def _feed(self, m: Module, command: data.View, pruner: Pruner, arrives: Value, arrives_last: Value) -> None:
        """Words to the pruner as they come, or by way of the two banks in which rounds are turned."""
        bits, group, lanes = self.pe.number.operand_bits, self.pe.group, self.lanes
        banks = [Signal(group * lanes * bits, name=f"bank_{i}", reset_less=True) for i in range(2)]
        filling, word, feeding, beat = Signal(), Signal(range(group)), Signal(), Signal(range(group))
        ends = wire(m, "feed_ends", beat == command.group - 1)
        for i, bank in enumerate(banks):
            with m.If(arrives & (filling == i)):
                m.d.sync += bank.word_select(word, lanes * bits).eq(self.data_source)
        with m.If(arrives):
            m.d.sync += [word.eq(Mux(arrives_last, 0, word + 1)), filling.eq(filling ^ arrives_last)]
        with m.If(arrives_last & ~command.across):
            m.d.sync += feeding.eq(1)
        with m.Elif(ends):
            m.d.sync += feeding.eq(0)
        m.d.sync += beat.eq(Mux(feeding & ~ends, beat + 1, 0))
        full = wire(m, "bank", Mux(filling, banks[0], banks[1]))  # the one that is not filled
        turned = Signal(lanes * bits)
        with m.Switch(command.group):
            for size in (1 << bit for bit in range(log2(group) + 1)):
                with m.Case(size):
                    rows = [full[lane * size * bits : (lane + 1) * size * bits] for lane in range(lanes)]
                    place = beat[: log2(size)]
                    m.d.comb += turned.eq(Cat(row.word_select(place, bits) if size > 1 else row for row in rows))
        m.d.comb += [
            pruner.elements.valid.eq(Mux(command.across, arrives, feeding)),
            pruner.elements.payload.eq(Mux(command.across, self.data_source, turned)),
        ]

    def _write(self, m: Module, command: data.View, packed: wiring.PureInterface) -> None:
        """A round's entries, `lanes` in a cycle; position q of a cycle shows entry `index` of lane `lane`.

        The last ones are written while the next command starts, whose fields are therefore seen here a cycle later.
        """
        lanes, keep_bits = self.lanes, len(packed.payload.keep)
        fields = Signal(fields_layout(Opcode.PRUNE), name="write_command", reset_less=True)
        m.d.sync += fields.eq(command)
        held = Signal(packed_layout(self.pe, lanes), reset_less=True)
        written = Signal(range(self.pe.group), name="written")  # cycles of this round so far
        at = Signal(len(self.write_values.at))
        new, writing = packed.valid, wire(m, "writing", packed.valid | (written != 0))
        fresh = Signal()
        m.d.sync += fresh.eq(self.started)
        with m.If(new):
            m.d.sync += held.eq(packed.payload)
        with m.If(writing):
            m.d.sync += [written.eq(Mux(written == fields.keep - 1, 0, written + 1)), at.eq(at + 1)]
        with m.Elif(fresh):
            m.d.sync += at.eq(0)
        source = Signal(packed_layout(self.pe, lanes), name="round")
        m.d.comb += source.eq(Mux(new, packed.payload, held))

        first, step = self._places(m, fields.keep)
        entry_bits = len(source.entries[0][0].as_value())
        chosen, present = [], []
        for q in range(lanes):
            place = _place(lanes, keep_bits)
            now, later = Signal(place, name=f"place_{q}"), Signal(place, name=f"later_{q}", reset_less=True)
            m.d.comb += now.eq(Mux(new, first[q], later))
            index = wire(m, f"index_{q}", now.index + step.index)
            carry = wire(m, f"carry_{q}", index >= fields.keep)
            m.d.sync += [later.index.eq(index - Mux(carry, fields.keep, 0)), later.lane.eq(now.lane + step.lane + carry)]
            number = Cat(now.index[: log2(self.pe.group)], now.lane[: log2(lanes)])
            flat = source.entries.as_value()
            bits = flat.word_select(number, entry_bits) if len(number) else flat
            chosen.append(source.entries[0][0].shape()(wire(m, f"entry_{q}", bits)))
            present.append(source.lanes.bit_select(now.lane[: log2(lanes)], 1) if lanes > 1 else source.lanes)
        operand = self.pe.number.operand_bits // 8
        results = {
            "values": (self.write_values, Cat(entry.value for entry in chosen), operand),
            "indices": (self.write_indices, Cat(Cat(entry.index, Const(0, 8 - len(entry.index))) for entry in chosen), 1),
        }
        for plane, (request, value, width) in results.items():
            m.d.comb += [
                request.valid.eq(writing),
                request.slot.eq(fields.slot),
                request.plane.eq(getattr(fields, plane)),
                request.at.eq(at),
                request.data.eq(value),
                request.enable.eq(Cat(bit.replicate(width) for bit in present)),
            ]

    def _places(self, m: Module, keep: Value) -> tuple[list[data.View], data.View]:
        """For `keep`: lane and index of a round's first `lanes` entries, and how far the next are: tables, in registers."""
        place = _place(self.lanes, len(keep))
        first = [Signal(place, name=f"first_{q}", reset_less=True) for q in range(self.lanes)]
        step = Signal(place, name="step", reset_less=True)
        with m.Switch(keep):
            for kept in range(1, self.pe.group + 1):
                with m.Case(kept):
                    for entry, register in [*enumerate(first), (self.lanes, step)]:
                        m.d.sync += [register.lane.eq(entry // kept), register.index.eq(entry % kept)]
        return first, step


def _place(lanes: int, keep_bits: int) -> data.StructLayout:
    return data.StructLayout({"lane": lanes.bit_length(), "index": keep_bits})


def _divided(value: Value, power: Value, most: int) -> Value:
    """`value` divided by a power of two that is at most `most`."""
    parts = [Mux(power[bit], value >> bit, 0) for bit in range(log2(most) + 1)]
    total = parts[0]
    for part in parts[1:]:
        total = total | part
    return total
