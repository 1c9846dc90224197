"""Does a sweep give the same table however it ran, and does no point, and no lost worker, take others with it?"""

import os
import signal
import time
from multiprocessing import active_children

import pandas as pd
import pytest

from dse import sweep
from dse.config import ConfigError
from dse.space import Objective, Space
from dse.store import Store, StoreError
from dse.sweep import Progress, evaluate_settings, key_of, run_sweep, sweep_frame

BASE = {"accelerator": "sat-vcu1525", "workload": "resnet18-cifar", "method": "dense"}


def space(**axes):
    named = {name.replace("__", "."): values for name, values in axes.items()}
    choices = tuple(tuple({name: value} for value in values) for name, values in named.items())
    return Space(title="t", base=BASE, axes=choices, objectives=(Objective("cycles", True),))


SMALL = space(
    method=["dense", "bdwp:2:8"], accelerator__pe__interleave=[4, 1], accelerator__pe__group=[16, 4], batch=[1]
)  # 2:8 does not fit a selector of 4: two points are unsupported


def swept(path, what=SMALL, jobs=1):
    seen: list[Progress] = []
    with Store(path) as store:
        run_sweep(what, store, jobs=jobs, report=seen.append)
        return sweep_frame(what, store), seen


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return swept(tmp_path_factory.mktemp("whole") / "s.sqlite")[0]


def test_the_frame_has_a_row_per_point_in_order_with_its_settings(whole):
    assert whole["point"].tolist() == list(range(8))
    for row, settings in zip(whole.to_dict("records"), SMALL, strict=True):
        assert {name: row[name] for name in settings} == settings
    assert whole["status"].tolist() == ["ok"] * 5 + ["unsupported", "ok", "unsupported"]
    refused = whole[whole["status"] == "unsupported"].iloc[0]
    assert (refused["constraint"], refused["demand"], refused["limit"]) == ("pe.group for pattern 2:8", 8, 4)


def test_jobs_do_not_change_the_table(whole, tmp_path):
    frame, seen = swept(tmp_path / "s.sqlite", jobs=2)
    pd.testing.assert_frame_equal(frame, whole, check_exact=True)
    assert [(p.total, p.found, p.evaluated) for p in seen] == [(8, 0, i) for i in range(9)]


def test_a_resumed_sweep_evaluates_the_rest_only_and_gives_the_same_table(whole, tmp_path, monkeypatch):
    path, calls = tmp_path / "s.sqlite", []

    def counted(settings):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(settings)
        return evaluate_settings(settings)

    monkeypatch.setattr(sweep, "evaluate_settings", counted)
    with pytest.raises(KeyboardInterrupt):
        swept(path)
    monkeypatch.undo()
    frame, seen = swept(path)
    assert (seen[0].found, seen[-1].evaluated) == (3, 5)
    pd.testing.assert_frame_equal(frame, whole, check_exact=True)
    frame, seen = swept(path)
    assert [(p.found, p.evaluated) for p in seen] == [(8, 0)]
    pd.testing.assert_frame_equal(frame, whole, check_exact=True)


def test_a_store_shared_with_another_space_does_not_leak_into_the_table(whole, tmp_path):
    path = tmp_path / "s.sqlite"
    swept(path, space(method=["srste:2:4"], mapping__pregenerate=[False]))
    frame, _ = swept(path)
    pd.testing.assert_frame_equal(frame, whole, check_exact=True)


def test_equal_points_are_evaluated_once(tmp_path):
    frame, seen = swept(tmp_path / "s.sqlite", space(accelerator__name=["a", "b", "c"]))
    assert (len(frame), seen[-1].evaluated) == (3, 1)
    assert frame["cycles"].nunique() == 1
    assert frame["accelerator.name"].tolist() == ["a", "b", "c"]


def test_keys_are_derived_once_where_the_frame_is_given_them(tmp_path, monkeypatch):
    derived = []
    monkeypatch.setattr(sweep, "key_of", lambda settings: derived.append(settings) or key_of(settings))
    some = space(batch=[-1, -2, -1.0])  # points that cannot be: cheap
    with Store(tmp_path / "s.sqlite") as store:
        keys = run_sweep(some, store, jobs=1, report=lambda _: None)
        asked = len(derived)
        frame = sweep_frame(some, store, keys=keys)
        assert len(derived) == asked
        assert frame["key"].tolist() == keys == [key_of(settings) for settings in some]
        pd.testing.assert_frame_equal(frame, sweep_frame(some, store), check_exact=True)


def test_points_are_made_as_they_are_evaluated(tmp_path, monkeypatch):
    """A space of a million points must not be held as a million dictionaries."""

    class Watched(Space):
        def __iter__(self):
            for settings in super().__iter__():
                made.append(settings)
                yield settings

    made, evaluated = [], []
    watched = Watched(title="t", base=BASE, axes=space(batch=[-1, -2, -3, -4]).axes, objectives=())

    def evaluate(settings):
        evaluated.append(len(made))
        return {"key": key_of(settings), "status": "invalid"}

    monkeypatch.setattr(sweep, "evaluate_settings", evaluate)
    with Store(tmp_path / "s.sqlite") as store:
        run_sweep(watched, store, jobs=1, report=lambda _: None)
    assert evaluated == [5, 6, 7, 8]  # after all four for the keys


class OtherKey:
    """Workers that read another trace."""

    def results(self, work, items, *, lost=None):
        assert lost
        for item in items:
            key, row = work(item)
            yield key, row | {"key": "another"}


@pytest.mark.parametrize(("scheduler", "where"), [("tcp://x:1", " at tcp://x:1"), ("", "")])
def test_a_row_with_another_key_than_its_point_is_refused(tmp_path, scheduler, where):
    crew = OtherKey()
    with Store(tmp_path / "s.sqlite") as store:
        with pytest.raises(ConfigError, match=rf"cluster{where} must read this machine's trace 'resnet18-cifar'"):
            run_sweep(space(batch=[-1]), store, jobs=1, report=lambda _: None, scheduler=scheduler, crew=crew)
        assert not store.keys()


class AllLost:
    """Workers that die of each point."""

    def results(self, work, items, *, lost=None):
        assert work
        for item in items:
            yield lost(item, "4 workers died")


def test_a_point_that_kills_its_workers_is_a_failed_row(tmp_path):
    some = space(batch=[-1, -2])
    with Store(tmp_path / "s.sqlite") as store:
        run_sweep(some, store, jobs=1, report=lambda _: None, crew=AllLost())
        frame = sweep_frame(some, store)
        assert frame[["batch", "status", "error"]].values.tolist() == [
            [-1, "failed", "4 workers died"],
            [-2, "failed", "4 workers died"],
        ]
        run_sweep(some, store, jobs=1, report=lambda _: None)
        assert set(sweep_frame(some, store)["status"]) == {"invalid"}


def test_bad_points_are_rows_and_the_sweep_goes_on(tmp_path, monkeypatch):
    real = sweep.row_of

    def sometimes(point, settings):
        if point.batch == 2:
            raise ZeroDivisionError("planted")
        return real(point, settings)

    monkeypatch.setattr(sweep, "row_of", sometimes)
    bad = space(batch=[1, 2, -3], method=["dense", "bdwp:2:32"])
    frame, _ = swept(tmp_path / "s.sqlite", bad)
    assert frame["status"].tolist() == ["ok", "unsupported", "failed", "failed", "invalid", "invalid"]
    assert frame["error"][2] == "ZeroDivisionError: planted"
    assert "batch must be a positive integer, not -3" in frame["error"][4]
    assert frame["key"].nunique() == 6


def test_settings_that_make_no_point_have_a_key_of_their_own():
    bad = {**BASE, "batch": -1}
    assert key_of(bad).startswith("invalid-")
    assert key_of(bad) == key_of(dict(reversed(bad.items()))) != key_of({**BASE, "batch": -2})
    assert not key_of(BASE).startswith("invalid-")


def _fail(rows):
    raise StoreError(f"planted at {len(rows)}")


def test_an_error_of_the_store_ends_the_sweep_and_its_workers(tmp_path, monkeypatch):
    path = tmp_path / "s.sqlite"
    with Store(path) as store:
        monkeypatch.setattr(store, "add", _fail)
        with pytest.raises(StoreError, match="planted"):
            run_sweep(SMALL, store, jobs=2, report=[].append)
    # Not by joining: the pool's own thread may be reaping the worker, which until it has noted that seems to run.
    deadline = time.monotonic() + 20
    while active_children() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not active_children()


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost(whole, tmp_path):
    def kill_one(state):
        if state.evaluated == 2:
            os.kill(active_children()[0].pid, signal.SIGKILL)

    with Store(tmp_path / "s.sqlite") as store:
        run_sweep(SMALL, store, jobs=2, report=kill_one)
        pd.testing.assert_frame_equal(sweep_frame(SMALL, store), whole, check_exact=True)


def test_a_failed_point_is_tried_again(tmp_path, monkeypatch):
    def broken(point, settings):  # the signature of row_of
        raise RuntimeError(f"planted for {point.key} {len(settings)}")

    with Store(tmp_path / "store.sqlite") as store:
        with monkeypatch.context() as patch:
            patch.setattr("dse.sweep.row_of", broken)
            run_sweep(SMALL, store, jobs=1, report=lambda _: None)
            assert set(sweep_frame(SMALL, store)["status"]) == {"failed"}
        run_sweep(SMALL, store, jobs=1, report=lambda _: None)
        assert set(sweep_frame(SMALL, store)["status"]) == {"ok", "unsupported"}
