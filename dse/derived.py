"""Columns that a sweep's table gains after evaluation: measured accuracies, objectives that are arithmetic, limits broken."""

import numpy as np
import pandas as pd

from dse.accuracy import with_accuracy
from dse.constraints import BREAKS, breaks
from dse.evaluate import is_metric
from dse.expressions import parse_expression
from dse.grid import Space

__all__ = ["with_derived"]


def with_derived(space: Space, frame: pd.DataFrame) -> pd.DataFrame:
    """The table with `accuracy` (if the space has a table of them), a column for each objective that is none yet, and
    `BREAKS` (if it has constraints). Needs `status`, and the settings as columns."""
    if frame.empty:
        return frame
    if space.accuracies:
        frame = with_accuracy(frame, space.accuracies)
    for objective in space.objectives:
        if objective.column not in frame.columns:
            frame = _with_objective(frame, objective.column)
    if space.constraints:
        ran = (frame["status"] == "ok").to_numpy()
        found = np.full(len(frame), "", dtype=object)
        found[ran] = breaks(frame[ran], space.constraints)
        frame = frame.assign(**{BREAKS: found})
    return frame


def _with_objective(frame: pd.DataFrame, text: str) -> pd.DataFrame:
    """Arithmetic as a column; NaN where it needs a column that no point has: nothing ran, or a stall that never occurred.

    One of an unknown column is left out: `dse.pareto.objective_values` says what is wrong with it.
    """
    expression = parse_expression(text, f"Objective {text!r}")
    missing = [name for name in expression.names if name not in frame.columns]
    columns = {name: pd.to_numeric(frame[name], errors="coerce") for name in expression.names if name not in missing}
    if not expression.names or not all(is_metric(name) for name in missing):
        return frame
    values = np.full(len(frame), np.nan) if missing else expression.of(columns)
    return frame.assign(**{text: np.broadcast_to(values, len(frame))})
