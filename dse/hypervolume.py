"""How good a set of points is: the volume of objective space that it beats, up to a stated reference point."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dse.pareto import nondominated

__all__ = ["Scale", "curve", "evaluations_to", "scale_of"]

_MARGIN = 0.1  # of each objective's span, beyond its worst value: so that the extremes of a front count


@dataclass(frozen=True)
class Scale:
    """Where volumes are measured: objectives (less is better) from their best known to their worst known value and a margin."""

    best: NDArray[np.float64]
    reference: NDArray[np.float64]

    def volume(self, values: NDArray[np.float64]) -> float:
        """The part of the box from `best` to `reference` that some row beats. Rows with NaN, and rows outside, beat none."""
        if not len(values):
            return 0.0
        span = np.where(self.reference > self.best, self.reference - self.best, 1.0)
        front = values[nondominated(values)]
        scaled = (front - self.best) / span
        scaled = scaled[(scaled < 1).all(axis=1)]
        if not len(scaled):
            return 0.0
        if scaled.shape[1] == 1:
            return float(1 - scaled.min())
        import moocore

        return float(moocore.hypervolume(scaled, ref=np.ones(scaled.shape[1])))


def scale_of(*sets: NDArray[np.float64]) -> Scale | None:
    """The scale that all these points share; None where none of them has numbers."""
    every = np.concatenate([values[np.isfinite(values).all(axis=1)] for values in sets]) if sets else np.empty((0, 1))
    if not len(every):
        return None
    best, worst = every.min(axis=0), every.max(axis=0)
    return Scale(best, worst + _MARGIN * np.where(worst > best, worst - best, 1.0))


def curve(values: NDArray[np.float64], scale: Scale, at: Sequence[int]) -> NDArray[np.float64]:
    """Volume after each of these numbers of evaluations (ascending), the rows being in the order of evaluation."""
    found = np.zeros(len(at))
    front, done = values[:0], 0
    for number, count in enumerate(at):
        front = np.concatenate([front, values[done:count]])
        front, done = front[nondominated(front)], count
        found[number] = scale.volume(front)
    return found


def evaluations_to(values: NDArray[np.float64], scale: Scale, volume: float) -> int | None:
    """The least number of evaluations after which the volume is at least this; None where it never is."""
    low, high = 1, len(values)
    if not high or scale.volume(values) < volume:
        return None
    while low < high:
        middle = (low + high) // 2
        if scale.volume(values[:middle]) >= volume:
            high = middle
        else:
            low = middle + 1
    return low
