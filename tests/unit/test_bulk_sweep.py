"""Does a sweep of very many points give the same however it ran, and is what came out of it told right?"""

import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dse import bulk_sweep as module
from dse import chunks
from dse.bulk_outcome import Reason, bulk_outcome
from dse.bulk_sweep import BulkProgress, bulk_sweep, chunks_of
from dse.bulk_text import outcome_text
from dse.config import ConfigError
from dse.confirm import chosen_points
from dse.folder import SweepFolder
from dse.pareto import front_of
from dse.space import Objective, Space
from dse.store import Store


def choices(name, *values):
    return tuple({name: value} for value in values)


SPACE = Space(
    title="small & wide",
    base={"accelerator": "sat-vcu1525", "workload": "resnet18-cifar", "batch": 1},
    axes=(
        choices("method", "dense", "bdwp:2:8"),
        choices("accelerator.pe.group", 16, 4),
        choices("accelerator.pe.registers", 16, 1),
        choices("accelerator.pe.lanes", 1, 2),
        choices("accelerator.array.rows", 8, 16, 32),
        choices("accelerator.vector.lanes", 16, 32, 64),
        choices("accelerator.dram.bytes_per_second", 9_600_000_000, 38_400_000_000),
        choices("accelerator.work_buffer.bytes", 2**19, 2**20),
    ),
    objectives=(Objective("latency_ms", True), Objective("multipliers", True)),
)  # 576 points: three files. Two lanes take two registers; 2:8 does not fit a selector of 4.


def swept(path, space=SPACE, **more):
    """The folder, and every progress report."""
    folder, seen = SweepFolder(path), list[BulkProgress]()
    folder.create()
    bulk_sweep(space, folder, **({"jobs": 1, "most": 0, "report": seen.append} | more))
    return folder, seen


def table(folder, space=SPACE):
    return chunks_of(space, folder).frame()


@pytest.fixture(scope="module", autouse=True)
def small_files():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "_LEAST", 250)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return swept(tmp_path_factory.mktemp("whole"), most=3)


def test_every_point_is_there_once(whole):
    folder, seen = whole
    frame = table(folder)
    assert frame["point"].tolist() == list(range(576))
    assert frame["status"].value_counts().to_dict() == {"ok": 324, "invalid": 144, "unsupported": 108, "failed": 0}
    assert [(p.total, p.found, p.evaluated, p.confirmed, p.to_confirm) for p in seen] == [
        (576, 0, 0, 0, 0),
        *((576, 0, n, 0, 0) for n in np.cumsum([stop - start for start, stop in _order(folder)])),
        *((576, 0, 576, n, 3) for n in range(4)),
    ]
    assert seen[-1].statuses == {"ok": 324, "invalid": 144, "unsupported": 108}
    good = frame[(frame["status"] == "ok").to_numpy()]
    front = front_of(good, SPACE.objectives)
    assert seen[-1].front == len(front.drop_duplicates(["latency_ms", "multipliers"]))
    volumes = [p.hypervolume for p in seen]
    assert volumes == sorted(volumes)
    assert len({p.reference for p in seen if p.front}) == 1


def _order(folder):
    ranges = chunks_of(SPACE, folder).ranges
    return [ranges[i] for i in np.random.default_rng(0).permutation(len(ranges))]


def test_jobs_do_not_change_the_table(whole, tmp_path):
    pd.testing.assert_frame_equal(table(swept(tmp_path, jobs=2)[0]), table(whole[0]), check_exact=True)


def test_what_is_stopped_goes_on_where_it_was(whole, tmp_path):
    def stop(state):
        if state.evaluated:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swept(tmp_path, report=stop)
    assert len(chunks_of(SPACE, SweepFolder(tmp_path)).present()) == 1
    partial = outcome(SweepFolder(tmp_path), 0)
    assert 0 < partial.evaluated < partial.total
    assert "the sweep is not complete" in next(outcome_text(partial))
    folder, seen = swept(tmp_path)
    assert (seen[0].found, seen[-1].found + seen[-1].evaluated) == (partial.evaluated, 576)
    pd.testing.assert_frame_equal(table(folder), table(whole[0]), check_exact=True)
    folder, seen = swept(tmp_path)
    assert [(p.found, p.evaluated) for p in seen] == [(576, 0)]
    assert (seen[0].front, seen[0].hypervolume) == (whole[1][-1].front, whole[1][-1].hypervolume)


def test_damaged_files_and_failed_points_are_done_again(whole, tmp_path, monkeypatch):
    folder, _ = swept(tmp_path)
    files = chunks_of(SPACE, folder)
    first, second, _ = files.ranges
    files.path(*first).write_bytes(files.path(*first).read_bytes()[:5000])
    with monkeypatch.context() as patch:
        patch.setattr(module, "evaluate_points", lambda points: module.failed_points(points, "a worker was lost"))
        done = module.evaluate_chunk(module._Work(module.Order(SPACE).points(*second), files.digest, *second))
    assert done.statuses == {"failed": second[1] - second[0]}
    files.add(*second, done.data)
    _, seen = swept(tmp_path)
    assert (seen[0].found, seen[-1].evaluated) == (576 - second[1], second[1])
    pd.testing.assert_frame_equal(table(folder), table(whole[0]), check_exact=True)


def test_two_sweeps_at_once_lose_nothing(whole, tmp_path):
    errors = []

    def sweep():
        try:
            swept(tmp_path)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=sweep) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert not list(tmp_path.rglob("*.partial"))
    pd.testing.assert_frame_equal(table(SweepFolder(tmp_path)), table(whole[0]), check_exact=True)


def outcome(folder, most, space=SPACE):
    with Store(folder.store) as store:
        return bulk_outcome(space, chunks_of(space, folder), store, most)


def test_the_front_is_that_of_the_event_runs(whole):
    folder, _ = whole
    found = outcome(folder, 3)
    chosen = chosen_points(SPACE, chunks_of(SPACE, folder), 3).points.tolist()
    event = found.shown[found.shown["fidelity"] == "event"]
    assert sorted(event["point"]) == sorted(chosen)
    assert set(found.front["point"]) <= set(chosen)
    assert set(found.front["key"]) <= set(event["key"])
    assert found.agreement.points == 3
    assert found.agreement.largest["multipliers"] == 0
    assert 0 < found.agreement.largest["latency_ms"] <= 0.03
    assert found.shown["key"].is_unique
    assert sorted(found.shown["point"]) == list(range(576))  # all are in the sample of a small space
    for row in found.shown.to_dict("records"):
        settings = SPACE.point_settings(row["point"])
        assert {name: row[name] for name in settings} == settings


def test_without_event_runs_the_front_is_that_of_the_closed_form(whole):
    found = outcome(whole[0], 0)
    assert found.agreement is None
    frame = table(whole[0])
    front = front_of(frame[(frame["status"] == "ok").to_numpy()], SPACE.objectives)
    first = front.sort_values("point", kind="stable").drop_duplicates(["latency_ms", "multipliers"])
    assert sorted(found.front["point"]) == first["point"].tolist()
    assert found.front["latency_ms"].is_monotonic_increasing
    assert set(found.front["key"]) <= set(found.shown["key"])


def test_what_did_not_run_is_counted_by_its_reason(whole):
    found = outcome(whole[0], 0)
    assert found.statuses == {"ok": 324, "invalid": 144, "unsupported": 108}
    assert len(found.stopped) == 252
    assert found.reasons == (
        Reason("invalid", "Accelerator 'sat-vcu1525': Pe field 'registers' must be at least lanes=2, not 1", 144),
        Reason("unsupported", "pe.group for pattern 2:8", 108),
    )


def test_the_report_counts_all_points_and_says_what_it_shows(whole):
    folder, _ = whole
    found = outcome(folder, 3)
    folder.write_bulk_report(SPACE, found, "dse sweep small")
    html = folder.report.read_text()
    assert "576 points: 324 ran" in html
    assert "108 unsupported" in html
    assert "144 invalid" in html
    for line in outcome_text(found):
        assert line.split("'")[0].replace("&", "&amp;") in html


def test_a_sweep_of_which_nothing_runs(tmp_path):
    space = replace(SPACE, axes=SPACE.axes[:1], base=SPACE.base | {"accelerator.vector.lanes": 0})
    folder, seen = swept(tmp_path, space, most=3)
    assert seen[-1].statuses == {"unsupported": 2}
    assert (seen[-1].front, seen[-1].hypervolume, seen[-1].reference) == (0, 0.0, ())
    found = outcome(folder, 3, space)
    assert found.reasons == (Reason("unsupported", "vector.lanes", 2),)
    assert found.front.empty
    folder.write_bulk_report(space, found, "dse sweep nothing")
    assert "No point of this sweep ran" in folder.report.read_text()


def test_a_folder_without_points(tmp_path):
    folder = SweepFolder(tmp_path)
    folder.create()
    with pytest.raises(ConfigError, match="at least one evaluated point"):
        folder.write_bulk_report(SPACE, outcome(folder, 3), "dse report")


def test_a_sample_of_a_large_space_shows_what_one_axis_does(whole, monkeypatch):
    from dse import bulk_outcome as outcomes

    monkeypatch.setattr(outcomes, "_SAMPLE", 20)
    monkeypatch.setattr(outcomes, "_STARS", 3)
    found = outcome(whole[0], 3)
    assert 20 < len(found.shown) < 100
    numbers = set(found.shown["point"])
    stars = 0
    for number in numbers:
        settings, inside, star = SPACE.settings(number), 1, set()
        for axis in reversed(SPACE.axes):
            star |= {number + (place - (number // inside) % len(axis)) * inside for place in range(len(axis))}
            inside *= len(axis)
        assert all(sum(SPACE.settings(n)[k] != v for k, v in settings.items()) <= 1 for n in star)
        stars += star <= numbers
    assert stars >= 3
