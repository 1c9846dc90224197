"""The Pareto front of evaluated points, and three of it to talk about."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dse.config import ConfigError
from dse.constraints import BREAKS
from dse.expressions import close_to, numbers, parse_expression
from dse.objectives import Objective

__all__ = ["candidates", "front_of", "nondominated", "objective_values"]

_TIME = ("latency_ms", "cycles", "cycles_per_image", "images_per_second")
_SIZE = ("multipliers", "storage_bits")


def objective_values(frame: pd.DataFrame, objectives: tuple[Objective, ...]) -> NDArray[np.float64]:
    """Points x objectives, all to be minimized; NaN where a point has no number.

    Raises ConfigError for an objective that is neither a number column of the results nor arithmetic over them.
    """
    columns: list[NDArray[np.float64]] = []
    for objective in objectives:
        values = numbers(_values(frame, objective.column))
        columns.append(values if objective.minimize else -values)
    return np.stack(columns, axis=1)


def _values(frame: pd.DataFrame, column: str) -> NDArray[np.generic]:
    known = sorted(str(name) for name in frame.select_dtypes("number").columns)
    if column in known:
        return frame[column].to_numpy()
    expression = parse_expression(column, f"Objective {column!r}")
    for name in expression.names or (column,):
        if name not in known:
            raise ConfigError(f"Objective {column!r} must be a number column of the results{close_to(name, known)}")
    return np.broadcast_to(expression.of({name: frame[name] for name in expression.names}), len(frame))


def nondominated(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows no other row beats: nowhere worse and somewhere better, less being better. Equal rows all stay; those with
    NaN, and those with an infinite value, are left out."""
    rows = np.flatnonzero(np.isfinite(values).all(axis=1))
    found, some = np.zeros(len(values), bool), values[rows]
    if len(some):
        import moocore  # loads a library in C, which most commands do without

        one = values.shape[1] == 1  # the library wants two columns
        found[rows] = some[:, 0] == some.min() if one else moocore.is_nondominated(some, keep_weakly=True)
    return found


def front_of(frame: pd.DataFrame, objectives: tuple[Objective, ...]) -> pd.DataFrame:
    """The points that no other one beats, sorted by the first objective. Equal points all stay; those with NaN are left out,
    and so are those that break a constraint (column `BREAKS`)."""
    values = objective_values(frame, objectives)
    if BREAKS in frame.columns:
        values[frame[BREAKS].fillna("").to_numpy() != ""] = np.nan
    front = np.flatnonzero(nondominated(values))
    return frame.iloc[front[np.lexsort(values[front].T[::-1])]]


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
