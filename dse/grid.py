"""A space of design points: a base, axes over any of its settings, and how to walk it."""

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.accuracy import Accuracy
from dse.axes import Choice, Choices
from dse.config import ConfigError
from dse.constraints import Constraint
from dse.objectives import Objective

__all__ = ["Space"]

_BLOCK = 1 << 20  # points whose constraints on settings are looked at together
_TRIES = 1000  # points drawn at random for each that keeps the constraints, at most


@dataclass(frozen=True, kw_only=True)
class Space:
    """Axes over a base. Point i is the i-th of `indices`: of the grid, of a seeded random sample without repetition, or of
    the points that a search has chosen so far. Points whose settings break a constraint are none of the space's.
    """

    title: str
    base: Choice
    axes: tuple[Choices, ...]
    objectives: tuple[Objective, ...]
    samples: int = 0  # 0: the whole grid
    seed: int = 0
    search: str = ""  # a kind of `dse.search`, which chooses `samples` points; none: grid or random sample
    population: int = 0  # points that a search asks for at a time; 0: as it likes
    constraints: tuple[Constraint, ...] = ()
    accuracies: tuple[Accuracy, ...] = ()
    chosen: Sequence[int] | None = None  # grid points, in the order in which a search asked for them

    @property
    def size(self) -> int:
        """Points of the grid."""
        return math.prod(len(axis) for axis in self.axes)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def varied(self) -> list[str]:
        """Settings that differ between points."""
        return [name for axis in self.axes for name in axis[0] if len({repr(choice[name]) for choice in axis}) > 1]

    @property
    def names(self) -> list[str]:
        """All settings that this space gives, of points that it gives them."""
        return list(dict.fromkeys((*self.base, *(name for axis in self.axes for name in axis[0]))))

    def settings(self, index: int) -> Choice:
        """The settings of grid point `index`: the last axis changes fastest."""
        chosen = dict(self.base)
        for axis in reversed(self.axes):
            index, position = divmod(index, len(axis))
            chosen |= axis[position]
        return chosen

    @cached_property
    def indices(self) -> Sequence[int]:
        """Which grid points the space has, in its order. Raises ConfigError where fewer than `samples` keep the constraints."""
        if self.chosen is not None or self.search:
            return self.chosen or ()
        if not self.on_settings:
            return random.Random(self.seed).sample(range(self.size), self.samples) if self.samples else range(self.size)
        if not self.samples or self.size <= _BLOCK:
            kept = [int(index) for index in self._kept()]
            if self.samples > len(kept):
                raise ConfigError(
                    f"Space {self.title!r}: points must be at most the {len(kept):,} whose settings keep the constraints, "
                    f"not {self.samples:,}"
                )
            return random.Random(self.seed).sample(kept, self.samples) if self.samples else kept
        return self._drawn()

    @property
    def on_settings(self) -> tuple[Constraint, ...]:
        """Constraints that can be looked at before a point is evaluated."""
        names = set(self.names)
        return tuple(constraint for constraint in self.constraints if names.issuperset(constraint.names))

    def keeps(self, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the settings of each of these grid points keep the constraints."""
        kept = np.ones(len(indices), bool)
        for constraint in self.on_settings:
            kept &= constraint.kept(self.columns(indices, constraint.names))
        return kept

    def columns(self, indices: NDArray[np.int64], names: Iterable[str]) -> dict[str, NDArray[Any]]:
        """Settings of many grid points, by name."""
        found: dict[str, NDArray[Any]] = {}
        for name in names:
            stride = self.size
            for axis in self.axes:
                stride //= len(axis)
                if name in axis[0]:
                    values = _array([choice[name] for choice in axis])
                    found[name] = values[indices // stride % len(axis)]
            if name not in found:
                found[name] = np.repeat(_array([self.base[name]]), len(indices))
        return found

    def __iter__(self) -> Iterator[Choice]:
        return (self.settings(index) for index in self.indices)

    def point_settings(self, number: int) -> Choice:
        """The settings of the number-th point of the sweep. Raises ConfigError past its end."""
        if not 0 <= number < len(self):
            raise ConfigError(f"Point must be one of 0 to {len(self) - 1} of space {self.title!r}, not {number}")
        return self.settings(self.indices[number])

    def _kept(self) -> Iterator[np.int64]:
        for start in range(0, self.size, _BLOCK):
            block = np.arange(start, min(start + _BLOCK, self.size), dtype=np.int64)
            yield from block[self.keeps(block)]

    def _drawn(self) -> Sequence[int]:
        """A sample of a large grid: points at random, those that break a constraint left out."""
        walk, found = random.Random(self.seed), dict[int, None]()
        for _ in range(_TRIES):
            drawn = [walk.randrange(self.size) for _ in range(self.samples)]
            kept = self.keeps(np.array(drawn, np.int64))
            found |= dict.fromkeys(index for index, good in zip(drawn, kept, strict=True) if good)
            if len(found) >= self.samples:
                return list(found)[: self.samples]
        raise ConfigError(
            f"Space {self.title!r}: of {_TRIES * self.samples:,} points drawn at random only {len(found):,} have settings "
            f"that keep the constraints, not {self.samples:,}; loosen them, or ask for fewer points"
        )


def _array(values: list[Any]) -> NDArray[Any]:
    """Values as a column: numbers as such, lists and mixtures as objects."""
    if all(type(value) in (int, float) for value in values) or all(type(value) is bool for value in values):
        return np.array(values)
    found = np.empty(len(values), object)
    found[:] = values
    return found
