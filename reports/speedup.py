"""Speed-up of each method over dense training on the same machine: points paired where all other settings are equal."""

import math
from collections.abc import Hashable

import pandas as pd

from reports.inputs import setting_columns

__all__ = ["paired_speedups", "speedup_summary"]

_COLUMNS = ["key", "dense_key", "workload", "method", "speedup", "bound"]


def _same(value: object) -> Hashable:
    """A value to compare settings by: missing ones are equal to each other, lists are compared as tuples."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType, reportReturnType]


def paired_speedups(frame: pd.DataFrame) -> pd.DataFrame:
    """A row per sparse point that ran: its cycles against those of its dense partner.

    `dense_key` is "" and `speedup` NaN where no dense point with the same other settings ran.
    """
    if not {"method", "cycles"} <= set(frame.columns):
        return pd.DataFrame(columns=_COLUMNS)
    ok = frame[(frame["status"] == "ok") & (frame["cycles"] > 0)]
    others = [name for name in setting_columns(frame) if name != "method"]
    rows: list[tuple[tuple[Hashable, ...], dict[str, object]]] = [
        (tuple(_same(row[name]) for name in others), {str(name): value for name, value in row.items()})
        for row in ok.to_dict("records")
    ]
    dense: dict[tuple[Hashable, ...], dict[str, object]] = {}
    for place, row in rows:
        if row["method"] == "dense":
            dense.setdefault(place, row)
    found: list[dict[str, object]] = []
    for place, row in rows:
        if row["method"] == "dense":
            continue
        partner = dense.get(place)
        found.append(
            {
                "key": row["key"],
                "dense_key": partner["key"] if partner else "",
                "workload": str(row.get("workload", "")),
                "method": row["method"],
                "speedup": float(partner["cycles"]) / float(row["cycles"]) if partner else math.nan,  # type: ignore[arg-type]
                "bound": row.get("mac_bound_speedup", math.nan),
            }
        )
    return pd.DataFrame(found, columns=_COLUMNS)


def speedup_summary(pairs: pd.DataFrame) -> pd.DataFrame:
    """Median, least and greatest speed-up by network and method, with the number of pairs and the median MAC bound."""
    paired = pairs[pairs["speedup"].notna()]
    groups = paired.groupby(["workload", "method"], sort=True)
    return groups.agg(
        median=("speedup", "median"),
        least=("speedup", "min"),
        greatest=("speedup", "max"),
        pairs=("speedup", "size"),
        bound=("bound", "median"),
    ).reset_index()
