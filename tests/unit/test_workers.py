"""Are items drawn as workers become free, each result given once, and what goes wrong said?"""

import functools
import itertools
import os
import signal
import sys
import time
from contextlib import closing
from multiprocessing import active_children

import pytest

from dse import scheduler as scheduler_module
from dse.cluster import _task
from dse.config import ConfigError
from dse.scheduler import Model, Scheduler, model
from dse.workers import WorkerLostError, workers


def results(work, items, *, jobs, scheduler="", lost=None):
    """By workers of one call."""
    with workers(jobs, scheduler) as crew:
        yield from crew.results(work, items, lost=lost)


def square(number):
    return number * number


def fails_at_seven(number):
    return 1 // (number - 7)


def dies_at_seven(number):
    if number == 7:
        time.sleep(0.3)  # others come to wait behind it
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.fixture
def drawn():
    """An endless number of items, and those of them that were drawn."""
    taken = []

    def items():
        for number in itertools.count():
            taken.append(number)
            yield number

    return items(), taken


def test_one_job_runs_here_an_item_at_a_time(drawn):
    items, taken = drawn
    with closing(results(lambda number: (os.getpid(), number), items, jobs=1)) as found:
        assert [next(found) for _ in range(3)] == [(os.getpid(), number) for number in range(3)]
    assert taken == [0, 1, 2]


def test_items_are_drawn_as_workers_become_free(drawn):
    items, taken = drawn
    with closing(results(square, items, jobs=2)) as found:
        got = [next(found) for _ in range(50)]
    assert len(set(got)) == 50
    assert set(got) <= {square(number) for number in taken}
    assert len(taken) <= 50 + 2 * 2 * 4  # those that wait, and those that finished beside the one given


def test_each_result_comes_once():
    assert sorted(results(square, range(100), jobs=2)) == [square(number) for number in range(100)]
    assert list(results(square, [], jobs=2)) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_the_work_raises_is_raised(jobs):
    with pytest.raises(ZeroDivisionError):
        list(results(fails_at_seven, range(20), jobs=jobs))


def test_an_item_that_kills_its_workers_is_told_from_the_others():
    """It is tried once more at the end; without anything to make of it, it is said."""
    found = list(results(dies_at_seven, range(40), jobs=2, lost=lambda number, why: (number, why)))
    assert sorted(found[:-1]) == [number for number in range(40) if number != 7]
    assert found[-1] == (7, REASON)
    with pytest.raises(WorkerLostError, match=f"{REASON}: 7"):
        list(results(dies_at_seven, range(5, 9), jobs=2))
    for child in active_children():
        child.join(20)


def dies_at_twenty_after_a_while(number):
    """So that items wait behind it; they do where results come fast."""
    time.sleep(0.3 if number == 20 else 0.002)
    if number == 20:
        os._exit(3)
    return number


def test_what_waited_behind_an_item_that_kills_is_done():
    found = list(results(dies_at_twenty_after_a_while, range(60), jobs=2, lost=lambda number, _: -number))
    assert sorted(found) == [-20, *(number for number in range(60) if number != 20)]


REASON = "its worker process died twice, with nothing beside it the second time, perhaps for lack of memory"


def dies_once(folder):
    """At the first try of an item."""
    if not (folder / "tried").exists():
        (folder / "tried").touch()
        os._exit(3)
    return folder.name


def test_an_item_whose_worker_died_by_chance_is_done_again(tmp_path):
    places = [tmp_path / str(number) for number in range(3)]
    for place in places:
        place.mkdir()
    assert sorted(results(dies_once, places, jobs=2)) == ["0", "1", "2"]


def pid_of(number):
    return number, os.getpid()


def test_workers_stay_from_call_to_call_and_one_that_is_ended_meanwhile_is_replaced():
    with workers(2) as crew:
        first = list(crew.results(pid_of, range(30)))
        again = list(crew.results(pid_of, range(30)))
        before = {pid for _, pid in first}
        assert sorted(number for number, _ in again) == list(range(30))
        assert {pid for _, pid in again} <= before
        assert len(before) == 2
        for child in active_children():
            os.kill(child.pid, signal.SIGKILL)
            child.join(20)
        assert sorted(number for number, _ in crew.results(pid_of, range(30))) == list(range(30))
        assert not {child.pid for child in active_children()} & before
    end = time.monotonic() + 20
    while active_children() and time.monotonic() < end:  # a pool's own thread may be waiting for the same process
        time.sleep(0.02)
    assert not active_children()


def test_workers_that_never_begin_are_said(monkeypatch):
    monkeypatch.setattr("dse.crew._ready", END)
    with pytest.raises(WorkerLostError, match="Worker processes end before they evaluate anything"):
        list(results(square, range(10), jobs=2))


END = functools.partial(os._exit, 1)


@pytest.mark.parametrize(
    ("address", "saying"),
    [
        ("tcp://127.0.0.1:9", "not 'tcp://127.0.0.1:9': Connection refused"),
        ("127.0.0.1", "not '127.0.0.1': missing port number"),
        ("smoke://host:8786", "unknown address scheme 'smoke'"),
        ("none.json", "must be an address or an existing scheduler file, not 'none.json'"),
        ("space.toml", "Scheduler file 'space.toml' must be one that `dask scheduler` wrote"),
    ],
)
def test_a_wrong_scheduler_is_refused(address, saying, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scheduler_module, "_CONNECT_SECONDS", 0.1)
    (tmp_path / "space.toml").write_text("no scheduler")
    with pytest.raises(ConfigError) as refused:
        list(results(square, [1], jobs=1, scheduler=address))
    assert saying in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_cluster_without_dask_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"needs Dask, which is not installed: pip install nmdse\[dist\]"):
        list(results(square, [1], jobs=1, scheduler="tcp://127.0.0.1:9"))


def test_a_model_is_that_of_the_source():
    assert model() == model.__wrapped__()
    assert model().release == sys.modules["dse.point"].MODEL
    assert len(model().source) == 8


@pytest.mark.parametrize(
    ("change", "saying"),
    [
        ({"release": "9.9"}, f"release 9.9 instead of {model().release};"),
        ({"source": "0"}, f"not another: source 0 instead of {model().source};"),
        ({"release": "9.9", "prices": "1"}, f"release 9.9 instead of {model().release}, cost tables 1 instead of"),
    ],
)
def test_another_model_is_refused(change, saying):
    scheduler = Scheduler(None, "tcp://host:1")
    scheduler.refuse(model())
    with pytest.raises(ConfigError) as refused:
        scheduler.refuse(model()._replace(**change), "Worker tcp://other:2")
    assert "Worker tcp://other:2 of the cluster at tcp://host:1 must have the nmdse of this machine" in str(refused.value)
    assert saying in str(refused.value)


def test_a_worker_without_the_package_is_refused():
    with pytest.raises(ConfigError, match=r"must have nmdse .* installed, but: ModuleNotFoundError: No module named 'dse'"):
        Scheduler(None, "tcp://host:1").refuse(ModuleNotFoundError("No module named 'dse'"))


def test_a_task_does_what_fits_its_time_and_nothing_with_another_model(monkeypatch):
    clock = itertools.count(step=0.3)  # seconds, at each look
    monkeypatch.setattr("dse.cluster.time.perf_counter", lambda: next(clock))
    outcome = _task(5, square, list(range(10)), model())
    assert (outcome.ticket, outcome.results, outcome.model) == (5, [0, 1, 4, 9], model())
    other = Model("9.9", "", "")
    assert _task(6, square, [1], other)[:2] == (6, [])
