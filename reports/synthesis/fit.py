"""From synthesis runs to the cost model's factors, and how far these are off where they were not fitted."""

from collections.abc import Hashable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression

from reports.synthesis.designs import Design
from simulator.cost.area import RESOURCES, area, settings_of
from simulator.cost.components import COMPONENTS, cells
from simulator.cost.devices import Resources
from simulator.cost.sizes import EXACT, Sizes

__all__ = ["LEAST", "MOST", "errors", "fit"]

MOST = "ecp5"
"""The technology with the most runs, whose factors those of the others resemble."""
LEAST = {"lut": 100, "ff": 100, "dsp": 1, "bram": 1}
"""Fewer cells are compared as if they were so many."""
_PULL = 0.05
"""A factor of twice what the circuit suggests counts as much as an error of so much in one run. What is off by more counts less
than its square: the tool is at times that much worse on one circuit than on others like it."""
_ROUNDS = 20

Known: TypeAlias = Mapping[tuple[str, int], Design]
Factors: TypeAlias = Mapping[str, Any]


def fit(runs: pd.DataFrame, known: Known, technology: str, like: Factors | None = None) -> dict[str, Any]:
    """Factors, never negative, that make the least relative squares, pulled to one: few runs can't tell all drivers apart.

    `like`: factors of a technology with more runs, which those of this one are pulled to, times the share of such cells that a
    part takes here; one without runs takes the median of the other parts' shares (`unmeasured`).
    """
    found: dict[str, Any] = {"parts": {}, "ranges": _ranges(runs, known)}
    shares: dict[str, dict[str, float]] = {}
    for part in COMPONENTS:
        rows = runs[(runs["part"] == part) & ~runs["held_out"].astype(bool)]
        if rows.empty:
            continue
        sizes = [_sizes(part, row, known, technology) for row in rows.to_dict("records")]
        base: Factors = like["parts"][part] if like else {}
        shares[part] = {name: _share(name, sizes, rows[name], base[name]) if like else 1.0 for name in RESOURCES}
        found["parts"][part] = {
            name: _factors(name, sizes, rows[name], _times(base.get(name, {}), shares[part][name])) for name in RESOURCES
        }
    absent = [part for part in like["parts"] if part not in found["parts"]] if like else []
    if like and absent:
        usual = {name: float(np.median([each[name] for each in shares.values()])) for name in RESOURCES}
        found["unmeasured"] = absent
        for part in absent:
            found["parts"][part] = {name: _times(like["parts"][part][name], usual[name]) for name in RESOURCES}
    return found | _together(runs, known, technology, found)


def _times(factors: Factors, share: float) -> dict[str, float]:
    return {name: round(each * share, 4) for name, each in factors.items()}


def _share(resource: str, sizes: list[Sizes], measured: "pd.Series[Any]", like: Factors) -> float:
    """Of cells that are there in those that other factors make expect: the median of these runs; 1 where hardly any are."""
    shares: list[float] = []
    for each, count in zip(sizes, measured, strict=True):
        exact = sum(amount for name, amount in each[resource].items() if name in EXACT)
        if (expected := cells(each[resource], like) - exact) >= LEAST[resource]:
            shares.append((float(count) - exact) / expected)
    return float(np.median(shares)) if shares else 1.0


def _together(runs: pd.DataFrame, known: Known, technology: str, found: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Look-up tables of whole machines over those of their parts, each by itself and estimated; PEs are left out of both. The
    median of the machines that are not held out, if there are any."""
    machines = runs[(runs["part"] == "machine") & ~runs["held_out"].astype(bool)]
    shares: list[float] = []
    for row in machines.to_dict("records"):
        estimate = area(_design(row, known).accelerator, technology, found)
        pes = estimate.parts["pe"].lut
        shares.append((int(row["lut"]) - pes) / (estimate.total.lut - pes))
    return {"together": {"lut": round(float(np.median(shares)), 4)}} if shares else {}


def _sizes(part: str, row: Mapping[Hashable, Any], known: Known, technology: str) -> Sizes:
    return COMPONENTS[part](_design(row, known).accelerator, technology)


def _design(row: Mapping[Hashable, Any], known: Known) -> Design:
    return known[str(row["part"]), int(row["number"])]


def _factors(resource: str, sizes: list[Sizes], measured: "pd.Series[Any]", pull: Factors) -> dict[str, float]:
    """`pull`: what the factors are pulled to, one where it says nothing."""
    seen = (name for each in sizes for name in each[resource] if name not in EXACT)
    names = list(dict.fromkeys([*seen, *pull]))
    if not names:
        return {}
    wanted = measured.to_numpy(dtype=np.float64)
    exact = np.array([sum(amount for name, amount in each[resource].items() if name in EXACT) for each in sizes])
    base = np.array([pull.get(name, 1.0) for name in names])
    amounts = np.array([[each[resource].get(name, 0.0) for name in names] for each in sizes], np.float64)
    table: NDArray[np.float64] = amounts * base
    scale = 1 / np.maximum(wanted, LEAST[resource])
    pulls, trust, found = _PULL * np.eye(len(names)), np.ones(len(wanted)), np.ones(len(names))
    for _ in range(_ROUNDS):
        rows = np.vstack([table * (trust * scale)[:, None], pulls])
        goal = np.concatenate([(wanted - exact) * trust * scale, pulls.sum(axis=1)])
        found = np.asarray(LinearRegression(positive=True, fit_intercept=False).fit(rows, goal).coef_)
        off = np.abs(table @ found + exact - wanted) * scale
        trust = np.sqrt(_PULL / np.maximum(off, _PULL))
    return {name: round(float(factor), 4) for name, factor in zip(names, base * found, strict=True)}


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
