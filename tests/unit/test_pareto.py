"""Is the front what the definition says, with ties, gaps and mixed directions, and are its candidates on it?"""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.config import ConfigError
from dse.pareto import candidates, front_of, nondominated, objective_values
from dse.space import Objective


@st.composite
def tables(draw):
    count = draw(st.integers(1, 3))
    value = st.one_of(st.integers(-3, 3).map(float), st.floats(allow_nan=True, allow_infinity=False, width=16))
    rows = draw(st.lists(st.tuples(*[value] * count), min_size=1, max_size=30))
    objectives = tuple(Objective(f"o{i}", draw(st.booleans())) for i in range(count))
    frame = pd.DataFrame(rows, columns=[o.column for o in objectives])
    return frame.assign(key=[f"k{i}" for i in range(len(rows))]), objectives


def better(a, b, objectives):
    """Whether a dominates b, by the definition: nowhere worse and somewhere better."""
    signs = [1 if o.minimize else -1 for o in objectives]
    pairs = [(s * x, s * y) for s, x, y in zip(signs, a, b, strict=True)]
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


@given(tables())
def test_the_front_is_what_nothing_dominates(drawn):
    frame, objectives = drawn
    points = {key: [row[o.column] for o in objectives] for key, row in frame.set_index("key").iterrows()}
    whole = {key: values for key, values in points.items() if not any(map(math.isnan, values))}
    expected = {k for k, a in whole.items() if not any(better(b, a, objectives) for b in whole.values())}
    front = front_of(frame, objectives)
    assert set(front["key"]) == expected
    assert len(front) == len(expected)
    first = objective_values(front, objectives)[:, 0]
    assert (first[1:] >= first[:-1]).all()


@given(tables())
def test_candidates_are_the_best_of_the_front(drawn):
    frame, objectives = drawn
    front = front_of(frame, objectives)
    named = candidates(front, objectives)
    if front.empty:
        assert named == {}
        return
    assert list(named) == ["best o0", "best o1", "knee"] if len(objectives) > 1 else ["best o0", "knee"]
    by_key = front.set_index("key")
    for objective, name in zip(objectives, list(named)[:-1], strict=False):
        column = by_key[objective.column]
        assert column[named[name]] == (column.min() if objective.minimize else column.max())
    assert named["knee"] in by_key.index


def test_the_knee_is_nearest_to_the_best_of_all():
    objectives = (Objective("latency_ms", True), Objective("multipliers", True))
    front = pd.DataFrame({"key": list("abc"), "latency_ms": [0.0, 2.0, 10.0], "multipliers": [10, 2, 0]})
    assert candidates(front, objectives) == {"fastest": "a", "smallest": "c", "knee": "b"}


def test_candidates_are_called_what_they_are():
    front = pd.DataFrame({"key": list("ab"), "images_per_second": [2.0, 1.0], "dram_bytes_per_image": [5, 1]})
    objectives = (Objective("images_per_second", False), Objective("dram_bytes_per_image", True))
    assert candidates(front, objectives)["fastest"] == "a"
    assert candidates(front, objectives)["best dram_bytes_per_image"] == "b"
    assert list(candidates(front, (Objective("dram_bytes_per_image", True),))) == ["best dram_bytes_per_image", "knee"]


@pytest.mark.parametrize("column", ["cycls", "method"])
def test_an_objective_must_be_a_number_column(column):
    frame = pd.DataFrame({"key": ["a"], "cycles": [1], "method": ["dense"]})
    with pytest.raises(ConfigError, match=f"Objective '{column}' must be a number column of the results"):
        front_of(frame, (Objective(column, True),))
    if column == "cycls":
        with pytest.raises(ConfigError, match="did you mean 'cycles'"):
            front_of(frame, (Objective(column, True),))


def test_a_front_among_a_million_points_is_that_of_the_definition():
    """On values that are few, so that what nothing dominates can be counted by value."""
    values = np.random.default_rng(7).integers(0, 12, (1_000_000, 3)).astype(float)
    values = values[(values.sum(axis=1) >= 9)]
    distinct, counts = np.unique(values, axis=0, return_counts=True)
    beaten = [((distinct <= row).all(axis=1) & (distinct < row).any(axis=1)).any() for row in distinct]
    expected = {tuple(row) for row, lost in zip(distinct, beaten, strict=True) if not lost}
    found = nondominated(values)
    assert {tuple(row) for row in values[found]} == expected
    assert found.sum() == counts[~np.array(beaten)].sum()


def test_values_that_are_infinite_are_on_no_front():
    values = np.array([[math.inf, 0.0], [-math.inf, 5.0], [1.0, 1.0], [2.0, 0.5], [3.0, 3.0]])
    assert nondominated(values).tolist() == [False, False, True, True, False]
    assert nondominated(values[:0]).tolist() == []
