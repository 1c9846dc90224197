"""Which points of the closed form are worth an event run, and what that run says of them: errors, and changes of rank."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dse.bulk import EXACT
from dse.chunks import Chunks
from dse.constraints import BREAKS
from dse.derived import with_derived
from dse.evaluate import METRICS
from dse.expressions import parse_expression
from dse.grid import Space
from dse.pareto import nondominated, objective_values
from dse.running_front import RunningFront, part_of, shortfall, standing

__all__ = ["NEAR", "Agreement", "Choice", "RankChange", "agreement", "chosen_points", "chosen_space", "wanted_columns"]

NEAR = 0.06
"""A point is near the front if those of its points that are no worse in what the closed form knows exactly are better in the
other objectives by no more than this share: twice the closed form's worst error as `tests/theory/test_analytic.py` holds it to
(3%; two of a hundred steps of `reports/studies/closed_form` are off by more), since both points may be off by it."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Choice(NamedTuple):
    """Points to confirm: those of the front first. Of points with equal objectives only the lowest number counts."""

    points: Ints
    shortfall: Floats  # how far each is behind the front, as a share; see `dse.running_front.shortfall`
    front: Ints  # all points of the front, chosen or not
    near: int  # points on and near it, chosen or not


def wanted_columns(space: Space) -> list[str]:
    """What objectives and constraints are worked out from."""
    names = [name for objective in space.objectives for name in parse_expression(objective.column, "Objective").names]
    names += [name for constraint in space.constraints for name in constraint.names]
    return list(dict.fromkeys(("point", "status", "workload", "method", *names)))


def chosen_points(space: Space, chunks: Chunks, most: int) -> Choice:
    """The front and what is near it, the nearest first, `most` at most; of a longer front, points evenly along it."""
    columns = wanted_columns(space)
    front = RunningFront.of(space)
    for frame in chunks.frames(columns):
        front.add(part_of(frame, space))
    best, exact = front.front, np.array([_is_exact(objective.column) for objective in space.objectives])
    numbers: list[Ints] = [np.zeros(0, np.int64)]
    behind: list[Floats] = [np.zeros(0)]
    values: list[Floats] = [np.zeros((0, len(space.objectives)))]
    for frame in chunks.frames(columns) if len(best.points) else ():
        ran, some = standing(frame, space)
        short = shortfall(some, best.values, exact, NEAR)
        near = np.flatnonzero((short <= NEAR) | np.isin(ran, best.points))
        numbers.append(ran[near])
        behind.append(short[near])
        values.append(some[near])
    points, short, found = np.concatenate(numbers), np.concatenate(behind), np.concatenate(values)
    order = np.argsort(points)
    points, short, found = points[order], short[order], found[order]
    first = np.sort(np.unique(found, axis=0, return_index=True)[1])
    points, short = points[first], short[first]
    on_front = np.isin(points, best.points)
    others = np.flatnonzero(~on_front)
    others = others[np.argsort(short[others], kind="stable")]
    leading = np.flatnonzero(on_front)[np.argsort(_along(best.points, best.values, points[on_front]), kind="stable")]
    if len(leading) > most:
        leading = leading[np.unique(np.linspace(0, len(leading) - 1, most).astype(np.int64))]
    which = np.concatenate([leading, others])[:most]
    return Choice(points[which], short[which], best.points, len(points))


def _is_exact(column: str) -> bool:
    """Whether the closed form is never wrong about an objective: it does not depend on cycles."""
    return not set(parse_expression(column, "Objective").names) & set(METRICS) - set(EXACT)


def chosen_space(space: Space, points: Ints) -> Space:
    """These points of a space, by number, in this order."""
    indices = space.indices
    return replace(space, samples=0, search="", population=0, chosen=tuple(int(indices[int(point)]) for point in points))


def _along(points: Ints, values: Floats, which: Ints) -> Floats:
    """The first objective of these points of a front."""
    value = dict(zip(points.tolist(), values[:, 0].tolist(), strict=True))
    return np.array([value[number] for number in which.tolist()], np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankChange:
    """A point that is on the front by one fidelity only, or has another place in the first objective among its peers."""

    point: int
    before: int  # its place by the closed form among the confirmed points, 1 for the best first objective
    after: int  # by the event run
    was_front: bool
    is_front: bool
    error: float  # of the closed form in the first objective, as a share of the event run's


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The closed form against event runs of the same points."""

    points: int  # compared
    refused: tuple[int, ...]  # points that ran by the closed form only
    largest: dict[str, float]  # by objective: the largest error, as a share of the event run's value
    median: dict[str, float]
    kendall: dict[str, float]  # by objective: correlation of ranks; NaN where all points are equal in it
    spearman: dict[str, float]
    front: int  # points of the closed form's front among those compared
    stayed: int  # of them, those on the event runs' front
    entered: int  # on that front, and not on the closed form's
    changes: tuple[RankChange, ...]  # of points on either front, the largest change of place first


def agreement(analytic: pd.DataFrame, event: pd.DataFrame, space: Space) -> Agreement:
    """Compare tables of the two fidelities over the points (column `point`) that both have; those of the closed form ran."""
    both = sorted(set(analytic["point"]) & set(event["point"]))
    first, second = (with_derived(space, frame.set_index("point", drop=False).loc[both]) for frame in (analytic, event))
    ran = (second["status"] == "ok").to_numpy()
    refused = tuple(point for point, good in zip(both, ran, strict=True) if not good)
    first, second = first[ran], second[ran]
    before, after = (_values(frame, space) for frame in (first, second))
    fronts = [
        nondominated(np.where(_kept(frame)[:, None], values, np.nan)) for frame, values in ((first, before), (second, after))
    ]
    names = [objective.column for objective in space.objectives]
    errors = [_errors(a, e) for a, e in zip(before.T, after.T, strict=True)]
    correlations = [_correlations(a, e) for a, e in zip(before.T, after.T, strict=True)]
    places = [pd.Series(values[:, 0]).rank(method="min").to_numpy() for values in (before, after)]
    changes = [
        RankChange(
            point=int(first["point"].iloc[i]),
            before=int(places[0][i]),
            after=int(places[1][i]),
            was_front=bool(fronts[0][i]),
            is_front=bool(fronts[1][i]),
            error=float(errors[0][i]),
        )
        for i in np.flatnonzero((fronts[0] | fronts[1]) & ((fronts[0] != fronts[1]) | (places[0] != places[1])))
    ]
    return Agreement(
        points=len(first),
        refused=refused,
        largest={name: float(np.max(each, initial=0.0)) for name, each in zip(names, errors, strict=True)},
        median={name: float(np.median(each)) if len(each) else 0.0 for name, each in zip(names, errors, strict=True)},
        kendall={name: each[0] for name, each in zip(names, correlations, strict=True)},
        spearman={name: each[1] for name, each in zip(names, correlations, strict=True)},
        front=int(fronts[0].sum()),
        stayed=int((fronts[0] & fronts[1]).sum()),
        entered=int((fronts[1] & ~fronts[0]).sum()),
        changes=tuple(sorted(changes, key=lambda c: (-abs(c.after - c.before), c.point))),
    )


def _values(frame: pd.DataFrame, space: Space) -> Floats:
    return objective_values(frame, space.objectives) if len(frame) else np.zeros((0, len(space.objectives)))


def _kept(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether a point keeps the constraints."""
    return (frame[BREAKS] == "").to_numpy() if BREAKS in frame.columns else np.ones(len(frame), np.bool_)


def _errors(analytic: Floats, event: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.abs(analytic - event) / np.abs(event)
    return np.where(analytic == event, 0.0, found)


def _correlations(analytic: Floats, event: Floats) -> tuple[float, float]:
    """Kendall's tau-b and Spearman's rho."""
    if len(analytic) < 2 or np.ptp(analytic) == 0 or np.ptp(event) == 0:
        return float("nan"), float("nan")
    mine, other = pd.Series(analytic), pd.Series(event)
    return float(mine.corr(other, method="kendall")), float(mine.corr(other, method="spearman"))  # by scipy
