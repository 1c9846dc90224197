# amaranth: UnusedElaboratable=no
"""The whole machine: registers, sequencer, nine engines behind their frames, buffers, and one memory port.

| ports      | what                                                                                            |
|------------|-------------------------------------------------------------------------------------------------|
| `s_axi_*`  | AXI4-Lite slave: the registers of `rtl.registers`                                               |
| `m_axi_*`  | AXI4 master: tensors                                                                            |
| `p_axi_*`  | AXI4 master that only reads: the program, a command per beat                                    |
| `busy`     | a program runs                                                                                  |
| `trace_*`  | a bit per engine, in the order of `Engine`: a command was put, started, ended or done in this   |
|            | cycle (docs/machine.md, 'Time'): what the simulator calls events                                |
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl import axi
from rtl.array import Array
from rtl.counters import Counters
from rtl.dma import ADDRESS_BITS, Dma
from rtl.frame import Frame, attach
from rtl.operand_buffer import OperandBuffer
from rtl.prune_engine import PruneEngine
from rtl.registers import LITE_PORTS, Registers, lite_ports
from rtl.result_buffer import ResultBuffer
from rtl.sequencer import Sequencer
from rtl.work_buffer import WorkBuffer
from rtl.work_engines import UpdateEngine, VectorEngine
from simulator.arch import Accelerator, Dataflow
from simulator.encoding import COMMAND_BITS, COMMANDS, DATAFLOWS, ENGINES, Fault, Opcode
from simulator.faults import opcodes_of
from simulator.layout import bus_bytes

__all__ = ["Machine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    """What an engine shows its frame: `ready` and the events of docs/machine.md."""

    ready: Value
    started: Value
    ended: Value
    done: Value


class Machine(wiring.Component):
    """An accelerator in hardware. Raises ValueError for one that the RTL doesn't build, naming the field."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.opcodes = [opcode for opcode in COMMANDS if opcode in opcodes_of(accelerator)]
        self.dma, self.array = Dma(accelerator), Array(accelerator)
        self.work = WorkBuffer(accelerator) if Opcode.LOAD_WORK in self.opcodes else None
        self.a, self.b, self.c = OperandBuffer(accelerator, "a"), OperandBuffer(accelerator, "b"), ResultBuffer(accelerator)
        traces = {f"trace_{name}": Out(len(ENGINES)) for name in ("put", "started", "ended", "done")}
        super().__init__(
            lite_ports("s_axi")
            | axi.master_ports("m_axi", 8 * bus_bytes(accelerator), ADDRESS_BITS)
            | axi.read_ports("p_axi", COMMAND_BITS, ADDRESS_BITS)
            | {"busy": Out(1)}
            | traces
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.registers = registers = Registers(self.accelerator)
        m.submodules.sequencer = sequencer = Sequencer(self.accelerator)
        m.submodules.counters = counters = Counters(self.accelerator)
        m.submodules.dma, m.submodules.array = self.dma, self.array
        if self.work is not None:
            m.submodules.work_buffer = self.work
        m.submodules.a_buffer, m.submodules.b_buffer, m.submodules.c_buffer = self.a, self.b, self.c
        self._host(m, registers, sequencer, counters)
        axi.connect_ports(m, self, "m_axi", self.dma.axi)
        frames = {opcode: Frame(self.accelerator, opcode) for opcode in self.opcodes}
        units = self._channels(m, frames) | self._engines(m, frames, registers) | {Opcode.ARRAY: self._multiplies(m, frames)}
        for number, opcode in enumerate(COMMANDS):
            if opcode not in frames:  # an engine that the machine doesn't have: the decoder refuses its commands
                continue
            name, frame, unit = opcode.engine.value, frames[opcode], units[opcode]
            m.submodules[f"{name}_frame"] = frame
            attach(m, sequencer, number, frame)
            m.d.comb += [
                frame.ready.eq(unit.ready),
                sequencer.ended[number].eq(unit.ended),
                sequencer.done[number].eq(unit.done),
                counters.accepted[number].eq(frame.accept),
                self.trace_started[number].eq(unit.started),
                self.trace_ended[number].eq(unit.ended),
                self.trace_done[number].eq(unit.done),
            ]
            if f"command_{name}" in counters.signature.members:
                m.d.comb += getattr(counters, f"command_{name}").eq(frame.command)
        m.d.comb += [
            sequencer.idle.eq(Cat(frame.idle & frame.ready for frame in frames.values()).all()),
            self.trace_put.eq(sequencer.put),
            self.busy.eq(sequencer.busy),
        ]
        return m

    def _host(self, m: Module, registers: Registers, sequencer: Sequencer, counters: Counters) -> None:
        """Registers, and the program's memory."""
        for name in LITE_PORTS:
            port, inner = getattr(self, f"s_axi_{name}"), getattr(registers, name)
            m.d.comb += inner.eq(port) if LITE_PORTS[name].flow is In else port.eq(inner)
        shown, written = registers.shown, registers.written
        done = Signal()
        with m.If(registers.start):
            m.d.sync += done.eq(0)
        with m.Elif(sequencer.busy):
            m.d.sync += done.eq(1)
        idle = ~sequencer.busy & done
        m.d.comb += [
            shown.status.eq(Cat(sequencer.busy | registers.start, idle, idle & (sequencer.fault != 0))),
            shown.fault.eq(sequencer.fault),
            shown.fault_command.eq(sequencer.fault_index),
            shown.cycles.eq(sequencer.cycles),
            counters.word.eq(registers.word),
            registers.counted.eq(counters.value),
            counters.read_bytes.eq(self.dma.read_bytes),
            counters.written_bytes.eq(self.dma.written_bytes),
            counters.clear.eq(registers.start & ~sequencer.busy),
            sequencer.start.eq(registers.start),
            sequencer.address.eq(written.program_address),
            sequencer.length.eq(written.program_length),
            sequencer.memory_fault.eq(
                Mux(self.dma.read_fault, Fault.MEMORY_READ, Mux(self.dma.write_fault, Fault.MEMORY_WRITE, Fault.NONE))
            ),
            self.p_axi_araddr.eq(sequencer.araddr),
            self.p_axi_arlen.eq(0),
            self.p_axi_arsize.eq((COMMAND_BITS // 8).bit_length() - 1),
            self.p_axi_arburst.eq(axi.INCR),
            self.p_axi_arvalid.eq(sequencer.arvalid),
            sequencer.arready.eq(self.p_axi_arready),
            sequencer.rdata.eq(self.p_axi_rdata),
            sequencer.rresp.eq(self.p_axi_rresp),
            sequencer.rvalid.eq(self.p_axi_rvalid),
            self.p_axi_rready.eq(1),
        ]

    def _channels(self, m: Module, frames: dict[Opcode, Frame]) -> dict[Opcode, _Unit]:
        """Transfers: the DMA's channels, and the buffers' ways in and out."""
        units: dict[Opcode, _Unit] = {}
        transfers = (Opcode.LOAD_A, Opcode.LOAD_B, Opcode.LOAD_WORK, Opcode.STORE_C, Opcode.STORE_WORK)
        for opcode in (opcode for opcode in transfers if opcode in frames):
            frame, channel = frames[opcode], getattr(self.dma, opcode.engine.value)
            m.d.comb += channel.command.valid.eq(frame.accept)
            m.d.comb += [
                channel.command.payload[name].eq(frame.command[name]) for name in channel.command.payload.shape().members
            ]
            units[opcode] = _Unit(ready=channel.command.ready, started=channel.started, ended=channel.ended, done=channel.done)
        filled: dict[Opcode, Any] = {Opcode.LOAD_A: self.a, Opcode.LOAD_B: self.b}
        emptied = {Opcode.STORE_C: self.c.beats}
        for opcode, buffer in filled.items():
            frame = frames[opcode]
            m.d.sync += [buffer.load.eq(frame.accept), *_fields(buffer.fields, frame.command)]
        m.d.sync += [self.c.start.eq(frames[Opcode.STORE_C].accept), *_fields(self.c.fields, frames[Opcode.STORE_C].command)]
        if self.work is not None:
            filled[Opcode.LOAD_WORK], emptied[Opcode.STORE_WORK] = self.work, self.work.stored
            m.d.sync += [self.work.load.valid.eq(frames[Opcode.LOAD_WORK].accept)]
            m.d.sync += _fields(self.work.load, frames[Opcode.LOAD_WORK].command)
            m.d.sync += [self.work.store.valid.eq(frames[Opcode.STORE_WORK].accept)]
            m.d.sync += _fields(self.work.store, frames[Opcode.STORE_WORK].command)
        for opcode, buffer in filled.items():
            shown = getattr(self.dma, opcode.engine.value).beat
            m.d.comb += [buffer.beat[name].eq(getattr(shown, name)) for name in buffer.beat.shape().members]
        for opcode, beats in emptied.items():
            write = getattr(self.dma, opcode.engine.value).write_data
            m.d.comb += [
                write.valid.eq(beats.valid),
                write.payload.data.eq(beats.payload),
                write.payload.strobe.eq(~0),
                beats.ready.eq(write.ready),
            ]
        return units

    def _engines(self, m: Module, frames: dict[Opcode, Frame], registers: Registers) -> dict[Opcode, _Unit]:
        """Pruner, updater and vector unit on the planes of the work buffer."""
        made = {Opcode.PRUNE: PruneEngine, Opcode.UPDATE: UpdateEngine, Opcode.VECTOR: VectorEngine}
        units: dict[Opcode, _Unit] = {}
        for opcode, engine in ((opcode, make(self.accelerator)) for opcode, make in made.items() if opcode in frames):
            if opcode is Opcode.UPDATE:
                m.d.comb += [getattr(engine, name).eq(registers.written[name]) for name in engine.coefficients]
            m.submodules[opcode.engine.value] = engine
            frame = frames[opcode]
            m.d.comb += engine.accept.eq(frame.accept)
            m.d.comb += [engine.command[name].eq(frame.command[name]) for name in engine.command.shape().members]
            for name in engine.signature.members:
                if name.startswith(("read_", "write_")):
                    m.d.comb += getattr(self.work, name).eq(getattr(engine, name))
                elif name.startswith("data_"):
                    m.d.comb += getattr(engine, name).eq(getattr(self.work, name))
            units[opcode] = _Unit(ready=engine.ready, started=engine.started, ended=engine.ended, done=engine.done)
        return units

    def _multiplies(self, m: Module, frames: dict[Opcode, Frame]) -> _Unit:
        """The array and its three buffers."""
        frame, array = frames[Opcode.ARRAY], self.array
        m.d.comb += [array.en.eq(1), array.commands.valid.eq(frame.accept)]
        m.d.comb += [array.commands.payload[name].eq(frame.command[name]) for name in array.commands.payload.shape().members]

        m.d.comb += [self.c.sums_request.eq(array.sums_request), array.sums_data.eq(self.c.sums_data)]
        m.d.comb += self.c.results.eq(array.results)
        for kind, count in (("row", self.accelerator.array.rows), ("column", self.accelerator.array.cols)):
            answers = getattr(array, f"{kind}_data")
            for buffer in (self.a, self.b):
                m.d.comb += getattr(buffer, f"{kind}_request").eq(getattr(array, f"{kind}_request"))
            asked = getattr(self.a, f"{kind}_asked")
            for i in range(count):
                a, b = (getattr(buffer, f"{kind}_data")[i] for buffer in (self.a, self.b))
                m.d.comb += answers[i].eq(Mux(asked[i], a, b))

        # Sums of OS commands leave by the port that WS and IS commands' results take: these wait until they are written.
        running, drains, under_way = Signal(), Signal(), Signal(16)
        ended = running & array.commands.ready
        m.d.sync += [running.eq(frame.accept | (running & ~ended)), under_way.eq(under_way + frame.accept - array.done)]
        resident = frame.command.dataflow != DATAFLOWS.index(Dataflow.OS)
        with m.If(frame.accept):
            m.d.sync += drains.eq(~resident)
        m.d.comb += frame.hold.eq(resident & drains & (under_way != array.done))
        return _Unit(ready=array.commands.ready, started=array.started, ended=ended, done=array.done)


def _fields(port: data.View, command: data.View) -> list[Any]:
    """A port's fields from the command's of the same names."""
    return [port[name].eq(command[name]) for name in port.shape().members if name != "valid"]
