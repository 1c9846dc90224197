"""The Pareto front of evaluated points, and three of it to talk about."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dse.config import ConfigError
from dse.space import Objective

__all__ = ["candidates", "front_of", "objective_values"]


def objective_values(frame: pd.DataFrame, objectives: tuple[Objective, ...]) -> NDArray[np.float64]:
    """Points x objectives, all to be minimized; NaN where a point has no number.

    Raises ConfigError for an objective that is not a number column of the results.
    """
    columns: list[NDArray[np.float64]] = []
    for objective in objectives:
        if objective.column not in frame.columns:
            known = ", ".join(sorted(str(c) for c in frame.select_dtypes("number").columns))
            raise ConfigError(f"Objective {objective.column!r} must be a number column of the results, one of: {known}")
        values = pd.to_numeric(frame[objective.column], errors="coerce").to_numpy(np.float64)
        columns.append(values if objective.minimize else -values)
    return np.stack(columns, axis=1)


def front_of(frame: pd.DataFrame, objectives: tuple[Objective, ...]) -> pd.DataFrame:
    """The points that no other one beats, sorted by the first objective. Equal points all stay; those with NaN are left out."""
    values = objective_values(frame, objectives)
    order = np.lexsort(values.T[::-1])
    front: list[int] = []
    best = np.empty((0, len(objectives)))
    for i in order:  # in this order a point can only be beaten by one before it
        if np.isnan(values[i]).any():
            continue
        beaten = ((best <= values[i]).all(axis=1) & (best < values[i]).any(axis=1)).any()
        if not beaten:
            front.append(int(i))
            best = np.vstack([best, values[i]])
    return frame.iloc[front]


def candidates(front: pd.DataFrame, objectives: tuple[Objective, ...]) -> dict[str, str]:
    """Keys of three points of a front: the best in the first objective ("fastest"), the best in the second ("smallest"),
    and the one nearest to the best of all of them at once, each on a scale from the front's best to its worst ("knee")."""
    if front.empty:
        return {}
    values = objective_values(front, objectives)
    span = values.max(axis=0) - values.min(axis=0)
    scaled = (values - values.min(axis=0)) / np.where(span > 0, span, 1)
    keys = front["key"].tolist()
    second = values[:, min(1, values.shape[1] - 1)]
    return {
        "fastest": keys[int(np.lexsort((second, values[:, 0]))[0])],
        "smallest": keys[int(np.lexsort((values[:, 0], second))[0])],
        "knee": keys[int(np.argmin((scaled**2).sum(axis=1)))],
    }
