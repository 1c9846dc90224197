"""The Pareto front of evaluated points, and three of it to talk about."""

import difflib

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dse.config import ConfigError
from dse.space import Objective

__all__ = ["candidates", "front_of", "objective_values"]

_TIME = ("latency_ms", "cycles", "cycles_per_image", "images_per_second")
_SIZE = ("multipliers", "storage_bits")


def objective_values(frame: pd.DataFrame, objectives: tuple[Objective, ...]) -> NDArray[np.float64]:
    """Points x objectives, all to be minimized; NaN where a point has no number.

    Raises ConfigError for an objective that is not a number column of the results.
    """
    columns: list[NDArray[np.float64]] = []
    for objective in objectives:
        known = sorted(str(column) for column in frame.select_dtypes("number").columns)
        if objective.column not in known:
            close = difflib.get_close_matches(objective.column, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f", one of: {', '.join(known)}"
            raise ConfigError(f"Objective {objective.column!r} must be a number column of the results{hint}")
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
    """Keys of up to three points of a front: the best in the first objective, the best in the second, and the one nearest
    to the best of all of them at once, each on a scale from the front's best to its worst ("knee").

    The best of a measure of time is called "fastest", of a measure of size "smallest", of others by the column's name.
    """
    if front.empty:
        return {}
    values = objective_values(front, objectives)
    span = values.max(axis=0) - values.min(axis=0)
    scaled = (values - values.min(axis=0)) / np.where(span > 0, span, 1)
    keys = front["key"].tolist()
    second = values[:, min(1, values.shape[1] - 1)]
    named = {_best(objectives[0].column): keys[int(np.lexsort((second, values[:, 0]))[0])]}
    if len(objectives) > 1:
        named.setdefault(_best(objectives[1].column), keys[int(np.lexsort((values[:, 0], second))[0])])
    return named | {"knee": keys[int(np.argmin((scaled**2).sum(axis=1)))]}


def _best(column: str) -> str:
    words = {"fastest": _TIME, "smallest": _SIZE}
    return next((word for word, columns in words.items() if column in columns), f"best {column}")
