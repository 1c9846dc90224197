"""From synthesis runs to the cost model's factors, and how far these are off where they were not fitted."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression

from reports.synthesis.designs import Design
from simulator.cost.area import RESOURCES, settings_of
from simulator.cost.components import COMPONENTS

__all__ = ["errors", "fit"]


def fit(runs: pd.DataFrame, known: dict[tuple[str, int], Design]) -> dict[str, Any]:
    """Factors, never negative, that make the least relative squares; those of PEs for each format by itself."""
    found: dict[str, Any] = {"parts": {}, "ranges": _ranges(known)}
    for part in COMPONENTS:
        of_part = runs[(runs["part"] == part) & ~runs["held_out"]]
        if of_part.empty:
            continue
        groups = {str(name): rows for name, rows in of_part.groupby("format")} if part == "pe" else {"any": of_part}
        found["parts"][part] = {
            name: {resource: _factors(part, resource, rows, known) for resource in RESOURCES} for name, rows in groups.items()
        }
    return found


def _factors(part: str, resource: str, rows: pd.DataFrame, known: dict[tuple[str, int], Design]) -> dict[str, float]:
    drivers = [COMPONENTS[part](_design(row, known).accelerator) for row in rows.to_dict("records")]
    names = list(drivers[0])
    wanted = rows[resource].to_numpy(dtype=np.float64)
    table: NDArray[np.float64] = np.array([[each[name] for name in names] for each in drivers], np.float64)
    scale = 1 / np.maximum(wanted, 1)
    model = LinearRegression(positive=True, fit_intercept=False).fit(table * scale[:, None], wanted * scale)
    return {name: round(float(factor), 4) for name, factor in zip(names, model.coef_, strict=True) if factor > 1e-4}


def _design(row: Mapping[Hashable, Any], known: dict[tuple[str, int], Design]) -> Design:
    return known[str(row["design"]), int(row["number"])]


def _ranges(known: dict[tuple[str, int], Design]) -> dict[str, list[int]]:
    tables = [settings_of(design.accelerator) for design in known.values()]
    return {name: [min(t[name] for t in tables), max(t[name] for t in tables)] for name in tables[0]}


def errors(runs: pd.DataFrame, factors: dict[str, Any], known: dict[tuple[str, int], Design]) -> pd.DataFrame:
    """A row for each run and resource: measured, estimated, and the relative error. Few cells are compared as if they were 100
    (of multipliers and block memories, 1)."""
    rows: list[dict[str, Any]] = []
    for row in runs.to_dict("records"):
        part = str(row["part"])
        if part not in factors["parts"]:
            continue
        drivers = COMPONENTS[part](_design(row, known).accelerator)
        by_format = factors["parts"][part]
        of_part = by_format.get(str(row["format"])) or by_format["any"]
        for resource in RESOURCES:
            guess = round(sum(factor * drivers[name] for name, factor in of_part[resource].items()))
            least = 100 if resource in ("lut", "ff") else 1
            error = abs(guess - row[resource]) / max(least, row[resource])
            rows.append(
                {
                    "part": part,
                    "design": row["design"],
                    "number": row["number"],
                    "held_out": row["held_out"],
                    "resource": resource,
                    "measured": row[resource],
                    "estimated": guess,
                    "error": error,
                }
            )
    return pd.DataFrame(rows)
