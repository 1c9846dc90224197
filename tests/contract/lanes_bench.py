"""What a datapath with `en`, `valid_in` and `valid_out` must show in each cycle; as a cocotb module, checks a simulation."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge
from numpy.typing import NDArray

__all__ = ["Traffic", "mismatch", "traffic"]


class Traffic(NamedTuple):
    """By cycle: the controls, and the cycle whose operands the outputs must show (-1: none that is valid)."""

    en: NDArray[np.uint8]
    rst: NDArray[np.uint8]
    valid_in: NDArray[np.uint8]
    shown: NDArray[np.int64]


def traffic(cycles: int, latency: int, seed: int, stall: float, gaps: float = 0.0, resets: int = 0) -> Traffic:
    """Random controls: `en` low with probability `stall`, `valid_in` with `gaps`; `resets` of one cycle, `en` high or low.

    Operands of an enabled cycle are shown after `latency` enabled clock edges, unless a reset came at or after their own edge.
    """
    rng = np.random.default_rng(seed)
    en = (rng.random(cycles) >= stall).astype(np.uint8)
    valid = (rng.random(cycles) >= gaps).astype(np.uint8)
    rst = np.zeros(cycles, np.uint8)
    rst[rng.choice(cycles, resets, replace=False)] = 1
    accepted = np.flatnonzero(en)
    edges = np.cumsum(en, dtype=np.int64) - en  # enabled edges before each cycle
    of = np.where(edges >= latency, accepted[np.minimum(edges - latency, len(accepted) - 1)], -1)
    before = np.cumsum(rst, dtype=np.int64) - rst
    alive = (of >= 0) & (valid[of] == 1) & (before == before[of])
    return Traffic(en, rst, valid, np.where(alive, of, -1))


def mismatch(what: Traffic, got: Mapping[str, NDArray], want: Mapping[str, NDArray], operands: Mapping[str, NDArray]) -> str:
    """How the ports differ from what they must be; empty where they do not. `want` and `operands` are by operands' cycle."""
    wrong = np.flatnonzero((got["valid_out"] == 1) != (what.shown >= 0))
    if len(wrong):
        return f"{len(wrong)} wrong valid_out; first in cycle {wrong[0]}: {got['valid_out'][wrong[0]]}"
    cycles = np.flatnonzero(what.shown >= 0)
    rows = what.shown[cycles]
    for name, values in want.items():
        wrong = np.flatnonzero((got[name][cycles] != values[rows]).reshape(len(rows), -1).any(axis=1))
        if len(wrong):
            row = rows[wrong[0]]
            case = ", ".join(f"{key}={_hex(array[row])}" for key, array in operands.items())
            seen, right = _hex(got[name][cycles[wrong[0]]]), _hex(values[row])
            return f"{len(wrong)} of {len(rows)} {name} wrong; first: {case} gives {seen}, not {right}"
    return ""


def _hex(value: NDArray) -> str:
    return " ".join(f"{int(word):#x}" for word in np.atleast_1d(value))


@cocotb.test()
async def every_cycle(dut):
    """`valid_out` in every cycle, and the other outputs wherever it is high."""
    table = json.loads(Path(os.environ["TABLE"]).read_text())
    inputs = {getattr(dut, name): values for name, values in table["inputs"].items()}
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    await RisingEdge(dut.clk)
    compared = 0
    for cycle, shown in enumerate(table["shown"]):
        for port, values in inputs.items():
            port.value = values[cycle]
        await FallingEdge(dut.clk)
        assert int(dut.valid_out.value) == (shown >= 0), f"cycle {cycle}: valid_out must be {shown >= 0}"
        for name, values in table["want"].items():
            if shown >= 0:
                got = int(getattr(dut, name).value)
                assert got == values[shown], f"cycle {cycle}: {name} must be {values[shown]:#x}, not {got:#x}"
                compared += 1
        await RisingEdge(dut.clk)
    assert compared > len(table["shown"]) // 4
