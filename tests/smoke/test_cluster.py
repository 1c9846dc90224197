"""Does a sweep on a Dask cluster give a single process's table, whatever becomes of workers and scheduler meanwhile?"""

import os
import signal
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
from small import SMALL_TRACE, write_small_trace
from terminal import wait_until

from dse.bulk_outcome import bulk_outcome
from dse.bulk_sweep import bulk_sweep, chunks_of
from dse.commands.searching import event_runs
from dse.config import ConfigError
from dse.folder import SweepFolder
from dse.search import run_search
from dse.space import Objective, Space
from dse.store import Store
from dse.sweep import run_sweep, sweep_frame
from dse.workers import WorkerLostError, workers

pytest.importorskip("distributed")
from local_cluster import LocalCluster

AXES = {
    "accelerator.pe.multiply_latency": [1, 2, 3, 4],
    "accelerator.pe.interleave": [1, 2, 4],
    "batch": [1, 2, 3, 4, -1],  # the last makes no point
    "method": ["dense", "bdwp:2:8"],
}
SPACE = Space(
    title="small",
    base={"accelerator": "sat-vcu1525", "workload": SMALL_TRACE, "method": "dense"},
    axes=tuple(tuple({name: value} for value in values) for name, values in AXES.items()),
    objectives=(Objective("cycles", True),),
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    write_small_trace(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def swept(path, report=lambda _: None, **how):
    with Store(path) as store:
        keys = run_sweep(SPACE, store, report=report, **{"jobs": 1, **how})
        return sweep_frame(SPACE, store, keys=keys)


def equal(frame, folder):
    pd.testing.assert_frame_equal(frame, swept(folder / "whole.sqlite"), check_exact=True)
    assert frame["status"].value_counts().to_dict() == {"ok": 96, "invalid": 24}


def test_a_worker_dies_and_another_joins_and_the_table_is_the_same(folder):
    seen = []
    with LocalCluster(folder) as cluster:
        workers = [cluster.start_worker() for _ in range(3)]

        def report(state):
            seen.append(state.evaluated)
            if state.evaluated == 20:
                cluster.kill(workers[0])
                cluster.start_worker()

        frame = swept(folder / "s.sqlite", report, scheduler=str(cluster.file))
    assert seen == list(range(121))  # each point's row came once
    equal(frame, folder)


def test_a_scheduler_that_is_lost_and_what_the_store_holds_is_safe(folder):
    """Lost for good, it is said and any later run continues; started again at its address, the sweep goes on."""
    with LocalCluster(folder) as cluster:
        cluster.start_worker()

        def lose(state):
            if state.evaluated == 10:
                cluster.kill(cluster.scheduler)

        with pytest.raises(WorkerLostError, match=r"scheduler at tcp://127.* was lost .* run the same command to continue"):
            swept(folder / "s.sqlite", lose, scheduler=str(cluster.file))
        with Store(folder / "s.sqlite") as store:
            assert len(store.keys()) >= 10

        cluster.start_scheduler()
        cluster.start_worker()
        port = urlsplit(cluster.address()).port

        def restart(state):
            if state.evaluated == 10:
                cluster.kill(cluster.scheduler)
                cluster.start_scheduler(port)
                cluster.start_worker()

        equal(swept(folder / "s.sqlite", restart, scheduler=cluster.address()), folder)


def _dies_at_seven(number):
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_an_item_that_kills_its_workers_is_told_from_those_beside_it(folder, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    with LocalCluster(folder) as cluster:
        for _ in range(3):  # one dies with the item's task, one with the item alone
            cluster.start_worker()
        with workers(1, str(cluster.file)) as crew:
            found = sorted(crew.results(_dies_at_seven, range(20), lost=lambda number, why: number + 1000 * len(why)))
        assert sum(process.poll() == -signal.SIGKILL for process in cluster.processes) == 2
        assert found[:-1] == [number for number in range(20) if number != 7]
        assert found[-1] % 1000 == 7
        assert found[-1] > 1000


def test_a_search_and_a_sweep_by_the_closed_form_over_one_connection(folder):
    """Generation after generation by the same workers; files of points, then the best of them as event runs."""
    searching = replace(SPACE, search="nsga2", samples=24, population=8, seed=1)
    found = []
    with LocalCluster(folder) as cluster:
        cluster.start_worker()
        for name, how in (("cluster", {"jobs": 1, "scheduler": str(cluster.file)}), ("here", {"jobs": 1})):
            with Store(folder / f"{name}.sqlite") as store, workers(**how) as crew:
                evaluate = event_runs(searching, store, crew, count=lambda _: None)(24, lambda _: None)
                chosen = run_search(searching, evaluate, lambda _: None).chosen
                target = SweepFolder(folder / name)
                target.create()
                bulk_sweep(SPACE, target, crew=crew, most=10, report=lambda _: None)
                outcome = bulk_outcome(SPACE, chunks_of(SPACE, target), store, 10)
            with Store(target.store) as confirmed:
                found.append((chosen, outcome.shown, confirmed.frame()))
    assert found[0][0] == found[1][0]
    assert len(found[0][2]) == 10
    for mine, other in zip(found[0][1:], found[1][1:], strict=True):
        pd.testing.assert_frame_equal(mine, other, check_exact=True)


PATCH = """
import dse.point, dse.scheduler
dse.scheduler.MODEL = dse.point.MODEL = "9.9"
"""


def test_a_worker_with_another_release_is_refused(folder):
    (folder / "patch.py").write_text(PATCH)
    with LocalCluster(folder) as cluster:
        cluster.start_worker()

        def join(state):  # in mid-sweep: only its tasks tell
            if state.evaluated == 1:
                cluster.start_worker("--preload", "patch.py", "--name", "other")
                assert wait_until(lambda: "other" in cluster.worker_names(), 60)

        with pytest.raises(ConfigError, match=r"must have the nmdse of this machine, not another: release 9\.9 instead of"):
            swept(folder / "s.sqlite", join, scheduler=str(cluster.file))
        with pytest.raises(ConfigError, match=r"^Worker tcp://.* of the cluster at .*release 9\.9 instead of"):
            swept(folder / "s.sqlite", scheduler=str(cluster.file))
    equal(swept(folder / "s.sqlite"), folder)  # nothing of the other came into the store


def test_a_worker_with_another_trace_is_refused(folder, monkeypatch):
    """A file of this name that no test has read before: a process reads a trace once."""
    space = replace(SPACE, base={**SPACE.base, "workload": "other.jsonl.gz"})
    (folder / "here").mkdir()
    write_small_trace(folder, ("fc", "layer4.1.conv2"), "other.jsonl.gz")
    write_small_trace(folder / "here", ("fc",), "other.jsonl.gz")
    with LocalCluster(folder) as cluster:
        cluster.start_worker()
        monkeypatch.chdir(folder / "here")
        with Store(folder / "s.sqlite") as store:
            with pytest.raises(ConfigError, match=r"must read this machine's trace 'other\.jsonl\.gz'.*its digest differs"):
                run_sweep(space, store, jobs=1, report=lambda _: None, scheduler=str(cluster.file))
            assert not store.keys()
