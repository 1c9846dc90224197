"""The arrays that are placed and routed: which, and what each could do."""

from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from simulator.arch import Accelerator, Array, Buffer, Dataflow, Pe
from simulator.presets import PRESETS
from simulator.timing import multiply_time
from workloads.sparsity import DENSE, NM, Pattern

__all__ = ["GROUPS", "POINTS", "SEEDS", "SPARSE", "gops", "machine", "rates"]

GROUPS = (1, 2, 4, 8, 16)
"""N:M groups of the same array: the price of sparsity."""
SPARSE = MappingProxyType({2: NM(1, 2), 4: NM(1, 4), 8: NM(2, 8), 16: NM(2, 8)})
"""The pattern whose rate is quoted, by group: a quarter of the products where the group allows it. Group 1 has none."""
_SIDE = 256  # of the square GEMM whose rate is quoted


def machine(form: str, rows: int, cols: int, group: int, flows: tuple[Dataflow, ...] = (Dataflow.OS,)) -> Accelerator:
    """An array of one-lane PEs in its usual pipelining: int8 with one accumulator, others with as many as hide the adder."""
    lag = 1 if form == "int8" else 5
    pe = Pe(
        format=form,
        group=group,
        lanes=1,
        registers=group,
        multiply_latency=2 if form == "int8" else 4,
        accumulate_latency=lag,
        interleave=lag if lag == 1 else 8,
    )
    wide = Buffer(bytes=2**16, banks=64, bank_bits=1024)
    return replace(
        PRESETS["board-int8"].accelerator,
        name=f"{form}-{rows}x{cols}-g{group}",
        pe=pe,
        array=Array(rows=rows, cols=cols, dataflows=flows),
        a_buffer=wide,
        b_buffer=wide,
        c_buffer=wide,
    )


def _all() -> Iterator[Accelerator]:
    for group in GROUPS:
        yield machine("int8", 4, 4, group)
    for flows in ((Dataflow.OS, Dataflow.WS), tuple(Dataflow)):
        yield machine("int8", 4, 4, 8, flows)
    for side in (2, 8):
        yield machine("int8", side, side, 8)
    yield machine("fp16", 2, 2, 8)
    yield machine("bf16", 2, 2, 8)
    yield machine("fp16", 4, 4, 8)


LARGEST = (machine("int8", 12, 12, 4), machine("fp16", 5, 6, 8))
"""What fills the chip: all but a few multipliers, or more than half of the look-up tables."""
POINTS = (*_all(), *LARGEST)
SEEDS = {machine("int8", 4, 4, 8).digest: (1, 2, 3), LARGEST[0].digest: (2,)}
"""Of the placement, where it isn't 1 alone: one array's shows what another seed does."""


def gops(accelerator: Accelerator, pattern: Pattern, clock_hz: float) -> float:
    """10^9 operations of the dense workload per second, two per multiplication, of a GEMM of 256 x 256 x 256 in tiles."""
    time = multiply_time(accelerator, Dataflow.OS, _SIDE, _SIDE, _SIDE, pattern, "b", accumulate=0)
    return 2 * _SIDE**3 / int(time.occupancy) * clock_hz / 1e9


def rates(accelerator: Accelerator, clock_hz: float) -> dict[str, Any]:
    """Its rate dense and sparse at a clock, as columns of the table."""
    pattern = SPARSE.get(accelerator.pe.group)
    return {
        "gops_dense": round(gops(accelerator, DENSE, clock_hz), 3),
        "pattern": None if pattern is None else str(pattern),
        "gops_sparse": None if pattern is None else round(gops(accelerator, pattern, clock_hz), 3),
    }
