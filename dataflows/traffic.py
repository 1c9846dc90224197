"""What a tile of an operand or a result is in memory: rows, and their bytes."""

from typing import Literal

from simulator.arch import Accelerator, ceil_div
from workloads.gemm import Gemm, Stage
from workloads.sparsity import NM

__all__ = ["feature_map", "operand_runs", "result_runs", "stored_bits", "stored_kept"]


def stored_kept(gemm: Gemm, side: Literal["a", "b"], *, pregenerate: bool) -> bool:
    """Whether an operand lies in memory compressed: it is N:M, and not pruned at use."""
    operand = gemm.operand(side)
    return isinstance(operand.pattern, NM) and not operand.pruned_at_use(pregenerate=pregenerate)


def stored_bits(gemm: Gemm, side: Literal["a", "b"], accelerator: Accelerator, *, pregenerate: bool) -> tuple[int, int]:
    """Bits of `group` elements of an operand in memory, as (bits, group): compressed, unless it is pruned at use."""
    pattern, width = gemm.operand(side).pattern, accelerator.pe.number.operand_bits
    if isinstance(pattern, NM) and stored_kept(gemm, side, pregenerate=pregenerate):
        return pattern.keep * (width + pattern.index_bits), pattern.group
    return width, 1


def feature_map(gemm: Gemm, side: Literal["a", "b"], accelerator: Accelerator) -> bool:
    """Whether an operand is a feature map that the machine lowers itself, each element loaded once per tile."""
    return gemm.conv is not None and gemm.conv.operand == side and accelerator.implicit_im2col


def operand_runs(
    gemm: Gemm,
    side: Literal["a", "b"],
    accelerator: Accelerator,
    batch: int,
    positions: int,
    depth: int,
    *,
    pregenerate: bool,
) -> tuple[int, int]:
    """(runs, bytes per run) of a tile of `positions` x `depth` of operand A (m x k) or B (n x k), for `batch` entries.

    A run is a row of the tile in memory, which begins at a burst: a line, or where lines are fastest (`Gemm.lines_fastest`)
    an element of the reduction; of a compressed operand then a group, of which each line has the kept ones in turn.
    """
    bits, group = stored_bits(gemm, side, accelerator, pregenerate=pregenerate)
    conv = gemm.conv
    if conv is not None and feature_map(gemm, side, accelerator):
        if gemm.stage is Stage.WU:  # operand B: positions are (tap, channel), the reduction runs over output positions
            elements = conv.footprint(depth, positions)
            run = min(positions, conv.channels) * (conv.width if positions >= conv.channels else 1)
        else:
            elements = conv.footprint(positions, depth)
            run = min(depth, conv.channels) * (conv.width if depth >= conv.channels else 1)
        run = min(run, elements)
        return batch * ceil_div(elements, run), ceil_div(run * bits, 8 * group)
    if gemm.lines_fastest(side):
        return batch * ceil_div(depth, group), ceil_div(positions * bits, 8)
    return batch * positions, ceil_div(depth * bits, 8 * group)


def result_runs(accelerator: Accelerator, batch: int, m: int, n: int) -> tuple[int, int]:
    """(runs, bytes per run) of a tile of C, with n fastest."""
    return batch * m, ceil_div(n * accelerator.pe.number.result_bits, 8)
