"""Enumerate a space by the closed form, then search it: evaluations until 99 % of the true front's hypervolume, by seed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dse.bulk import evaluate_points
from dse.hypervolume import Scale, curve, evaluations_to, scale_of
from dse.pareto import nondominated, objective_values
from dse.positions import Order
from dse.search import baseline, run_search
from dse.space import Space, read_space

__all__ = ["BUDGET", "RANDOM", "RUN", "SEARCHERS", "SEEDS", "SHARE", "Truth", "curves", "enumerated", "needed", "searched"]

SEEDS = range(10)
SHARE = 0.99  # of the true front's hypervolume
BUDGET = 0.05  # of the grid: what a search may evaluate
RUN = 0.02  # of the grid: what it is given here
RANDOM = 0.25  # of the grid: what random search is given
SEARCHERS = (("nsga2", 30), ("nsga2", 50), ("nsga2", 100), ("nsga3", 50))
"""Kinds, and points that each asks for at a time. All else is the product's: `dse.searchers`."""

_BLOCK = 20_000
_SPACE = Path(__file__).parent / "space.toml"


@dataclass(frozen=True)
class Truth:
    """All points of the space: objectives (less is better), and the scale on which hypervolumes are measured."""

    space: Space
    frame: pd.DataFrame
    values: NDArray[np.float64]
    scale: Scale
    volume: float

    @property
    def front(self) -> int:
        """Points of the true front."""
        return int(nondominated(self.values).sum())

    def evaluate(self, indices: Sequence[int]) -> pd.DataFrame:
        """What `dse.search` asks: rows of the enumeration."""
        return self.frame.iloc[list(indices)]


def enumerated(done: Callable[[int, int], None]) -> Truth:
    """Evaluate all points. Raises ValueError if one did not run: then no front is the true one."""
    space = read_space(str(_SPACE), limit=10**7)
    order, parts = Order(space), list[pd.DataFrame]()
    for start in range(0, len(order), _BLOCK):
        parts.append(evaluate_points(order.points(start, start + _BLOCK)))
        done(min(start + _BLOCK, len(order)), len(order))
    frame = pd.concat(parts, ignore_index=True).sort_values("point", ignore_index=True)
    if not (frame["status"] == "ok").all():
        raise ValueError(f"Study's points must all run, but: {frame['status'].value_counts().to_dict()}")
    values = objective_values(frame, space.objectives)
    scale = scale_of(values)
    assert scale is not None
    return Truth(space, frame, values, scale, scale.volume(values))


def searched(truth: Truth, kind: str, population: int, seed: int, points: int) -> NDArray[np.float64]:
    """Objectives of the points that a search evaluates, in its order; "random" is one too."""
    if kind == "random":
        return baseline(truth.space, truth.evaluate, points, seed)
    space = replace(truth.space, search=kind, population=population, samples=points, seed=seed)
    return run_search(space, truth.evaluate, lambda _: None).values


def needed(truth: Truth, values: NDArray[np.float64]) -> int | None:
    """Evaluations until `SHARE` of the true hypervolume; None where they were too few."""
    return evaluations_to(values, truth.scale, SHARE * truth.volume)


def curves(truth: Truth, runs: Sequence[NDArray[np.float64]], at: Sequence[int]) -> NDArray[np.float64]:
    """Runs x `at`: share of the true hypervolume after so many evaluations."""
    return np.array([curve(values, truth.scale, at) for values in runs]) / truth.volume
