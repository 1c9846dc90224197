"""Fetches the binary program, checks each command, and puts it into its engine's queue; keeps the token counters.

Commands are read ahead, a beat each, into a small buffer; the first is dispatched when the buffer is full or holds the whole
program, so that the memory's latency costs no cycle of the run. A command whose fields the machine can't execute, or that waits
for one not dispatched before it, stops the machine with a `Fault` (`rtl.decoder`): all that was dispatched ends, so that the
machine never hangs.

Cycle c of the sequencer is time c + 1 of the simulator: the first command is put in cycle -1.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import fifo, wiring
from amaranth.lib.wiring import In, Out

from rtl.decoder import Decoder
from rtl.dma import ADDRESS_BITS
from rtl.frame import progress_layout
from rtl.skew import delayed
from simulator.arch import Accelerator
from simulator.encoding import COMMAND_BITS, COMMAND_BYTES, COMMANDS, ENGINES, Fault, Opcode

__all__ = ["PREFETCH", "Sequencer"]

PREFETCH = 32  # commands read ahead: more than the memory's latency in cycles of dispatch, or dispatch starves
INDEX_BITS = 32
UNITS = len(ENGINES)


class Sequencer(wiring.Component):
    """`start` begins the program of at most `length` commands at `address`; `busy` until all that was dispatched has ended.

    `put`, `push` and `pushed` go to the frames, by engine in the order of `Engine`; `ended` and `done` come from the units.
    `cycles` counts from the first dispatch until the last result is complete and the last unit free. `fault` and `fault_index`
    say what stopped the program, and where.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        super().__init__(
            {
                "start": In(1),
                "address": In(ADDRESS_BITS),
                "length": In(INDEX_BITS),
                "busy": Out(1),
                "fault": Out(4),
                "fault_index": Out(INDEX_BITS),
                "cycles": Out(64),
                "memory_fault": In(4),
                "idle": In(1),
                "room": In(UNITS),
                "put": Out(UNITS),
                "push": Out(UNITS),
                "pushed": Out(COMMAND_BITS),
                "ended": In(UNITS),
                "done": In(UNITS),
                "progress": Out(progress_layout()),
                "araddr": Out(ADDRESS_BITS),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(COMMAND_BITS),
                "rresp": In(2),
                "rvalid": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        spec = self.accelerator.sequencer
        self.timer = Signal(range(max(2, spec.dispatch_cycles)))  # cycles until the next command's turn
        m.submodules.buffer = buffer = fifo.SyncFIFOBuffered(width=COMMAND_BITS + 1, depth=PREFETCH)
        m.submodules.decoder = decoder = Decoder(self.accelerator)
        running, fetching, dispatching = Signal(), Signal(), Signal()
        fault, index = Signal(4), Signal(INDEX_BITS)
        asked, arrived = Signal(INDEX_BITS), Signal(INDEX_BITS)
        m.d.comb += [self.busy.eq(running), self.fault.eq(fault), self.fault_index.eq(index)]

        # Fetch: no more in flight than the buffer has room for.
        pending = Signal(range(PREFETCH + 1))
        free = Signal(range(PREFETCH + 1))
        m.d.comb += [
            free.eq(PREFETCH - buffer.level),
            self.arvalid.eq(fetching & (pending < free) & (asked != self.length)),
            self.araddr.eq(self.address + (asked << (COMMAND_BYTES.bit_length() - 1))),
            buffer.w_en.eq(self.rvalid),
            buffer.w_data.eq(Cat(self.rdata, self.rresp != 0)),
        ]
        ask = self.arvalid & self.arready
        m.d.sync += [
            pending.eq(pending + ask - self.rvalid),
            asked.eq(asked + ask),
            arrived.eq(arrived + self.rvalid),
        ]

        # Dispatch.
        word, bad_read = buffer.r_data[:COMMAND_BITS], buffer.r_data[COMMAND_BITS]
        dispatched = Signal(progress_layout())
        m.d.comb += [decoder.word.eq(word), decoder.dispatched.eq(dispatched)]
        here, ended = Signal(), Signal()
        found = Signal(4)
        m.d.comb += here.eq(dispatching & buffer.r_rdy & (self.timer == 0))
        m.d.comb += found.eq(Mux(bad_read, Fault.PROGRAM_READ, Mux((index == self.length), Fault.LENGTH, decoder.fault)))
        target, go = Signal(UNITS), Signal()
        m.d.comb += [
            target.eq(Cat(decoder.opcode == opcode for opcode in COMMANDS)),
            go.eq(here & (found == 0) & (target & self.room).any()),
            self.put.eq(target & go.replicate(UNITS)),
            buffer.r_en.eq(go | ended),  # at the end, what is left
        ]
        self._push(m, word, target, here, go)
        with m.If(go):
            m.d.sync += index.eq(index + 1)
        with m.If(here & (found == 0) & (decoder.opcode == Opcode.END)):
            m.d.sync += [dispatching.eq(0), ended.eq(1)]
        with m.Elif(here & (found != 0)):
            m.d.sync += [dispatching.eq(0), ended.eq(1), fault.eq(found)]
        with m.Elif(dispatching & (asked == self.length) & (arrived == self.length) & ~buffer.r_rdy & (buffer.level == 0)):
            m.d.sync += [dispatching.eq(0), ended.eq(1), fault.eq(Fault.LENGTH)]
        with m.If(running & (self.memory_fault != 0) & (fault == 0)):
            m.d.sync += [fault.eq(self.memory_fault), dispatching.eq(0), ended.eq(1)]

        # Tokens: counted when done, visible a token latency later to the cycle.
        later = self.done
        if spec.token_latency > 1:
            later = delayed(m, self.done, spec.token_latency - 1, "token", reset_less=False)
        finished = Signal(progress_layout())
        for number, engine in enumerate(ENGINES):
            name = engine.value
            m.d.comb += self.progress[name].eq(finished[name] + later[number])
            m.d.sync += [
                finished[name].eq(finished[name] + later[number]),
                dispatched[name].eq(dispatched[name] + self.put[number]),
            ]

        # Cycles of the run: until the last result is complete and the last engine free.
        now, timing = Signal(64), Signal()
        with m.If(timing):
            m.d.sync += now.eq(now + 1)
        with m.If(self.put.any()):
            m.d.sync += timing.eq(1)
        with m.If(self.done.any()):
            m.d.sync += self.cycles.eq(now)
        with m.If(self.ended.any()):
            m.d.sync += self.cycles.eq(now + 1)

        # Nothing is left for the next program to find: no token on its way, no command in the buffer.
        all_done = (finished.as_value() == dispatched.as_value()) & self.idle
        with m.If(running & ended & all_done & (pending == 0) & ~self.arvalid & (buffer.level == 0)):
            m.d.sync += [running.eq(0), timing.eq(0)]
        with m.If(running & ended):
            m.d.sync += fetching.eq(0)
        full = Mux(self.length < PREFETCH, self.length, PREFETCH)
        with m.If(running & ~dispatching & ~ended & (buffer.level >= full) & buffer.r_rdy & (self.memory_fault == 0)):
            m.d.sync += dispatching.eq(1)
        with m.If(self.start & ~running):
            m.d.sync += [
                running.eq(1),
                fetching.eq(1),
                ended.eq(0),
                dispatching.eq(0),
                fault.eq(0),
                index.eq(0),
                asked.eq(0),
                arrived.eq(0),
                self.timer.eq(0),
                now.eq(0),
                timing.eq(0),
                self.cycles.eq(0),
                finished.eq(0),
                dispatched.eq(0),
            ]
            with m.If(self.length == 0):
                m.d.sync += [ended.eq(1), fault.eq(Fault.LENGTH)]
        return m

    def _push(self, m: Module, word: Value, target: Value, here: Value, go: Value) -> None:
        """A command comes to its queue `dispatch_cycles` after its turn, and not before there is room for it."""
        last = self.accelerator.sequencer.dispatch_cycles - 1
        if last == 0:
            m.d.comb += [self.push.eq(self.put), self.pushed.eq(word)]
            return
        age, left = Signal(range(last + 1)), Signal(range(last + 1))
        kept, whose = Signal(COMMAND_BITS, reset_less=True), Signal(UNITS)
        at_once = go & (age == last)
        with m.If(go):
            m.d.sync += [self.timer.eq(last), age.eq(0), left.eq(last - age), kept.eq(word), whose.eq(target)]
        with m.Else():
            m.d.sync += [self.timer.eq(self.timer - (self.timer != 0)), left.eq(left - (left != 0))]
            with m.If(here & (age != last)):
                m.d.sync += age.eq(age + 1)
        with m.If(~self.busy):
            m.d.sync += age.eq(0)
        m.d.comb += [
            self.push.eq(Mux(at_once, target, whose & (left == 1).replicate(UNITS))),
            self.pushed.eq(Mux(at_once, word, kept)),
        ]
