"""The operations of a step as three threads in order, and who needs whom: what is the same on all machines, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Order", "Thread", "order_of"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Thread:
    """Operations in order: those that each needs, numbered through all threads, and the rows that are added up for each."""

    needs: Sequence[Sequence[int]]
    sides: Sequence[Sequence[int]]  # by need, what of a GEMM it is for: 1 operand a, 2 operand b, 3 both, or all of it
    members: Sequence[Sequence[int]]  # distinct GEMMs, or distinct pieces of work


class Order(NamedTuple):
    """Three threads (GEMMs, work between them, updates) as arrays. An operation's *place* is its number, and two more for each
    thread before its own: behind each thread come two places that never begin."""

    base: Ints  # by thread: its first place; and one more, for the end
    member_from: Ints  # by place: where its members begin
    members: Ints
    need_from: Ints  # by place: where its needs begin
    needs: Ints  # places
    sides: Ints  # beside each of these, what it is for
    planned: Ints  # (operations, 2): place and thread, each behind those that it needs
    listed: Ints  # (operations, 2): place and stage, in the order of the workload


def order_of(threads: Sequence[Thread], stages: Sequence[tuple[int, int]]) -> Order:
    """`stages`: operations, and the stage that each counts in, in the order of the workload.

    Raises ValueError where an operation needs one that never ends.
    """
    place: list[int] = []
    base = [0]
    for thread in threads:
        place += range(base[-1], base[-1] + len(thread.needs))
        base.append(base[-1] + len(thread.needs) + 2)
    needs: list[list[int]] = [[] for _ in range(base[-1])]
    members: list[list[int]] = [[] for _ in range(base[-1])]
    sides: list[list[int]] = [[] for _ in range(base[-1])]
    for thread, start in zip(threads, base, strict=False):
        for at, (its_needs, its_sides, its_members) in enumerate(zip(thread.needs, thread.sides, thread.members, strict=True)):
            needs[start + at], members[start + at] = [place[need] for need in its_needs], list(its_members)
            sides[start + at] = list(its_sides)
    planned: list[tuple[int, int]] = []
    done: set[int] = set()
    at = [0] * len(threads)
    moved = True
    while moved:
        moved = False
        for number, thread in enumerate(threads):
            while at[number] < len(thread.needs) and done.issuperset(needs[base[number] + at[number]]):
                planned.append((base[number] + at[number], number))
                done.add(base[number] + at[number])
                at[number] += 1
                moved = True
    if len(planned) < len(place):
        raise ValueError("Operations of a step must not need one that never ends")

    def listed(some: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
        starts = np.cumsum([0, *map(len, some)], dtype=np.int64)
        return starts, np.array([each for part in some for each in part], np.int64)

    return Order(
        np.array(base, np.int64),
        *listed(members),
        *listed(needs),
        listed(sides)[1],
        planned=np.array(planned, np.int64).reshape(-1, 2),
        listed=np.array([(place[op], stage) for op, stage in stages], np.int64).reshape(-1, 2),
    )
