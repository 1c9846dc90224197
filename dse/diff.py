"""What changed between two stores: points matched by their settings, their status and results, their ranks and the front."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dse.config import ConfigError
from dse.pareto import front_of, objective_values
from dse.sides import Side, is_setting
from dse.space import Objective

__all__ = ["ColumnChange", "Diff", "FrontChange", "StatusChange", "diff"]

_ABSENT_IS_ZERO = "array_wait_"  # columns that a row has only where the cause occurred
_REASONS = ("constraint", "demand", "limit", "error")  # why a point didn't run: there only where one didn't


class StatusChange(NamedTuple):
    """A point with another status, or with another reason against it."""

    point: str
    old: str
    new: str
    reason: str  # what is said against the point where it doesn't run: in the new store, or else in the old


class ColumnChange(NamedTuple):
    """A column of which some values changed; relative changes are to the old value, infinite where that is 0 or absent."""

    column: str
    points: int  # whose value changed
    compared: int
    median: float | None  # relative, of those; None: not a column of numbers
    worst: float | None
    point: str  # the worst one
    old: Any
    new: Any


class FrontChange(NamedTuple):
    """A point that left or entered the front, and why."""

    point: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """What differs; `changed` is whether anything does."""

    old: Side
    new: Side
    pairs: int
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    statuses: tuple[StatusChange, ...]
    columns: tuple[ColumnChange, ...]
    compared: int  # columns compared
    columns_only_old: tuple[str, ...]
    columns_only_new: tuple[str, ...]
    objectives: tuple[Objective, ...] = ()
    moved: int = 0  # points whose rank by the first objective changed
    ranked: int = 0
    furthest: tuple[str, int, int] | None = None  # the point whose rank changed most, its old and its new rank
    left: tuple[FrontChange, ...] = ()
    entered: tuple[FrontChange, ...] = ()
    front: tuple[int, int] = (0, 0)  # points of the old and the new one
    notes: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        ambiguous = self.old.ambiguous or self.new.ambiguous
        points = self.only_old or self.only_new or self.statuses or ambiguous or self.old.missing != self.new.missing
        columns = self.columns or self.columns_only_old or self.columns_only_new
        return bool(points or columns or self.moved or self.left or self.entered)

    def as_json(self) -> dict[str, Any]:
        """All of it, in plain JSON types; a relative change is null where it is infinite."""
        columns = [change._asdict() for change in self.columns]
        for change in columns:
            for name in ("median", "worst"):
                value = change[name]
                change[name] = value if value is not None and np.isfinite(value) else None
        return {
            "changed": self.changed,
            "old": _side(self.old),
            "new": _side(self.new),
            "points_in_both": self.pairs,
            "only_old": {name: self.old.labels[name] for name in self.only_old},
            "only_new": {name: self.new.labels[name] for name in self.only_new},
            "statuses": [change._asdict() for change in self.statuses],
            "columns_compared": self.compared,
            "columns": columns,
            "columns_only_old": list(self.columns_only_old),
            "columns_only_new": list(self.columns_only_new),
            "objectives": [{"column": o.column, "minimize": o.minimize} for o in self.objectives],
            "ranks": {"points": self.ranked, "moved": self.moved, "furthest": self.furthest},
            "front": {"old": self.front[0], "new": self.front[1]}
            | {"left": [c._asdict() for c in self.left], "entered": [c._asdict() for c in self.entered]},
            "notes": list(self.notes),
        }


def _side(side: Side) -> dict[str, Any]:
    return {
        "path": str(side.path),
        "status": side.counts,
        "missing": side.missing,
        "ambiguous": list(side.ambiguous),
        "of_this_release": side.current,
    }


def diff(old: Side, new: Side, *, columns: Sequence[str] = (), objectives: tuple[Objective, ...] = ()) -> Diff:
    """Compare two stores, with ==. `columns`: of the results only these; `objectives`: other than the new sweep's.

    Raises ConfigError for a column, or an objective, that neither has.
    """
    pairs = _pairs(old, new)
    before, after = (side.frame.iloc[[pair[i] for pair in pairs]].reset_index(drop=True) for i, side in enumerate((old, new)))
    names = [new.names[j] for _, j in pairs]
    in_old, in_new = {i for i, _ in pairs}, {j for _, j in pairs}
    known = [c for c in dict.fromkeys((*new.frame.columns, *old.frame.columns)) if not is_setting(c) and c != "status"]
    if unknown := [column for column in columns if column not in known]:
        close = get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; they are {', '.join(sorted(known))}"
        raise ConfigError(f"Option '--columns' must name columns of the results, not {unknown[0]!r}{hint}")
    both, columns_old, columns_new = _sided(
        old.frame, new.frame, [c for c in known if (c in columns if columns else c not in _REASONS)]
    )
    same = (before["status"] == after["status"]).to_numpy(bool)
    alike = [name for name, kept in zip(names, same, strict=True) if kept]
    changes = [change for c in both if (change := _column(c, before[same], after[same], alike)) is not None]
    told = (frame.reindex(columns=["status", *_REASONS]).to_dict("records") for frame in (before, after))
    found = Diff(
        old=old,
        new=new,
        pairs=len(pairs),
        only_old=tuple(name for i, name in enumerate(old.names) if i not in in_old),
        only_new=tuple(name for j, name in enumerate(new.names) if j not in in_new),
        statuses=tuple(change for row in zip(names, *told, strict=True) if (change := _status(*row)) is not None),
        columns=tuple(sorted(changes, key=lambda change: -abs(change.worst or 0.0))),
        compared=len(both),
        columns_only_old=columns_old,
        columns_only_new=columns_new,
    )
    chosen = objectives or new.objectives or old.objectives
    if columns and not objectives and not all(objective.column in columns for objective in chosen):
        return found
    return _ranked(found, pairs, chosen, asked=bool(objectives))


def _pairs(old: Side, new: Side) -> list[tuple[int, int]]:
    """Rows of points that are in both, in the new one's order: of equal settings, else (otherwise named) of equal keys."""
    by_ident = {ident: i for i, ident in enumerate(old.idents)}
    found = {j: by_ident[ident] for j, ident in enumerate(new.idents) if ident in by_ident}
    used = set(found.values())
    by_key = {key: i for i, key in enumerate(old.frame["key"]) if i not in used}
    for j, key in enumerate(new.frame["key"]):
        if j not in found and key in by_key:
            found[j] = by_key.pop(key)
    return [(found[j], j) for j in sorted(found)]


def _sided(old: pd.DataFrame, new: pd.DataFrame, wanted: list[str]) -> tuple[list[str], tuple[str, ...], tuple[str, ...]]:
    """Columns to compare, and those that only one store has values in."""
    has = [{name for name in wanted if name in frame.columns and frame[name].notna().any()} for frame in (old, new)]
    optional = {name for name in wanted if name.startswith(_ABSENT_IS_ZERO) or name in _REASONS}
    both = [name for name in wanted if (name in has[0] and name in has[1]) or (name in optional and name in has[0] | has[1])]
    alone = [tuple(name for name in wanted if name in mine - other and name not in both) for mine, other in (has, has[::-1])]
    return both, alone[0], alone[1]


def _column(name: str, old: pd.DataFrame, new: pd.DataFrame, names: list[str]) -> ColumnChange | None:
    """How a column differs between rows of the same points; None where it doesn't."""
    empty = pd.Series([None] * len(names), dtype=object)
    a, b = (frame[name].reset_index(drop=True) if name in frame.columns else empty for frame in (old, new))
    if name.startswith(_ABSENT_IS_ZERO):
        a, b = (pd.to_numeric(values).fillna(0) for values in (a, b))
    absent = (a.isna() & b.isna()).to_numpy(bool)
    differs = ~absent & ~(a.to_numpy() == b.to_numpy())
    rows = np.flatnonzero(differs)
    if not len(rows):
        return None
    x, y = (pd.to_numeric(values.iloc[rows], errors="coerce").to_numpy(np.float64) for values in (a, b))
    if np.isnan(x).all() and np.isnan(y).all():
        first = rows[0]
        return ColumnChange(name, len(rows), len(names), None, None, names[first], _plain(a[first]), _plain(b[first]))
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = (y - x) / np.abs(x)
    relative[np.isnan(relative)] = np.inf  # from or to nothing
    worst = int(np.abs(relative).argmax())
    at = rows[worst]
    median, most = float(np.median(relative)), float(relative[worst])
    return ColumnChange(name, len(rows), len(names), median, most, names[at], _plain(a[at]), _plain(b[at]))


def _plain(value: Any) -> Any:
    """As Python's own; None for nothing."""
    if value is None or value != value:
        return None
    return value.item() if isinstance(value, np.generic) else value


def _status(name: str, old: Mapping[Any, Any], new: Mapping[Any, Any]) -> StatusChange | None:
    reasons = [_reason(row) for row in (old, new)]
    if old["status"] == new["status"] and reasons[0] == reasons[1]:
        return None
    return StatusChange(name, str(old["status"]), str(new["status"]), reasons[1] or reasons[0])


def _reason(row: Mapping[Any, Any]) -> str:
    """Why a point didn't run, as `dse sweep` says it; empty where it did."""
    told = {name: _plain(row.get(name)) for name in _REASONS}
    if told["constraint"] is None:
        return str(told["error"] or "")
    demand, limit = (int(value) if isinstance(value, float) else value for value in (told["demand"], told["limit"]))
    return f"{told['constraint']}: needs {demand}, has {limit}"


def _ranked(found: Diff, pairs: list[tuple[int, int]], objectives: tuple[Objective, ...], *, asked: bool) -> Diff:
    """With ranks by the first objective, and the fronts, where both stores have the objectives' columns."""
    sides = (found.old, found.new)
    if not objectives:
        return replace(found, notes=("a store alone has no objectives: --minimize and --maximize name some",))
    good = [side.frame[side.frame["status"] == "ok"] for side in sides]
    if not all(map(len, good)):
        return replace(found, notes=("no ranks and no fronts: there is a store in which no point ran",))
    try:
        values = [objective_values(frame, objectives) for frame in good]
    except ConfigError as error:
        if asked:
            raise
        return replace(found, notes=(f"no ranks and no fronts: {error}",))
    rows = [{int(row): place for place, row in enumerate(frame.index)} for frame in good]
    both = [(i, j) for i, j in pairs if i in rows[0] and j in rows[1]]
    ranks = [_ranks(values[side][[rows[side][pair[side]] for pair in both], 0]) for side in (0, 1)]
    moves = ranks[1] - ranks[0]
    furthest = None
    if moves.any():
        at = int(np.abs(moves).argmax())
        furthest = (found.new.names[both[at][1]], int(ranks[0][at]), int(ranks[1][at]))
    fronts = [[int(row) for row in front_of(frame, objectives).index] for frame in good]
    to_new, to_old = dict(pairs), {j: i for i, j in pairs}
    return replace(
        found,
        objectives=objectives,
        moved=int(np.count_nonzero(moves)),
        ranked=len(both),
        furthest=furthest,
        left=tuple(
            _away(sides, i, to_new, fronts[1], rows[1], values[1], lost=True)
            for i in fronts[0]
            if to_new.get(i) not in fronts[1]
        ),
        entered=tuple(
            _away(sides[::-1], j, to_old, fronts[0], rows[0], values[0], lost=False)
            for j in fronts[1]
            if to_old.get(j) not in fronts[0]
        ),
        front=(len(fronts[0]), len(fronts[1])),
    )


def _ranks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """From 1, equal values alike: how many are better, and one."""
    return np.searchsorted(np.sort(values), values).astype(np.int64) + 1


def _away(
    sides: tuple[Side, ...],
    row: int,
    there: dict[int, int],
    front: list[int],
    places: dict[int, int],
    values: NDArray[np.float64],
    *,
    lost: bool,
) -> FrontChange:
    """Why a point of one store's front is not on the other's: it isn't in that store, didn't run in it, or is beaten in it."""
    here, other = sides
    name = here.names[row] if row not in there or not lost else other.names[there[row]]
    if row not in there:
        return FrontChange(name, "no longer there" if lost else "new")
    if (place := places.get(there[row])) is None:
        return FrontChange(name, f"{'now' if lost else 'was'} {other.frame['status'].iloc[there[row]]}")
    own = values[place]
    by = next((f for f in front if (values[places[f]] <= own).all()), None)  # not all equal: it would be on the front
    beaten = f"beaten by {other.names[by]}" if by is not None else "without a number in an objective"
    return FrontChange(name, f"{'' if lost else 'was '}{beaten}")
