"""Run a space's points, in parallel, into a store; continue where an earlier run stopped."""

import hashlib
import json
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from multiprocessing import active_children, get_context, parent_process
from typing import Any

import pandas as pd

from dse.config import ConfigError
from dse.evaluate import row_of
from dse.point import make_point
from dse.space import Space
from dse.store import Store

__all__ = ["Progress", "WorkerLostError", "evaluate_settings", "key_of", "run_sweep", "sweep_frame"]

_AHEAD = 4  # points per worker that wait for it


class WorkerLostError(Exception):
    """A worker process died (out of memory, or killed); what the store held is safe, and a re-run continues."""


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


def run_sweep(space: Space, store: Store, *, jobs: int, report: Callable[[Progress], None]) -> None:
    """Evaluate every point that the store does not hold yet, or holds as failed, `jobs` at a time.

    Each row is committed as it comes, so that a kill loses only the points under way. Raises WorkerLostError.
    """
    store.forget_failed()
    known = store.keys()
    missing: dict[str, dict[str, Any]] = {}
    for settings in space:
        key = key_of(settings)
        if key not in known:
            missing.setdefault(key, settings)
    found = len(space) - len(missing)
    report(Progress(total=len(space), found=found, evaluated=0))
    with closing(_rows(iter(missing.values()), jobs)) as rows:  # closed at once where store or report raises
        for done, row in enumerate(rows, start=1):
            store.add([row])
            report(Progress(total=len(space), found=found, evaluated=done, row=row))


def _rows(points: Iterator[dict[str, Any]], jobs: int) -> Generator[dict[str, Any], None, None]:
    if jobs == 1:
        yield from map(evaluate_settings, points)
        return
    # Fresh interpreters: a fork of a process with threads (progress bars) may hang.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_end_with_parent)
    others = set(active_children())
    try:
        running = _submit(pool, islice(points, jobs * _AHEAD))
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            running |= _submit(pool, islice(points, len(finished)))
            for future in finished:
                yield future.result()
    except BrokenProcessPool:
        raise WorkerLostError(
            "A worker process was lost, perhaps for lack of memory; run the same command to continue"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in set(active_children()) - others:  # the end of this process would wait for the points under way
            worker.terminate()


def _submit(pool: ProcessPoolExecutor, points: Iterable[dict[str, Any]]) -> set[Future[dict[str, Any]]]:
    """Hand points to workers, which start here and so never see Ctrl-C: it reaches them blocked, and this process after."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return {pool.submit(evaluate_settings, settings) for settings in points}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """In a worker: end when the parent does. Its queue would not tell, as each worker holds the queue's other end too."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def sweep_frame(space: Space, store: Store) -> pd.DataFrame:
    """The space's points in its own order, as far as the store holds them; settings as this space names them.

    Equal whether the sweep ran in one go, in pieces, or in parallel.
    """
    settings = pd.DataFrame([{"point": i, "key": key_of(s), **s} for i, s in enumerate(space)])
    rows = store.frame()
    known = rows[["key", *(name for name in rows.columns if name not in settings.columns)]]
    merged = settings.merge(known, on="key", how="inner", sort=False)
    own = [name for name in merged.columns if name in settings.columns]
    found = [name for name in merged.columns if name not in settings.columns and merged[name].notna().any()]
    return merged[own + sorted(found, key=lambda name: (name in _REASON, name))]  # not in the order of evaluation


_REASON = ("constraint", "demand", "limit")  # why a point can't run: last
