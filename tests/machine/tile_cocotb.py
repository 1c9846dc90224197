"""Runs inside the simulator: `rtl.tile_host.TileHost`, as people use it, on the pins of a tile."""

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
import pytest
from cocotb.task import bridge
from rtl_kit.serial_line import started
from test_tile import CLOCK_HZ, DIVISOR, IDLE_CYCLES, Case

from rtl.host import BoardError, Host
from rtl.tile_host import TileHost
from simulator.arch import Accelerator
from simulator.arithmetic import Values, accumulator_dtype, compress, multiply_dense, multiply_sparse, quantize
from simulator.timing import multiply_time
from workloads.sparsity import NM

ACCELERATOR, CASES = pickle.loads(Path(os.environ["PLAN"]).read_bytes())
assert isinstance(ACCELERATOR, Accelerator)
assert all(isinstance(case, Case) for case in CASES)
SEED = 5
IDLE = IDLE_CYCLES / CLOCK_HZ


def driver(port: Any) -> TileHost:
    return TileHost(port, ACCELERATOR, timeout=4000 / CLOCK_HZ, quiet=2 * IDLE)


def golden(case: Case, a: Values, b: Values) -> Values:
    """The accumulators in the schedule's order of additions."""
    number, lanes = ACCELERATOR.pe.number, ACCELERATOR.pe.lanes
    if not isinstance(case.pattern, NM):
        start = np.zeros((1, case.m, case.n), accumulator_dtype(number))
        return multiply_dense(number, lanes, start, a[None], b[None])[0]
    rows, dense = (a, b) if case.sparse == "a" else (b.T, a.T)
    start = np.zeros((1, len(rows), dense.shape[1]), accumulator_dtype(number))
    packed = compress(rows[None], case.pattern, 2)
    sums = multiply_sparse(number, lanes, start, packed, dense[None], case.pattern)[0]
    return sums if case.sparse == "a" else sums.T


def run_case(tile: TileHost, case: Case, rng: np.random.Generator) -> None:
    """Every accumulator's bits, and the cycles, are the other views'."""
    a, b = (quantize(ACCELERATOR.pe.number, rng.normal(0, 40, shape)) for shape in ((case.m, case.k), (case.k, case.n)))
    sums, cycles = tile.multiply(a, b, case.pattern, sparse=case.sparse, dataflow=case.dataflow)
    wanted = golden(case, a, b)
    assert sums.shape == wanted.shape
    assert np.ascontiguousarray(sums).tobytes() == np.ascontiguousarray(wanted).tobytes(), case
    time = multiply_time(ACCELERATOR, case.dataflow, case.m, case.n, case.k, case.pattern, case.sparse, accumulate=False)
    assert cycles == time.occupancy + time.tail, case


@cocotb.test()
async def multiplications(dut: Any):
    """Each after the others; one of them again after a reset."""
    line = await started(dut, CLOCK_HZ, DIVISOR)

    def session() -> None:
        rng = np.random.default_rng(SEED)
        tile = driver(line)
        identity = tile.check()
        assert (identity.digest, identity.clock_hz, identity.divisor) == (ACCELERATOR.digest, CLOCK_HZ, DIVISOR)
        for case in CASES:
            run_case(tile, case, rng)
        tile.host.reset()
        assert tile.host.read_register("status") == 0
        run_case(tile, CASES[0], rng)
        assert tile.host.repeated == 0

    await bridge(session)()
    assert line.broken == 0
    assert (int(dut.busy.value), int(dut.fault.value)) == (0, 0)


@cocotb.test()
async def a_tile_is_no_machine(dut: Any):
    """What a machine has and a tile has not is refused; another accelerator's driver is told."""
    line = await started(dut, CLOCK_HZ, DIVISOR)

    def session() -> None:
        host = Host(line, timeout=4000 / CLOCK_HZ, quiet=2 * IDLE)
        for name in ("fault", "program_length", "macs"):
            with pytest.raises(BoardError, match="must be a register that allows it"):
                host.read_register(name)
        with pytest.raises(BoardError, match="must be a register that allows it"):
            host.write_register("program_length", 1)
        other = TileHost(line, replace(ACCELERATOR, clock_hz=CLOCK_HZ + 1), timeout=4000 / CLOCK_HZ, quiet=2 * IDLE)
        with pytest.raises(BoardError, match="must be the accelerator with digest"):
            other.check()

    await bridge(session)()
