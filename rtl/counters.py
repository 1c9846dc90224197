"""The machine's performance counters: what `simulator.result.Counters` counts, by the same names.

Each has a small accumulator for what comes in every cycle. The sums are in one memory of 32-bit words, through which one adder
goes round: it adds an accumulator to its counter's low word, and the carry to its high word in the cycle after. Whatever was
accepted or moved is in the memory after `ROUND` + 6 cycles; `value` shows `word` as it was at the adder's last visit.
Multiplications and elements are counted when a command is accepted; bytes as they move.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from functools import reduce
from operator import add

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from rtl.choose import choose
from rtl.frame import unit_layout
from rtl.mac_counts import MacCounts
from simulator.arch import Accelerator
from simulator.encoding import ENGINES, Opcode
from simulator.faults import limits_of, opcodes_of
from simulator.layout import bus_bytes
from simulator.register_map import COUNTERS
from simulator.schedule import Engine

__all__ = ["ROUND", "Counters"]

ROUND = 2 * len(COUNTERS)  # cycles from one visit of the adder to the next
WORD = 32
_ELEMENTS = {"pruned_elements": Opcode.PRUNE, "updated_elements": Opcode.UPDATE, "vector_operations": Opcode.VECTOR}


class Counters(wiring.Component):
    """`accepted`: a bit per engine; `command_*`: what it accepts. `read_bytes`, `written_bytes`: of this cycle's beat. `clear`
    sets all to 0. `word`: 2 * the counter's position + 1 for its high half."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        known = opcodes_of(accelerator)
        self.counted = {name: opcode for name, opcode in _ELEMENTS.items() if opcode in known}
        opcodes = (Opcode.ARRAY, *self.counted.values())
        beat = range(bus_bytes(accelerator) + 1)
        super().__init__(
            {
                "clear": In(1),
                "accepted": In(len(ENGINES)),
                **{f"command_{opcode.engine.value}": In(unit_layout(opcode)) for opcode in opcodes},
                "read_bytes": In(beat),
                "written_bytes": In(beat),
                "word": In(range(ROUND)),
                "value": Out(WORD),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        amounts = self._amounts(m)

        turn, following = Signal(range(ROUND)), Signal(range(ROUND))
        m.d.comb += following.eq(Mux(turn == ROUND - 1, 0, turn + 1))
        m.d.sync += turn.eq(following)
        high = turn[0]

        waiting: list[Value] = []
        for number, name in enumerate(COUNTERS):
            bits = len(amounts[name]) + ROUND.bit_length()  # a round's amounts and this cycle's
            sum_ = Signal(bits, name=f"{name}_waiting")
            taken = (following[1:] == number) & high  # its turn is in the next cycle
            m.d.sync += sum_.eq(Mux(taken, 0, sum_) + amounts[name])
            waiting.append(sum_)

        # The adder: memory, and what a counter's accumulator held or its low word left over.
        fresh = Signal(range(ROUND + 1), init=ROUND)  # words that are still those of the program before
        carry, more = Signal(), Signal(2 * WORD)
        m.submodules.sums = sums = memory.Memory(shape=WORD, depth=ROUND, init=[])
        write, read = sums.write_port(), sums.read_port()
        old, new = Signal(WORD), Signal(WORD + 1)
        m.d.comb += [
            old.eq(Mux(fresh == 0, read.data, 0)),
            new.eq(old + more[:WORD] + carry),
            read.addr.eq(following),
            write.en.eq(1),
            write.addr.eq(turn),
            write.data.eq(new),
        ]
        m.d.sync += [carry.eq(new[WORD] & ~high), fresh.eq(fresh - (fresh != 0))]
        m.d.sync += more.eq(Mux(high, choose(m, "next_waiting", waiting, following[1:]), more[WORD:]))
        with m.If(turn == self.word):
            m.d.sync += self.value.eq(new)
        with m.If(self.clear):
            m.d.sync += [fresh.eq(ROUND), carry.eq(0), more.eq(0), *(sum_.eq(0) for sum_ in waiting)]
        return m

    def _amounts(self, m: Module) -> dict[str, Value]:
        """What each counter is to be raised by in this cycle."""
        accepted = Signal(len(ENGINES))
        m.d.sync += accepted.eq(Mux(self.clear, 0, self.accepted))
        m.submodules.macs = macs = MacCounts(self.accelerator)
        m.d.comb += [
            macs.clear.eq(self.clear),
            macs.accepted.eq(self.accepted[ENGINES.index(Engine.ARRAY)]),
            macs.command.eq(self.command_array),
        ]
        amounts: dict[str, Value] = {
            "commands": reduce(add, accepted),
            "macs": macs.macs,
            "dense_macs": macs.dense_macs,
            "dram_read_bytes": self.read_bytes,
            "dram_write_bytes": self.written_bytes,
        }
        for name, opcode in _ELEMENTS.items():
            amounts[name] = Const(0)
            if name in self.counted:
                limit = limits_of(opcode, self.accelerator)["elements"]  # the decoder lets no more pass
                amounts[name] = elements = Signal(range(limit + 1), name=name)
                accepts = self.accepted[ENGINES.index(opcode.engine)] & ~self.clear
                m.d.sync += elements.eq(Mux(accepts, getattr(self, f"command_{opcode.engine.value}").elements, 0))
        return amounts
