"""The closed form beside the event-driven machine: ResNet-18's training step, BDWP 2:8, on many machines, on a core and on two.

``python -m benchmarks.analytic`` (half a minute); ``--peers`` also runs SCALE-Sim and ZigZag on the step's forward GEMMs, as
`benchmarks.peers` says (ten minutes, and a gigabyte of downloads the first time). Rates are per CPU second, imports and the
loading of compiled loops left out, so that other work on the machine doesn't matter much; a sweep's cost depends on what its
machines have in common, so there are two: a grid, and random points of a space that is far too large for one.
"""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from math import prod
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.table import Table

from dataflows.analytic.machines import Machines
from dataflows.analytic.plan import plan_of
from dataflows.analytic.points import step_cycles
from dataflows.compile import compile_workload, prepared
from dataflows.mapping import Mapping
from dse.point import workload_of
from simulator.machine import run
from simulator.presets import PRESETS
from workloads.gemm import Gemm, Stage
from workloads.graph import Workload

T = TypeVar("T")

_BATCH, _RANDOM = 8, 2_000
_KIB, _GB = 2**10, 10**9
_BASE, _MAPPING = PRESETS["sat-vcu1525"].accelerator, Mapping()
GRID: dict[str, list[Any]] = {
    "array.rows": [16, 32, 64],
    "array.cols": [16, 32, 64],
    "pe.group": [8, 16],
    "a_buffer.bytes": [1024 * _KIB, 2048 * _KIB],
    "b_buffer.bytes": [1024 * _KIB, 2048 * _KIB],
    "c_buffer.bytes": [2048 * _KIB, 4096 * _KIB],
    "dram.bytes_per_second": [96 * _GB // 10, 192 * _GB // 10, 384 * _GB // 10],
    "dram.latency_ns": [50, 100, 200],
    "vector.lanes": [16, 32, 64],
    "updater.lanes": [16, 32, 64],
    "pruner.lanes": [16, 32, 64],
    "sequencer.queue_depth": [8, 16, 32, 64],
}
"""What an architect would sweep: 139,968 machines."""
SPACE: dict[str, list[Any]] = {
    "clock_hz": [10**6 * mhz for mhz in (100, 150, 200, 250, 300)],
    "array.rows": [8, 16, 24, 32, 48, 64],
    "array.cols": [8, 16, 24, 32, 48, 64],
    "pe.group": [8, 16],
    "pe.lanes": [1, 2],
    "pe.accumulate_latency": [2, 3, 4, 6],
    "pe.interleave": [2, 4, 8],
    **{f"{name}_buffer.bytes": [kib * _KIB for kib in range(512, 4097, 256)] for name in "abc"},
    "work_buffer.bytes": [kib * _KIB for kib in (256, 512, 1024, 2048)],
    "dram.bytes_per_second": [_GB * gb for gb in (5, 10, 15, 19, 25, 38, 50, 77)],
    "dram.latency_ns": [50, 80, 100, 150, 200, 300],
    "dram.outstanding": [32, 64, 128],
    "vector.lanes": [8, 16, 32, 64, 128],
    "updater.lanes": [8, 16, 32, 64, 128],
    "pruner.lanes": [8, 16, 32, 64, 128],
    "sequencer.queue_depth": [8, 16, 32, 64],
    "sequencer.token_latency": [1, 2, 4],
}
"""Points of it, drawn at random, hardly share a choice of tilings."""


def training_step() -> Workload:
    return prepared(workload_of("resnet18", _BATCH, "bdwp:2:8"), _MAPPING)


def forward_gemms() -> Workload:
    """What the peers do: the forward pass's GEMMs of one image, dense."""
    ops = [op for op in workload_of("resnet18", 1, "dense").ops if isinstance(op, Gemm) and op.stage is Stage.FF]
    return Workload(name="resnet18 forward", batch=1, ops=tuple(ops))


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """A result, and the CPU seconds that it took."""
    start = time.process_time()
    found = work()
    return found, time.process_time() - start


def swept(workload: Workload, machines: Machines) -> float:
    """CPU seconds of all machines, from nothing known of any."""
    step_cycles(workload, machines.take(np.arange(2)), _MAPPING)  # the loops are loaded
    plan_of.cache_clear()
    found, seconds = timed(lambda: step_cycles(workload, machines, _MAPPING))
    plan_of.cache_clear()
    assert found.supported.any()
    return seconds


def half(number: int) -> tuple[float, float]:
    """CPU and wall seconds of half of the grid, or of all of it (2)."""
    machines = Machines.grid(_BASE, GRID)
    middle = len(machines) // 2
    part = machines if number == 2 else machines.take(np.arange(len(machines))[number * middle :][:middle])
    start = time.perf_counter()
    return swept(training_step(), part), time.perf_counter() - start


def two_cores() -> tuple[float, float]:
    """How much faster two processes are than one: by the clock, and if each had a core to itself (by CPU time)."""
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(half, (0, 1)))  # both have compiled
        cpu, wall = pool.submit(half, 2).result()
        halves = list(pool.map(half, (0, 1)))
    return wall / max(each for _, each in halves), cpu / max(each for each, _ in halves)


def random_points(count: int) -> Machines:
    rng = np.random.default_rng(1)
    return Machines.from_columns(_BASE, SPACE, {name: rng.integers(0, len(values), count) for name, values in SPACE.items()})


def main() -> None:
    console = Console(width=130)
    workload, grid, drawn = training_step(), Machines.grid(_BASE, GRID), random_points(_RANDOM)
    result, event = timed(lambda: run(compile_workload(workload, _BASE, _MAPPING), _BASE))
    table = Table(title=f"ResNet-18's training step, batch {_BATCH}, BDWP 2:8, one core", title_justify="left")
    for name in ("what", "machines", "CPU s", "steps/s", "event machine's CPU / this"):
        table.add_column(name, justify="left" if name == "what" else "right")

    def line(what: str, count: int, seconds: float) -> None:
        rate = count / seconds
        table.add_row(
            what, f"{count:,}", f"{seconds:.2f}", f"{rate:,.2f}" if rate < 10 else f"{rate:,.0f}", f"{event * rate:,.0f}x"
        )

    line(f"event machine, {result.counters.commands:,} commands", 1, event)
    line(f"closed form, grid over {len(GRID)} parameters", len(grid), swept(workload, grid))
    size = prod(len(values) for values in SPACE.values())
    line(f"closed form, random among {size:.0e} over {len(SPACE)} parameters", len(drawn), swept(workload, drawn))
    console.print(table)
    one = step_cycles(workload, Machines.of([_BASE]), _MAPPING)
    off = int(one.cycles[0]) / result.cycles - 1
    console.print(f"cycles at the preset: event {result.cycles:,}, closed form {off:+.2%}")
    wall, cpu = two_cores()
    console.print(f"two processes, each half of the grid: {wall:.2f}x one by the clock, {cpu:.2f}x by CPU time")
    if "--peers" in sys.argv[1:]:
        from benchmarks.peers import scalesim, zigzag

        forward = forward_gemms()
        rate = len(grid) / swept(forward, grid)
        gemms = [op for op in forward.ops if isinstance(op, Gemm)]
        console.print(f"forward GEMMs of one image ({len(gemms)}), the same grid: {rate:,.0f} machines/s")
        for name, peer in (("SCALE-Sim 3.0.0", scalesim), ("ZigZag 3.9.1, each distinct GEMM once", zigzag)):
            with console.status(name):
                cost = peer(gemms)
            console.print(
                f"{name}: {cost.cpu_seconds:,.1f} CPU s for one machine, {cost.peak_mib:,.0f} MiB; "
                f"the closed form's rate is {rate * cost.cpu_seconds:.1e} times that"
            )


if __name__ == "__main__":
    main()
