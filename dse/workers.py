"""Hand items to worker processes, of this machine or of a Dask cluster, and take the results as they come."""

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import active_children, get_context, parent_process
from typing import NoReturn, TypeVar

__all__ = ["WorkerLostError", "results"]

_AHEAD = 4  # items per worker that wait for it

T = TypeVar("T")
R = TypeVar("R")


class WorkerLostError(Exception):
    """A worker process died (out of memory, or killed); what the store held is safe, and a re-run continues."""


def results(
    work: Callable[[T], R],
    items: Iterator[T] | Iterable[T],
    *,
    jobs: int,
    scheduler: str = "",
    lost: Callable[[T, str], R] | None = None,
) -> Generator[R, None, None]:
    """`work` of each item, in the order in which they finish; items are drawn only as workers become free.

    `work` and the items must pickle. One job runs in this process; more run in fresh interpreters, which Ctrl-C does not
    reach and which end with this process. Close the generator to end them early. Raises what `work` raises, and
    WorkerLostError where a worker dies.

    With `scheduler`, the address of a Dask scheduler (tcp://host:8786) or its scheduler file, `jobs` does not matter: the
    workers are the cluster's, now and as they join. Where one dies, its items run again elsewhere; of an item that kills
    worker after worker, `lost(item, reason)` makes the result (without it: WorkerLostError). Raises ConfigError where there
    is no such scheduler or a worker has another model, and WorkerLostError where the scheduler goes away.
    """
    if scheduler:
        from dse.cluster import cluster_results  # Dask takes longer to load than most commands to run

        yield from cluster_results(work, items, address=scheduler, lost=lost or _raise_lost)
        return
    drawn = iter(items)
    if jobs == 1:
        yield from map(work, drawn)
        return
    # Fresh interpreters: a fork of a process with threads (progress bars) may hang.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_end_with_parent)
    others = set(active_children())
    try:
        running = _submit(pool, work, islice(drawn, jobs * _AHEAD))
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            running |= _submit(pool, work, islice(drawn, len(finished)))
            for future in finished:
                yield future.result()
    except BrokenProcessPool:
        raise WorkerLostError(
            "A worker process was lost, perhaps for lack of memory; run the same command to continue"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in set(active_children()) - others:  # the end of this process would wait for the items under way
            worker.terminate()


def _raise_lost(item: object, reason: str) -> NoReturn:
    raise WorkerLostError(f"{reason}: {item!r:.200}")


def _submit(pool: ProcessPoolExecutor, work: Callable[[T], R], items: Iterable[T]) -> set[Future[R]]:
    """Hand items to workers, which start here and so never see Ctrl-C: it reaches them blocked, and this process after."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return {pool.submit(work, item) for item in items}
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
