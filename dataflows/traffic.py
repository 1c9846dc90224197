"""What a tile of an operand is in memory: contiguous runs, and their bytes."""

from typing import Literal

from simulator.arch import Accelerator, ceil_div
from simulator.formats import MASTER_BITS
from workloads.gemm import Gemm, Stage
from workloads.ops import Prune, Tensor, Update
from workloads.sparsity import NM

__all__ = ["operand_runs", "result_runs", "stored_bits", "tensor_bytes", "update_bytes"]


def stored_bits(gemm: Gemm, side: Literal["a", "b"], accelerator: Accelerator, *, pregenerate: bool) -> tuple[int, int]:
    """Bits of `group` elements of an operand in memory, as (bits, group): compressed, unless it is pruned at use."""
    operand = gemm.operand(side)
    width = accelerator.pe.number.operand_bits
    if isinstance(operand.pattern, NM) and not operand.pruned_at_use(pregenerate=pregenerate):
        return operand.pattern.keep * (width + operand.pattern.index_bits), operand.pattern.group
    return width, 1


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

    Operands lie in memory with the reduction fastest, but for those of weight gradients, whose reduction (positions) is
    the slow axis of both. A feature map is loaded once per tile where the machine lowers convolutions itself.
    """
    bits, group = stored_bits(gemm, side, accelerator, pregenerate=pregenerate)
    extent = gemm.m if side == "a" else gemm.n
    conv = gemm.conv
    if conv is not None and conv.operand == side and accelerator.implicit_im2col:
        if gemm.stage is Stage.WU:  # operand B: positions are (tap, channel), the reduction runs over output positions
            elements = conv.footprint(depth, positions)
            run = min(positions, conv.channels) * (conv.width if positions >= conv.channels else 1)
        else:
            elements = conv.footprint(positions, depth)
            run = min(depth, conv.channels) * (conv.width if depth >= conv.channels else 1)
        run = min(run, elements)
        return batch * ceil_div(elements, run), ceil_div(run * bits, 8 * group)
    if gemm.stage is Stage.WU:
        rows, run, whole = depth, positions, positions == extent
    else:
        rows, run, whole = positions, depth, depth == gemm.k
    if whole:
        rows, run = 1, rows * run
    return batch * rows, ceil_div(run * bits, 8 * group)


def result_runs(gemm: Gemm, accelerator: Accelerator, batch: int, m: int, n: int) -> tuple[int, int]:
    """(runs, bytes per run) of a tile of C, with n fastest."""
    rows, run = (1, m * n) if n == gemm.n else (m, n)
    return batch * rows, ceil_div(run * accelerator.pe.number.result_bits, 8)


def tensor_bytes(tensors: tuple[Tensor, ...], accelerator: Accelerator) -> int:
    """Bytes of whole tensors in the result format."""
    return sum(ceil_div(tensor.elements * accelerator.pe.number.result_bits, 8) for tensor in tensors)


def update_bytes(
    op: Update | Prune, accelerator: Accelerator, elements: int, *, pregenerate: bool
) -> tuple[int, int, int, int]:
    """(runs in, bytes in, runs out, bytes out) of `elements` elements of an update or an online pruning."""
    number = accelerator.pe.number
    if isinstance(op, Prune):
        kept = ceil_div(elements * op.pattern.keep * (number.operand_bits + op.pattern.index_bits), 8 * op.pattern.group)
        return 1, ceil_div(elements * number.result_bits, 8), 1, kept
    words = 1 + op.optimizer.state_words
    read = elements * (MASTER_BITS * words + number.result_bits) + (elements if op.decay else 0)  # SR-STE reads the mask
    written = elements * MASTER_BITS * words
    copies = 0
    if op.dense_copy or (op.prune and not pregenerate):
        written += elements * number.operand_bits
        copies += 1
    if pregenerate:
        for _, pattern in op.prune:
            written += ceil_div(elements, pattern.group) * pattern.keep * (number.operand_bits + pattern.index_bits)
            copies += 1
    return words + 1 + op.decay, ceil_div(read, 8), words + copies, ceil_div(written, 8)
