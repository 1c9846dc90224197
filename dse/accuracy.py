"""A table of measured accuracies, which a sweep's results gain as a column."""

import csv
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dse.config import ConfigError
from workloads.methods import parse_method

__all__ = ["ACCURACY", "Accuracy", "PUBLISHED", "read_accuracies", "with_accuracy"]

ACCURACY = "accuracy"
"""The column."""

PUBLISHED = "published"
"""Name of the table that comes with the tool."""

_FIELDS = ("workload", "method", "accuracy", "source")
_SHIPPED = Path(__file__).parent / "spaces" / "accuracy.csv"


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What a network reached when it was trained by a method, in the unit of its source (usually top-1, in percent)."""

    workload: str
    method: str  # canonical
    accuracy: float
    source: str


def read_accuracies(source: str, beside: Path) -> tuple[Accuracy, ...]:
    """A CSV file with columns workload, method, accuracy and source, relative to the folder `beside`; or the shipped table's
    name. Raises ConfigError that names the line."""
    path = _SHIPPED if source == PUBLISHED else beside / source
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != _FIELDS:
                raise ConfigError(
                    f"Accuracy table {str(path)!r} must have the columns {', '.join(_FIELDS)}, not "
                    f"{', '.join(reader.fieldnames or ()) or 'none'}"
                )
            rows = [_row(row, f"Accuracy table {str(path)!r} line {reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Accuracy table {str(path)!r} must be a CSV file that can be read: {error}") from None
    known: set[tuple[str, str]] = set()
    for row in rows:
        if (row.workload, row.method) in known:
            raise ConfigError(f"Accuracy table {str(path)!r} must have one row for {row.workload} and {row.method}")
        known.add((row.workload, row.method))
    return tuple(rows)


def _row(row: dict[Any, Any], thing: str) -> Accuracy:
    values = {name: (row.get(name) or "").strip() for name in _FIELDS}
    if None in row or "" in values.values():
        raise ConfigError(f"{thing} must have a value for each of {', '.join(_FIELDS)}; say in 'source' who measured it")
    try:
        number = float(values["accuracy"])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{thing} field 'accuracy' must be a number, not {values['accuracy']!r}")
    try:
        method = str(parse_method(values["method"]))
    except ValueError as error:
        raise ConfigError(f"{thing}: {error}") from None
    return Accuracy(values["workload"], method, number, values["source"])


def with_accuracy(frame: pd.DataFrame, accuracies: tuple[Accuracy, ...]) -> pd.DataFrame:
    """The table with column `ACCURACY`: NaN where no row was measured for a point's workload and method."""
    known = pd.DataFrame([asdict(row) for row in accuracies], columns=list(_FIELDS))
    canonical = {method: _canonical(str(method)) for method in frame["method"].unique()} if len(frame) else {}
    keys = pd.DataFrame({"workload": frame["workload"], "method": frame["method"].map(canonical)})
    found = keys.merge(known, on=["workload", "method"], how="left", sort=False)[ACCURACY]
    return frame.assign(**{ACCURACY: found.to_numpy(float)})


def _canonical(method: str) -> str:
    try:
        return str(parse_method(method))
    except ValueError:  # an invalid point, which says so itself
        return method
