# amaranth: UnusedElaboratable=no
"""The real sequencer and frames around units that do nothing for as long as a command's tag says."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from rtl.frame import Frame, attach
from rtl.sequencer import Sequencer
from rtl.skew import delayed
from simulator.encoding import COMMAND_BITS, ENGINES, Opcode

__all__ = ["PROGRAM", "SequencerBench", "busy_of", "tail_of"]

PROGRAM = 256  # commands that fit
_BUSY_BITS = 5


def busy_of(op: int) -> int:
    return 1 + op % (1 << _BUSY_BITS)


def tail_of(number: int) -> int:
    """Of the engine's results, by its position in `Engine`."""
    return (3 * number) % 7


class SequencerBench(wiring.Component):
    def __init__(self, accelerator, latency: int = 5) -> None:
        self.accelerator, self.latency = accelerator, latency
        outputs = {f"trace_{name}": Out(len(ENGINES)) for name in ("put", "started", "ended", "done")}
        super().__init__(
            {
                "write": In(1),
                "at": In(range(PROGRAM)),
                "word": In(COMMAND_BITS),
                "start": In(1),
                "length": In(32),
                "busy": Out(1),
                "fault": Out(4),
                "fault_index": Out(32),
                "cycles": Out(64),
            }
            | outputs
        )

    def elaborate(self, platform):  # noqa: ARG002
        m = Module()
        m.submodules.program = program = memory.Memory(shape=COMMAND_BITS, depth=PROGRAM, init=[])
        write, read = program.write_port(), program.read_port(domain="comb")
        m.submodules.sequencer = sequencer = Sequencer(self.accelerator)
        asked = Cat(sequencer.arvalid, sequencer.araddr)
        answered = delayed(m, asked, self.latency, "asked", reset_less=False)
        m.d.comb += [
            write.en.eq(self.write),
            write.addr.eq(self.at),
            write.data.eq(self.word),
            read.addr.eq(answered[1:] >> 6),
            sequencer.start.eq(self.start),
            sequencer.length.eq(self.length),
            sequencer.arready.eq(1),
            sequencer.rvalid.eq(answered[0]),
            sequencer.rdata.eq(read.data),
            self.busy.eq(sequencer.busy),
            self.fault.eq(sequencer.fault),
            self.fault_index.eq(sequencer.fault_index),
            self.cycles.eq(sequencer.cycles),
            self.trace_put.eq(sequencer.put),
        ]
        idle = []
        for number, engine in enumerate(ENGINES):
            m.submodules[engine.value] = frame = Frame(self.accelerator, Opcode(number + 1))
            left, started = Signal(range(2 + (1 << _BUSY_BITS)), name=f"left_{number}"), Signal(name=f"started_{number}")
            ended = left == 1
            m.d.sync += [
                left.eq(Mux(frame.accept, 1 + frame.command.op[:_BUSY_BITS], left - (left != 0))),
                started.eq(frame.accept),
            ]
            attach(m, sequencer, number, frame)
            m.d.comb += [
                frame.ready.eq(left <= 1),
                sequencer.done[number].eq(delayed(m, ended, 1 + tail_of(number), f"done_{number}", reset_less=False)),
                self.trace_started[number].eq(started),
                sequencer.ended[number].eq(ended),
                self.trace_ended[number].eq(ended),
            ]
            idle.append(frame.idle & (left == 0))
        m.d.comb += [sequencer.idle.eq(Cat(idle).all()), self.trace_done.eq(sequencer.done)]
        return m
