"""Why points of a sweep could not run: each constraint with how often it held, the worst demand, and what it depends on."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.inputs import ReportInputs
from reports.values import number, setting, short_name

__all__ = ["Reason", "reasons"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One constraint, or one error, over all points that it stopped."""

    status: str
    what: str
    points: int
    demand: str
    limit: str
    common: str  # settings that all of these points share, while the sweep varies them


def _common(rows: pd.DataFrame, frame: pd.DataFrame, axes: tuple[str, ...]) -> str:
    shared: list[str] = []
    for axis in axes:
        values = {setting(axis, value) for value in _distinct(rows[axis])}
        if len(values) == 1 and len({setting(axis, value) for value in _distinct(frame[axis])}) > 1:
            shared.append(f"{short_name(axis)} {values.pop()}")
    return ", ".join(shared) or "no single value of an axis"


def _distinct(values: "pd.Series[Any]") -> Iterable[object]:
    """Each value once; lists are among them."""
    return {repr(value): value for value in values}.values()


def reasons(inputs: ReportInputs) -> list[Reason]:
    """The most frequent first."""
    frame, found = inputs.frame, list[Reason]()
    stopped = inputs.not_run
    for status, column in (("unsupported", "constraint"), ("invalid", "error"), ("failed", "error")):
        rows = stopped[stopped["status"] == status]
        words = rows[column].fillna("unknown").astype(str) if column in rows.columns else pd.Series("unknown", index=rows.index)
        for what, group in rows.groupby(words, sort=True):
            demand = limit = float("nan")
            if {"demand", "limit"} <= set(group.columns) and group["demand"].notna().any():
                worst = (
                    group.assign(demand=pd.to_numeric(group["demand"])).sort_values("demand").dropna(subset=["demand"]).iloc[-1]
                )
                demand, limit = worst["demand"], worst["limit"]
            common = _common(group, frame, inputs.axes)
            found.append(Reason(status, str(what), len(group), number(demand), number(limit), common))
    return sorted(found, key=lambda reason: -reason.points)
