"""What a report is made from: plain data that the explorer fills in, so that reports know nothing of the explorer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

__all__ = ["Detail", "Direction", "ReportInputs", "setting_columns"]

Direction = Literal["min", "max"]
_SETTINGS = ("accelerator", "workload", "method", "batch")
_PREFIXES = ("accelerator.", "mapping.")


def setting_columns(frame: pd.DataFrame) -> list[str]:
    """Columns of a sweep that say what was evaluated; the others say what came out."""
    return [name for name in map(str, frame.columns) if name in _SETTINGS or name.startswith(_PREFIXES)]


def _empty() -> pd.DataFrame:
    return pd.DataFrame()


@dataclass(frozen=True, kw_only=True)
class Detail:
    """One point looked at closely. Every part may be empty; the report then says what it can't show.

    `table` has a row per operation and `stages` a row per stage, as `dse.evaluate.Run` makes them. `timeline` has a row
    per command: engine, op, start, end (cycles). `engines` is indexed by engine; its columns are `busy` and the causes of
    stalls, in cycles, and each row adds up to the run's cycles. `accelerator` holds leaf fields by dotted path;
    `provenance` gives (kind, note) by the same paths, with "sourced" or "assumed" as kind.
    """

    name: str
    key: str
    settings: Mapping[str, object]
    metrics: Mapping[str, object]
    accelerator: Mapping[str, object] = field(default_factory=dict[str, object])
    provenance: Mapping[str, tuple[str, str]] | None = None
    table: pd.DataFrame = field(default_factory=_empty)
    stages: pd.DataFrame = field(default_factory=_empty)
    timeline: pd.DataFrame = field(default_factory=_empty)
    engines: pd.DataFrame = field(default_factory=_empty)
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """A sweep and what was concluded from it.

    `frame` has a row per design point: key, status (ok, unsupported, failed), settings, metrics, or the reason against
    it (constraint, demand, limit, or error). Raises ValueError where keys or objectives name nothing in the frame.

    Of a very large sweep the frame has only a part to look at. Then `counts` says how many points there are by status, and
    `stopped` has a row for each point of all of them that did not run.
    """

    title: str
    frame: pd.DataFrame
    axes: tuple[str, ...]
    objectives: tuple[tuple[str, Direction], ...]
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    stopped: pd.DataFrame = field(default_factory=_empty)
    front: tuple[str, ...] = ()
    candidates: Mapping[str, str] = field(default_factory=dict[str, str])
    details: tuple[Detail, ...] = ()
    notices: tuple[str, ...] = ()
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    digests: Mapping[str, str] = field(default_factory=dict[str, str])
    store: str = ""
    date: str = ""

    def __post_init__(self) -> None:
        if missing := {"key", "status"} - set(self.frame.columns):
            raise ValueError(f"ReportInputs field 'frame' must have the columns key and status; missing: {sorted(missing)!r}")
        if len(self.objectives) not in (2, 3):
            raise ValueError(f"ReportInputs field 'objectives' must name two or three columns, not {self.objectives!r}")
        for column, direction in self.objectives:
            if direction not in ("min", "max"):
                raise ValueError(f"Objective {column!r} must be min or max, not {direction!r}")
        if unknown := [axis for axis in self.axes if axis not in self.frame.columns]:
            raise ValueError(f"ReportInputs field 'axes' must name columns of the frame, not {unknown!r}")
        known = set(self.frame["key"])
        if unknown := [key for key in (*self.front, *self.candidates.values()) if key not in known]:
            raise ValueError(f"ReportInputs fields 'front' and 'candidates' must hold keys of the frame, not {unknown!r}")

    @property
    def statuses(self) -> dict[str, int]:
        """How many points the sweep has by status, drawn or not; the ones that ran first."""
        known = self.counts or {str(name): int(count) for name, count in self.frame["status"].value_counts().items()}
        return {status: known.get(status, 0) for status in ("ok", "unsupported", "invalid", "failed")}

    @property
    def not_run(self) -> pd.DataFrame:
        """The points that did not run."""
        return self.stopped if self.counts else self.frame[self.frame["status"] != "ok"]

    @property
    def ok(self) -> pd.DataFrame:
        """The points that ran, each key once."""
        return self.frame[self.frame["status"] == "ok"].drop_duplicates("key")

    def rows(self, keys: tuple[str, ...]) -> pd.DataFrame:
        """The points of these keys that ran, in the order of the keys."""
        table = self.ok.set_index("key", drop=False)
        return table.loc[[key for key in dict.fromkeys(keys) if key in table.index]]
