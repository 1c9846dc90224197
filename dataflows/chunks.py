"""Work between GEMMs in chunks that fit a work slot: what each chunk moves between memory and the slot's planes.

Each tensor has a plane of its own (an eighth of the slot), and no chunk's part of a tensor exceeds it. Parts begin at bursts in
memory and are whole groups of what is pruned, as far as a plane has room for that.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import gcd, lcm

from simulator.arch import Accelerator, ceil_div
from simulator.encoding import PLANES
from simulator.formats import MASTER_BITS
from simulator.layout import plane_bytes
from workloads.ops import Prune, Update, Vector
from workloads.sparsity import NM

__all__ = [
    "COPY",
    "GRADIENT",
    "MASK",
    "PACKED",
    "SOURCE",
    "STATE",
    "WEIGHT",
    "Chunk",
    "Move",
    "chunk_count",
    "chunks_of",
    "equal_chunks",
    "packed_planes",
]

WEIGHT, STATE, GRADIENT = 0, (1, 3), 2  # planes of an update
MASK = 7  # read before the second packed copy's indices are made, which take its place
COPY = GRADIENT  # the new weights in operand format take the gradient's place
SOURCE = 0  # plane of what an online pruning reads
PACKED = 4  # the first plane of packed values; each copy's indices are in the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A chunk's part of one tensor: `rows` of `bytes` between memory and a plane, or of `entries` packed with their indices."""

    plane: int
    bytes: int
    rows: int = 1
    pattern: NM | None = None
    indices: int = 0
    entries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A part of an operation: elements (of an update or a pruning), or work of the vector unit in each pass, and moves."""

    elements: int
    work: tuple[int, ...]
    reads: tuple[Move, ...]
    writes: tuple[Move, ...]


def packed_planes(copy: int) -> tuple[int, int]:
    """Planes of a packed copy's values and indices."""
    values = PACKED + 2 * copy % (PLANES - PACKED)
    return values, values + 1


def chunks_of(
    op: Vector | Prune | Update,
    accelerator: Accelerator,
    *,
    pregenerate: bool,
    row_elements: int = 0,
    numbers: Iterable[int] | None = None,
) -> Iterator[Chunk]:
    """The chunks of an operation; some of them, by their numbers, where these are given.

    `row_elements` are those of a row of the weight, or of a tensor that is pruned down its rows; 0 where not known, or along.
    """
    if numbers is None:
        numbers = range(chunk_count(op, accelerator, pregenerate=pregenerate, row_elements=row_elements))
    match op:
        case Vector():
            return _vector(op, accelerator, numbers)
        case Prune():
            return _prune(op, accelerator, row_elements, numbers)
        case Update():
            return _update(op, accelerator, pregenerate, row_elements, numbers)


def equal_chunks(
    op: Vector | Prune | Update, accelerator: Accelerator, *, pregenerate: bool, row_elements: int = 0
) -> list[tuple[Chunk, int]]:
    """The distinct chunks of an operation, and how often each occurs. Most are looked at only where they may differ."""
    count = chunk_count(op, accelerator, pregenerate=pregenerate, row_elements=row_elements)
    ends, work, total, share = {0, count - 1, count}, 0, 1, 1
    match op:
        case Vector():  # where a small tensor's parts end or begin
            shares, sizes = _vector_shares(op, accelerator), [tensor.elements for tensor in (*op.reads, *op.writes)]
            parts = list(map(ceil_div, sizes, shares))
            ends |= {end for each in parts[: len(op.reads)] for end in (each - 1, each)}
            ends |= {count - each for each in parts[len(op.reads) :]}
            _, total, share = max(zip(parts, sizes, shares, strict=True), default=(1, 1, 1))
            work = op.work // op.passes if op.work % op.passes == 0 else -1
        case Update():
            work, total, share = op.mask_search, op.elements, _update_share(op, accelerator, pregenerate, row_elements)
        case Prune():
            pass
    if work < 0 or work * share % total:  # the vector unit's work differs from chunk to chunk
        ends |= {*range(count)}
    *starts, _ = firsts = sorted(ends)
    found = Counter[Chunk]()
    chunks = chunks_of(op, accelerator, pregenerate=pregenerate, row_elements=row_elements, numbers=starts)
    for chunk, (start, stop) in zip(chunks, pairwise(firsts), strict=True):
        found[chunk] += stop - start
    return list(found.items())


def chunk_count(op: Vector | Prune | Update, accelerator: Accelerator, *, pregenerate: bool, row_elements: int = 0) -> int:
    """How many chunks that are."""
    match op:
        case Vector():
            sizes = [tensor.elements for tensor in (*op.reads, *op.writes)]
            return max([1, *map(ceil_div, sizes, _vector_shares(op, accelerator))])
        case Prune():
            return ceil_div(op.source.elements, _prune_share(op, accelerator, row_elements))
        case Update():
            return ceil_div(op.elements, _update_share(op, accelerator, pregenerate, row_elements))


def _at_bursts(bits: int, accelerator: Accelerator) -> int:
    """Elements from one that begins at a burst to the next that does."""
    burst_bits = 8 * accelerator.dram.burst_bytes
    return burst_bits // gcd(burst_bits, bits)


def _fit(bits: int, accelerator: Accelerator) -> int:
    """Elements that a plane holds."""
    return max(1, plane_bytes(accelerator) * 8 // bits)


def _share(elements: int, fit: int, *units: int) -> int:
    """Elements of a chunk, at most `fit`: all; or about equal shares in whole units, of the first unit that fits."""
    if elements <= fit:
        return elements
    unit = next((unit for unit in units if unit <= fit), 1)
    return _even(elements, ceil_div(elements, fit // unit * unit), unit)


def _even(elements: int, parts: int, unit: int) -> int:
    """A part's elements, in whole units."""
    return ceil_div(ceil_div(elements, parts), unit) * unit


def _bytes(elements: int, bits: int) -> int:
    return ceil_div(elements * bits, 8)


def _part(work: int, start: int, stop: int, total: int) -> int:
    """What belongs to elements start to stop of `total`; the parts of all add up."""
    return work * stop // total - work * start // total


def _size(elements: int, share: int, number: int) -> int:
    """Elements of a chunk, by its number; none below 1 behind the last."""
    return min(share, elements - number * share)


def _packed(elements: int, pattern: NM, copy: int, accelerator: Accelerator, row: int = 0, *, across: bool = False) -> Move:
    """A packed copy's part. Each of its rows in memory begins at a burst: those of a weight of `row` elements a row, or
    (`across`) of its groups of rows; one where `row` is 0 for not known, or where nothing is between rows."""
    values, indices = packed_planes(copy)
    entries, bits = ceil_div(elements, pattern.group) * pattern.keep, accelerator.pe.stored_bits(pattern)
    unit = row * pattern.group if across else row
    rows = elements // unit if unit and elements % unit == 0 and unit % pattern.group == 0 else 1
    if entries // rows * bits % (8 * accelerator.dram.burst_bytes) == 0:
        rows = 1
    entries //= rows
    return Move(plane=values, bytes=_bytes(entries, bits), rows=rows, pattern=pattern, indices=indices, entries=entries)


def _vector_shares(op: Vector, accelerator: Accelerator) -> list[int]:
    """By tensor: elements of a chunk, in proportion to the largest tensor's."""
    bits, sizes = accelerator.pe.number.result_bits, [tensor.elements for tensor in (*op.reads, *op.writes)]
    fit = _fit(bits, accelerator)
    unit = _at_bursts(bits, accelerator) if _at_bursts(bits, accelerator) <= fit else 1
    parts = ceil_div(max(sizes, default=1), fit // unit * unit) if max(sizes, default=1) > fit else 1
    return [max(1, _even(size, parts, unit) if parts > 1 else size) for size in sizes]


def _vector(op: Vector, accelerator: Accelerator, numbers: Iterable[int]) -> Iterator[Chunk]:
    """What is smaller than a share for each chunk is read with the first chunks and written with the last, so that what the
    last one stores follows all of the work."""
    bits, shares = accelerator.pe.number.result_bits, _vector_shares(op, accelerator)
    sizes = [tensor.elements for tensor in (*op.reads, *op.writes)]
    parts = [ceil_div(size, share) for size, share in zip(sizes, shares, strict=True)]
    tensors = list(enumerate(zip(sizes, shares, parts, strict=True)))
    reads, writes = tensors[: len(op.reads)], tensors[len(op.reads) :]
    count, total, share = max(((part, size, share) for _, (size, share, part) in tensors), default=(1, 1, 1))
    passes = op.passes if count > 1 else 1
    for number in numbers:
        elements, done, after = _size(total, share, number), number * share, count - 1 - number
        of_passes = [_part(op.work, each, each + 1, passes) for each in range(passes)]

        def move(plane: int, size: int, share: int, at: int) -> Move:
            return Move(plane=plane % PLANES, bytes=_bytes(_size(size, share, at), bits))

        yield Chunk(
            elements=elements,
            work=tuple(_part(work, done, done + elements, total) for work in of_passes),
            reads=tuple(move(i, size, share, number) for i, (size, share, parts) in reads if number < parts),
            writes=tuple(move(i, size, share, parts - 1 - after) for i, (size, share, parts) in writes if after < parts),
        )


def _prune_share(op: Prune, accelerator: Accelerator, row_elements: int) -> int:
    bits, group = accelerator.pe.number.result_bits, op.pattern.group
    aligned = lcm(group, _at_bursts(bits, accelerator))
    return _share(op.source.elements, _fit(bits, accelerator), lcm(aligned, group * max(1, row_elements)), aligned, group)


def _prune(op: Prune, accelerator: Accelerator, row_elements: int, numbers: Iterable[int]) -> Iterator[Chunk]:
    bits, share = accelerator.pe.number.result_bits, _prune_share(op, accelerator, row_elements)
    for number in numbers:
        elements = _size(op.source.elements, share, number)
        yield Chunk(
            elements=elements,
            work=(2 * elements,) if op.rescale else (),  # L1 norms before and after, then the scale
            reads=(Move(plane=SOURCE, bytes=_bytes(elements, bits)),),
            writes=(_packed(elements, op.pattern, 0, accelerator, row_elements, across=row_elements > 0),),
        )


def _update_bits(
    op: Update, accelerator: Accelerator, pregenerate: bool
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(plane, bits of an element) of what an update reads, and of what it writes beside packed copies."""
    number = accelerator.pe.number
    state = [(plane, MASTER_BITS) for plane in (WEIGHT, *STATE)[: 1 + op.optimizer.state_words]]
    masked = [(MASK, 1)] if op.decay else []  # SR-STE reads the mask
    copied = op.dense_copy or (bool(op.prune) and not pregenerate)
    copy = [(COPY, number.operand_bits)] if copied else []
    return [*state, (GRADIENT, number.result_bits), *masked], [*state, *copy]


def _update_share(op: Update, accelerator: Accelerator, pregenerate: bool, row_elements: int) -> int:
    reads, writes = _update_bits(op, accelerator, pregenerate)
    copies = op.prune if pregenerate else ()
    group = lcm(*(pattern.group for _, pattern in copies))
    aligned = lcm(group, *(_at_bursts(bits, accelerator) for _, bits in (*reads, *writes)))
    units = [aligned, group]
    if row_elements and (down := [pattern.group for stage, pattern in copies if stage == "bp"]):
        rows = lcm(*down) * row_elements  # the backward copy's groups lie across the weight's rows
        units = [lcm(aligned, rows), lcm(group, rows), *units]
    return _share(op.elements, _fit(max(bits for _, bits in (*reads, *writes)), accelerator), *units)


def _update(
    op: Update, accelerator: Accelerator, pregenerate: bool, row_elements: int, numbers: Iterable[int]
) -> Iterator[Chunk]:
    reads, writes = _update_bits(op, accelerator, pregenerate)
    copies, share = op.prune if pregenerate else (), _update_share(op, accelerator, pregenerate, row_elements)
    for number in numbers:
        elements, done = _size(op.elements, share, number), number * share
        dense = [Move(plane=plane, bytes=_bytes(elements, bits)) for plane, bits in writes]
        packed = [
            _packed(elements, pattern, copy, accelerator, row_elements, across=stage == "bp")
            for copy, (stage, pattern) in enumerate(copies)
        ]
        yield Chunk(
            elements=elements,
            work=(_part(op.mask_search, done, done + elements, op.elements),) if op.mask_search else (),
            reads=tuple(Move(plane=plane, bytes=_bytes(elements, bits)) for plane, bits in reads),
            writes=(*dense, *packed),
        )
