"""How far one axis moves a value: between the medians of its values, and changed alone with all other settings equal."""

import math
from collections.abc import Hashable, Sequence

import pandas as pd

__all__ = ["changed_alone", "median_factor", "same"]


def same(value: object) -> Hashable:
    """A setting to compare by: missing values are equal to each other, lists are compared as tuples."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType, reportReturnType]


def median_factor(values: pd.Series, groups: pd.Series) -> float:
    """The greatest median over the least, by group; NaN where there are not two groups of positive, finite values."""
    medians = values.groupby(groups).median().dropna()
    if len(medians) < 2 or medians.min() <= 0 or not math.isfinite(medians.max()):
        return math.nan
    return float(medians.max() / medians.min())


def changed_alone(
    rows: pd.DataFrame, values: pd.Series, groups: pd.Series, change: tuple[str, str], others: Sequence[str]
) -> tuple[float, int]:
    """Median of value(after) / value(before) over pairs of rows that differ in their group only, and how many there are.

    `change` names the groups before and after; `others` are the settings that must be equal.
    """
    places = pd.Series(
        [tuple(same(value) for value in row) for row in rows[list(others)].itertuples(index=False)], index=rows.index
    )
    before, after = (dict(zip(places[groups == g], values[groups == g], strict=True)) for g in change)
    ratios = [after[place] / before[place] for place in before if place in after and before[place] > 0]
    return (float(pd.Series(ratios).median()), len(ratios)) if ratios else (math.nan, 0)
