"""A whole accelerator for a board with a serial line: the machine, on-chip memories, and the bridge to a host.

| port        | what                                                                                              |
|-------------|---------------------------------------------------------------------------------------------------|
| `rx`, `tx`  | the serial line: `rtl.host` is the other end, docs/board.md says what passes                       |
| `busy`      | a program runs                                                                                    |
| `fault`     | the status that the host read last told of a fault                                                |
| `heartbeat` | high and low for about half a second each: the clock runs                                         |
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from rtl.bridge import Bridge
from rtl.memories import ProgramMemory, TensorMemory
from rtl.memory_block import BlockMaker, MemoryBlock
from rtl.registers import LITE_PORTS
from rtl.top import Machine
from rtl.uart import Receiver, Transmitter
from simulator.arch import Accelerator
from simulator.layout import bus_bytes, power_of_two

__all__ = ["System"]


class System(wiring.Component):
    """`memory_bytes` of tensor memory and `program_bytes` of program memory, multiples of 1024; `divisor` clock cycles a bit.

    `wide_program`: a command is read in one cycle, from memory 512 bits wide, and runs take the simulator's cycles; otherwise
    from memory as wide as the tensors', word after word. `clock_hz` is the board's clock, if not the accelerator's: what one
    cycle is to the machine's memory stays what the accelerator says. `idle_cycles` of silence at most, and half of them at
    least, a power of two (about a quarter of a second unless given), make the bridge forget a request that was begun.
    `tensor_block` and `program_block` make the memories themselves (see `rtl.memory_block`).
    """

    def __init__(
        self,
        accelerator: Accelerator,
        *,
        memory_bytes: int,
        program_bytes: int,
        divisor: int,
        wide_program: bool = True,
        clock_hz: int | None = None,
        idle_cycles: int | None = None,
        tensor_block: BlockMaker = MemoryBlock,
        program_block: BlockMaker = MemoryBlock,
    ) -> None:
        self.clock_hz, bus = clock_hz or accelerator.clock_hz, bus_bytes(accelerator)
        least = power_of_two(40 * divisor)  # four bytes
        self.idle_cycles = max(power_of_two(self.clock_hz // 4), least) if idle_cycles is None else idle_cycles
        if type(self.idle_cycles) is not int or self.idle_cycles < least or self.idle_cycles & (self.idle_cycles - 1):
            raise ValueError(f"System field 'idle_cycles' must be a power of two, at least {least}, not {idle_cycles!r}")
        self.machine = Machine(accelerator)
        self.tensor_memory = TensorMemory(accelerator, memory_bytes, block=tensor_block)
        self.program_memory = ProgramMemory(program_bytes, wide=wide_program, word_bytes=min(bus, 64), block=program_block)
        self.receiver, self.transmitter = Receiver(divisor), Transmitter(divisor)
        self.bridge = Bridge(
            memory_bytes=memory_bytes,
            program_bytes=program_bytes,
            bus_bytes=bus,
            clock_hz=self.clock_hz,
            idle_cycles=self.idle_cycles,
            divisor=divisor,
        )
        lights = {"busy": Out(1), "fault": Out(1), "heartbeat": Out(1)}
        super().__init__({"rx": In(1), "tx": Out(1, init=1)} | lights)

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        machine, bridge = self.machine, self.bridge

        # The machine and its memories are reset by the host, too; from a register, one cycle after the rest.
        m.domains.machine = ClockDomain("machine")
        machine_reset = Signal(init=1)
        m.d.sync += machine_reset.eq(bridge.reset)
        m.d.comb += [ClockSignal("machine").eq(ClockSignal()), ResetSignal("machine").eq(machine_reset)]
        in_machine = DomainRenamer("machine")
        m.submodules.machine = in_machine(machine)
        m.submodules.tensor_memory = in_machine(self.tensor_memory)
        m.submodules.program_memory = in_machine(self.program_memory)

        m.submodules.receiver, m.submodules.transmitter, m.submodules.bridge = self.receiver, self.transmitter, bridge
        connect(m, self.receiver.bytes, bridge.received)
        connect(m, bridge.sent, self.transmitter.bytes)
        connect(m, bridge.tensors, self.tensor_memory.host)
        connect(m, bridge.program, self.program_memory.host)
        for prefix, slave in (("m_axi", self.tensor_memory.axi), ("p_axi", self.program_memory.axi)):
            for name, member in slave.signature.members.items():
                port, inner = getattr(machine, f"{prefix}_{name}"), getattr(slave, name)
                m.d.comb += inner.eq(port) if member.flow is In else port.eq(inner)
        for name, member in LITE_PORTS.items():
            port, master = getattr(machine, f"s_axi_{name}"), getattr(bridge.registers, name)
            m.d.comb += port.eq(master) if member.flow is In else master.eq(port)

        tick_bit = self.idle_cycles.bit_length() - 3  # it rises every half of the idle cycles
        beats = Signal(max(self.clock_hz.bit_length(), tick_bit + 1))  # its highest bit changes about twice a second
        before = Signal()
        m.d.sync += [beats.eq(beats + 1), before.eq(beats[tick_bit])]
        m.d.comb += [
            self.receiver.rx.eq(self.rx),
            bridge.lost.eq(self.receiver.error),
            self.tx.eq(self.transmitter.tx),
            bridge.busy.eq(machine.busy),
            bridge.tick.eq(beats[tick_bit] & ~before),
            self.busy.eq(machine.busy),
            self.fault.eq(bridge.stopped),
            self.heartbeat.eq(beats[-1]),
        ]
        return m
