"""Bit-exact values of the machine's units: number formats, multiply-accumulate order, top-N pruning, optimizer.

Storage of operands: fp16 as ``float16``; bf16 as ``float32`` whose low 16 bits are zero; int8 as ``int8``. Accumulators
are ``float32``, or ``int32`` for int8. All rounding is to nearest, ties to even, subnormals kept, overflow to infinity.
Every NaN that the machine stores is the positive quiet one with no payload (fp16 0x7e00, bf16 0x7fc0), whatever made
it; payloads inside accumulators are not part of the contract. No numpy warning escapes.

Order of additions, the contract with the RTL. Each output starts from +0 (or its slot's partial sum) and takes the
reduction in ascending k, beat by beat. A beat holds the next `lanes` kept values of an N:M group (fewer in the group's
last beat), or the next `lanes` elements of a dense reduction (fewer at its end). The products of a beat are summed by
`add_tree`, and that sum is added to the accumulator. In every dataflow partial sums flow down the rows, or arrive at
the accumulator, in this order: so neither dataflow nor interleave nor tiling changes a bit, but the number of lanes
does.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.formats import NumberFormat
from workloads.sparsity import NM

__all__ = [
    "Packed",
    "Values",
    "accumulate",
    "accumulator_dtype",
    "add_tree",
    "compress",
    "decompress",
    "multiply_dense",
    "multiply_sparse",
    "operand_dtype",
    "product",
    "prune_copies",
    "quantize",
    "round_to_bf16",
    "sgd_momentum",
    "to_result",
]

Values: TypeAlias = NDArray[Any]

_OPERAND: dict[str, type[np.generic]] = {"fp16": np.float16, "bf16": np.float32, "int8": np.int8}


class Packed(NamedTuple):
    """Kept elements of an N:M operand, ascending within each group, and their positions within the group."""

    values: Values
    indices: NDArray[np.int32]


def operand_dtype(number: NumberFormat) -> "np.dtype[Any]":
    """The numpy type that stores an operand. Raises ValueError for a format without arithmetic."""
    if number.name not in _OPERAND:
        raise ValueError(f"NumberFormat {number.name!r} must be one of {', '.join(_OPERAND)}, not {number.name!r}")
    return np.dtype(_OPERAND[number.name])


def accumulator_dtype(number: NumberFormat) -> "np.dtype[Any]":
    """The numpy type of a product, a partial sum and an accumulator."""
    return np.dtype(np.int32 if operand_dtype(number).kind == "i" else np.float32)


def quantize(number: NumberFormat, values: ArrayLike) -> Values:
    """Operands of the format nearest to `values`, same shape.

    fp16 and bf16 round the FP32 value (as from the master weights; float64 is first rounded to FP32). int8 rounds to
    the nearest integer, ties to even, and saturates at -128 and 127; it raises ValueError for a NaN. Scales are the
    caller's.
    """
    given = np.asarray(values)
    dtype = operand_dtype(number)
    if dtype.kind == "i":
        if given.dtype.kind == "f":
            if np.isnan(given).any():
                raise ValueError(f"Values of format {number.name!r} must be numbers, not {np.nan!r}")
            given = np.rint(given.astype(np.float64))
        return np.clip(given, -128, 127).astype(np.int8)
    with np.errstate(all="ignore"):
        return _round(number, given.astype(np.float32))


def product(number: NumberFormat, a: Values, b: Values) -> Values:
    """``a * b`` of operands, broadcast, in the accumulator's type.

    Exact for fp16 and int8. For bf16 exact within FP32's range; beyond it overflows to infinity, and below its normal
    numbers it is rounded once to a subnormal or zero.
    """
    wide = accumulator_dtype(number)
    with np.errstate(all="ignore"):
        return np.multiply(a.astype(wide), b.astype(wide))


def accumulate(number: NumberFormat, sums: Values, addend: Values) -> Values:
    """``sums + addend``, both of the accumulator's type: an FP32 addition, or modulo 2^32 for int8."""
    wide = accumulator_dtype(number)
    if sums.dtype != wide or addend.dtype != wide:
        raise ValueError(f"Accumulator of {number.name!r} must be {wide}, not {sums.dtype} + {addend.dtype}")
    with np.errstate(all="ignore"):
        return np.add(sums, addend)


def add_tree(number: NumberFormat, products: Sequence[Values]) -> Values:
    """Sum of one beat's products by a balanced binary tree: neighbours add, level by level, each addition rounded.

    An odd last value passes through to the next level, so a beat with fewer products than lanes sums those alone. A
    circuit of fixed width gets the same bits by feeding -0, the identity of addition, into its absent lanes (not +0,
    which turns a sum of -0 into +0).
    """
    level = list(products)
    if not level:
        raise ValueError("Beat must hold at least one product, not 0")
    while len(level) > 1:
        pairs = [accumulate(number, left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[2 * len(pairs) :]
    return level[0]


def to_result(number: NumberFormat, sums: Values) -> Values:
    """Accumulators as a store writes them: FP32 rounded to fp16 or bf16, int32 unchanged. Same shape."""
    wide = accumulator_dtype(number)
    if sums.dtype != wide:
        raise ValueError(f"Accumulator of {number.name!r} must be {wide}, not {sums.dtype}")
    if wide.kind == "i":
        return sums.copy()
    with np.errstate(all="ignore"):
        return _round(number, sums)


def round_to_bf16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """FP32 values rounded to bf16, still stored as ``float32``; a NaN becomes the canonical one."""
    bits = values.view(np.uint32)
    up = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    with np.errstate(over="ignore"):  # wraps for NaNs only, which are replaced below
        rounded = (bits + up) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(values), np.uint32(0x7FC00000), rounded).view(np.float32)


def multiply_dense(number: NumberFormat, lanes: int, sums: Values, a: Values, b: Values) -> Values:
    """``sums + a b`` in the order above: sums (batch, m, n), a (batch, m, k), b (batch, k, n)."""
    depth = a.shape[-1]
    for start in range(0, depth, lanes):
        beat = [product(number, a[:, :, i, None], b[:, None, i, :]) for i in range(start, min(start + lanes, depth))]
        sums = accumulate(number, sums, add_tree(number, beat))
    return sums


def multiply_sparse(number: NumberFormat, lanes: int, sums: Values, packed: Packed, dense: Values, pattern: NM) -> Values:
    """``sums + packed dense`` in the order above: packed (batch, rows, kept) selects from dense (batch, k, cols).

    For a sparse B operand pass everything transposed: products commute.
    """
    entries = np.arange(dense.shape[0])[:, None]
    for group in range(dense.shape[1] // pattern.group):
        for start in range(0, pattern.keep, lanes):
            beat: list[Values] = []
            for kept in range(start, min(start + lanes, pattern.keep)):
                at = group * pattern.keep + kept
                selected = dense[entries, group * pattern.group + packed.indices[:, :, at]]
                beat.append(product(number, packed.values[:, :, at, None], selected))
            sums = accumulate(number, sums, add_tree(number, beat))
    return sums


def compress(matrix: Values, pattern: NM, axis: int) -> Packed:
    """Top-N of M along `axis`, whose length shrinks from k to ``k / group * keep``; other axes stay.

    Exactly `keep` elements of each group stay, by `NM.mask`: zeros too, where a group has fewer nonzeros.
    Raises ValueError when the axis does not split into whole groups.
    """
    rows = np.moveaxis(matrix, axis, -1)
    with np.errstate(all="ignore"):
        mask = pattern.mask(rows)
    shape = (*rows.shape[:-1], rows.shape[-1] // pattern.group * pattern.keep)
    indices = (np.nonzero(mask)[-1] % pattern.group).astype(np.int32)
    return Packed(np.moveaxis(rows[mask].reshape(shape), -1, axis), np.moveaxis(indices.reshape(shape), -1, axis))


def decompress(packed: Packed, pattern: NM, axis: int) -> Values:
    """The dense matrix with zeros where `compress` dropped an element. Raises ValueError for a partial group."""
    values, indices = (np.moveaxis(part, axis, -1) for part in packed)
    *lead, kept = values.shape
    if kept % pattern.keep:
        raise ValueError(f"Axis of {kept} kept elements must be a multiple of the {pattern.keep} kept of {pattern}")
    grouped = (*lead, kept // pattern.keep, pattern.keep)
    dense = np.zeros((*grouped[:-1], pattern.group), values.dtype)
    np.put_along_axis(dense, indices.reshape(grouped).astype(np.intp), values.reshape(grouped), axis=-1)
    return np.moveaxis(dense.reshape(*lead, -1), -1, axis)


def prune_copies(weights: Values, ff: NM, bp: NM) -> tuple[Packed, Packed]:
    """BDWP's two compressed copies of one dense weight W of shape (I, O), as the B operands of its two GEMMs.

    The forward copy is W packed along its reduction I (axis 0); the backward one is W' of shape (O, I) packed along O
    (axis 0). Both come from the same dense values: pass the low-precision copy, which is what the pruner compares.
    """
    return compress(weights, ff, 0), compress(weights.T, bp, 0)


def sgd_momentum(
    weight: NDArray[np.float32],
    velocity: NDArray[np.float32],
    gradient: Values,
    number: NumberFormat,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    mask: NDArray[np.bool_] | None = None,
    decay: float = 0.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32], Values]:
    """One optimizer step in FP32; returns the new weight and velocity, and the weight's copy in format `number`.

    Each product and each sum is rounded by itself, in this order, coefficients rounded to FP32 first::

        g = gradient + weight_decay*w;  g = g + decay*w where not mask (SR-STE);  v = momentum*v + g;  w = w - lr*v

    Where the mask keeps an element, its g passes unchanged. Arrays have one shape; w and v must be float32.
    """
    for name, array in (("weight", weight), ("velocity", velocity)):
        if array.dtype != np.float32:
            raise ValueError(f"Array {name!r} must be float32, not {array.dtype}")
    w: Values = weight
    rate, mu, shrink, regrow = (np.array(value, np.float32) for value in (lr, momentum, weight_decay, decay))
    with np.errstate(all="ignore"):
        g = gradient.astype(np.float32) + shrink * w
        if mask is not None:
            g = np.where(mask, g, g + regrow * w)
        v: Values = mu * velocity + g
        w = w - rate * v
    return w, v, quantize(number, w)


def _round(number: NumberFormat, values: NDArray[np.float32]) -> Values:
    if number.name == "bf16":
        return round_to_bf16(values)
    half = values.astype(np.float16)
    return np.where(np.isnan(half), np.float16(np.nan), half)
