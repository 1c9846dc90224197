"""What came out of a sweep of very many points: counts, the front, how far both fidelities agree, and a part to look at."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dse.chunks import Chunks
from dse.confirm import Agreement, Choice, agreement, chosen_points, chosen_space
from dse.derived import with_derived
from dse.grid import Space
from dse.pareto import front_of
from dse.positions import Ints
from dse.store import Store
from dse.sweep import key_of, sweep_frame

__all__ = ["BulkOutcome", "Reason", "bulk_outcome"]

_SAMPLE = 1000  # points of the report that are drawn at random
_STARS = 40  # of them, those from which each axis is also changed alone
_SEED = 0


@dataclass(frozen=True, slots=True)
class Reason:
    """Why points did not run, and how many."""

    status: str
    reason: str
    points: int


@dataclass(frozen=True, kw_only=True)
class BulkOutcome:
    """Of the points evaluated so far. Tables have settings as the space gives them, `key` and `fidelity`.

    `stopped` has a row for each point that did not run: status, constraint, demand, limit, error and what varies.
    """

    total: int  # points of the space
    evaluated: int
    statuses: dict[str, int]
    reasons: tuple[Reason, ...]  # most frequent first
    choice: Choice
    agreement: Agreement | None  # None: nothing was confirmed
    front: pd.DataFrame  # of event runs where some were confirmed, else of the closed form
    shown: pd.DataFrame  # front, what is near it, a sample: what a report can draw
    sampled: int  # points of `shown` that are there for the sample's sake
    stopped: pd.DataFrame


def bulk_outcome(space: Space, chunks: Chunks, store: Store, most: int) -> BulkOutcome:
    """Read it from a folder, whole or under way; `most`: points to confirm, as `dse.bulk_sweep.bulk_sweep` was told."""
    choice = chosen_points(space, chunks, most)
    statuses, stopped = _stopped(space, chunks)
    event = _events(space, choice.points, store)
    sample = _sample(space)
    best = np.union1d(choice.points, choice.front)
    rows = with_derived(space, _rows(space, chunks, np.union1d(best, sample)))
    chosen = rows[rows["point"].isin(best.tolist())]
    compared = agreement(chosen, event, space) if len(event) else None
    event = with_derived(space, event)
    lead = event[event["status"] == "ok"] if len(event) else chosen
    front = front_of(lead, space.objectives) if len(lead) else lead
    shown = rows[~rows["point"].isin(event["point"].tolist())] if len(event) else rows
    named = shown["point"].isin(best.tolist())
    keys = [
        key_of(space.settings(int(space.indices[p]))) if known else f"#{p}"
        for p, known in zip(shown["point"], named, strict=True)
    ]
    shown = shown.assign(key=keys)
    if not len(event):
        front = front.assign(key=shown.loc[front.index, "key"])
    return BulkOutcome(
        total=len(space),
        evaluated=sum(statuses.values()),
        statuses=statuses,
        reasons=_reasons(stopped),
        choice=choice,
        agreement=compared,
        front=front,
        shown=pd.concat([event, shown], ignore_index=True) if len(event) else shown.reset_index(drop=True),
        sampled=int((~named).sum()),
        stopped=stopped,
    )


def _stopped(space: Space, chunks: Chunks) -> tuple[dict[str, int], pd.DataFrame]:
    """Points by status; and those that did not run."""
    wanted = ["point", *space.varied, "status", "constraint", "demand", "limit", "error"]
    counts: dict[str, int] = {}
    found: list[pd.DataFrame] = []
    for frame in chunks.frames(wanted):
        for name, count in frame["status"].value_counts().items():
            counts[str(name)] = counts.get(str(name), 0) + int(count)
        found.append(_plain(frame[(frame["status"] != "ok").to_numpy()]))
    some = [frame for frame in found if len(frame)]
    return {name: count for name, count in counts.items() if count}, (
        pd.concat(some, ignore_index=True) if some else pd.DataFrame(columns=wanted)
    )


def _reasons(stopped: pd.DataFrame) -> tuple[Reason, ...]:
    if stopped.empty:
        return ()
    words = stopped["constraint"].where(stopped["status"] == "unsupported", stopped["error"]).fillna("unknown")
    counts = words.groupby([stopped["status"], words]).size().sort_values(ascending=False, kind="stable")
    names = counts.index.to_frame(index=False).astype(str).to_numpy()
    return tuple(Reason(status, reason, count) for (status, reason), count in zip(names, counts.tolist(), strict=True))


def _events(space: Space, points: Ints, store: Store) -> pd.DataFrame:
    """Event runs of these points, as far as the store has them."""
    if not len(points):
        return pd.DataFrame()
    found = sweep_frame(chosen_space(space, points), store)
    return found.assign(point=points[found["point"].to_numpy(np.int64)], fidelity="event") if len(found) else pd.DataFrame()


def _rows(space: Space, chunks: Chunks, points: Ints) -> pd.DataFrame:
    """Rows of the closed form with all their columns, settings as the space gives them."""
    found = _plain(chunks.frame(points=points))
    indices = np.array([int(space.indices[int(point)]) for point in found["point"]], np.int64)
    return found.assign(**{name: _series(values) for name, values in space.columns(indices, space.names).items()})


def _series(values: "np.ndarray[Any, Any]") -> "pd.Series[Any]":
    return pd.Series(values.tolist())


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Categories as texts."""
    texts = [name for name, kind in frame.dtypes.items() if isinstance(kind, pd.CategoricalDtype)]
    return frame.astype(dict.fromkeys(texts, "object"))


def _sample(space: Space) -> Ints:
    """Points at random, always the same; and of a grid all that differ from some of them in one axis: what a change of one
    axis does is seen only between such."""
    random = np.random.default_rng(_SEED)
    size = len(space)
    points = np.sort(random.choice(size, min(_SAMPLE, size), replace=False)) if size else np.zeros(0, np.int64)
    if not isinstance(space.indices, range):
        return points
    found = [points]
    for centre in random.choice(points, min(_STARS, len(points)), replace=False):
        inside = 1
        for axis in reversed(space.axes):
            place = int(centre) // inside % len(axis)
            found.append(int(centre) + (np.arange(len(axis)) - place) * inside)
            inside *= len(axis)
    return np.unique(np.concatenate(found))
