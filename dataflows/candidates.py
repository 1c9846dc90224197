"""Candidates for a GEMM's tiles: their sizes, the bytes that they take up, and the cycles that these take."""

import itertools
from collections.abc import Callable
from functools import partial
from math import gcd, lcm
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataflows.traffic import feature_map, operand_runs, result_runs, stored_kept
from simulator.arch import Accelerator, Dataflow, ceil_div
from simulator.layout import operand_bytes, operand_slot_bytes, result_bytes
from simulator.timing import multiply_time
from workloads.gemm import Gemm
from workloads.sparsity import NM, Pattern

__all__ = [
    "SIDES",
    "Candidates",
    "Runs",
    "Side",
    "Sizes",
    "array_cycles",
    "candidates",
    "operand_held",
    "operand_limit",
    "prune_cycles",
    "result_held",
    "runs_of_operand",
    "runs_of_result",
    "sizes_of",
]

Ints = NDArray[np.int64]
Side = Literal["a", "b"]
SIDES: tuple[Side, ...] = ("a", "b")


class Sizes(NamedTuple):
    """The sizes tried along each dimension. Several batch entries share a tile only where each is whole."""

    batch: list[int]
    m: list[int]
    n: list[int]
    k: list[int]


class Candidates(NamedTuple):
    """Columns of tile sizes: all combinations of m, n and k for one batch entry, then whole ones for several."""

    batch: Ints
    m: Ints
    n: Ints
    k: Ints


def sizes_of(gemm: Gemm, accelerator: Accelerator, dataflow: Dataflow, pregenerate: bool) -> Sizes:
    """All tile sizes that are tried."""
    array, depth = accelerator.array, accelerator.pe.depth(gemm.pattern)
    group = gemm.pattern.group if isinstance(gemm.pattern, NM) else 1
    aligned = _alignment(gemm, accelerator, pregenerate)
    k_unit = depth * (array.rows if dataflow is not Dataflow.OS else max(1, 32 // depth))
    k_unit = lcm(ceil_div(k_unit, group) * group, aligned["k"])
    m_unit = lcm(array.cols if dataflow is Dataflow.IS else array.rows, aligned["m"])
    n_unit = lcm(array.cols, aligned["n"])
    batch = [size for size in _sizes(gemm.batch, 1) if size > 1]
    return Sizes(batch, _sizes(gemm.m, m_unit), _sizes(gemm.n, n_unit), _sizes(gemm.k, k_unit))


def candidates(sizes: Sizes) -> Candidates:
    """Columns of sizes; of each list, the last is the whole dimension."""
    m, n, k = np.array(sizes.m), np.array(sizes.n), np.array(sizes.k)
    grid, more = len(m) * len(n) * len(k), len(sizes.batch)
    columns = np.ones((4, grid + more), np.int64)
    columns[1, :grid] = np.repeat(m, len(n) * len(k))
    columns[2, :grid] = np.tile(np.repeat(n, len(k)), len(m))
    columns[3, :grid] = np.tile(k, len(m) * len(n))
    columns[0, grid:] = sizes.batch
    for dim, whole in ((1, sizes.m[-1]), (2, sizes.n[-1]), (3, sizes.k[-1])):
        columns[dim, grid:] = whole
    return Candidates(*columns)


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


def _alignment(gemm: Gemm, accelerator: Accelerator, pregenerate: bool) -> dict[Literal["m", "n", "k"], int]:
    """By dimension: what a tile's size must be a multiple of, so that each tile's part of a memory row begins at a burst.

    Of the dimension that is fastest in a dense operand or in the result. Compressed operands are laid out for their tiles, and
    a feature map's elements are gathered one by one.
    """
    number, burst_bits = accelerator.pe.number, 8 * accelerator.dram.burst_bytes
    aligned: dict[Literal["m", "n", "k"], int] = {"m": 1, "n": burst_bits // gcd(burst_bits, number.result_bits), "k": 1}
    operands: tuple[tuple[Side, Literal["m", "n"]], ...] = (("a", "m"), ("b", "n"))
    for side, lines in operands:
        if not (stored_kept(gemm, side, pregenerate=pregenerate) or feature_map(gemm, side, accelerator)):
            fastest = lines if gemm.lines_fastest(side) else "k"
            aligned[fastest] = lcm(aligned[fastest], burst_bits // gcd(burst_bits, number.operand_bits))
    return aligned


class Runs:
    """Runs in memory, and their bytes, of the tiles of one operand (of batch, lines and depth) or of a result (of batch, m and
    n). Each tile is worked out once."""

    def __init__(self, function: Callable[[int, int, int], tuple[int, int]], dims: Literal["mk", "nk", "mn"]) -> None:
        self._function, self._dims = function, dims
        self._known: dict[tuple[int, int, int], tuple[int, int]] = {}
        self._tables: dict[tuple[tuple[int, ...], tuple[int, ...]], Ints] = {}

    def _of(self, tile: tuple[int, int, int]) -> tuple[int, int]:
        if (found := self._known.get(tile)) is None:
            found = self._known[tile] = self._function(*tile)
        return found

    def columns(self, first: Ints, second: Ints, third: Ints) -> tuple[Ints, Ints]:
        """Of columns of tiles."""
        code = (first * (second.max(initial=0) + 1) + second) * (third.max(initial=0) + 1) + third
        _, at, which = np.unique(code, return_index=True, return_inverse=True)
        tiles = zip(first[at].tolist(), second[at].tolist(), third[at].tolist(), strict=True)
        table = np.array([self._of(tile) for tile in tiles], np.int64).reshape(-1, 2)
        return table[which, 0], table[which, 1]

    def candidates(self, sizes: Sizes) -> tuple[Ints, Ints]:
        """Of each candidate."""
        first, second = getattr(sizes, self._dims[0]), getattr(sizes, self._dims[1])
        key = tuple(first), tuple(second)
        if (table := self._tables.get(key)) is None:
            table = self._tables[key] = np.array([[self._of((1, x, y)) for y in second] for x in first], np.int64)
        match self._dims:
            case "mk":
                table = table[:, None, :]
            case "nk":
                table = table[None, :, :]
            case _:
                table = table[:, :, None]
        grid = np.broadcast_to(table, (len(sizes.m), len(sizes.n), len(sizes.k), 2)).reshape(-1, 2)
        if sizes.batch:
            grid = np.concatenate([grid, [self._of((size, first[-1], second[-1])) for size in sizes.batch]])
        return grid[:, 0], grid[:, 1]


def runs_of_operand(gemm: Gemm, side: Side, accelerator: Accelerator, *, pregenerate: bool) -> Runs:
    """Of an operand: the same on machines that share the number format and lower feature maps or don't."""

    def function(batch: int, lines: int, depth: int) -> tuple[int, int]:
        return operand_runs(gemm, side, accelerator, batch, lines, depth, pregenerate=pregenerate)

    return Runs(function, "mk" if side == "a" else "nk")


def runs_of_result(accelerator: Accelerator) -> Runs:
    """Of a result: the same on machines that share the number format."""
    return Runs(partial(result_runs, accelerator), "mn")


def operand_held(
    accelerator: Accelerator, dataflow: Dataflow, side: Side, pattern: Pattern, tiles: Candidates, *, kept: bool, across: bool
) -> Ints:
    """Bytes that each candidate takes up in a slot, unless it is a feature map."""
    lines = tiles.m if side == "a" else tiles.n
    return tiles.batch * operand_bytes(accelerator, dataflow, side, pattern, lines, tiles.k, kept=kept, across=across)


def operand_limit(gemm: Gemm, side: Side, accelerator: Accelerator) -> int:
    """Bytes of a slot that a tile of the operand may take up."""
    if feature_map(gemm, side, accelerator):
        return getattr(accelerator, f"{side}_buffer").slot_bytes
    return operand_slot_bytes(accelerator, side)


def result_held(accelerator: Accelerator, dataflow: Dataflow, tiles: Candidates) -> Ints:
    """Bytes that each candidate's sums take up in a slot."""
    return tiles.batch * result_bytes(accelerator, dataflow, tiles.m, tiles.n)


def prune_cycles(gemm: Gemm, side: Side, accelerator: Accelerator, tiles: Candidates) -> Ints:
    """Cycles of pruning an operand's tile at its use, for each candidate."""
    assert isinstance(gemm.pattern, NM)
    elements = tiles.batch * (tiles.m if side == "a" else tiles.n) * tiles.k
    return accelerator.pruner.busy(elements, gemm.pattern, across=gemm.lines_fastest(side))


def array_cycles(
    accelerator: Accelerator,
    dataflow: Dataflow,
    pattern: Pattern,
    sparse: Side,
    whole: tuple[Ints, Ints, Ints, Ints],
    tiles: Candidates,
) -> Ints:
    """Cycles of the array over all tiles of GEMMs (`whole`: batch, m, n, k), edge tiles with their own sizes."""
    total = np.zeros(len(tiles.m), np.int64)
    for edges in itertools.product((False, True), repeat=3):
        count, sizes = whole[0], list[Ints]()
        for edge, all_of, size in zip(edges, whole[1:], tiles[1:], strict=True):
            rest = all_of % size
            count = count * ((rest > 0) if edge else all_of // size)
            sizes.append(rest if edge else size)
        some = np.flatnonzero(count)
        if len(some):
            m, n, k = (each[some] for each in sizes)
            accumulate = tiles.k[some] < whole[3][some]
            time = multiply_time(accelerator, dataflow, m, n, k, pattern, sparse, accumulate)
            total[some] += count[some] * time.occupancy
    return total
