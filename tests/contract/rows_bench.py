"""Runs inside the simulator: plays rows of port values and compares the outputs in the cycles that are listed."""

import json
import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge


@cocotb.test()
async def rows(dut):
    """Every listed output in its cycle; a `valid` output (`leaving`) is low in all other cycles."""
    table = json.loads(Path(os.environ["ROWS"]).read_text())
    inputs = {getattr(dut, name): values for name, values in table["inputs"].items()}
    want = {name: dict(map(tuple, cycles)) for name, cycles in table["want"].items()}
    length = len(next(iter(inputs.values())))
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    await RisingEdge(dut.clk)
    compared = 0
    for cycle in range(length):
        for port, values in inputs.items():
            port.value = values[cycle]
        await FallingEdge(dut.clk)
        for name, cycles in want.items():
            got = int(getattr(dut, name).value)
            if cycle in cycles:
                assert got == cycles[cycle], f"cycle {cycle}: {name} must be {cycles[cycle]:#x}, not {got:#x}"
                compared += 1
            elif name == "leaving":
                assert not got & 1, f"cycle {cycle}: nothing must leave, not {got:#x}"
        await RisingEdge(dut.clk)
    assert compared == sum(map(len, want.values())) > 0
