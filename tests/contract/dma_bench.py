"""Runs inside the simulator: the DMA between scheduled commands and `rtl_kit.axi_memory`, then all is checked."""

import os
import pickle
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge
from dma_model import BASE, CHANNELS, FLAGS, KINDS, LOADS, Log, Scenario, check_times, check_values
from rtl_kit.axi_memory import AxiMemory, Stalls


class Surroundings:
    """The channels' other sides, a cycle at a time."""

    def __init__(self, dut: Any, plan: Scenario, stalls: Stalls) -> None:
        self.dut, self.plan = dut, plan
        self.memory = AxiMemory(dut, "axi", bytearray(plan.memory), plan.bus, plan.latency, base=BASE, stalls=stalls)
        self.todo = [[command for command in plan.commands if command.channel == channel] for channel in range(5)]
        self.beats = [list(beats) for beats in plan.sources]
        self.promised: list[list[int]] = [[], []]
        self.begun: list[list[int]] = [[], []]  # beats of commands accepted and not started
        self.log = Log([], [], [], b"", 0)

    def port(self, channel: int, name: str):
        return getattr(self.dut, f"{CHANNELS[channel]}_{name}")

    def offer(self) -> None:
        now = self.memory.cycle
        self.memory.before()
        for channel in range(5):
            offered = self.todo[channel][:1] if self.todo[channel] and now >= self.todo[channel][0].at else []
            self.port(channel, "command_valid").value = len(offered)
            self.port(channel, "command_payload").value = offered[0].word if offered else 0
        for channel in range(LOADS, 5):
            number = channel - LOADS
            valid = bool(self.promised[number]) and now >= self.promised[number][0]
            data, strobe = self.beats[number][0] if valid else (b"", 0)
            self.port(channel, "write_data_valid").value = int(valid)
            self.port(channel, "write_data_payload").value = int.from_bytes(data, "little") | strobe << 8 * self.plan.bus

    def record(self) -> None:
        now, log, bits = self.memory.cycle, self.log, 0

        def passes(channel: int, name: str) -> bool:
            return bool(int(self.port(channel, f"{name}_valid").value) & int(self.port(channel, f"{name}_ready").value))

        for channel in range(5):
            happened = [passes(channel, "command"), *(int(self.port(channel, kind).value) for kind in KINDS[1:])]
            bits |= sum(value << (5 * i + channel) for i, value in enumerate(happened))
            number = channel - LOADS
            if happened[0]:
                command = self.todo[channel].pop(0)
                if number >= 0:
                    self.begun[number].append(self.plan.write_beats(command))
            if number >= 0:
                if happened[1]:
                    self.promised[number] += [now + self.plan.lag] * self.begun[number].pop(0)
                if passes(channel, "write_data"):
                    self.beats[number].pop(0)
                    self.promised[number].pop(0)
            elif int(self.port(channel, "beat_valid").value):
                flags = sum(
                    int(self.port(channel, f"beat_{flag}").value) << i for i, flag in enumerate(("first", "last", "end"))
                )
                data = int(self.port(channel, "beat_data").value).to_bytes(self.plan.bus, "little")
                log.beats.append((now, channel, int(self.port(channel, "beat_bytes").value), flags, data))
        log.events.append(bits | sum(int(getattr(self.dut, flag).value) << (20 + i) for i, flag in enumerate(FLAGS)))
        seen = self.memory.after()
        for write, name in enumerate(("ar", "aw")):
            if seen[f"{name}valid"] and seen[f"{name}ready"]:
                log.requests.append((now, write, seen[f"{name}addr"]))


@cocotb.test()
async def scenarios(dut: Any):
    """Each from reset: (plan, stalls, cycles)."""
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    for plan, stalls, cycles in pickle.loads(Path(os.environ["PLANS"]).read_bytes()):
        surroundings = Surroundings(dut, plan, stalls)
        dut.rst.value = 1
        await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        dut.rst.value = 0
        for _ in range(cycles):
            surroundings.offer()
            await FallingEdge(dut.clk)
            surroundings.record()
            await RisingEdge(dut.clk)
        log = surroundings.log
        log.memory, log.most_in_flight = bytes(surroundings.memory.data), surroundings.memory.most_in_flight
        check_values(plan, log)
        if stalls == Stalls():
            check_times(plan, log)
