"""Hand items to worker processes, of this machine or of a Dask cluster, and take the results as they come."""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import NoReturn, Protocol, TypeVar

__all__ = ["WorkerLostError", "Workers", "raise_lost", "workers"]

T = TypeVar("T")
R = TypeVar("R")


class WorkerLostError(Exception):
    """Workers or their scheduler went away for good; what the store held is safe, and a re-run continues."""


class Workers(Protocol):
    """Processes that are there for several calls: a search hands them batch after batch."""

    def results(
        self, work: Callable[[T], R], items: Iterable[T], *, lost: Callable[[T, str], R] | None = None
    ) -> Generator[R, None, None]:
        """`work` of each item, in the order in which they finish; items are drawn only as workers become free.

        `work` and the items must pickle. Close the generator to end them early: that call is the last one. Where a worker dies,
        another takes its place and its item is tried again at the end, with nothing beside it; of an item that kills its worker
        then too, `lost(item, reason)` makes the result (without it: WorkerLostError). Raises what `work` raises.
        """
        ...


@contextmanager
def workers(jobs: int, scheduler: str = "") -> Generator[Workers, None, None]:
    """Workers that start with their first items and end with the block.

    One job is this process itself, which a fatal item takes with it. More are fresh interpreters, which Ctrl-C does not reach
    and which end with this process; WorkerLostError where they end before they begin.

    With `scheduler`, the address of a Dask scheduler (tcp://host:8786) or its scheduler file, `jobs` does not matter: the
    workers are the cluster's, now and as they join. Raises ConfigError where there is no such scheduler or a worker has another
    model, and WorkerLostError where the scheduler goes away.
    """
    if scheduler:
        from dse.cluster import cluster_workers  # Dask takes longer to load than most commands to run

        with cluster_workers(scheduler) as cluster:
            yield cluster
    elif jobs == 1:
        yield _Here()
    else:
        from dse.crew import Crew  # and so do processes

        crew = Crew(jobs)
        try:
            yield crew
        finally:
            crew.end()


class _Here:
    """This process."""

    def results(
        self, work: Callable[[T], R], items: Iterable[T], *, lost: Callable[[T, str], R] | None = None
    ) -> Generator[R, None, None]:
        del lost  # nobody is left to say it
        yield from map(work, items)


def raise_lost(item: object, reason: str) -> NoReturn:
    """What becomes of a lost item where nobody makes a result of it."""
    raise WorkerLostError(f"{reason}: {item!r:.200}")
