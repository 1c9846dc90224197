"""The Pareto front of points that come in parts, its hypervolume so far, and how near to it other points are."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dse.constraints import BREAKS
from dse.derived import with_derived
from dse.grid import Space
from dse.pareto import nondominated, objective_values

__all__ = ["FrontPart", "RunningFront", "part_of", "shortfall", "standing"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FEW = 32  # points of a front that stand in for all of it in a first look
_BLOCK = 4096  # points whose distances to a front are worked out at once: some megabytes


class FrontPart(NamedTuple):
    """Of some points: those that none of the others beats, by number, and their objectives, all to be minimized. Of points with
    equal objectives the one of the lowest number. And the worst of all that ran, by objective."""

    points: Ints
    values: Floats
    worst: Floats

    @classmethod
    def none(cls, objectives: int) -> Self:
        """Of no points."""
        return cls(np.zeros(0, np.int64), np.zeros((0, objectives)), np.full(objectives, -np.inf))


def standing(frame: pd.DataFrame, space: Space) -> tuple[Ints, Floats]:
    """Numbers and objectives (all to be minimized) of a table's points that ran, keep the constraints, and have numbers. The
    table has columns `point`, `status`, and all that objectives and constraints name."""
    ran = with_derived(space, frame[(frame["status"] == "ok").to_numpy()])
    if BREAKS in ran.columns:
        ran = ran[(ran[BREAKS] == "").to_numpy()]
    if ran.empty:
        return np.zeros(0, np.int64), np.zeros((0, len(space.objectives)))
    points, values = ran["point"].to_numpy(np.int64), objective_values(ran, space.objectives)
    finite = np.isfinite(values).all(axis=1)
    return points[finite], values[finite]


def part_of(frame: pd.DataFrame, space: Space) -> FrontPart:
    """Of a table as `standing` has it."""
    points, values = standing(frame, space)
    return _front(points, values, values.max(axis=0, initial=-np.inf))


def _front(points: Ints, values: Floats, worst: Floats) -> FrontPart:
    order = np.argsort(points, kind="stable")
    points, values = points[order], values[order]
    best = nondominated(values)
    points, values = points[best], values[best]
    first = np.sort(np.unique(values, axis=0, return_index=True)[1])
    return FrontPart(points[first], values[first], worst)


@dataclass(slots=True)
class RunningFront:
    """The front of the parts so far. `reference` is the worst of the first part that had points: what the hypervolume is
    measured from. Nothing that is worse than it in an objective adds to the hypervolume."""

    front: FrontPart
    reference: Floats | None = None

    @classmethod
    def of(cls, space: Space) -> Self:
        return cls(FrontPart.none(len(space.objectives)))

    def add(self, part: FrontPart) -> None:
        if not len(part.points):
            return
        if self.reference is None:
            self.reference = part.worst
        points = np.concatenate([self.front.points, part.points])
        values = np.concatenate([self.front.values, part.values])
        self.front = _front(points, values, np.maximum(self.front.worst, part.worst))

    @property
    def hypervolume(self) -> float:
        """Of what the front beats, down to the reference, in the product of the objectives' units; 0 of no point."""
        if self.reference is None:
            return 0.0
        values = self.front.values
        if values.shape[1] == 1:
            return max(0.0, float(self.reference[0] - values.min()))
        import moocore  # loads a library in C, which most commands do without

        return float(moocore.hypervolume(values, ref=self.reference))


def shortfall(values: Floats, front: Floats, exact: NDArray[np.bool_], most: float) -> Floats:
    """By row of `values`, how far it is behind the front, as a share; above `most` it may be any number above.

    That is the greatest share by which a point of the front is better in every objective that isn't `exact`, among those that
    are no worse in every one that is; minus infinity where there is no such point, infinity where all are exact and there is.
    All objectives are to be minimized. If those that aren't exact may be off by a share e, here and on the front, a point that
    is behind by less than some 2 e may belong to the front.
    """
    found = np.full(len(values), -np.inf)
    few = front[np.linspace(0, len(front) - 1, min(_FEW, len(front))).astype(np.int64)] if len(front) else front
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        some = _shortfall(block, few, exact)
        near = np.flatnonzero(some <= most)
        if len(few) < len(front) and near.size:
            some[near] = _shortfall(block[near], front, exact)
        found[start : start + _BLOCK] = some
    return found


def _shortfall(values: Floats, front: Floats, exact: NDArray[np.bool_]) -> Floats:
    least = np.full((len(values), len(front)), np.inf)
    for mine, best, sure in zip(values.T[:, :, None], front.T[:, None, :], exact, strict=True):
        if sure:
            share = np.where(best <= mine, np.inf, -np.inf)
        else:
            size = np.maximum(np.abs(mine), np.abs(best))
            share = np.where(size > 0, (mine - best) / np.where(size > 0, size, 1.0), 0.0)
        np.minimum(least, share, out=least)
    return least.max(axis=1, initial=-np.inf)
