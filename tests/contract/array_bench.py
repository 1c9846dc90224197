"""Runs inside the simulator: commands back to back and buffers that answer in the next cycle, then all is checked."""

import os
import pickle
from pathlib import Path

import cocotb
from array_model import Surroundings
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

OUTPUTS = (
    "ready",
    "row_request",
    "column_request",
    "sums_request",
    "results",
    "done",
)


@cocotb.test()
async def commands(dut):
    """Values, occupancies and completions of every command."""
    accelerator, jobs = pickle.loads(Path(os.environ["JOBS"]).read_bytes())
    surroundings, answers = Surroundings(accelerator, jobs), {}
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    dut.en.value, dut.rst.value = 1, 1
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    dut.rst.value = 0
    while not surroundings.finished:
        offered = surroundings.offer()
        for name, value in (offered | answers).items():
            getattr(dut, name).value = value
        await FallingEdge(dut.clk)
        outputs = {name: int(getattr(dut, name).value) for name in OUTPUTS}
        answers = surroundings.step(offered, outputs)
        assert surroundings.cycle < 100_000
        await RisingEdge(dut.clk)
    surroundings.check()
