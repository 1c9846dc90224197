"""From synthesis runs to the cost model's factors, and how far these are off where they were not fitted."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression

from reports.synthesis.designs import Design
from simulator.cost.area import RESOURCES, area, settings_of
from simulator.cost.components import COMPONENTS, cells
from simulator.cost.devices import Resources
from simulator.cost.sizes import EXACT, Sizes

__all__ = ["LEAST", "errors", "fit"]

LEAST = {"lut": 100, "ff": 100, "dsp": 1, "bram": 1}
"""Fewer cells are compared as if they were so many."""
_PULL = 0.05
"""A factor of twice what the circuit suggests counts as much as an error of so much in one run. What is off by more counts less
than its square: the tool is at times that much worse on one circuit than on others like it."""
_ROUNDS = 20

Known = Mapping[tuple[str, int], Design]


def fit(runs: pd.DataFrame, known: Known, technology: str) -> dict[str, Any]:
    """Factors, never negative, that make the least relative squares, pulled to one: few runs can't tell all drivers apart."""
    found: dict[str, Any] = {"parts": {}, "ranges": _ranges(runs, known)}
    for part in COMPONENTS:
        rows = runs[(runs["part"] == part) & ~runs["held_out"].astype(bool)]
        if not rows.empty:
            sizes = [_sizes(part, row, known, technology) for row in rows.to_dict("records")]
            found["parts"][part] = {resource: _factors(resource, sizes, rows[resource]) for resource in RESOURCES}
    return found


def _sizes(part: str, row: Mapping[Hashable, Any], known: Known, technology: str) -> Sizes:
    return COMPONENTS[part](_design(row, known).accelerator, technology)


def _design(row: Mapping[Hashable, Any], known: Known) -> Design:
    return known[str(row["part"]), int(row["number"])]


def _factors(resource: str, sizes: list[Sizes], measured: "pd.Series[Any]") -> dict[str, float]:
    names = list(dict.fromkeys(name for each in sizes for name in each[resource] if name not in EXACT))
    if not names:
        return {}
    wanted = measured.to_numpy(dtype=np.float64)
    exact = np.array([sum(amount for name, amount in each[resource].items() if name in EXACT) for each in sizes])
    table: NDArray[np.float64] = np.array([[each[resource].get(name, 0.0) for name in names] for each in sizes], np.float64)
    scale = 1 / np.maximum(wanted, LEAST[resource])
    pulls, trust, found = _PULL * np.eye(len(names)), np.ones(len(wanted)), np.ones(len(names))
    for _ in range(_ROUNDS):
        rows = np.vstack([table * (trust * scale)[:, None], pulls])
        goal = np.concatenate([(wanted - exact) * trust * scale, pulls.sum(axis=1)])
        found = np.asarray(LinearRegression(positive=True, fit_intercept=False).fit(rows, goal).coef_)
        off = np.abs(table @ found + exact - wanted) * scale
        trust = np.sqrt(_PULL / np.maximum(off, _PULL))
    return {name: round(float(factor), 4) for name, factor in zip(names, found, strict=True)}


def _ranges(runs: pd.DataFrame, known: Known) -> dict[str, list[int]]:
    """Of the settings that some run had, least and most."""
    tables = [settings_of(_design(row, known).accelerator) for row in runs.to_dict("records")]
    return {name: [min(t[name] for t in tables), max(t[name] for t in tables)] for name in tables[0]}


def errors(runs: pd.DataFrame, factors: Mapping[str, Any], known: Known, technology: str) -> pd.DataFrame:
    """A row for each run and resource: measured, estimated, and the relative error."""
    rows: list[dict[str, Any]] = []
    for row in runs.to_dict("records"):
        guess = _estimate(row, factors, known, technology)
        for resource, estimated in guess.as_dict().items():
            measured = int(row[resource])
            rows.append(
                {
                    **{name: row[name] for name in ("part", "number", "format", "held_out")},
                    "resource": resource,
                    "measured": measured,
                    "estimated": estimated,
                    "error": (estimated - measured) / max(LEAST[resource], measured),
                }
            )
    return pd.DataFrame(rows)


def _estimate(row: Mapping[Hashable, Any], factors: Mapping[str, Any], known: Known, technology: str) -> Resources:
    part = str(row["part"])
    if part == "machine":
        return area(_design(row, known).accelerator, technology, factors).total
    of_part, sizes = factors["parts"].get(part, {}), _sizes(part, row, known, technology)
    return Resources(**{name: round(cells(sizes[name], of_part.get(name, {}))) for name in RESOURCES})
