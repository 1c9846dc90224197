"""What changed between two stores: points matched by their settings, their status and results, their limits and the front."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dse.accuracy import with_accuracy
from dse.config import ConfigError
from dse.constraints import Constraint
from dse.diff_fronts import FrontChange, Fronts, LimitChange, compare_fronts
from dse.sides import Side, is_setting
from dse.space import Objective
from simulator.schedule import Unsupported

__all__ = ["ColumnChange", "Diff", "FrontChange", "LimitChange", "StatusChange", "diff"]

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


@dataclass(frozen=True, kw_only=True)
class Diff(Fronts):
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

    @property
    def changed(self) -> bool:
        ambiguous = self.old.ambiguous or self.new.ambiguous
        points = self.only_old or self.only_new or self.statuses or ambiguous or self.old.missing != self.new.missing
        columns = self.columns or self.columns_only_old or self.columns_only_new
        return bool(points or columns or self.moved or self.limits or self.left or self.entered)

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
            "constraints": list(self.constraints),
            "kept": {"old": self.kept[0], "new": self.kept[1]},
            "limits": [change._asdict() for change in self.limits],
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


def diff(
    old: Side,
    new: Side,
    *,
    columns: Sequence[str] = (),
    objectives: tuple[Objective, ...] = (),
    constraints: tuple[Constraint, ...] = (),
) -> Diff:
    """Compare two stores, with ==. `columns`: of the results only these; `objectives`: other than the new sweep's;
    `constraints`: on top of them. Those of the new sweep are held to the old one's points too.

    Raises ConfigError for a column, or an objective, that neither has.
    """
    old, new = _with_accuracies(old, new), _with_accuracies(new, old)
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
    lead = new if new.objectives else old
    chosen, limits = objectives or lead.objectives, tuple(dict.fromkeys((*lead.constraints, *constraints)))
    named = [o.column for o in chosen] + [name for limit in limits for name in limit.names if not is_setting(name)]
    if columns and not objectives and not constraints and not all(name in columns for name in named):
        return found
    fronts = compare_fronts((old, new), pairs, chosen, limits, asked=bool(objectives or constraints))
    notes = fronts.notes
    if old.objectives and new.objectives and old.constraints != new.constraints:
        theirs = ", ".join(repr(limit.text) for limit in old.constraints) or "none"
        notes += (f"OLD was swept under other constraints ({theirs}); here NEW's hold for both",)
    return replace(found, **{part.name: getattr(fronts, part.name) for part in fields(fronts)} | {"notes": notes})


def _with_accuracies(side: Side, other: Side) -> Side:
    """With column `accuracy` where there is a table of them: its own, or the other's."""
    rows = side.accuracies or other.accuracies
    return replace(side, frame=with_accuracy(side.frame, rows)) if rows and len(side.frame) else side


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
    return str(Unsupported(str(told["constraint"]), int(told["demand"]), int(told["limit"])))
