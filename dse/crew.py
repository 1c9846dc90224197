"""Worker processes of this machine, each with a queue of its own: one that dies takes down the item it had, and no other.

A pool that shares one queue would not tell whose item it was. A worker does its items in order, so the first without a result
is the one that it died of.
"""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import active_children, get_context, parent_process, resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from dse.workers import WorkerLostError, raise_lost

__all__ = ["Crew"]

_AHEAD = 3  # items that wait for a worker behind the one it has, at most
_AHEAD_SECONDS = 0.1  # of work that waits: as long as this process may take to hand it the next
_STARTS = 3  # workers that may end before they did anything, in a row

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Given:
    """An item on its way; that a worker is there at all is asked first."""

    future: Future[Any]
    item: Any = None
    is_start: bool = False


@dataclass(slots=True)
class _Worker:
    """A process, and what it was given, in its order."""

    pool: ProcessPoolExecutor | None = None
    processes: set[BaseProcess] = field(default_factory=set[BaseProcess])
    queue: deque[_Given] = field(default_factory=deque[_Given])

    def give(self, work: Callable[[T], R], item: T) -> None:
        """The process starts with its first item and never sees Ctrl-C: it reaches it blocked, and this process after."""
        if self.pool is None:
            resource_tracker.ensure_running()  # first: as it starts it lets Ctrl-C through, also where that was blocked
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            if self.pool is not None:
                try:
                    self.queue.append(_Given(self.pool.submit(_timed, work, item), item))
                    return
                except BrokenProcessPool as error:
                    if self.queue:  # of these the first is to blame, which is seen when they are looked at
                        self.queue.append(_Given(_failed(error), item))
                        return
                    self.drop()  # it was ended while it had nothing to do
            others = set(active_children())
            # Fresh interpreters: a fork of a process with threads (progress bars) may hang.
            self.pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_end_with_parent)
            self.queue.append(_Given(self.pool.submit(_ready), is_start=True))
            self.processes = set(active_children()) - others
            self.queue.append(_Given(self.pool.submit(_timed, work, item), item))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def drop(self) -> None:
        """Its process is gone, or goes now: the end of this process would wait for the item under way."""
        if self.pool is not None:
            self.pool.shutdown(wait=False, cancel_futures=True)
        for process in self.processes:
            process.terminate()
        self.pool, self.processes = None, set()
        self.queue.clear()


class Crew:
    """So many worker processes. They start with the first items and stay for the next call."""

    def __init__(self, jobs: int) -> None:
        self._workers = [_Worker() for _ in range(jobs)]
        self._seconds = float("inf")  # of an item, lately
        self._starts = 0  # that failed in a row

    def end(self) -> None:
        """End all of them, with whatever they have."""
        for worker in self._workers:
            worker.drop()

    def results(
        self, work: Callable[[T], R], items: Iterable[T], *, lost: Callable[[T, str], R] | None = None
    ) -> Generator[R, None, None]:
        """See `dse.workers.Workers`."""
        drawn = iter(items)
        again, suspects = deque[T](), deque[T]()
        while True:
            self._supply(work, _first(again, drawn))
            if not self._busy():
                break
            yield from self._collect(again, suspects.append)
        for suspect in suspects:
            died = deque[T]()
            self._workers[0].give(work, suspect)
            while self._busy():
                yield from self._collect(again, died.append)
                if again:  # the worker was ended before it began
                    self._workers[0].give(work, again.popleft())
            if died:
                reason = "its worker process died twice, with nothing beside it the second time, perhaps for lack of memory"
                yield (lost or raise_lost)(suspect, reason)

    def _busy(self) -> bool:
        return any(worker.queue for worker in self._workers)

    def _supply(self, work: Callable[[T], R], items: Iterator[T]) -> None:
        """Give each worker an item, then each of them more to have while this process looks at results: of long items none, so
        that all workers end together."""
        more = 0 if self._seconds > _AHEAD_SECONDS * (_AHEAD + 2) else min(_AHEAD, round(_AHEAD_SECONDS / self._seconds) + 1)
        for depth in range(1 + more):
            for worker in self._workers:
                if len(worker.queue) <= depth:
                    for item in islice(items, 1):
                        worker.give(work, item)

    def _collect(self, again: deque[T], suspect: Callable[[T], None]) -> Generator[Any, None, None]:
        """Wait for results, and yield them. Of a worker that died the first item is suspect, the others are to do again."""
        wait([given.future for worker in self._workers for given in worker.queue], return_when=FIRST_COMPLETED)
        for worker in self._workers:
            while worker.queue and worker.queue[0].future.done():
                given = worker.queue.popleft()
                if isinstance(given.future.exception(), BrokenProcessPool):
                    rest = [each.item for each in worker.queue if not each.is_start]
                    worker.drop()
                    again.extend(rest)
                    if given.is_start:
                        self._failed_to_start()
                    else:
                        suspect(given.item)
                elif given.is_start:
                    self._starts = 0
                else:
                    result, seconds = given.future.result()
                    self._seconds = max(seconds if self._seconds == float("inf") else (self._seconds + seconds) / 2, 1e-6)
                    yield result

    def _failed_to_start(self) -> None:
        self._starts += 1
        if self._starts >= _STARTS:
            raise WorkerLostError(
                "Worker processes end before they evaluate anything, perhaps for lack of memory; what the store holds is safe: "
                "run the same command to continue, with fewer --jobs"
            )


def _first(again: deque[T], drawn: Iterator[T]) -> Iterator[T]:
    """Items that lost their worker, then new ones."""
    while True:
        if again:
            yield again.popleft()
        else:
            try:
                yield next(drawn)
            except StopIteration:
                return


def _failed(error: BaseException) -> Future[Any]:
    future = Future[Any]()
    future.set_exception(error)
    return future


def _ready() -> None:
    """In a worker: it is there."""


def _timed(work: Callable[[T], R], item: T) -> tuple[R, float]:
    begin = time.perf_counter()
    return work(item), time.perf_counter() - begin


def _end_with_parent() -> None:
    """In a worker: end when the parent does. Its queue would not tell, as each worker holds the queue's other end too."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
