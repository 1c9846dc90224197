"""The closed form beside the event-driven machine: ResNet-18's training step, BDWP 2:8, on a grid of machines, on one core.

``python -m benchmarks.analytic`` (about a minute). CPU seconds of this process. Three costs are told apart: a choice of
tilings is made once for all machines that differ in nothing it depends on, the work between GEMMs likewise, and the step is
put together for each machine.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from dataflows.analytic.gemms import gemm_cycles
from dataflows.analytic.machines import Machines
from dataflows.analytic.points import step_cycles, step_shapes
from dataflows.analytic.streams import stream_cycles
from dataflows.compile import compile_workload, prepared
from dataflows.mapping import Mapping
from dse.point import workload_of
from simulator.machine import run
from simulator.presets import PRESETS

T = TypeVar("T")

_BATCH = 8
_TILINGS = {"array.rows": [16, 32], "dram.bytes_per_second": [9_600_000_000, 19_200_000_000, 38_400_000_000]}
_WORK = {"vector.lanes": [16, 32, 64], "updater.lanes": [16, 32], "work_buffer.bytes": [2**19, 2**20]}
_OTHERS = {"sequencer.queue_depth": [8, 16, 32, 64], "sequencer.token_latency": [1, 2, 4], "pruner.lanes": [16, 32, 64]}


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """A result, and the CPU seconds that it took."""
    start = time.process_time()
    found = work()
    return found, time.process_time() - start


def main() -> None:
    console = Console(width=120)
    base, mapping = PRESETS["sat-vcu1525"].accelerator, Mapping()
    workload = prepared(workload_of("resnet18", _BATCH, "bdwp:2:8"), mapping)
    result, event = timed(lambda: run(compile_workload(workload, base, mapping), base))
    machines = Machines.grid(base, _TILINGS | _WORK | _OTHERS)
    gemms, works, rows = step_shapes(workload, mapping)
    found, choosing = timed(lambda: gemm_cycles(gemms, machines, mapping))
    chunks, cutting = timed(lambda: stream_cycles(works, machines, mapping, rows))
    steps, whole = timed(lambda: step_cycles(workload, machines, mapping))
    one, _ = timed(lambda: step_cycles(workload, Machines.of([base]), mapping))
    together = max(whole - choosing - cutting, 1e-9)
    table = Table(title=f"ResNet-18, batch {_BATCH}, 224x224: {len(machines):,} machines, one core", title_justify="left")
    for name in ("what", "CPU s", "done", "each", "event machine's CPU / this"):
        table.add_column(name, justify="left" if name == "what" else "right")

    def line(what: str, seconds: float, count: int) -> None:
        table.add_row(
            what, f"{seconds:.2f}", f"{count:,}", f"{1e3 * seconds / count:.3f} ms", f"{event * count / seconds:,.0f}x"
        )

    line(f"event machine, {result.counters.commands:,} commands", event, 1)
    line(f"{len(gemms)} GEMM shapes: tilings chosen and timed", choosing, len(found.supported))
    line(f"{len(works)} shapes of work between them", cutting, len(chunks.total))
    line("steps put together", together, len(machines))
    line("all of it", whole, len(machines))
    console.print(table)
    off = int(one.cycles[0]) / result.cycles - 1
    console.print(
        f"{len(machines) / whole:,.0f} steps/s; cycles at the preset: event {result.cycles:,}, closed form {off:+.2%}"
    )
    assert steps.supported.all()


if __name__ == "__main__":
    main()
