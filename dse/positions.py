"""The points of a space as columns: where each is on each axis, in an order in which neighbours share much of their work."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.axes import Choices
from dse.grid import Space

__all__ = ["Ints", "Order", "Points"]

Ints = NDArray[np.int64]

_AROUND = ("work_buffer", "pruner", "updater", "vector", "sequencer")
"""Parts of a machine on which no GEMM's tiling depends."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """Some points: their numbers in a sweep, and their indices in the grid of its axes (of `grid` its walk says nothing)."""

    grid: Space
    numbers: Ints
    index: Ints

    def __len__(self) -> int:
        return len(self.numbers)

    def place(self, axis: int) -> Ints:
        """By point: which of the axis's choices it has."""
        return self.index // _inside(self.grid, axis) % len(self.grid.axes[axis])

    def code(self, axes: Sequence[int]) -> Ints:
        """By point: a number for the choices that it has on these axes."""
        code = np.zeros(len(self), np.int64)
        for axis in axes:
            code = code * len(self.grid.axes[axis]) + self.place(axis)
        return code

    def take(self, which: NDArray[Any]) -> "Points":
        """Some of them, by position or by mask."""
        return Points(grid=self.grid, numbers=self.numbers[which], index=self.index[which])

    def settings(self, at: int) -> dict[str, Any]:
        """The settings of one of them, by position."""
        return self.grid.settings(int(self.index[at]))


class Order:
    """The order in which a space's points are evaluated in bulk, the same in every run.

    Axes that change what is run (network, method, mapping) change slowest, those of the parts around the array fastest: points
    side by side share workloads, tilings and machines' parts, each of which is worked out once.
    """

    def __init__(self, space: Space) -> None:
        self.grid = replace(space, samples=0, seed=0, search="", population=0, chosen=None)
        self._axes = sorted(range(len(space.axes)), key=lambda axis: _pace(space.axes[axis]))
        self._size = len(space)
        self._index = self._numbers = np.zeros(0, np.int64)
        self._whole = isinstance(space.indices, range)
        if not self._whole:
            self._index = np.array(space.indices, np.int64)
            points = Points(grid=self.grid, numbers=np.arange(self._size), index=self._index)
            self._numbers = np.argsort(points.code(self._axes), kind="stable")

    def __len__(self) -> int:
        return self._size

    def points(self, start: int, stop: int) -> Points:
        """Those at the places start to stop (exclusive) of the order."""
        if not self._whole:
            numbers = self._numbers[start:stop]
            return Points(grid=self.grid, numbers=numbers, index=self._index[numbers])
        rest, index = np.arange(start, min(stop, self._size), dtype=np.int64), np.int64(0)
        for axis in reversed(self._axes):
            rest, place = np.divmod(rest, len(self.grid.axes[axis]))
            index = index + place * _inside(self.grid, axis)
        found = np.asarray(index, np.int64)
        return Points(grid=self.grid, numbers=found, index=found)


def _pace(axis: Choices) -> int:
    """How slowly an axis changes: 0 slowest."""
    fields = [name.split(".")[1] if name.startswith("accelerator.") else "" for name in axis[0]]
    return 0 if "" in fields else 2 if all(field in _AROUND for field in fields) else 1


def _inside(grid: Space, axis: int) -> int:
    """Grid points for each choice of an axis, its outer axes fixed: the last axis changes fastest."""
    size = 1
    for each in grid.axes[axis + 1 :]:
        size *= len(each)
    return size
