"""Hand items to the workers of a Dask cluster, which may die, join and leave: each item's result comes once.

Dask runs the work of a lost worker again. What is added here: pending work is bounded, cheap items travel together, workers
with another model are refused, and an item that takes its workers with it is told from those that merely shared one.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, islice
from queue import Empty, SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar

from dse.scheduler import Model, Scheduler, connected, model
from dse.workers import raise_lost

__all__ = ["cluster_workers"]

_TASK_SECONDS = 0.5  # Dask spends some 5 ms on a task, over all of its processes: about 1 % of it
_LARGEST = 1000  # items in a task
_AHEAD = 3  # tasks per thread of the cluster that are there or under way
_TRIES = 2  # more, of work that raises: a file system may come back
_LOOK_SECONDS = 1.0  # between looks at the cluster

_log = logging.getLogger("dse")

T = TypeVar("T")
R = TypeVar("R")


class _Outcome(NamedTuple):
    """What a task brings back. `results` are of its first items; those that did not fit its time are left."""

    ticket: int
    results: list[Any]
    seconds: float
    model: Model


def _task(ticket: int, work: Callable[[T], R], items: list[T], wanted: Model) -> _Outcome:
    """On a worker: `work` of the items, as many as fit the time of a task, at least one; none where the model differs."""
    begin, results = time.perf_counter(), list[Any]()
    if model() == wanted:
        for item in items:
            results.append(work(item))
            if time.perf_counter() - begin > 2 * _TASK_SECONDS:
                break
    return _Outcome(ticket, results, time.perf_counter() - begin, model())


class _Workers:
    """The workers of a cluster, over one connection."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler, self._tickets = scheduler, count(1)  # Dask takes two tasks of one name for the same

    def results(
        self, work: Callable[[T], R], items: Iterable[T], *, lost: Callable[[T, str], R] | None = None
    ) -> Generator[R, None, None]:
        """`work` of each item, in the order in which they finish. `lost` makes the result of one whose workers die each time.

        Raises ConfigError where a worker has another model; WorkerLostError where the scheduler goes away; and what `work`
        raises, when tried again too.
        """
        yield from _Cluster(self._scheduler, work, iter(items), lost or raise_lost, self._tickets).results()


@contextmanager
def cluster_workers(address: str) -> Generator[_Workers, None, None]:
    """The workers of the cluster whose scheduler is at an address, as in tcp://host:8786, or wrote that scheduler file.

    Raises ConfigError where there is none.
    """
    with connected(address) as scheduler:
        yield _Workers(scheduler)


@dataclass
class _Cluster(Generic[T, R]):
    """The items on their way through a cluster."""

    scheduler: Scheduler
    work: Callable[[T], R]
    items: Iterator[T]
    lost: Callable[[T, str], R]
    tickets: Iterator[int]
    pending: dict[int, tuple[Any, list[T]]] = field(default_factory=dict[int, tuple[Any, list[T]]])  # future, items
    again: deque[T] = field(default_factory=deque[T])  # not done by the task that had them
    suspects: deque[T] = field(default_factory=deque[T])  # their workers died: each is tried again with nothing beside it
    alone: bool = False  # one of those is under way
    ended: SimpleQueue[int] = field(default_factory=SimpleQueue[int])
    seconds: float = _TASK_SECONDS  # per item, lately: the first tasks hold one
    threads: int = 1
    looked: float = float("-inf")
    waiting: bool = False  # for a worker, and it was said

    def results(self) -> Generator[R, None, None]:
        """All of them."""
        self.scheduler.refuse_others()
        while self._supply():
            tickets = self._next()
            for outcome in self._gathered(tickets):
                _, items = self.pending.pop(outcome.ticket)
                self.scheduler.refuse(outcome.model)
                self.again.extend(items[len(outcome.results) :])
                self.seconds = max(0.5 * self.seconds + 0.5 * outcome.seconds / len(outcome.results), 1e-6)
                yield from outcome.results
            for ticket in tickets:
                if ticket in self.pending:
                    yield from self._without_result(ticket)

    def _supply(self) -> bool:
        """Keep every thread supplied, but try items whose workers died one at a time, at the end; False where all is done."""
        self._look()
        self.alone = self.alone and bool(self.pending)
        while not self.alone and len(self.pending) < _AHEAD * self.threads:
            count = max(1, min(_LARGEST, round(_TASK_SECONDS / self.seconds)))
            items = [self.again.popleft() for _ in range(min(count, len(self.again)))]
            items += islice(self.items, count - len(items))
            if not items:
                break
            self._send(items)
        if not self.pending and self.suspects:
            self.alone = True
            self._send([self.suspects.popleft()])
        return bool(self.pending)

    def _send(self, items: list[T]) -> None:
        ticket = next(self.tickets)
        with self.scheduler.reaching() as client:
            key = f"nmdse-{client.id}-{ticket}"
            future = client.submit(_task, ticket, self.work, items, model(), key=key, retries=_TRIES)
        self.pending[ticket] = (future, items)
        self._tell_of(ticket, future)

    def _tell_of(self, ticket: int, future: Any) -> None:
        """Put the ticket among those that ended, when its task has."""
        ended = self.ended

        def put(_: object) -> None:
            ended.put(ticket)

        future.add_done_callback(put)

    def _next(self) -> list[int]:
        """Tickets of tasks that ended, one way or another; waits for the first."""
        while True:
            with suppress(Empty):
                tickets = [self.ended.get(timeout=_LOOK_SECONDS)]
                while not self.ended.empty():
                    tickets.append(self.ended.get())
                return [ticket for ticket in dict.fromkeys(tickets) if ticket in self.pending]
            self._look()

    def _look(self) -> None:
        """How large the cluster is, now and then; say where it has no worker."""
        if time.monotonic() - self.looked < _LOOK_SECONDS:
            return
        threads = self.scheduler.threads()
        if not threads and not self.waiting:
            address = self.scheduler.address
            _log.warning("no worker at %s; waiting for one to join (Ctrl-C stops, and nothing is lost)", address)
        self.looked, self.threads, self.waiting = time.monotonic(), max(1, threads), not threads

    def _gathered(self, tickets: list[int]) -> list[_Outcome]:
        with self.scheduler.reaching() as client:
            futures = [self.pending[ticket][0] for ticket in tickets]
            return list(client.gather([future for future in futures if future.status == "finished"], errors="skip"))

    def _without_result(self, ticket: int) -> Generator[R, None, None]:
        """A task that ended and has no result: its workers died, or the work raised, or the scheduler forgot it."""
        from distributed.scheduler import KilledWorker

        future, items = self.pending[ticket]
        if future.status not in ("error", "cancelled"):  # its worker left with the result: Dask runs it again
            self._tell_of(ticket, future)
            return
        del self.pending[ticket]
        if future.status == "cancelled":  # the scheduler was started again
            self.again.extend(items)
            return
        with self.scheduler.reaching():
            error = future.exception()
        if not isinstance(error, KilledWorker):
            self.scheduler.refuse_others()  # the usual reason
            raise error
        if self.alone:
            died = error.allowed_failures + 1
            yield self.lost(items[0], f"{died} workers died one after the other while they ran it, perhaps for lack of memory")
        else:
            self.suspects.extend(items)
