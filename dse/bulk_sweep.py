"""A sweep of very many points: all of them by the closed form, the best of them once more by the event-driven machine."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from dse.bulk import evaluate_points, failed_points
from dse.chunks import Chunks, packed, points_digest
from dse.confirm import chosen_points, chosen_space
from dse.folder import SweepFolder
from dse.positions import Order, Points
from dse.running_front import FrontPart, RunningFront, part_of
from dse.space import Space
from dse.store import Store
from dse.sweep import run_sweep
from dse.workers import Workers, workers

__all__ = ["MOST", "BulkProgress", "bulk_sweep", "chunks_of"]


MOST = 64
"""Points to confirm unless told otherwise: a minute or two of ResNet-18's event runs on two cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkProgress:
    """How far a sweep is. `found` and `evaluated` count points of the closed form, `confirmed` those of `to_confirm` that the
    event-driven machine has run (0 of 0 until they are chosen)."""

    total: int
    found: int  # in the folder at the start
    evaluated: int  # since
    statuses: Mapping[str, int]  # of both
    front: int  # points of it with different objectives
    hypervolume: float
    reference: tuple[float, ...]  # from which; empty until a point has run
    confirmed: int = 0
    to_confirm: int = 0


class _Work(NamedTuple):
    """A file to make."""

    points: Points
    digest: str
    start: int
    stop: int


class _Done(NamedTuple):
    """A file, and what the sweep's progress wants of it."""

    start: int
    stop: int
    data: bytes
    front: FrontPart
    statuses: dict[str, int]


def chunks_of(space: Space, folder: SweepFolder) -> Chunks:
    """The bulk store of a space's points in a folder."""
    return Chunks(folder.chunks, points_digest(space), len(space))


def bulk_sweep(
    space: Space,
    folder: SweepFolder,
    *,
    jobs: int = 1,
    crew: Workers | None = None,
    most: int = MOST,
    report: Callable[[BulkProgress], None],
) -> None:
    """Evaluate every point that the folder does not hold yet, `jobs` files at a time or by a crew that is there; then run at
    most `most` of them, those on and near the front, on the event-driven machine (0: none).

    Files are written as they come, and rows of confirmed points committed as they come, so that a kill loses only those under
    way. What came out is read from the folder (`dse.bulk_outcome`). Raises WorkerLostError, StoreError.
    """
    chunks, order = chunks_of(space, folder), Order(space)
    chunks.tidy()
    front, statuses = RunningFront.of(space), Counter[str]()
    missing: list[tuple[int, int]] = []
    for start, stop in _shuffled(chunks.ranges):
        frame = chunks.whole(start, stop)
        if frame is None or (frame["status"] == "failed").any():  # which is tried again, as `run_sweep` does
            missing.append((start, stop))
        else:
            front.add(part_of(frame, space))
            statuses.update(_statuses(frame))
    found, evaluated = len(space) - sum(stop - start for start, stop in missing), 0

    def say(confirmed: int = 0, to_confirm: int = 0) -> None:
        report(
            BulkProgress(
                total=len(space),
                found=found,
                evaluated=evaluated,
                statuses=dict(statuses),
                front=len(front.front.points),
                hypervolume=front.hypervolume,
                reference=() if front.reference is None else tuple(front.reference.tolist()),
                confirmed=confirmed,
                to_confirm=to_confirm,
            )
        )

    say()
    work = (_Work(order.points(start, stop), chunks.digest, start, stop) for start, stop in missing)
    with nullcontext(crew) if crew is not None else workers(jobs) as hands:
        with closing(hands.results(evaluate_chunk, work, lost=_lost)) as done:
            for each in done:
                chunks.add(each.start, each.stop, each.data)
                front.add(each.front)
                statuses.update(each.statuses)
                evaluated += each.stop - each.start
                say()
        if not most:
            return
        best = chosen_space(space, chosen_points(space, chunks, most).points)
        with Store(folder.store) as store:
            run_sweep(best, store, jobs=jobs, crew=hands, report=lambda state: say(state.found + state.evaluated, state.total))


def evaluate_chunk(work: _Work) -> _Done:
    """What a worker does."""
    return _done(work, evaluate_points(work.points))


def _lost(work: _Work, reason: str) -> _Done:
    """Of points that took worker after worker with them."""
    return _done(work, failed_points(work.points, reason))


def _done(work: _Work, frame: pd.DataFrame) -> _Done:
    data = packed(frame, work.digest, work.start, work.stop)
    return _Done(work.start, work.stop, data, part_of(frame, work.points.grid), _statuses(frame))


def _statuses(frame: pd.DataFrame) -> dict[str, int]:
    return {str(name): int(count) for name, count in frame["status"].value_counts().items() if count}


def _shuffled(ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """In an order, always the same, in which a sweep that is stopped has seen a bit of everything."""
    return (ranges[i] for i in np.random.default_rng(0).permutation(len(ranges)))
