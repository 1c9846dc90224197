# amaranth: UnusedElaboratable=no
"""Does nobody use a word of a block memory that was read in the cycle in which it was written? It comes out wrong here."""

from dataclasses import replace

import pytest
from rtl_kit.require import need_rtl

need_rtl()

from amaranth.hdl import Module, Mux, Signal  # noqa: E402
from amaranth.lib import memory, wiring  # noqa: E402
from machines import MACHINES  # noqa: E402

import rtl.result_buffer  # noqa: E402
import rtl.work_buffer  # noqa: E402
from dse.verify import verify  # noqa: E402
from dse.verify_programs import Case, cases  # noqa: E402
from rtl.emit import verilog_of  # noqa: E402
from rtl.native.machine import MachineModel  # noqa: E402
from rtl.top import Machine  # noqa: E402

INT8 = MACHINES["int8-2x2"]
PIPELINED = replace(INT8, name="int8-2x2-pipelined", pe=replace(INT8.pe, multiply_latency=2))


class ReadPort:
    """A port whose `data` are all wrong in the cycle after a collision."""

    def __init__(self, port) -> None:
        self.port, self.en, self.addr, self.data = port, port.en, port.addr, Signal.like(port.data)


class Colliding(wiring.Elaboratable):
    """A memory as `rtl.block_ram` makes it, with one read and one write port."""

    def __init__(self, shape, depth: int) -> None:
        self.memory = memory.Memory(shape=shape, depth=depth, init=[])

    def read_port(self, transparent_for=()) -> ReadPort:
        assert not transparent_for
        self.read = ReadPort(self.memory.read_port())
        return self.read

    def write_port(self, **options):
        self.write = self.memory.write_port(**options)
        return self.write

    def elaborate(self, platform) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.memory = self.memory
        collided = Signal()
        with m.If(self.read.en):
            m.d.sync += collided.eq(self.write.en.any() & (self.read.addr == self.write.addr))
        data = self.read.port.data
        m.d.comb += self.read.data.eq(Mux(collided, ~data, data))
        return m


@pytest.mark.parametrize(
    "accelerator", [PIPELINED, pytest.param(MACHINES["fp16-3x4"], marks=pytest.mark.slow)], ids=lambda machine: machine.name
)
def test_nobody_uses_what_collided(monkeypatch, accelerator):
    for module in (rtl.work_buffer, rtl.result_buffer):
        monkeypatch.setattr(module, "block_ram", Colliding)
    compiled = MachineModel(verilog_of(Machine(accelerator), "machine"), "machine", accelerator)
    found = [case for case in cases(accelerator, seed=3) if isinstance(case, Case)]
    assert found
    for case in found:
        outcome = verify(compiled, case.data, case.image, case.registers)
        assert not outcome.differences, (case.name, outcome.differences)
