"""Runs inside the simulator: operands in, results of every latency out, checked in every cycle under random stalls."""

import json
import os
import random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge


@cocotb.test()
async def every_cycle(dut):
    """The operands of enabled cycle n are the result of cycle n + latency, no earlier and no later, and stay through stalls."""
    latencies: list[int] = json.loads(os.environ["LATENCIES"])
    table = np.load(os.environ["VECTORS"])
    rows = {name: [int(value) for value in table[name]] for name in table.files}
    right = rows.pop("right")
    rng = random.Random(cocotb.RANDOM_SEED)
    results = {latency: getattr(dut, f"result_{latency}") for latency in latencies}
    seen = dict.fromkeys(latencies, 0)
    accepted: list[int] = []  # what each enabled clock edge has sampled

    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    await RisingEdge(dut.clk)
    for cycle, value in enumerate(right):
        enabled = cycle % 200 < 100 or rng.random() < 0.5  # runs without stalls, and runs with many
        dut.en.value = enabled
        for name, values in rows.items():
            getattr(dut, name).value = values[cycle]
        await FallingEdge(dut.clk)
        for latency, port in results.items():
            if latency == 0:
                want = value
            elif len(accepted) >= latency:
                want = accepted[-latency]
            else:
                continue
            got = port.value.to_unsigned()
            assert got == want, f"cycle {cycle}, latency {latency}: {got:#x} must be {want:#x}"
            seen[latency] += 1
        await RisingEdge(dut.clk)
        if enabled:
            accepted.append(value)
    assert all(count >= len(right) // 2 for count in seen.values())
