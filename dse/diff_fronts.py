"""What a comparison of two stores says of ranks, limits and fronts: one set of objectives and constraints, held to both."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dse.config import ConfigError
from dse.constraints import BREAKS, Constraint
from dse.derived import with_derived
from dse.grid import Space
from dse.objectives import Objective
from dse.pareto import front_of, objective_values
from dse.sides import Side

__all__ = ["FrontChange", "Fronts", "LimitChange", "compare_fronts"]


class FrontChange(NamedTuple):
    """A point that left or entered the front, and why."""

    point: str
    reason: str


class LimitChange(NamedTuple):
    """A point that ran on both sides and breaks other constraints than it did; "" where it keeps all."""

    point: str
    old: str
    new: str


@dataclass(frozen=True, kw_only=True)
class Fronts:
    """Of both sides."""

    objectives: tuple[Objective, ...] = ()
    constraints: tuple[str, ...] = ()
    kept: tuple[int, int] = (0, 0)  # points that ran and keep all constraints, of OLD and NEW
    limits: tuple[LimitChange, ...] = ()
    moved: int = 0  # points whose rank by the first objective changed, of those that keep all constraints on both sides
    ranked: int = 0
    furthest: tuple[str, int, int] | None = None  # the point whose rank changed most, its old and its new rank
    left: tuple[FrontChange, ...] = ()
    entered: tuple[FrontChange, ...] = ()
    front: tuple[int, int] = (0, 0)  # points of the old and the new one
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Ran:
    """The points of a side that ran: their objectives, less being better, and what they break, by row of the side."""

    side: Side
    places: dict[int, int]
    values: NDArray[np.float64]
    breaks: dict[int, str]
    front: list[int]

    @classmethod
    def of(cls, side: Side, wanted: Space) -> "_Ran":
        frame = with_derived(wanted, side.frame)
        good = frame[frame["status"] == "ok"]
        broken = good[BREAKS] if BREAKS in good.columns else pd.Series("", index=good.index)
        return cls(
            side=side,
            places={int(row): place for place, row in enumerate(good.index)},
            values=objective_values(good, wanted.objectives),
            breaks={int(row): str(text) for row, text in broken.items() if text},  # pyright: ignore[reportArgumentType]
            front=[int(row) for row in front_of(good, wanted.objectives).index],
        )


def compare_fronts(
    sides: tuple[Side, Side],
    pairs: list[tuple[int, int]],
    objectives: tuple[Objective, ...],
    constraints: tuple[Constraint, ...],
    *,
    asked: bool,
) -> Fronts:
    """Ranks, limits and fronts, where both stores have the columns. Raises ConfigError where they don't, if `asked` for."""
    if not objectives:
        return Fronts(notes=("a store alone has no objectives: --minimize and --maximize name some",))
    if not all((side.frame["status"] == "ok").any() for side in sides):
        return Fronts(notes=("no ranks and no fronts: there is a store in which no point ran",))
    accuracies = (sides[0].accuracies or sides[1].accuracies, sides[1].accuracies or sides[0].accuracies)
    wanted = Space(title="", base={}, axes=(), objectives=objectives, constraints=constraints)
    try:
        old, new = (_Ran.of(s, replace(wanted, accuracies=rows)) for s, rows in zip(sides, accuracies, strict=True))
    except ConfigError as error:
        if asked:
            raise
        return Fronts(notes=(f"no ranks and no fronts: {error}",))
    ran = [(i, j) for i, j in pairs if i in old.places and j in new.places]
    both = [(i, j) for i, j in ran if i not in old.breaks and j not in new.breaks]
    ranks = (_ranks(old.values[[old.places[i] for i, _ in both], 0]), _ranks(new.values[[new.places[j] for _, j in both], 0]))
    moves = ranks[1] - ranks[0]
    furthest = None
    if moves.any():
        at = int(np.abs(moves).argmax())
        furthest = (sides[1].names[both[at][1]], int(ranks[0][at]), int(ranks[1][at]))
    to_new, to_old = dict(pairs), {j: i for i, j in pairs}
    return Fronts(
        objectives=objectives,
        constraints=tuple(constraint.text for constraint in constraints),
        kept=(len(old.places) - len(old.breaks), len(new.places) - len(new.breaks)),
        limits=tuple(
            LimitChange(sides[1].names[j], old.breaks.get(i, ""), new.breaks.get(j, ""))
            for i, j in ran
            if old.breaks.get(i) != new.breaks.get(j)
        ),
        moved=int(np.count_nonzero(moves)),
        ranked=len(both),
        furthest=furthest,
        left=tuple(_away(old, new, i, to_new, lost=True) for i in old.front if to_new.get(i) not in new.front),
        entered=tuple(_away(new, old, j, to_old, lost=False) for j in new.front if to_old.get(j) not in old.front),
        front=(len(old.front), len(new.front)),
    )


def _ranks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """From 1, equal values alike: how many are better, and one."""
    return np.searchsorted(np.sort(values), values).astype(np.int64) + 1


def _away(here: _Ran, other: _Ran, row: int, there: dict[int, int], *, lost: bool) -> FrontChange:
    """Why a point of one store's front is not on the other's: it isn't in that store, didn't run in it, breaks a constraint
    there, or is beaten there."""
    name = here.side.names[row] if row not in there or not lost else other.side.names[there[row]]
    if row not in there:
        return FrontChange(name, "no longer there" if lost else "new")
    if (place := other.places.get(there[row])) is None:
        return FrontChange(name, f"{'now' if lost else 'was'} {other.side.frame['status'].iloc[there[row]]}")
    if broken := other.breaks.get(there[row]):
        return FrontChange(name, f"{'now breaks' if lost else 'broke'} {broken}")
    own = other.values[place]
    by = next((f for f in other.front if (other.values[other.places[f]] <= own).all()), None)  # not all equal: it'd be there
    beaten = f"beaten by {other.side.names[by]}" if by is not None else "without a number in an objective"
    return FrontChange(name, f"{'' if lost else 'was '}{beaten}")
