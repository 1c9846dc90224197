"""Speed-up of each method over dense training on the same machine: points paired where all other settings are equal."""

import math
from collections.abc import Hashable

import pandas as pd

from reports.effects import same
from reports.inputs import setting_columns
from reports.palette import natural

__all__ = ["paired_speedups", "speedup_summary"]

_COLUMNS = ["key", "dense_key", "workload", "method", "speedup", "bound"]


def paired_speedups(frame: pd.DataFrame) -> pd.DataFrame:
    """A row per sparse point that ran: its cycles against those of its dense partner.

    `dense_key` is "" and `speedup` NaN where no dense point with the same other settings ran.
    """
    if not {"method", "cycles"} <= set(frame.columns):
        return pd.DataFrame(columns=_COLUMNS)
    ok = frame[(frame["status"] == "ok") & (frame["cycles"] > 0)]
    others = [name for name in setting_columns(frame) if name != "method"]
    rows: list[tuple[tuple[Hashable, ...], dict[str, object]]] = [
        (tuple(same(row[name]) for name in others), {str(name): value for name, value in row.items()})
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
    found = groups.agg(
        median=("speedup", "median"),
        least=("speedup", "min"),
        greatest=("speedup", "max"),
        pairs=("speedup", "size"),
        bound=("bound", "median"),
    ).reset_index()
    order = sorted(found.index, key=lambda i: (natural(str(found["workload"][i])), natural(str(found["method"][i]))))
    return found.loc[order].reset_index(drop=True)
