"""Runs inside the simulator for `benchmarks.rtl_simulation`: the same rows of port values in every cycle, and its CPU time."""

import os
import pickle
import time
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge


@cocotb.test()
async def cycles(dut):
    """Drive inputs after the rising edge, read outputs at the falling edge; the outputs and the seconds are written."""
    inputs, outputs = pickle.loads(Path(os.environ["ROWS"]).read_bytes())
    driven = [(getattr(dut, name), values) for name, values in inputs.items()]
    read = [getattr(dut, name) for name in outputs]
    seen = []
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    await RisingEdge(dut.clk)
    start = time.process_time()
    for t in range(len(next(iter(inputs.values())))):
        for port, values in driven:
            port.value = values[t]
        await FallingEdge(dut.clk)
        seen.append([int(port.value) for port in read])
        await RisingEdge(dut.clk)
    seconds = time.process_time() - start
    Path(os.environ["SEEN"]).write_bytes(pickle.dumps((seconds, seen)))
