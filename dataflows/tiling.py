"""Tiles of a GEMM that fit the buffers, and the one with the fewest estimated cycles."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from dataflows.candidates import (
    SIDES,
    Side,
    array_cycles,
    candidates,
    operand_held,
    operand_limit,
    prune_cycles,
    result_held,
    runs_of_operand,
    runs_of_result,
    sizes_of,
)
from dataflows.pick import BUFFERS, JOINT, PICKED, Columns, pick
from dataflows.traffic import feature_map, stored_kept
from simulator.arch import Accelerator, Dataflow, ceil_div
from simulator.layout import result_slot_bytes
from simulator.schedule import Tile, Unsupported, UnsupportedError
from simulator.timing import stationary_registers
from workloads.gemm import Gemm
from workloads.sparsity import NM

__all__ = ["ORDERS", "Tiling", "best_tiling", "check_pattern", "slot_limits", "tiles"]

ORDERS: tuple[Literal["mn", "nm"], ...] = ("mn", "nm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """Tile sizes, the order of the tile loops ("mn": m outer; k is always innermost), and what was estimated from them."""

    dataflow: Dataflow
    batch: int
    m: int
    n: int
    k: int
    order: Literal["mn", "nm"]
    array_cycles: int
    memory_cycles: int
    cycles: int  # the estimate that the choice rests on; the event machine says what it really takes


def tiles(gemm: Gemm, tiling: Tiling) -> Iterator[Tile]:
    """The tiles in loop order: batch outermost, k innermost, so that partial sums never leave the c buffer."""
    spans = {
        dim: [range(s, min(s + size, total)) for s in range(0, total, size)]
        for dim, size, total in (("m", tiling.m, gemm.m), ("n", tiling.n, gemm.n), ("k", tiling.k, gemm.k))
    }
    outer, inner = tiling.order
    for start in range(0, gemm.batch, tiling.batch):
        batch = range(start, min(start + tiling.batch, gemm.batch))
        for first, second, k in itertools.product(spans[outer], spans[inner], spans["k"]):
            m, n = (first, second) if outer == "m" else (second, first)
            yield Tile(batch, m, n, k)


@lru_cache(maxsize=4096)
def best_tiling(gemm: Gemm, accelerator: Accelerator, dataflow: Dataflow, pregenerate: bool) -> Tiling:
    """The feasible tiling with the fewest estimated cycles; near-ties go to the fewest tiles.

    Raises UnsupportedError where the array can't take the pattern, or where not even the smallest tile fits a buffer.
    """
    check_pattern(gemm, accelerator, dataflow)
    sizes = sizes_of(gemm, accelerator, dataflow, pregenerate)
    batch, m, n, k = tiles = candidates(sizes)
    held, loads = dict[Side, Any](), dict[Side, Any]()
    for side in SIDES:
        runs = runs_of_operand(gemm, side, accelerator, pregenerate=pregenerate).candidates(sizes)
        loads[side] = accelerator.dram.transfer_cycles(*runs, accelerator.clock_hz)
        if gemm.operand(side).pruned_at_use(pregenerate=pregenerate):
            loads[side] = np.maximum(loads[side], prune_cycles(gemm, side, accelerator, tiles))
        kept, across = stored_kept(gemm, side, pregenerate=pregenerate), gemm.lines_fastest(side)
        held[side] = operand_held(accelerator, dataflow, side, gemm.pattern, tiles, kept=kept, across=across)
        if feature_map(gemm, side, accelerator):
            held[side] = runs[0] * runs[1]
    rows = len(m)
    whole = np.full(rows, gemm.batch), np.full(rows, gemm.m), np.full(rows, gemm.n), np.full(rows, gemm.k)
    array = array_cycles(accelerator, dataflow, gemm.pattern, gemm.sparse_operand, whole, tiles)
    columns = Columns(
        a_bytes=held["a"],
        b_bytes=held["b"],
        c_bytes=result_held(accelerator, dataflow, tiles),
        a_cycles=loads["a"],
        b_cycles=loads["b"],
        c_cycles=accelerator.dram.transfer_cycles(*runs_of_result(accelerator).candidates(sizes), accelerator.clock_hz),
        array=array,
        batches=ceil_div(gemm.batch, batch),
        m_tiles=ceil_div(gemm.m, m),
        n_tiles=ceil_div(gemm.n, n),
        k_tiles=ceil_div(gemm.k, k),
    )
    limits = slot_limits(gemm, accelerator)
    found, memories, estimates = [[0] * PICKED], [0] * 2 * rows, [0] * 2 * rows
    slots = accelerator.a_buffer.slots, accelerator.b_buffer.slots
    pick([0, len(m)], Columns(*(column.tolist() for column in columns)), [limits], *slots, memories, estimates, found)
    unfit, i, order, memory, estimate, _ = found[0]
    if unfit:
        raise UnsupportedError(Unsupported((*BUFFERS, JOINT)[unfit - 1], i, (*limits, sum(limits))[unfit - 1]))
    return Tiling(
        dataflow=dataflow,
        batch=int(batch[i]),
        m=int(m[i]),
        n=int(n[i]),
        k=int(k[i]),
        order=ORDERS[order],
        array_cycles=int(array[i]),
        memory_cycles=memory,
        cycles=estimate,
    )


def slot_limits(gemm: Gemm, accelerator: Accelerator) -> tuple[int, int, int]:
    """Bytes of a slot of the a, b and c buffers that a tile may take up."""
    a, b = (operand_limit(gemm, side, accelerator) for side in SIDES)
    return a, b, result_slot_bytes(accelerator)


def check_pattern(gemm: Gemm, accelerator: Accelerator, dataflow: Dataflow) -> None:
    """Raise UnsupportedError where the array can't take the GEMM's pattern in a dataflow."""
    if isinstance(gemm.pattern, NM) and gemm.pattern.group > accelerator.pe.group:
        raise UnsupportedError(Unsupported(f"pe.group for pattern {gemm.pattern}", gemm.pattern.group, accelerator.pe.group))
    registers = stationary_registers(accelerator, dataflow, gemm.pattern, gemm.sparse_operand)
    if registers > accelerator.pe.registers:
        raise UnsupportedError(
            Unsupported(f"pe.registers for {gemm.pattern} in {dataflow}", registers, accelerator.pe.registers)
        )
