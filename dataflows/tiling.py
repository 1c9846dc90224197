"""Tiles of a GEMM that fit the buffers, and the one with the fewest estimated cycles."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import gcd, lcm
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dataflows.traffic import feature_map, operand_runs, result_runs, stored_kept
from simulator.arch import Accelerator, Dataflow, ceil_div
from simulator.layout import operand_bytes, operand_slot_bytes, result_bytes, result_slot_bytes
from simulator.schedule import Tile, Unsupported, UnsupportedError
from simulator.timing import multiply_time, stationary_registers
from workloads.gemm import Gemm
from workloads.sparsity import NM

__all__ = ["Tiling", "best_tiling", "tiles"]

Ints = NDArray[np.int64]
_ORDERS: tuple[Literal["mn", "nm"], ...] = ("mn", "nm")


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
    _check_pattern(gemm, accelerator, dataflow)
    batch, m, n, k = _candidates(gemm, accelerator, dataflow, pregenerate)
    a_bytes, a_limit = _held(gemm, "a", accelerator, dataflow, batch, m, k, pregenerate)
    b_bytes, b_limit = _held(gemm, "b", accelerator, dataflow, batch, n, k, pregenerate)
    c_bytes, c_limit = batch * result_bytes(accelerator, dataflow, m, n), result_slot_bytes(accelerator)
    fits = np.ones(len(m), np.bool_)
    for name, need, limit in (
        ("a_buffer bytes per slot", a_bytes, a_limit),
        ("b_buffer bytes per slot", b_bytes, b_limit),
        ("c_buffer bytes per slot", c_bytes, c_limit),
    ):
        if not (need <= limit).any():
            raise UnsupportedError(Unsupported(name, int(need.min()), limit))
        fits &= need <= limit
    if not fits.any():
        need = int((a_bytes + b_bytes + c_bytes).min())
        raise UnsupportedError(Unsupported("a, b and c bytes per slot for one tile", need, a_limit + b_limit + c_limit))
    batch, m, n, k = (each[fits] for each in (batch, m, n, k))
    a_cycles = _load_cycles(gemm, "a", accelerator, batch, m, k, pregenerate)
    b_cycles = _load_cycles(gemm, "b", accelerator, batch, n, k, pregenerate)
    m_tiles, n_tiles, k_tiles = ceil_div(gemm.m, m), ceil_div(gemm.n, n), ceil_div(gemm.k, k)
    batches = ceil_div(gemm.batch, batch)
    array = _array_cycles(gemm, accelerator, dataflow, m, n, k)
    result = _results(accelerator, batch, m, n)

    found: list[tuple[Ints, Ints]] = []
    steps = batches * m_tiles * n_tiles * k_tiles
    for order in _ORDERS:
        # An operand whose k tiles all stay in its slots is not loaded again while the inner loop runs.
        a_stays = k_tiles <= accelerator.a_buffer.slots
        b_stays = k_tiles <= accelerator.b_buffer.slots
        a_times = np.where(a_stays & ((order == "mn") | (m_tiles == 1)), 1, n_tiles)
        b_times = np.where(b_stays & ((order == "nm") | (n_tiles == 1)), 1, m_tiles)
        loads = batches * k_tiles * (m_tiles * a_times * a_cycles + n_tiles * b_times * b_cycles)
        memory = loads + batches * m_tiles * n_tiles * result
        ends = a_cycles + b_cycles + result + array // steps  # the first tile's loads and the last tile's way out
        found.append((np.maximum(array, memory) + ends, memory))
    estimate, memory = (np.concatenate(parts) for parts in zip(*found, strict=True))
    steps = np.tile(steps, len(_ORDERS))
    # Among those within 1/32 of the best, the fewest tiles: a shorter program, and fewer ends that the estimate counts in
    # full though the next operation hides them.
    close = np.flatnonzero(estimate <= estimate.min() + estimate.min() // 32)
    chosen = int(close[np.lexsort((estimate[close], memory[close], steps[close]))[0]])
    order, i = _ORDERS[chosen // len(m)], chosen % len(m)
    return Tiling(
        dataflow=dataflow,
        batch=int(batch[i]),
        m=int(m[i]),
        n=int(n[i]),
        k=int(k[i]),
        order=order,
        array_cycles=int(array[i]),
        memory_cycles=int(memory[chosen]),
        cycles=int(estimate[chosen]),
    )


def _check_pattern(gemm: Gemm, accelerator: Accelerator, dataflow: Dataflow) -> None:
    if isinstance(gemm.pattern, NM) and gemm.pattern.group > accelerator.pe.group:
        raise UnsupportedError(Unsupported(f"pe.group for pattern {gemm.pattern}", gemm.pattern.group, accelerator.pe.group))
    registers = stationary_registers(accelerator, dataflow, gemm.pattern, gemm.sparse_operand)
    if registers > accelerator.pe.registers:
        raise UnsupportedError(
            Unsupported(f"pe.registers for {gemm.pattern} in {dataflow}", registers, accelerator.pe.registers)
        )


def _sizes(total: int, unit: int) -> list[int]:
    """`unit` times powers of two below `total`, halves and thirds of it in whole units, and `total` itself."""
    sizes = {total}
    size = unit
    while size < total:
        sizes.add(size)
        size *= 2
    for parts in (2, 3):
        share = ceil_div(ceil_div(total, parts), unit) * unit
        if share < total:
            sizes.add(share)
    return sorted(sizes)


def _candidates(gemm: Gemm, accelerator: Accelerator, dataflow: Dataflow, pregenerate: bool) -> tuple[Ints, Ints, Ints, Ints]:
    """Columns of tile sizes (batch, m, n, k). Several batch entries share a tile only where each is whole."""
    array, depth = accelerator.array, accelerator.pe.depth(gemm.pattern)
    group = gemm.pattern.group if isinstance(gemm.pattern, NM) else 1
    aligned = _alignment(gemm, accelerator, pregenerate)
    k_unit = depth * (array.rows if dataflow is not Dataflow.OS else max(1, 32 // depth))
    k_unit = lcm(ceil_div(k_unit, group) * group, aligned["k"])
    m_unit = lcm(array.cols if dataflow is Dataflow.IS else array.rows, aligned["m"])
    n_unit = lcm(array.cols, aligned["n"])
    rows = [(1, *row) for row in itertools.product(_sizes(gemm.m, m_unit), _sizes(gemm.n, n_unit), _sizes(gemm.k, k_unit))]
    rows += [(batch, gemm.m, gemm.n, gemm.k) for batch in _sizes(gemm.batch, 1) if batch > 1]
    columns = np.array(rows, np.int64).T
    return columns[0], columns[1], columns[2], columns[3]


def _alignment(gemm: Gemm, accelerator: Accelerator, pregenerate: bool) -> dict[Literal["m", "n", "k"], int]:
    """By dimension: what a tile's size must be a multiple of, so that each tile's part of a memory row begins at a burst.

    Of the dimension that is fastest in a dense operand or in the result. Compressed operands are laid out for their tiles, and
    a feature map's elements are gathered one by one.
    """
    number, burst_bits = accelerator.pe.number, 8 * accelerator.dram.burst_bytes
    aligned: dict[Literal["m", "n", "k"], int] = {"m": 1, "n": burst_bits // gcd(burst_bits, number.result_bits), "k": 1}
    operands: tuple[tuple[Literal["a", "b"], Literal["m", "n"]], ...] = (("a", "m"), ("b", "n"))
    for side, lines in operands:
        if not (stored_kept(gemm, side, pregenerate=pregenerate) or feature_map(gemm, side, accelerator)):
            fastest = lines if gemm.lines_fastest(side) else "k"
            aligned[fastest] = lcm(aligned[fastest], burst_bits // gcd(burst_bits, number.operand_bits))
    return aligned


def _held(
    gemm: Gemm,
    side: Literal["a", "b"],
    accelerator: Accelerator,
    dataflow: Dataflow,
    batch: Ints,
    lines: Ints,
    depth: Ints,
    pregenerate: bool,
) -> tuple[Ints, int]:
    """Bytes that each candidate takes up in a slot, and how many there are. Of a feature map: its elements, each once."""
    if not feature_map(gemm, side, accelerator):
        kept = stored_kept(gemm, side, pregenerate=pregenerate)
        across = gemm.lines_fastest(side)
        size = operand_bytes(accelerator, dataflow, side, gemm.pattern, lines, depth, kept=kept, across=across)
        return batch * size, operand_slot_bytes(accelerator, side)
    keys = list(zip(batch.tolist(), lines.tolist(), depth.tolist(), strict=True))
    known: dict[tuple[int, int, int], int] = {}
    for key in set(keys):
        count, size = operand_runs(gemm, side, accelerator, *key, pregenerate=pregenerate)
        known[key] = count * size
    return np.array([known[key] for key in keys], np.int64), getattr(accelerator, f"{side}_buffer").slot_bytes


def _load_cycles(
    gemm: Gemm,
    side: Literal["a", "b"],
    accelerator: Accelerator,
    batch: Ints,
    lines: Ints,
    depth: Ints,
    pregenerate: bool,
) -> Ints:
    """Cycles of an operand's load (or of pruning it, if that is slower), for each candidate."""
    keys = list(zip(batch.tolist(), lines.tolist(), depth.tolist(), strict=True))
    known: dict[tuple[int, int, int], int] = {}
    at_use = gemm.operand(side).pruned_at_use(pregenerate=pregenerate)
    for key in set(keys):
        cycles = _transfer(accelerator, operand_runs(gemm, side, accelerator, *key, pregenerate=pregenerate))
        if at_use:
            assert isinstance(gemm.pattern, NM)
            elements, across = key[0] * key[1] * key[2], gemm.lines_fastest(side)
            cycles = max(cycles, accelerator.pruner.busy(elements, gemm.pattern, across=across))
        known[key] = cycles
    return np.array([known[key] for key in keys], np.int64)


def _results(accelerator: Accelerator, batch: Ints, m: Ints, n: Ints) -> Ints:
    """Cycles of a result tile's store, for each candidate."""
    keys = list(zip(batch.tolist(), m.tolist(), n.tolist(), strict=True))
    known = {key: _transfer(accelerator, result_runs(accelerator, *key)) for key in set(keys)}
    return np.array([known[key] for key in keys], np.int64)


def _transfer(accelerator: Accelerator, runs: tuple[int, int]) -> int:
    return accelerator.dram.transfer_cycles(*runs, accelerator.clock_hz)


def _array_cycles(gemm: Gemm, accelerator: Accelerator, dataflow: Dataflow, m: Ints, n: Ints, k: Ints) -> Ints:
    """Cycles of the array over all tiles, edge tiles with their own sizes."""
    total = np.zeros(len(m), np.int64)
    for m_edge, n_edge, k_edge in itertools.product((False, True), repeat=3):
        count = np.ones(len(m), np.int64)
        tile: list[Ints] = []
        for edge, size, whole in ((m_edge, m, gemm.m), (n_edge, n, gemm.n), (k_edge, k, gemm.k)):
            rest = whole % size
            count *= (rest > 0) if edge else whole // size
            tile.append(np.where(rest > 0, rest, size) if edge else size)
        time = multiply_time(accelerator, dataflow, tile[0], tile[1], tile[2], gemm.pattern, gemm.sparse_operand, k < gemm.k)
        total += count * time.occupancy
    return total * gemm.batch
