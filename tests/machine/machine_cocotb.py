"""Runs inside the simulator: a host on AXI4-Lite, a memory on each master, and whole programs on the machine between them."""

import os
import pickle
import random
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge
from rtl_kit.axi_memory import AxiMemory, Stalls

from dse.verify_programs import Case
from simulator.arch import Accelerator
from simulator.binary import program_of
from simulator.encoding import COMMAND_BITS, COMMAND_BYTES, VERSION
from simulator.interpreter import interpret
from simulator.layout import bus_bytes
from simulator.machine import run
from simulator.register_map import REGISTERS
from simulator.result import Counters

BASE = 0x5_0000_1000  # of the program memory: beyond 32 bits
BUSY, DONE = 1, 2
OKAY, SLAVE_ERROR = 0, 2
SLOW = Stalls(arready=0.4, awready=0.4, wready=0.3, rvalid=0.4, bvalid=0.3, extra_latency=30, seed=7)
ACCELERATOR, CASES = pickle.loads(Path(os.environ["CASES"]).read_bytes())


class Bench:
    """The machine with its surroundings. All programs are in the program memory; the data memory is the running one's."""

    def __init__(self, dut: Any, accelerator: Accelerator, cases: list[Case], seed: int = 0) -> None:
        self.dut, self.accelerator, self.cases = dut, accelerator, cases
        self.random = random.Random(seed)
        self.address, code = {}, bytearray()
        for case in cases:
            self.address[case.name] = BASE + len(code)
            code += case.data
        self.code, self.tasks = code, []
        for name in ("awvalid", "wvalid", "bready", "arvalid", "rready"):
            getattr(dut, f"s_axi_{name}").value = 0
        cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())

    async def reset(self, stalls: Stalls = Stalls()) -> None:  # noqa: B008
        """Two cycles, in whatever state it is; the memories forget what was under way."""
        for task in self.tasks:
            task.cancel()
        self.dut.rst.value = 1
        await RisingEdge(self.dut.clk)
        await RisingEdge(self.dut.clk)
        await FallingEdge(self.dut.clk)
        for name in ("m_axi_arvalid", "m_axi_awvalid", "m_axi_wvalid", "p_axi_arvalid", "s_axi_rvalid", "s_axi_bvalid", "busy"):
            assert int(getattr(self.dut, name).value) == 0, f"{name} must be low in reset"
        await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
        latency = self.accelerator.dram.latency_cycles(self.accelerator.clock_hz)
        self.memory = AxiMemory(self.dut, "m_axi", bytearray(), bus_bytes(self.accelerator), latency, stalls=stalls)
        self.program = AxiMemory(self.dut, "p_axi", self.code, COMMAND_BYTES, 8, base=BASE, stalls=stalls)
        self.tasks = [cocotb.start_soon(memory.run(self.dut.clk)) for memory in (self.memory, self.program)]

    def pause(self) -> int:
        return self.random.choice((0, 0, 1, 3))

    async def store(self, address: int, value: int, strobe: int = 15) -> int:
        """One AXI4-Lite write; address, data and readiness come in any order. Returns the response."""
        dut, waits = self.dut, {"aw": self.pause(), "w": self.pause()}
        ready, taken = self.pause(), set()
        dut.s_axi_awaddr.value, dut.s_axi_wdata.value, dut.s_axi_wstrb.value = address, value, strobe
        for cycle in range(1000):
            for channel, wait in waits.items():
                getattr(dut, f"s_axi_{channel}valid").value = int(cycle >= wait and channel not in taken)
            dut.s_axi_bready.value = int(cycle >= ready)
            await FallingEdge(dut.clk)
            answered = int(dut.s_axi_bvalid.value) and cycle >= ready
            assert not answered or len(taken) == 2, "BVALID must come after address and data"
            response = int(dut.s_axi_bresp.value)
            for channel, wait in waits.items():
                if cycle >= wait and channel not in taken and int(getattr(dut, f"s_axi_{channel}ready").value):
                    taken.add(channel)
            await RisingEdge(dut.clk)
            if answered:
                dut.s_axi_bready.value = 0
                return response
        raise AssertionError(f"Write to {address:#x} must be answered")

    async def load(self, address: int) -> tuple[int, int]:
        """One AXI4-Lite read: the word and the response, which stay until they are taken."""
        dut, ready, taken, offered = self.dut, self.pause(), False, None
        dut.s_axi_araddr.value = address
        for cycle in range(1000):
            dut.s_axi_arvalid.value, dut.s_axi_rready.value = int(not taken), int(cycle >= ready)
            await FallingEdge(dut.clk)
            valid = int(dut.s_axi_rvalid.value)
            shown = (int(dut.s_axi_rdata.value), int(dut.s_axi_rresp.value))
            assert not valid or taken, "RVALID must come after the address"
            assert offered is None or (valid and shown == offered), "RDATA must stay until taken"
            taken = taken or bool(int(dut.s_axi_arready.value))
            await RisingEdge(dut.clk)
            if valid and cycle >= ready:
                dut.s_axi_rready.value = 0
                return shown
            offered = shown if valid else None
        raise AssertionError(f"Read of {address:#x} must be answered")

    async def write(self, name: str, value: int) -> None:
        """A register by its name."""
        for word in range(REGISTERS[name].bits // 32):
            response = await self.store(REGISTERS[name].address + 4 * word, value >> 32 * word & 0xFFFFFFFF)
            assert response == OKAY, name

    async def read(self, name: str) -> int:
        value = 0
        for word in range(REGISTERS[name].bits // 32):
            part, response = await self.load(REGISTERS[name].address + 4 * word)
            assert response == OKAY, name
            value |= part << 32 * word
        return value

    async def begin(self, case: Case) -> None:
        """Give the machine a program and its memory, and start it."""
        self.memory.data = bytearray(case.image.tobytes())
        await self.write("program_address", self.address[case.name])
        await self.write("program_length", len(case.data) // COMMAND_BYTES)
        await self.write("start", 1)
        assert await self.read("status") == BUSY

    async def check(self, case: Case, *, times: bool = True) -> None:
        """Poll until the program is done: every byte of memory, every counter and the cycles are the other views'."""
        while (status := await self.read("status")) == BUSY:
            pass
        assert (status, await self.read("fault")) == (DONE, 0), case.name
        image = case.image.copy()
        golden = interpret(case.data, image, self.accelerator)
        assert image.tobytes() != case.image.tobytes(), f"{case.name}: a program must change memory"
        found = np.frombuffer(bytes(self.memory.data), np.uint8)
        assert np.flatnonzero(found != image).tolist() == [], f"{case.name}: bytes of memory"
        simulated = run(program_of(case.data), self.accelerator)
        counters = Counters(**{name: await self.read(name) for name in Counters().as_dict()})
        assert counters == simulated.counters == golden, f"{case.name}: {counters}"
        cycles = await self.read("cycles")
        assert not times or cycles == simulated.cycles, f"{case.name}: {cycles} cycles, simulator {simulated.cycles}"
        assert times or cycles > simulated.cycles, f"{case.name}: stalls must cost time"
        cocotb.log.info("%s: %d cycles, simulator %d", case.name, cycles, simulated.cycles)


@cocotb.test()
async def programs_back_to_back(dut: Any):
    """One after another, and the first again, without a reset in between."""
    bench = Bench(dut, ACCELERATOR, CASES)
    await bench.reset()
    for case in (*CASES, CASES[0]):
        await bench.begin(case)
        await bench.check(case)


@cocotb.test()
async def a_reset_in_the_middle(dut: Any):
    """At several points of a program; afterwards the machine is as new."""
    bench = Bench(dut, ACCELERATOR, CASES, seed=1)
    await bench.reset()
    longest = max(CASES, key=lambda case: run(program_of(case.data), ACCELERATOR).cycles)
    for cycles, good in zip((40, 321, 1234), CASES, strict=True):
        await bench.begin(longest)
        for _ in range(cycles):
            await RisingEdge(dut.clk)
        assert await bench.read("status") == BUSY
        await bench.reset()
        assert [await bench.read(name) for name in ("status", "program_length", "program_address", "cycles")] == [0] * 4
        await bench.begin(good)
        await bench.check(good)


@cocotb.test()
async def memories_that_stall(dut: Any):
    """Every signal of both memories, at random: the same values and counters."""
    bench = Bench(dut, ACCELERATOR, CASES, seed=2)
    await bench.reset(SLOW)
    for case in CASES:
        await bench.begin(case)
        await bench.check(case, times=False)


@cocotb.test()
async def the_hosts_registers(dut: Any):
    """What they say of the machine, bytes by their strobes, and errors for what can't be read or written."""
    bench = Bench(dut, ACCELERATOR, CASES, seed=3)
    await bench.reset()
    assert f"{await bench.read('digest'):012x}" == ACCELERATOR.digest
    assert (await bench.read("version"), await bench.read("command_bits")) == (VERSION, COMMAND_BITS)
    wanted = {}
    for name, register in REGISTERS.items():
        if register.access == "write":
            wanted[name] = bench.random.getrandbits(register.bits)
            await bench.write(name, wanted[name])
        elif register.access == "read":
            assert await bench.store(register.address, 0xFFFFFFFF) == SLAVE_ERROR, name
    strobe, value, before = 0b0101, 0x12345678, wanted["lr"]
    assert await bench.store(REGISTERS["lr"].address, value, strobe) == OKAY
    wanted["lr"] = value & 0x00FF00FF | before & 0xFF00FF00
    assert {name: await bench.read(name) for name in wanted} == wanted
    assert await bench.load(REGISTERS["start"].address) == (0, SLAVE_ERROR)
    beyond = max(register.address + register.bits // 8 for register in REGISTERS.values())
    assert await bench.load(beyond) == (0, SLAVE_ERROR)
    assert await bench.store(beyond, 1) == SLAVE_ERROR
    assert await bench.read("status") == 0
