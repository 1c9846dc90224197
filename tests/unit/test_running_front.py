"""Is a front that is put together from parts the front of all, and is the distance to it what its definition says?"""

import itertools
import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dse.constraints import parse_constraint
from dse.running_front import RunningFront, part_of, shortfall, standing
from dse.space import Objective, Space

OBJECTIVES = (Objective("time", True), Objective("rate", False), Objective("size * 2", True))
SPACE = Space(title="t", base={}, axes=(), objectives=OBJECTIVES)


def table(seed, count):
    """Small numbers, so that many are equal; some points did not run, some have no number."""
    rng = random.Random(seed)
    frame = pd.DataFrame({name: [float(rng.randint(1, 6)) for _ in range(count)] for name in ("time", "rate", "size")})
    frame["status"] = [rng.choice(["ok", "ok", "ok", "unsupported"]) for _ in range(count)]
    frame.loc[rng.sample(range(count), count // 10), "rate"] = np.nan
    frame.insert(0, "point", rng.sample(range(10 * count), count))
    return frame.assign(workload="w", method="dense")


def beats(one, other):
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


def by_hand(frame):
    """Number and objectives of the points of the front, the lowest number of each."""
    good = frame[(frame["status"] == "ok") & frame["rate"].notna()].sort_values("point")
    rows = [(int(p), (t, -r, 2 * s)) for p, t, r, s in good[["point", "time", "rate", "size"]].itertuples(index=False)]
    front = {}
    for point, values in rows:
        if not any(beats(other, values) for _, other in rows):
            front.setdefault(values, point)
    return sorted((point, values) for values, point in front.items())


def shown(front):
    return sorted((int(p), tuple(v)) for p, v in zip(front.points, front.values.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_parts_in_any_order_make_the_front_of_all(seed):
    frame = table(seed, 120)
    wanted = by_hand(frame)
    assert shown(part_of(frame, SPACE)) == wanted
    cuts = [frame.iloc[start : start + 25] for start in range(0, 120, 25)]
    volumes = set()
    for order in itertools.islice(itertools.permutations(cuts[1:]), 6):
        front = RunningFront.of(SPACE)
        for part in (cuts[0], *order):
            before = front.hypervolume
            front.add(part_of(part, SPACE))
            assert front.hypervolume >= before
        assert shown(front.front) == wanted
        assert tuple(front.reference) == tuple(standing(cuts[0], SPACE)[1].max(axis=0))
        volumes.add(front.hypervolume)
    assert len(volumes) == 1


def test_the_volume_is_what_the_front_beats_up_to_the_reference():
    frame = pd.DataFrame({"point": [0, 1, 2], "status": "ok", "time": [1.0, 2.0, 4.0], "size": [5.0, 3.0, 8.0]})
    space = replace(SPACE, objectives=(Objective("time", True), Objective("size", True)))
    front = RunningFront.of(space)
    front.add(part_of(frame.iloc[:0], space))
    assert (front.hypervolume, front.reference) == (0.0, None)
    front.add(part_of(frame, space))
    assert front.reference.tolist() == [4.0, 8.0]
    assert front.hypervolume == (4 - 1) * (8 - 5) + (4 - 2) * (5 - 3)
    one = replace(SPACE, objectives=(Objective("time", True),))
    front = RunningFront.of(one)
    front.add(part_of(frame, one))
    assert (front.hypervolume, front.front.points.tolist()) == (3.0, [0])


def test_what_breaks_a_constraint_is_on_no_front():
    frame = table(9, 60).assign(rate=1.0)
    space = replace(SPACE, constraints=(parse_constraint("time >= 3"),))
    assert shown(part_of(frame, space)) == by_hand(frame[frame["time"] >= 3])
    assert not len(part_of(frame, replace(SPACE, constraints=(parse_constraint("time > 100"),))).points)


@pytest.mark.parametrize("exact", [(False, False), (True, False), (False, True), (True, True)])
def test_how_far_points_are_behind(exact):
    rng = np.random.default_rng(sum(exact))
    values = rng.integers(1, 30, (400, 2)).astype(float)
    values[:, 1] *= -1  # as of an objective to maximize
    front = part_of(
        pd.DataFrame({"point": range(400), "status": "ok", "a": values[:, 0], "b": values[:, 1]}),
        replace(SPACE, objectives=(Objective("a", True), Objective("b", True))),
    ).values
    found = shortfall(values, front, np.array(exact), 0.3)
    for mine, share in zip(values.tolist(), found.tolist(), strict=True):
        wanted = -np.inf
        for best in front.tolist():
            if all(b <= m for b, m, sure in zip(best, mine, exact, strict=True) if sure):
                shares = [(m - b) / max(abs(m), abs(b)) for m, b, sure in zip(mine, best, exact, strict=True) if not sure]
                wanted = max(wanted, min(shares, default=np.inf))
        assert share == wanted


def test_a_long_front_is_looked_at_whole_where_it_matters():
    x = np.linspace(1, 2, 500)
    front = np.stack([x, 1 / x], axis=1)
    behind = front * np.linspace(1, 1.2, 500)[:, None]
    none = np.zeros(2, np.bool_)
    near = shortfall(behind, front, none, 0.06)
    size = np.maximum(behind[:, None, :], front[None, :, :])
    whole = ((behind[:, None, :] - front[None, :, :]) / size).min(axis=2).max(axis=1)
    assert np.array_equal(whole[whole <= 0.06], near[whole <= 0.06])
    assert (near[whole > 0.06] > 0.06).all()
    assert (whole > 0.06).any()
