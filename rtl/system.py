# amaranth: UnusedElaboratable=no
"""A whole accelerator for a board with a serial line: the machine, on-chip memories, and the bridge to a host.

| port        | what                                                                                              |
|-------------|---------------------------------------------------------------------------------------------------|
| `rx`, `tx`  | the serial line: `rtl.host` is the other end, docs/board.md says what passes                       |
| `busy`      | a program runs                                                                                    |
| `fault`     | the status that the host read last told of a fault                                                |
| `heartbeat` | high and low for about half a second each: the clock runs                                         |
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from amaranth.hdl import DomainRenamer, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, connect

from rtl.memories import ProgramMemory, TensorMemory
from rtl.memory_block import BlockMaker, MemoryBlock
from rtl.registers import LITE_PORTS
from rtl.shell import SHELL_PORTS, Shell
from rtl.top import Machine
from simulator.arch import Accelerator
from simulator.layout import bus_bytes

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
        bus = bus_bytes(accelerator)
        self.machine = Machine(accelerator)
        self.tensor_memory = TensorMemory(accelerator, memory_bytes, block=tensor_block)
        self.program_memory = ProgramMemory(program_bytes, wide=wide_program, word_bytes=min(bus, 64), block=program_block)
        self.shell = Shell(
            self,
            memory_bytes=memory_bytes,
            program_bytes=program_bytes,
            bus_bytes=bus,
            divisor=divisor,
            clock_hz=clock_hz or accelerator.clock_hz,
            idle_cycles=idle_cycles,
        )
        super().__init__(SHELL_PORTS)

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        machine, bridge = self.machine, self.shell.bridge
        self.shell.reset(m, "machine_reset")
        in_machine = DomainRenamer("machine")
        m.submodules.machine = in_machine(machine)
        m.submodules.tensor_memory = in_machine(self.tensor_memory)
        m.submodules.program_memory = in_machine(self.program_memory)

        self.shell.line(m)
        connect(m, bridge.tensors, self.tensor_memory.host)
        connect(m, bridge.program, self.program_memory.host)
        for prefix, slave in (("m_axi", self.tensor_memory.axi), ("p_axi", self.program_memory.axi)):
            for name, member in slave.signature.members.items():
                port, inner = getattr(machine, f"{prefix}_{name}"), getattr(slave, name)
                m.d.comb += inner.eq(port) if member.flow is In else port.eq(inner)
        for name, member in LITE_PORTS.items():
            port, master = getattr(machine, f"s_axi_{name}"), getattr(bridge.registers, name)
            m.d.comb += port.eq(master) if member.flow is In else master.eq(port)

        self.shell.lights(m, machine.busy)
        return m
