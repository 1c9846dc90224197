"""Fetches the binary program, checks each command, and puts it into its engine's queue; keeps the token counters.

Commands are read ahead, a beat each, into a small buffer; the first is dispatched when the buffer is full or holds the whole
program, so that the memory's latency costs no cycle of the run. A command whose fields the machine can't execute, or that waits
for one not dispatched before it, stops the machine with a `Fault` (`rtl.decoder`): all that was dispatched ends, so that the
machine never hangs.

Cycle c of the sequencer is time c + 1 of the simulator: the first command is put in cycle -1.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from functools import reduce
from operator import add

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import fifo, wiring
from amaranth.lib.wiring import In, Out

from rtl.command_bits import kept_bits, whole_word
from rtl.decoder import Decoder
from rtl.dma import ADDRESS_BITS
from rtl.frame import countdown_layout, progress_layout
from rtl.skew import delayed
from simulator.arch import Accelerator, ceil_div
from simulator.encoding import COMMAND_BITS, COMMAND_BYTES, COMMANDS, ENGINES, Fault, Opcode
from simulator.faults import opcodes_of

__all__ = ["PREFETCH", "Sequencer"]

PREFETCH = 32  # commands read ahead: more than the memory's latency in cycles of dispatch, or dispatch starves
LATENCY = 8  # cycles: the program's memory may be as slow even where the tensors' is faster
WAY = 4  # cycles from the arrival of a command until another may be asked for in its place
INDEX_BITS = 32
UNITS = len(ENGINES)


def _prefetch(accelerator: Accelerator) -> int:
    """Commands read ahead: half of `PREFETCH` where that covers the memory's latency."""
    latency = max(LATENCY, accelerator.dram.latency_cycles(accelerator.clock_hz))
    enough = ceil_div(latency + WAY, accelerator.sequencer.dispatch_cycles) <= PREFETCH // 2
    return PREFETCH // 2 if enough else PREFETCH


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
                "countdown": Out(countdown_layout()),
                "tokens": Out(UNITS),
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
        depth, places = _prefetch(self.accelerator), kept_bits(self.accelerator)
        m.submodules.buffer = buffer = fifo.SyncFIFOBuffered(width=len(places) + 4, depth=depth)
        m.submodules.decoder = decoder = Decoder(self.accelerator)
        known = opcodes_of(self.accelerator)
        running, fetching, dispatching = Signal(), Signal(), Signal()
        fault, index = Signal(4), Signal(INDEX_BITS)
        asked, arrived = Signal(INDEX_BITS), Signal(INDEX_BITS)
        m.d.comb += [self.busy.eq(running), self.fault.eq(fault), self.fault_index.eq(index)]

        # Fetch: no more in flight than the buffer has room for.
        pending, reserved = Signal(range(depth + 1)), Signal(range(depth + 1))  # reserved: pending or in the buffer
        wrong = Mux(self.rresp != 0, Fault.PROGRAM_READ, decoder.wrong)
        m.d.comb += [
            self.arvalid.eq(fetching & (reserved != depth) & (asked != self.length)),
            decoder.word.eq(self.rdata),
            buffer.w_en.eq(self.rvalid),
            buffer.w_data.eq(Cat(*(self.rdata[bit] for bit in places), wrong)),
        ]
        ask = self.arvalid & self.arready
        m.d.sync += [
            pending.eq(pending + ask - self.rvalid),
            reserved.eq(reserved + ask - (buffer.r_en & buffer.r_rdy)),
            asked.eq(asked + ask),
            arrived.eq(arrived + self.rvalid),
        ]
        with m.If(ask):
            m.d.sync += self.araddr.eq(self.araddr + COMMAND_BYTES)

        # Dispatch.
        word, found_wrong = Signal(COMMAND_BITS), Signal(4)
        dispatched = Signal(progress_layout())
        m.d.comb += [
            word.eq(whole_word(places, buffer.r_data)),
            found_wrong.eq(buffer.r_data[len(places) :]),
            decoder.header.eq(word),
            decoder.found_wrong.eq(found_wrong),
            decoder.dispatched.eq(dispatched),
        ]
        here, ended = Signal(), Signal()
        found = Signal(4)
        m.d.comb += here.eq(dispatching & buffer.r_rdy & (self.timer == 0))
        at_length = (index == self.length) & (found_wrong != Fault.PROGRAM_READ)
        m.d.comb += found.eq(Mux(at_length, Fault.LENGTH, decoder.fault))
        target, go = Signal(UNITS), Signal()
        m.d.comb += [
            target.eq(Cat((decoder.opcode == opcode) if opcode in known else Const(0) for opcode in COMMANDS)[:UNITS]),
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
        none = {name: (1 << field.width - 1) - 2 for name, field in countdown_layout()}
        countdown, finished = Signal(countdown_layout(), init=none), Signal(INDEX_BITS)  # by engine, of all of them
        m.d.comb += [self.tokens.eq(later), self.countdown.eq(countdown)]
        m.d.sync += finished.eq(finished + reduce(add, later))
        for number, opcode in enumerate(COMMANDS[:UNITS]):
            if opcode in known:
                name = opcode.engine.value
                m.d.sync += [
                    countdown[name].eq(countdown[name] - later[number]),
                    dispatched[name].eq(dispatched[name] + self.put[number]),
                ]

        # Cycles of the run: until the last result is complete and the last engine free.
        now, timing = Signal(64), Signal()
        with m.If(timing):
            m.d.sync += now.eq(now + 1)
        with m.If(self.put.any()):
            m.d.sync += timing.eq(1)
        was_ended = Signal()
        m.d.sync += was_ended.eq(self.ended.any())
        with m.If(self.done.any() | was_ended):
            m.d.sync += self.cycles.eq(now)

        # Nothing is left for the next program to find: no token on its way, no command in the buffer.
        all_done = (finished == index) & self.idle
        with m.If(running & ended & all_done & (pending == 0) & ~self.arvalid & (buffer.level == 0)):
            m.d.sync += [running.eq(0), timing.eq(0)]
        with m.If(running & ended):
            m.d.sync += fetching.eq(0)
        full = Mux(self.length < depth, self.length, depth)
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
                self.araddr.eq(self.address),
                countdown.eq(countdown_layout().const(none)),
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
