"""A GEMM's program with its loops shortened: what tilings of one structure have in common, whatever the sizes of their tiles.

The commands are those that `Lowering` emits for a GEMM of a few tiles; the loops' other iterations are skips
(`simulator.analytic`). Tiles differ in size only at the ends of loops, so a command's cost depends on its operand and on which
dimensions are at their last tile: its class.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from math import lcm
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from dataflows.lower import Lowering
from dataflows.mapping import Mapping
from dataflows.tiling import Tiling
from simulator.analytic import Ints, Listing, Skip, Step, listing_of
from simulator.arch import Accelerator, Dataflow
from simulator.schedule import Engine, Load, Multiply, Prune, Store, Tile
from workloads.gemm import Gemm, Operand, Phase, Role, Stage
from workloads.sparsity import DENSE, NM, Producer

__all__ = ["CLASSES", "Class", "Skeleton", "Structure", "shortened", "skeleton"]

_T = TypeVar("_T")

_WARM = 3
"""Iterations before a loop's period is measured. More cost time, and fewer meet a period that isn't steady yet."""
_PRUNED = NM(1, 2)  # any pattern: that operands pass the pruner is all that matters here
_SPEC = Accelerator(name="skeleton")


class Class(NamedTuple):
    """What determines a command's cost: its kind, and for each dimension whether it is at its last tile."""

    kind: Literal["a", "b", "c", "array", "prune a", "prune b"]
    batch: bool
    m: bool = False
    n: bool = False
    k: bool = False
    accumulate: bool = False


CLASSES: tuple[Class, ...] = (
    *(Class(kind, batch, m=m, k=k) for kind in ("a", "prune a") for batch, m, k in product((False, True), repeat=3)),
    *(Class(kind, batch, n=n, k=k) for kind in ("b", "prune b") for batch, n, k in product((False, True), repeat=3)),
    *(Class("c", *ends) for ends in product((False, True), repeat=3)),
    *(Class("array", *ends) for ends in product((False, True), repeat=5)),
)
_NUMBER = {each: number for number, each in enumerate(CLASSES)}


class Structure(NamedTuple):
    """What determines a skeleton."""

    order: Literal["mn", "nm"]
    counts: tuple[int, int, int, int]  # iterations kept: batch, outer, inner, k
    left_out: tuple[bool, bool, bool, bool]  # by loop: whether iterations are,
    far: tuple[bool, bool, bool, bool]  # and more than queues are deep
    slots: tuple[int, int, int]  # a, b, c
    at_use: Literal["", "a", "b"]  # the operand that passes the pruner


class Skeleton(NamedTuple):
    """Steps, whose costs are positions in `CLASSES`."""

    listing: Listing
    counts: Ints  # by class and set of loops (a bit each): commands that also stand for the iterations left out of these


class _Loop(NamedTuple):
    """One of the nested loops of the Multiplies, outermost first: its iterations here; and after which of them, counted from
    0, some are left out (-1: none), measured over how many."""

    iterations: int
    after: int
    window: int
    far: bool  # what is left out is longer than queues are deep: no command is handed out across it


def _windows(counts: tuple[int, ...], slots: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """By loop: the iterations to keep at most, and those that a period is measured over. Tiles in turn have each slot, so
    that what waits for slots repeats only after a round of all of them; loops around many tiles repeat at once."""
    keep, windows, inside = [0] * 4, [0] * 4, 1
    turn = lcm(*slots)
    for level in reversed(range(4)):
        windows[level] = max(turn, 2) if inside == 1 else 2 if inside <= 2 * max(slots) else 1
        keep[level] = _WARM + windows[level] + max(slots) + 1
        inside *= min(counts[level], keep[level])
    return tuple(keep), tuple(windows)


def shortened(
    order: Literal["mn", "nm"],
    counts: tuple[int, int, int, int],
    slots: tuple[int, int, int],
    at_use: Literal["", "a", "b"],
    queue_depth: int,
) -> tuple[Structure, tuple[int, int, int, int]]:
    """The structure of a GEMM of so many tiles (batch, outer, inner, k), and how many iterations of each loop are left out."""
    keep, _ = _windows(counts, slots)
    kept, left, far, inside = list(counts), [0] * 4, [False] * 4, 1
    for level in reversed(range(4)):
        over = max(0, counts[level] - keep[level])
        far[level] = over > 0 and over * inside >= queue_depth + 2
        # Commands that a queue just reaches across the skip would fall into what its period is measured over.
        if far[level] or queue_depth >= keep[level] * inside:
            kept[level], left[level] = counts[level] - over, over
        inside *= counts[level]
    return Structure(order, _four(kept), _four([n > 0 for n in left]), _four(far), slots, at_use), _four(left)


def _four(values: Sequence[_T]) -> tuple[_T, _T, _T, _T]:
    a, b, c, d = values
    return a, b, c, d


@lru_cache(maxsize=4096)
def skeleton(structure: Structure) -> Skeleton:
    """The steps of a structure."""
    batches, outer, inner, depth = structure.counts
    m, n = (outer, inner) if structure.order == "mn" else (inner, outer)
    unit = _PRUNED.group if structure.at_use else 1
    gemm = _gemm(batches, m, n, depth * unit, structure.at_use)
    tiling = Tiling(
        dataflow=Dataflow.OS, batch=1, m=1, n=1, k=unit, order=structure.order, array_cycles=0, memory_cycles=0, cycles=0
    )
    buffers = {
        f"{name}_buffer": replace(getattr(_SPEC, f"{name}_buffer"), slots=count)
        for name, count in zip("abc", structure.slots, strict=True)
    }
    lowering = Lowering(replace(_SPEC, **buffers), Mapping(pregenerate=not structure.at_use))
    commands = [command for step, _ in lowering.gemm(gemm, 0, tiling) for command in step]
    _, windows = _windows(structure.counts, structure.slots)
    loops = tuple(
        _Loop(count, count - 1 - max(structure.slots) if left else -1, window, far)
        for count, left, window, far in zip(structure.counts, structure.left_out, windows, structure.far, strict=True)
    )
    queues: dict[Engine, list[int]] = {engine: [] for engine in Engine}
    for position, command in enumerate(commands):
        queues[command.engine].append(position)
    steps: list[Step] = []
    counts = np.zeros((len(CLASSES), 1 << len(loops)), np.int64)
    multiplies, behind = 0, -1
    for command in commands:
        assert isinstance(command, Load | Multiply | Prune | Store)
        assert command.tile is not None
        skips = _skips(multiplies, loops) if isinstance(command, Multiply) else ()
        multiplies += isinstance(command, Multiply)
        tile = multiplies if isinstance(command, Load | Prune) else multiplies - 1
        index = np.unravel_index(tile, structure.counts)
        cost = _NUMBER[_class(gemm, command, command.tile)]
        waits = tuple(queues[token.engine][token.commands - 1] for token in command.waits)
        stands = tuple(level for level, loop in enumerate(loops) if loop.after == index[level])
        counts[cost, sum(1 << level for level in stands)] += 1
        barrier = _barrier(tile, loops) if tile > behind else -1
        behind = max(behind, tile)
        steps.append(Step(command.engine, cost, waits, queues[Engine.ARRAY][barrier] if barrier >= 0 else -1, skips))
    return Skeleton(listing_of(steps), counts)


def _barrier(tile: int, loops: tuple[_Loop, ...]) -> int:
    """The Multiply of the last skip before a tile, if the tile is the first behind a loop that has one; else -1."""
    found, inside = -1, 1
    for loop in reversed(loops):
        per, inside = inside, inside * loop.iterations
        if loop.far and tile and tile % inside == 0:
            found = max(found, tile - inside + (loop.after + 1) * per - 1)
    return found


def _skips(multiply: int, loops: tuple[_Loop, ...]) -> tuple[Skip, ...]:
    """What is behind a Multiply, inner loops first."""
    index = np.unravel_index(multiply, [loop.iterations for loop in loops])
    skips: list[Skip] = []
    for level in reversed(range(len(loops))):
        loop, at = loops[level], int(index[level])
        if loop.after >= 0 and loop.after - loop.window <= at <= loop.after:
            mark = tuple(int(i) for i in index[: level + 1])
            skips.append(Skip(level, mark, loop.window if at == loop.after else 0))
        if at != loop.iterations - 1:
            break
    return tuple(skips)


def _class(gemm: Gemm, command: Load | Multiply | Prune | Store, tile: Tile) -> Class:
    batch, m, n, k = tile.batch.stop == gemm.batch, tile.m.stop == gemm.m, tile.n.stop == gemm.n, tile.k.stop == gemm.k
    match command:
        case Load():
            return Class("a", batch, m=m, k=k) if command.engine is Engine.LOAD_A else Class("b", batch, n=n, k=k)
        case Prune():
            return Class("prune a", batch, m=m, k=k) if command.buffer == "a" else Class("prune b", batch, n=n, k=k)
        case Multiply():
            return Class("array", batch, m, n, k, command.accumulate)
        case Store():
            return Class("c", batch, m, n)


def _gemm(batch: int, m: int, n: int, k: int, at_use: Literal["", "a", "b"]) -> Gemm:
    def operand(side: str) -> Operand:
        pattern = _PRUNED if side == at_use else DENSE
        return Operand(tensor=side, role=Role.ACTIVATION, pattern=pattern, producer=Producer.UPDATE)

    return Gemm(
        name="g",
        layer="g",
        stage=Stage.FF,
        phase=Phase.FORWARD,
        m=m,
        n=n,
        k=k,
        batch=batch,
        a=operand("a"),
        b=operand("b"),
        c="c",
    )
