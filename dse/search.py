"""Search a space for its Pareto front in batches, and say what random search finds with as many evaluations."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dse.derived import with_derived
from dse.grid import Space
from dse.hypervolume import Scale, curve, scale_of
from dse.pareto import nondominated, objective_values
from dse.searchers import POPULATION, searcher_of

__all__ = ["Baseline", "Evaluate", "State", "baseline", "compared", "random_space", "run_search"]

Evaluate = Callable[[Sequence[int]], pd.DataFrame]
"""Rows of grid points, in the order asked: settings, `status` and, where that is "ok", the columns of a run."""

_DRY = 20  # batches without a new point, after which a searcher has no more to say
_CHECKPOINTS = 10
_DRAWN = 1000  # points that are drawn at random together
_DRAWS = 1000  # times, of a space too large to be gone through


@dataclass(frozen=True, kw_only=True)
class State:
    """After each batch: grid points asked for so far, in order, and their objectives (less is better; NaN: off the front)."""

    chosen: tuple[int, ...]
    values: NDArray[np.float64]

    @property
    def front(self) -> int:
        """Points on the front so far."""
        return int(nondominated(self.values).sum())


def run_search(space: Space, evaluate: Evaluate, report: Callable[[State], None]) -> State:
    """Evaluate `space.samples` points of the space, chosen by its searcher. No point is evaluated twice, none whose settings
    break a constraint is evaluated at all, and neither counts.

    The same space, seed and results give the same points in the same order: a search that was stopped goes on where it
    stopped if `evaluate` answers from a store. Where the searcher finds no new points, the rest is drawn at random.
    """
    searcher, known = searcher_of(space), dict[int, int]()  # grid point: row of values
    rest = _rest(space, known)
    values, violations = np.empty((0, len(space.objectives))), np.empty((0, len(space.constraints) + 1))
    dry = 0
    while len(known) < space.samples:
        asked = searcher.ask() if dry < _DRY else []
        kept = space.keeps(np.array(asked, np.int64)).tolist()
        fresh = [index for index in dict.fromkeys(i for i, good in zip(asked, kept, strict=True) if good) if index not in known]
        dry = dry + 1 if not fresh else 0
        if not asked:
            dry = _DRY
            fresh = [index for _, index in zip(range(space.population or POPULATION), rest, strict=False)]
            if not fresh:
                break  # the space has no more points
        fresh = fresh[: space.samples - len(known)]
        if fresh:
            frame = evaluate(fresh)
            more, limits = _judged(space, frame)
            known |= {index: len(values) + number for number, index in enumerate(fresh)}
            values, violations = np.concatenate([values, more]), np.concatenate([violations, limits])
            report(State(chosen=tuple(known), values=_feasible(values, violations)))
        if asked and len(known) < space.samples:
            searcher.tell(*_answers(space, asked, known, values, violations))
    return State(chosen=tuple(known), values=_feasible(values, violations))


def _rest(space: Space, known: dict[int, int]) -> Iterator[int]:
    """Points that were not asked for yet, at random, as long as some are found that keep the constraints."""
    walk = random.Random(space.seed)
    if space.size <= 1 << 20:
        order = walk.sample(range(space.size), space.size)
        for start in range(0, space.size, _DRAWN):
            yield from (index for index in _kept(space, order[start : start + _DRAWN]) if index not in known)
        return
    given = set[int]()
    for _ in range(_DRAWS):
        for index in _kept(space, [walk.randrange(space.size) for _ in range(_DRAWN)]):
            if index not in known and index not in given:
                given.add(index)
                yield index


def _kept(space: Space, indices: list[int]) -> list[int]:
    """Those whose settings keep the constraints."""
    return [index for index, good in zip(indices, space.keeps(np.array(indices, np.int64)).tolist(), strict=True) if good]


def _judged(space: Space, frame: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Objectives (NaN where there is no number) and violations of constraints; the last violation: that the point can't run."""
    frame = with_derived(space, frame)
    ran = (frame["status"] == "ok").to_numpy()
    values = np.full((len(frame), len(space.objectives)), np.nan)
    limits = np.zeros((len(frame), len(space.constraints) + 1))
    if ran.any():
        values[ran] = objective_values(frame[ran], space.objectives)
        for number, constraint in enumerate(space.constraints):
            missing = {name: np.full(len(frame), np.nan) for name in constraint.names if name not in frame.columns}
            columns = {name: frame[name].to_numpy() for name in constraint.names if name in frame.columns} | missing
            limits[:, number] = np.where(ran, constraint.violation(columns), 0)
    limits[:, -1] = np.where(np.isfinite(values).all(axis=1), 0.0, 1.0)
    if {"demand", "limit"} <= set(frame.columns):  # how much too large it is shows the way back
        demand, limit = (pd.to_numeric(frame[name], errors="coerce").to_numpy(float) for name in ("demand", "limit"))
        with np.errstate(all="ignore"):
            over = demand / limit - 1
        limits[:, -1] += np.where(~ran & np.isfinite(over) & (over > 0), np.minimum(over, 1e6), 0)
    return values, limits


def _feasible(values: NDArray[np.float64], violations: NDArray[np.float64]) -> NDArray[np.float64]:
    broken = np.any(violations > 0, axis=1, keepdims=True)
    return np.where(broken, np.nan, values)


def _answers(
    space: Space, asked: list[int], known: dict[int, int], values: NDArray[np.float64], violations: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a searcher is told. Points without numbers get the worst known ones: libraries want numbers."""
    rows = [known.get(index, -1) for index in asked]
    finite = values[np.isfinite(values).all(axis=1)]
    worst = finite.max(axis=0) if len(finite) else np.zeros(values.shape[1])
    told, limits = np.tile(worst, (len(asked), 1)), np.zeros((len(asked), violations.shape[1]))
    grid = np.array(asked, np.int64)
    numbers = {constraint: number for number, constraint in enumerate(space.constraints)}
    outside = np.array([row < 0 for row in rows])
    for number, row in enumerate(rows):
        if row >= 0:
            told[number] = values[row] if np.isfinite(values[row]).all() else worst
            limits[number] = violations[row]
    for constraint in space.on_settings if outside.any() else ():
        found = constraint.violation(space.columns(grid, constraint.names))
        limits[outside, numbers[constraint]] = found[outside]
    limits[outside, -1] = 1.0  # it was not evaluated
    return told, limits


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Hypervolume against evaluations, of a search and of random search. Volumes are shares of that of all points together."""

    scale: Scale
    at: tuple[int, ...]
    search: NDArray[np.float64]
    seeds: tuple[int, ...]
    random: NDArray[np.float64]  # seeds x at

    def frame(self) -> pd.DataFrame:
        """A row for each number of evaluations: the search's share, then that of each random search."""
        columns = {f"random, seed {seed}": row for seed, row in zip(self.seeds, self.random, strict=True)}
        return pd.DataFrame({"evaluations": self.at, "search": self.search} | columns)


def random_space(space: Space, seed: int, count: int) -> Space:
    """Random search of a space with as many evaluations."""
    return replace(space, search="", samples=count, seed=seed, chosen=None)


def baseline(space: Space, evaluate: Evaluate, count: int, seed: int) -> NDArray[np.float64]:
    """Objectives of a random sample, in the order of evaluation; NaN for points that are not allowed on the front."""
    indices = list(random_space(space, seed, count).indices)
    return _feasible(*_judged(space, evaluate(indices)))


def compared(search: NDArray[np.float64], random: dict[int, NDArray[np.float64]]) -> Baseline | None:
    """A search beside random searches, by seed; None where no point of any of them may stand on a front."""
    scale = scale_of(search, *random.values())
    if scale is None:
        return None
    whole = scale.volume(np.concatenate([search, *random.values()]))
    count = len(search)
    at = tuple(sorted({max(1, count * step // _CHECKPOINTS) for step in range(1, _CHECKPOINTS + 1)}))
    share = whole or 1.0
    return Baseline(
        scale=scale,
        at=at,
        search=curve(search, scale, at) / share,
        seeds=tuple(random),
        random=np.array([curve(values, scale, at) / share for values in random.values()]).reshape(len(random), len(at)),
    )
