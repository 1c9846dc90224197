"""Which axes of a space a result depends on: Sobol indices over the axes, or a model's importances from rows that are there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dse.axes import is_ordered
from dse.config import ConfigError
from dse.derived import with_derived
from dse.extras import need_packages
from dse.grid import Space
from dse.objectives import Objective
from dse.pareto import objective_values

__all__ = ["Influence", "Sensitivity", "importances", "sentence", "sobol"]

_LEAST_ROWS = 30  # below which a model of the rows is a guess
_LITTLE = 0.01  # of the variance: a parameter that hardly matters


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """Of one axis, as shares of the result's variance: alone, and with all its interactions. Half-widths of 95 % confidence
    intervals; NaN where the method has none."""

    axis: str  # its settings' names, " + " between linked ones
    first: float
    first_half_width: float
    total: float
    total_half_width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Of one result column, largest influence first; empty where all values are equal."""

    column: str
    influences: tuple[Influence, ...]
    evaluations: int
    distinct: int  # of them, different points
    missing: int  # evaluations without a number: they count as the mean of the others
    seed: int
    method: str


def _axes(space: Space) -> list[tuple[int, str]]:
    """Numbers and names of the axes that have a choice."""
    return [(number, " + ".join(axis[0])) for number, axis in enumerate(space.axes) if len(axis) > 1]


def _column(space: Space, frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """The result by row; NaN where a point did not run."""
    objective = (Objective(column, True),)
    frame = with_derived(replace(space, objectives=objective, constraints=()), frame)
    found = np.full(len(frame), np.nan)
    ran = (frame["status"] == "ok").to_numpy()
    if ran.any():
        found[ran] = objective_values(frame[ran], objective)[:, 0]
    return np.where(np.isfinite(found), found, np.nan)


def sobol(
    space: Space, evaluate: Callable[[Sequence[int]], pd.DataFrame], column: str, *, samples: int, seed: int
) -> Sensitivity:
    """First-order and total Sobol indices by Saltelli's scheme (SALib), every choice of an axis being equally likely.

    `samples` (a power of two) times the number of axes plus two evaluations; equal points are evaluated once. Raises
    ConfigError where no point has a number.
    """
    axes = _axes(space)
    if not axes:
        raise ConfigError(f"Space {space.title!r} must have an axis of two choices for its sensitivity")
    if samples < 2 or samples & (samples - 1):
        raise ConfigError(f"Sensitivity field 'samples' must be a power of two of at least 2, not {samples}")
    need_packages("Sensitivity", "search", {"SALib": "SALib"})
    from SALib.analyze import sobol as analysis  # brings SciPy, which most commands do without
    from SALib.sample import sobol as sampling

    lengths = [len(space.axes[number]) for number, _ in axes]
    # SALib takes a seed of 0 for none.
    problem: dict[str, Any] = {
        "num_vars": len(axes),
        "names": [name for _, name in axes],
        "bounds": [[0.0, float(length)] for length in lengths],
    }
    drawn = np.asarray(sampling.sample(problem, samples, calc_second_order=False, seed=seed + 1))
    places = np.minimum(drawn.astype(np.int64), np.array(lengths) - 1)
    strides = {number: 1 for number, _ in axes}
    stride = 1
    for number in reversed(range(len(space.axes))):
        strides[number] = stride
        stride *= len(space.axes[number])
    indices = places @ np.array([strides[number] for number, _ in axes], np.int64)
    distinct, which = np.unique(indices, return_inverse=True)
    values = _column(space, evaluate([int(index) for index in distinct]), column)[which]
    missing = np.isnan(values)
    if missing.all():
        raise ConfigError(f"Objective {column!r} must have a number for some point of space {space.title!r}, but has none")
    values = np.where(missing, values[~missing].mean(), values)
    found: tuple[Influence, ...] = ()
    if np.ptp(values) > 0:
        scaled = (values - values.mean()) / values.std()
        result = analysis.analyze(problem, scaled, calc_second_order=False, seed=seed + 1)
        rows = zip(problem["names"], result["S1"], result["S1_conf"], result["ST"], result["ST_conf"], strict=True)
        found = tuple(
            Influence(axis=name, first=float(s), first_half_width=float(sc), total=float(t), total_half_width=float(tc))
            for name, s, sc, t, tc in rows
        )
    return Sensitivity(
        column=column,
        influences=_sorted(found),
        evaluations=len(values),
        distinct=len(distinct),
        missing=int(missing.sum()),
        seed=seed,
        method="Sobol indices",
    )


def importances(space: Space, frame: pd.DataFrame, column: str, *, seed: int) -> Sensitivity:
    """Shares of the variance that a random forest of the rows gives to each axis alone, of what it gives to all of them
    (fANOVA, Optuna), from points that were evaluated anyway.

    `frame`: rows of the space with their settings. Raises ConfigError where there are too few.
    """
    values = _column(space, frame, column)
    rows = np.flatnonzero(~np.isnan(values))
    axes = _axes(space)
    if len(rows) < _LEAST_ROWS:
        raise ConfigError(f"Folder must hold at least {_LEAST_ROWS} points with a number for {column!r}, not {len(rows)}")
    need_packages("Sensitivity by stored rows", "search", {"optuna": "optuna", "sklearn": "scikit-learn"})
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions: dict[str, Any] = {}
    places: dict[str, list[int]] = {}
    for number, name in axes:
        axis = space.axes[number]
        first = next(iter(axis[0]))
        order = {repr(choice[first]): at for at, choice in enumerate(axis)}
        ordered = is_ordered(axis)
        kinds = optuna.distributions
        last = len(axis) - 1
        distributions[name] = (
            kinds.IntDistribution(0, last) if ordered else kinds.CategoricalDistribution(tuple(range(last + 1)))
        )
        places[name] = [order[repr(value)] for value in frame[first].iloc[rows].tolist()]
    study = optuna.create_study(direction="minimize")
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={name: places[name][at] for name in places}, distributions=distributions, value=float(values[row])
            )
            for at, row in enumerate(rows)
        ]
    )
    found: dict[str, float] = {}
    if np.ptp(values[rows]) > 0:
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, params=list(places))
    nan = float("nan")
    return Sensitivity(
        column=column,
        influences=_sorted(
            tuple(
                Influence(axis=name, first=float(share), first_half_width=nan, total=nan, total_half_width=nan)
                for name, share in found.items()
            )
        ),
        evaluations=len(frame),
        distinct=len(frame),
        missing=len(frame) - len(rows),
        seed=seed,
        method="Importances by fANOVA (shares of what the axes explain alone)",
    )


def _sorted(influences: tuple[Influence, ...]) -> tuple[Influence, ...]:
    return tuple(sorted(influences, key=lambda i: -(i.first if np.isnan(i.total) else i.total)))


def sentence(found: Sensitivity) -> str:
    """The plain answer."""
    if not found.influences:
        return f"{found.column} is the same at every point that was evaluated: no axis matters."
    first = found.influences[0]
    text = f"{found.column} depends most on {first.axis}: {_share(first.first)} of its variance alone"
    if not np.isnan(first.total):
        text += f", {_share(first.total)} with its interactions"
    if len(found.influences) > 1:
        second = found.influences[1]
        text += f"; then on {second.axis} ({_share(second.first if np.isnan(second.total) else second.total)})"
    little = [i.axis for i in found.influences if (i.first if np.isnan(i.total) else i.total) < _LITTLE]
    return text + (f"; less than {_LITTLE:.0%} comes from {', '.join(little)}." if little else ".")


def _share(value: float) -> str:
    return f"{min(max(value, 0.0), 1.0):.0%}"
