"""Run a space's points, in parallel, into a store; continue where an earlier run stopped."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

import pandas as pd

from dse.config import ConfigError
from dse.evaluate import row_of
from dse.point import make_point
from dse.space import Space
from dse.store import Store
from dse.workers import WorkerLostError, Workers, workers

__all__ = ["Progress", "WorkerLostError", "evaluate_settings", "key_of", "run_sweep", "sweep_frame"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a sweep is: points in all, those found in the store at its start, those evaluated since."""

    total: int
    found: int
    evaluated: int
    row: dict[str, Any] | None = None  # the point that just finished


def key_of(settings: dict[str, Any]) -> str:
    """The point's key, or for settings that make no point a digest of the settings."""
    try:
        return make_point(settings).key
    except Exception:  # what it is, `evaluate_settings` says in the point's row
        text = json.dumps(settings, sort_keys=True, default=str)
        return "invalid-" + hashlib.sha256(text.encode()).hexdigest()[:8]


def evaluate_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """A point's row, whatever happens: `status` is ok, unsupported, invalid (fields that exclude each other) or failed."""
    try:
        return row_of(make_point(settings), settings)
    except ConfigError as error:
        return {"key": key_of(settings), **settings, "status": "invalid", "error": str(error)}
    except Exception as error:  # one bad point must not end a sweep; it is counted and named at the end
        return {"key": key_of(settings), **settings, "status": "failed", "error": f"{type(error).__name__}: {error}"}


def run_sweep(
    space: Space,
    store: Store,
    *,
    jobs: int,
    report: Callable[[Progress], None],
    scheduler: str = "",
    crew: Workers | None = None,
) -> list[str]:
    """Evaluate every point that the store does not hold yet, or holds as failed. Returns all keys, in the space's order.

    `jobs` at a time on this machine, or on the workers of the Dask cluster whose scheduler is at that address, or by a crew
    that is there. Each row is committed as it comes, so that a kill loses only the points under way. Raises what
    `dse.workers.workers` raises.
    """
    store.forget_failed()
    keys = [key_of(settings) for settings in space]
    missing = set(keys) - store.keys()
    found = len(keys) - len(missing)
    report(Progress(total=len(keys), found=found, evaluated=0))
    points = _once(missing, zip(keys, space, strict=True))
    with (
        nullcontext(crew) if crew is not None else workers(jobs, scheduler) as hands,
        closing(hands.results(_row, points, lost=_lost)) as rows,  # at once, also where store or report raises
    ):
        for done, (key, row) in enumerate(rows, start=1):
            if row["key"] != key:  # of a worker elsewhere
                at = f" at {scheduler}" if scheduler else ""
                raise ConfigError(
                    f"Workers of the cluster{at} must read this machine's trace {row.get('workload')!r}, the "
                    f"same content at that path; one does not: {row.get('error', 'its digest differs')}"
                )
            store.add([row])
            report(Progress(total=len(keys), found=found, evaluated=done, row=row))
    return keys


_Keyed: TypeAlias = tuple[str, dict[str, Any]]


def _once(wanted: set[str], points: Iterable[_Keyed]) -> Iterator[_Keyed]:
    """Of wanted points the first with each key, made as they are drawn."""
    for key, settings in points:
        if key in wanted:
            wanted.discard(key)
            yield key, settings


def _row(point: _Keyed) -> _Keyed:
    """In a worker: a point's row, which holds the key as this worker derives it."""
    key, settings = point
    return key, evaluate_settings(settings)


def _lost(point: _Keyed, reason: str) -> _Keyed:
    key, settings = point
    return key, {"key": key, **settings, "status": "failed", "error": reason}


def sweep_frame(space: Space, store: Store, *, keys: Sequence[str] | None = None) -> pd.DataFrame:
    """The space's points in its own order, as far as the store holds them; settings as this space names them.

    Equal whether the sweep ran in one go, in pieces, or in parallel. `keys`: of all points in order, as `run_sweep` returns
    them; to derive them takes longer than all the rest.
    """
    columns: dict[str, list[Any]] = {}
    for settings in space:
        for name, value in settings.items():
            columns.setdefault(name, []).append(value)
    if keys is None:
        keys = [key_of(settings) for settings in space]
    settings = pd.DataFrame({"point": range(len(keys)), "key": keys, **columns})
    rows = store.frame()
    rows = rows[rows["status"].notna()] if "status" in rows.columns else rows[:0]  # without it a row says nothing
    known = rows[["key", *(name for name in rows.columns if name not in settings.columns)]]
    merged = settings.merge(known, on="key", how="inner", sort=False)
    own = [name for name in merged.columns if name in settings.columns]
    found = [name for name in merged.columns if name not in settings.columns and merged[name].notna().any()]
    return merged[own + sorted(found, key=lambda name: (name in _REASON, name))]  # not in the order of evaluation


_REASON = ("constraint", "demand", "limit")  # why a point can't run: last
