"""Are the shares of the variance those that the definition gives, and are bad points and idle axes said?"""

import math

import numpy as np
import pandas as pd
import pytest

from dse.config import ConfigError
from dse.grid import Space
from dse.objectives import Objective
from dse.sensitivity import importances, sentence, sobol

AXES = {"a": [1, 2, 3, 4], "b": [10, 20, 30], "c": ["x", "y"], "d": [5]}


def space(axes=None):
    return Space(
        title="t",
        base={"workload": "w", "method": "m"},
        axes=tuple(tuple({name: value} for value in values) for name, values in (axes or AXES).items()),
        objectives=(Objective("y", True),),
    )


def rows(what, indices, value):
    """Points evaluated by a formula; None: it does not run."""
    found = []
    for index in indices:
        s = what.settings(index)
        y = value(s)
        found.append({**s, "status": "unsupported"} if y is None else {**s, "status": "ok", "y": y})
    return pd.DataFrame(found)


def shares(what, value):
    """First-order and total indices by the definition, from all points."""
    whole = rows(what, range(what.size), value)
    y, names = whole["y"], [axis for axis in AXES if len(AXES[axis]) > 1]
    first = {n: whole.groupby(n)["y"].mean().var(ddof=0) / y.var(ddof=0) for n in names}
    rest = {n: whole.groupby([m for m in names if m != n])["y"].var(ddof=0).mean() / y.var(ddof=0) for n in names}
    return first, rest


@pytest.mark.parametrize(
    "value",
    [
        lambda s: 3 * s["a"] + s["b"] / 10,
        lambda s: s["a"] * s["b"] * (2 if s["c"] == "x" else 1),
        lambda s: s["b"],
    ],
    ids=["sum", "product", "one"],
)
def test_sobol_indices_are_those_of_the_definition_within_their_interval(value):
    what = space()
    found = sobol(what, lambda indices: rows(what, indices, value), "y", samples=1024, seed=0)
    first, total = shares(what, value)
    assert sorted(i.axis for i in found.influences) == sorted(first)
    for influence in found.influences:
        assert abs(influence.first - first[influence.axis]) <= 2 * influence.first_half_width + 1e-12
        assert abs(influence.total - total[influence.axis]) <= 2 * influence.total_half_width + 1e-12
    totals = [i.total for i in found.influences]
    assert totals == sorted(totals, reverse=True)
    assert (found.evaluations, found.distinct, found.missing) == (1024 * 5, 24, 0)
    assert found == sobol(what, lambda indices: rows(what, indices, value), "y", samples=1024, seed=0)


def test_an_axis_that_does_nothing_has_no_share_and_is_named():
    what = space()
    found = sobol(what, lambda indices: rows(what, indices, lambda s: s["a"]), "y", samples=64, seed=1)
    assert found.influences[0].axis == "a"
    assert [i.total for i in found.influences[1:]] == [0, 0]
    said = sentence(found)
    assert said.startswith("y depends most on a: ")
    assert "less than 1% comes from b, c" in said


def test_points_that_do_not_run_are_counted_and_count_as_the_mean_of_the_others():
    def value(s):
        return s["a"] + s["b"] / 10

    what = space()
    found = sobol(what, lambda i: rows(what, i, lambda s: None if s["a"] == 4 else value(s)), "y", samples=64, seed=1)
    assert 0 < found.missing < found.evaluations
    # Draws are balanced: the mean of a = 1, 2, 3 and b = 10, 20, 30, each as often.
    filled = sobol(what, lambda i: rows(what, i, lambda s: 4.0 if s["a"] == 4 else value(s)), "y", samples=64, seed=1)
    assert {i.axis: i.total for i in filled.influences} == pytest.approx({i.axis: i.total for i in found.influences}, abs=0.01)
    with pytest.raises(ConfigError, match="'y' must have a number for some point"):
        sobol(what, lambda i: rows(what, i, lambda _: None), "y", samples=8, seed=1)


def test_a_result_that_is_the_same_everywhere_depends_on_nothing():
    what = space()
    found = sobol(what, lambda indices: rows(what, indices, lambda _: 7.0), "y", samples=8, seed=1)
    assert found.influences == ()
    assert sentence(found) == "y is the same at every point that was evaluated: no axis matters."


def test_what_cannot_be_is_refused():
    what = space()
    with pytest.raises(ConfigError, match="'samples' must be a power of two of at least 2, not 100"):
        sobol(what, lambda _: pd.DataFrame(), "y", samples=100, seed=0)
    with pytest.raises(ConfigError, match="must have an axis of two choices"):
        sobol(space({"a": [1]}), lambda _: pd.DataFrame(), "y", samples=8, seed=0)
    with pytest.raises(ConfigError, match="at least 30 points with a number for 'y', not 24"):
        importances(what, rows(what, range(24), lambda s: s["a"]), "y", seed=0)


def test_importances_come_from_the_rows_that_are_there():
    what = space()
    frame = rows(what, [*range(24), *range(24)], lambda s: None if s["b"] == 30 else 3 * s["a"] + s["b"] / 10)
    found = importances(what, frame, "y", seed=0)
    assert [i.axis for i in found.influences] == ["a", "b", "c"]
    assert found.influences[2].first < 0.001  # a forest is no formula
    assert found.influences[0].first > 0.9  # a: 9 * 1.25 of 11.5 of the variance, where b is 10 or 20
    assert math.isnan(found.influences[0].total)
    assert (found.evaluations, found.missing) == (48, 16)
    assert "with its interactions" not in sentence(found)
    flat = importances(what, rows(what, [*range(24), *range(24)], lambda _: 1.0), "y", seed=0)
    assert flat.influences == ()


def test_the_objective_may_be_arithmetic():
    what = space()
    plain = sobol(what, lambda indices: rows(what, indices, lambda s: s["a"] * s["b"]), "y", samples=32, seed=0)
    typed = sobol(what, lambda indices: rows(what, indices, lambda s: s["b"]), "y * a", samples=32, seed=0)
    assert [i.axis for i in typed.influences] == [i.axis for i in plain.influences]
    np.testing.assert_array_equal([i.total for i in typed.influences], [i.total for i in plain.influences])
