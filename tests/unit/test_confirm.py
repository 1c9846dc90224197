"""Are the points that are worth an event run chosen as stated, and is what that run says of them told right?"""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dse import chunks
from dse.chunks import Chunks, packed
from dse.confirm import NEAR, agreement, chosen_points, chosen_space
from dse.constraints import parse_constraint
from dse.space import Objective, Space

SPACE = Space(
    title="t",
    base={"workload": "w", "method": "dense"},
    axes=(tuple({"batch": i} for i in range(1, 1001)),),
    objectives=(Objective("latency_ms", True), Objective("multipliers", True)),
)


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(chunks, "_LEAST", 250)


def store(folder, latency, multipliers, status=None):
    """A bulk store of these points."""
    count = len(latency)
    frame = pd.DataFrame({"point": range(count), "latency_ms": latency, "multipliers": multipliers})
    frame = frame.assign(workload="w", method="dense", status=pd.Categorical(status or ["ok"] * count))
    found = Chunks(folder, "abc", count)
    for start, stop in found.ranges:
        found.add(start, stop, packed(frame.iloc[start:stop], "abc", start, stop))
    return found


def test_the_front_comes_first_and_then_the_nearest(tmp_path):
    latency = [10.0, 20.0, 10.0, 10.5, 10.2, 25.0, 20.0, 9.0]
    multipliers = [100.0, 50.0, 100.0, 100.0, 120.0, 50.0, 60.0, 10.0]
    files = store(tmp_path, latency, multipliers, ["ok"] * 7 + ["unsupported"])
    found = chosen_points(SPACE, files, 10)
    # 2 equals 0. 6 takes as long as 1, as far as the closed form knows; 5 a quarter more.
    assert found.points.tolist() == [0, 1, 6, 4, 3]
    assert found.shortfall[:3].tolist() == [0.0, 0.0, 0.0]
    assert found.shortfall[3:].tolist() == [(10.2 - 10.0) / 10.2, (10.5 - 10.0) / 10.5]
    assert (found.front.tolist(), found.near) == ([0, 1], 5)
    assert chosen_points(SPACE, files, 3).points.tolist() == [0, 1, 6]
    assert chosen_points(SPACE, files, 1).points.tolist() == [0]
    limited = replace(SPACE, constraints=(parse_constraint("latency_ms > 10"),))
    assert set(chosen_points(limited, files, 10).points.tolist()) == {1, 3, 4, 6}


def test_of_a_long_front_points_evenly_along_it(tmp_path):
    latency = np.linspace(1, 2, 600)
    files = store(tmp_path, latency, 1e6 / latency)
    found = chosen_points(SPACE, files, 7)
    assert found.front.tolist() == list(range(600))
    assert found.points.tolist() == np.linspace(0, 599, 7).astype(int).tolist()


def test_nothing_ran(tmp_path):
    files = store(tmp_path, [1.0], [1.0], ["failed"])
    found = chosen_points(SPACE, files, 7)
    assert (found.points.tolist(), found.front.tolist(), found.near) == ([], [], 0)
    assert chosen_points(SPACE, Chunks(tmp_path / "no", "abc", 3), 7).near == 0


def test_chosen_points_are_a_space_of_their_own():
    sample = replace(SPACE, samples=20, seed=4)
    settings = [sample.point_settings(number) for number in (7, 3, 19)]
    assert list(chosen_space(sample, np.array([7, 3, 19]))) == settings


def two(analytic, event, status=None):
    """Tables of both fidelities: latency and multipliers by point."""
    frames = []
    for values in (analytic, event):
        frame = pd.DataFrame(values, columns=["latency_ms", "multipliers"]).rename_axis("point").reset_index()
        frames.append(frame.assign(workload="w", method="dense", status="ok"))
    if status:
        frames[1]["status"] = status
    return frames


def test_a_change_of_rank_is_told():
    analytic = [(10.0, 100.0), (10.1, 90.0), (20.0, 50.0), (10.3, 100.0)]
    event = [(10.25, 100.0), (10.1, 90.0), (20.0, 50.0), (10.3, 80.0)]
    found = agreement(*two(analytic, event), SPACE)
    assert (found.points, found.front, found.stayed, found.entered) == (4, 3, 2, 1)
    assert found.largest == {"latency_ms": 0.25 / 10.25, "multipliers": 0.25}
    assert found.median["latency_ms"] == 0.0
    changes = {change.point: (change.before, change.after, change.was_front, change.is_front) for change in found.changes}
    assert changes == {0: (1, 2, True, False), 1: (2, 1, True, True), 3: (3, 3, False, True)}
    assert found.kendall["latency_ms"] == pytest.approx(1 - 2 * 1 / 6)  # one of six pairs changed order
    assert found.spearman["latency_ms"] == pytest.approx(1 - 6 * 2 / (4 * 15))


def test_equal_runs_change_nothing():
    points = [(10.0, 100.0), (10.1, 100.0), (20.0, 100.0)]
    found = agreement(*two(points, points), SPACE)
    assert (found.front, found.stayed, found.entered, found.changes) == (1, 1, 0, ())
    assert found.kendall["latency_ms"] == found.spearman["latency_ms"] == 1.0
    assert math.isnan(found.kendall["multipliers"])  # all are equal


def test_points_that_the_event_machine_refuses_are_named():
    points = [(10.0, 100.0), (10.1, 90.0), (20.0, 50.0)]
    analytic, event = two(points, points, ["ok", "failed", "ok"])
    found = agreement(analytic, event, SPACE)
    assert (found.points, found.refused) == (2, (1,))
    assert agreement(analytic, event[event["status"] == "failed"], SPACE).points == 0


def test_near_is_twice_the_bound_that_the_closed_form_is_held_to():
    import ast
    from pathlib import Path

    text = (Path(__file__).parents[1] / "theory" / "test_analytic.py").read_text()
    assigned = {
        ast.unparse(node.targets[0]): ast.literal_eval(node.value)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and "WORST" in ast.unparse(node.targets[0])
    }
    (names, values) = next(iter(assigned.items()))
    worst = dict(zip(names.strip("()").split(", "), values, strict=True))["WORST"]
    assert 2 * worst == NEAR
