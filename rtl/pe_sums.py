"""The accumulators of a PE: sums begin, wait for their next addition, leave or are drained.

With `interleave` up to the accumulate latency a sum's next addition comes in the very cycle in which the last one's result is
there, so that nothing needs to be kept but what OS drains. With one accumulator and a latency of one, the adder's register
is the accumulator: it then holds between beats.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# Amaranth makes ports attributes at run time.

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from rtl.fp import NUMBERS, Add
from rtl.skew import delayed
from simulator.arch import Pe

__all__ = ["Sums"]


class Sums(wiring.Component):
    """Ports by the names of `rtl.pe`; `total` is what a beat adds, and comes when it is added.

    The beat's fields come with its operands, ``pe.latency - pe.accumulate_latency`` cycles earlier. `streams`: the array does
    OS; `holds`: it does WS or IS; `fill_in_time`: a fill may come in the cycle of its addition.
    """

    def __init__(self, pe: Pe, *, streams: bool, holds: bool, fill_in_time: bool) -> None:
        self.pe, self.number, self.streams, self.holds = pe, NUMBERS[pe.format], streams, holds
        self.fill_in_time = fill_in_time
        self.slot_bits = max(1, (pe.interleave - 1).bit_length())
        bits = pe.number.accumulator_bits
        moving = data.StructLayout({"valid": 1, "slot": self.slot_bits, "sum": bits})
        flags = ("beat", "first", "fresh", "leave", "resident", "copy")
        super().__init__(
            {name: In(1) for name in flags}
            | {
                "slot": In(self.slot_bits),
                "total": In(bits),
                "arriving": In(moving),
                "fill": In(moving),
                "leaving": Out(moving),
                "drain_slot": In(self.slot_bits),
                "drained": Out(bits),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        pe = self.pe
        # A sum begins with an earlier one (from above, or one that waits) or with 0; if it has begun, it goes on.
        earlier = self.first & ~self.fresh
        choice = Mux(earlier, 2 | self.resident, ~self.first)  # so coded, and early, to be one small choice per bit
        fields = [self.beat, self.slot, choice, self.leave]
        late = self._later(m, fields, pe.latency - pe.accumulate_latency, "add")
        beat, slot, choice, leave = late
        done_beat, done_slot, done_leave = self._later(m, [beat, slot, leave], pe.accumulate_latency, "done")

        m.submodules.accumulate = add = Add(self.number, pe.accumulate_latency)
        m.d.comb += [
            add.en.eq(beat if pe.interleave == pe.accumulate_latency == 1 else 1),
            self.leaving.valid.eq(done_beat & done_leave),
            self.leaving.slot.eq(done_slot),
            self.leaving.sum.eq(add.sum),
        ]
        held = self._keep(m, add.sum, done_beat, done_slot, slot)
        now = add.sum
        if pe.interleave > pe.accumulate_latency:
            now = Mux(done_beat & (done_slot == slot), add.sum, held)
        start = self._start(m, slot, choice[0])
        m.d.comb += [add.a.eq(Mux(choice[1], start, Mux(choice[0], now, 0))), add.b.eq(self.total)]
        return m

    def _keep(self, m: Module, result: Value, done_beat: Value, done_slot: Value, slot: Value) -> Value:
        """Sums that are drained, and those that go on, of which it returns the slot's."""
        pe = self.pe
        if pe.interleave == pe.accumulate_latency == 1 and self.streams:
            second = Signal(len(result), reset_less=True)
            with m.If(self.copy):
                m.d.sync += second.eq(result)
            m.d.comb += self.drained.eq(second)
            return result
        if not self.streams and pe.interleave <= pe.accumulate_latency:
            return result
        # Both in one memory, of which a copy exchanges the halves.
        m.submodules.kept = kept = memory.Memory(shape=len(result), depth=2 << self.slot_bits, init=[])
        write, read, drain = kept.write_port(), kept.read_port(domain="comb"), kept.read_port(domain="comb")
        half = Signal()
        with m.If(self.copy):
            m.d.sync += half.eq(~half)
        m.d.comb += [
            write.en.eq(done_beat),
            write.addr.eq(Cat(done_slot, half)),
            write.data.eq(result),
            read.addr.eq(Cat(slot, half)),
            drain.addr.eq(Cat(self.drain_slot, ~half)),
            self.drained.eq(drain.data),
        ]
        return read.data

    def _start(self, m: Module, slot: Value, above: Value) -> Value:
        """What a sum begins with if there is an earlier one."""
        pe, bits = self.pe, self.pe.number.accumulator_bits
        may_wait = self.holds and pe.interleave > pe.accumulate_latency  # what comes from above, too
        if not self.streams and not may_wait:
            return self.arriving.sum
        enters = self.fill
        if may_wait:
            enters = Signal.like(self.fill, name="enters")
            m.d.comb += enters.eq(Mux(self.fill.valid if self.streams else 0, self.fill, self.arriving))
        if pe.interleave == 1:
            waiting = Signal(bits, reset_less=True)
            with m.If(enters.valid):
                m.d.sync += waiting.eq(enters.sum)
        else:
            m.submodules.waiting = arrived = memory.Memory(shape=bits, depth=1 << self.slot_bits, init=[])
            write, read = arrived.write_port(), arrived.read_port(domain="comb")
            m.d.comb += [write.en.eq(enters.valid), write.addr.eq(enters.slot), write.data.eq(enters.sum), read.addr.eq(slot)]
            waiting = read.data
        if may_wait or self.fill_in_time:
            last = self.arriving if may_wait else self.fill  # may come in the cycle of its addition
            arrives = last.valid & (last.slot == slot)
            waiting = Mux(arrives, last.sum, waiting)
        return Mux(above, self.arriving.sum, waiting) if self.holds and not may_wait else waiting

    def _later(self, m: Module, fields: list[Value], cycles: int, name: str) -> list[Value]:
        """The control fields some cycles later, none of them after a reset."""
        packed = delayed(m, Cat(*fields), cycles, f"{name}_control", reset_less=False)
        offsets = [sum(len(field) for field in fields[:i]) for i in range(len(fields))]
        return [packed[at : at + len(field)] for at, field in zip(offsets, fields, strict=True)]
