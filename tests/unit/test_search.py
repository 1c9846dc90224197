"""Does a search find fronts, ask for no point twice, keep out of what it may not enter, and repeat itself exactly?"""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.config import ConfigError
from dse.constraints import parse_constraint
from dse.grid import Space
from dse.hypervolume import Scale, curve, evaluations_to, scale_of
from dse.objectives import Objective
from dse.pareto import nondominated
from dse.search import baseline, compared, run_search
from dse.searchers import SEARCHES, check_search, searcher_of

AXES = {"a": [4, 1, 2, 8, 16], "b": list(range(10)), "c": ["x", "y", "z"], "d": [True, False], "e": [7]}
OBJECTIVES = (Objective("time", True), Objective("speed", False))
KINDS = [pytest.param(kind, marks=[pytest.mark.slow] if kind == "gp" else []) for kind in SEARCHES]  # seconds a batch


def space(kind, samples=60, *, seed=1, population=10, constraints=(), axes=AXES):
    return Space(
        title="t",
        base={"base": 1, "workload": "w", "method": "m"},
        axes=tuple(tuple({name: value} for value in values) for name, values in axes.items()),
        objectives=OBJECTIVES[:1] if kind == "cmaes" else OBJECTIVES,
        samples=samples,
        seed=seed,
        search=kind,
        population=population,
        constraints=tuple(map(parse_constraint, constraints)),
    )


class Machine:
    """Points evaluated by a formula, with a record of what was asked. `b` of 9 does not run, `b` of 8 has no number."""

    def __init__(self, what):
        self.space, self.asked = what, []

    def __call__(self, indices):
        self.asked += list(indices)
        rows = []
        for index in indices:
            s = self.space.settings(index)
            if s["b"] == 9:
                rows.append({**s, "status": "unsupported", "constraint": "b", "demand": 9, "limit": 8})
                continue
            slow = {"x": 1, "y": 2, "z": 4}[s["c"]]
            time = math.nan if s["b"] == 8 else 100 / s["a"] + s["b"] * slow
            rows.append({**s, "status": "ok", "time": time, "speed": s["b"] / slow - s["a"] / 4 + s["d"]})
        return pd.DataFrame(rows)


def front(what):
    """Of the whole space, by enumeration."""
    whole = Machine(what)(range(what.size))
    kept = np.logical_and.reduce([c.kept(whole) for c in what.constraints]) if what.constraints else np.ones(len(whole), bool)
    values = np.stack([whole["time"], -whole["speed"]], axis=1)
    values[~kept] = math.nan
    return values, nondominated(values)


def searched(what):
    machine, seen = Machine(what), []
    return run_search(what, machine, seen.append), machine, seen


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_asks_for_each_point_once_and_repeats_itself(kind):
    what = space(kind, 60)
    found, machine, seen = searched(what)
    assert len(found.chosen) == len(set(found.chosen)) == 60
    assert machine.asked == list(found.chosen)
    values, _ = front(what)
    np.testing.assert_array_equal(found.values[:, 0], values[list(found.chosen), 0])
    assert found.values.shape[1] == len(what.objectives)
    assert [len(state.chosen) for state in seen] == sorted({len(state.chosen) for state in seen})
    assert seen[-1].chosen == found.chosen
    assert seen[0].chosen == found.chosen[: len(seen[0].chosen)]
    assert searched(what)[0].chosen == found.chosen
    assert searched(space(kind, 60, seed=2))[0].chosen != found.chosen


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_goes_on_where_it_was_stopped(kind):
    """As after kill -9: what was evaluated answers at no cost, and the rest is what it would have been."""
    what, store, cost = space(kind, 40), {}, []

    class KilledError(Exception):
        pass

    def stored(indices, stop):
        for index in indices:
            if index not in store:
                if len(store) == stop:
                    raise KilledError
                cost.append(index)
                store[index] = Machine(what)([index])
        return pd.concat([store[index] for index in indices], ignore_index=True)

    for stop in (7, 23):
        with pytest.raises(KilledError):
            run_search(what, lambda indices, most=stop: stored(indices, most), lambda _: None)
    found = run_search(what, lambda indices: stored(indices, 10**6), lambda _: None)
    whole = searched(what)[0]
    assert found.chosen == whole.chosen
    np.testing.assert_array_equal(found.values, whole.values)
    assert cost == list(whole.chosen)


@pytest.mark.parametrize("kind", ["nsga2", "nsga3"])
def test_a_search_of_as_many_points_as_there_are_finds_the_whole_front(kind):
    what = space(kind, 300)
    found, machine, _ = searched(what)
    _, best = front(what)
    assert sorted(machine.asked) == list(range(what.size))
    assert sorted(np.array(found.chosen)[nondominated(found.values)]) == np.flatnonzero(best).tolist()


def test_a_search_beats_random_search_at_equal_budget():
    what = space("nsga2", 60)
    scale = scale_of(front(what)[0])
    shares = [scale.volume(searched(space("nsga2", 60, seed=s))[0].values) for s in range(5)]
    chance = [scale.volume(baseline(what, Machine(what), 60, s)) for s in range(5)]
    assert sorted(shares)[2] > sorted(chance)[2]


@pytest.mark.parametrize("seed", range(5))
def test_an_evolution_strategy_finds_the_best_point(seed):
    """Of 300, among them points that do not run, within 90; and starts anew where it has converged."""
    what = space("cmaes", 90, seed=seed)
    values, _ = front(what)
    found = searched(what)[0]
    assert np.nanmin(found.values) == np.nanmin(values[:, 0])
    limited = space("cmaes", 90, seed=seed, constraints=["speed >= 4"])
    allowed, _ = front(limited)
    assert np.nanmin(searched(limited)[0].values) == np.nanmin(allowed[:, 0])


@pytest.mark.parametrize("axes", [{"b": [*range(10)], "a": [4, 8]}, {"c": ["x", "y", "z"], "d": [True, False]}])
def test_an_evolution_strategy_of_numbers_or_of_choices_alone(axes):
    what = space("cmaes", 6, axes={"a": [4], "b": [3], "c": ["x"], "d": [True]} | axes, population=0)
    assert len(set(searched(what)[0].chosen)) == 6


@pytest.mark.slow
def test_a_model_of_the_objectives_comes_near_the_front_and_beats_random_search():
    """25 of 120 points; a minute of one core."""
    pytest.importorskip("torch")
    what = space("gp", 25, axes={"a": [4, 1, 2, 8, 16], "b": list(range(6)), "c": ["x", "y"], "d": [True, False]}, population=5)
    values, _ = front(what)
    scale = scale_of(values)
    found = searched(what)[0]
    assert scale.volume(found.values) >= 0.97 * scale.volume(values)
    assert scale.volume(found.values) > np.mean([scale.volume(baseline(what, Machine(what), 25, seed)) for seed in range(5)])


def test_a_model_of_an_objective_goes_on_where_it_was_stopped():
    """10 points at random, then 3 of the model, as each takes most of a second; the second of a batch knows of the first."""
    pytest.importorskip("torch")
    what = replace(space("gp", 13, axes=AXES | {"b": list(range(6))}, population=2), objectives=OBJECTIVES[:1])
    found, _, seen = searched(what)
    assert [len(state.chosen) for state in seen] == [2, 4, 6, 8, 10, 12, 13]
    assert len(set(found.chosen)) == 13
    assert np.nanmin(found.values[10:]) <= np.nanmin(found.values[:10])
    assert searched(replace(what, samples=12))[0].chosen == found.chosen[:12]


def test_a_strategy_of_one_objective_is_not_asked_for_more():
    with pytest.raises(ConfigError, match=r"must have exactly one objective, not 2 \(time, speed\): .* or take nsga2"):
        check_search(replace(space("cmaes"), objectives=OBJECTIVES))
    with pytest.raises(ConfigError, match="must ask for at least 4 points at a time, not 3"):
        searcher_of(space("cmaes", population=3))


@pytest.mark.parametrize(("kind", "module", "extra"), [("gp", "torch", "gp"), ("cmaes", "cmaes", "search")])
def test_what_a_search_lacks_is_said(kind, module, extra, monkeypatch):
    monkeypatch.setattr("dse.extras.find_spec", lambda name: None if name == module else True)
    with pytest.raises(ConfigError, match=rf"^Search '{kind}' needs {module}: pip install 'nmdse\[{extra}\]'$"):
        check_search(space(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_points_whose_settings_break_a_constraint_are_never_evaluated(kind):
    what = space(kind, 30, constraints=["a * b <= 16", 'c != "y"'])
    found, machine, _ = searched(what)
    for index in machine.asked:
        s = what.settings(index)
        assert s["a"] * s["b"] <= 16
        assert s["c"] != "y"
    assert len(found.chosen) == 30


@pytest.mark.parametrize("kind", ["nsga2", "tpe"])
def test_points_whose_results_break_a_constraint_count_and_stand_on_no_front(kind):
    what = space(kind, 80, constraints=["time <= 40"])
    found, machine, _ = searched(what)
    values, _ = front(what)
    broken = values[list(found.chosen), 0] != found.values[:, 0]
    np.testing.assert_array_equal(np.isnan(found.values).any(axis=1), np.isnan(values[list(found.chosen)]).any(axis=1))
    assert len(machine.asked) == 80
    assert broken.any()
    assert np.nanmax(found.values[:, 0]) <= 40


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_in_which_no_point_is_allowed_ends_with_no_front(kind):
    found, _, _ = searched(space(kind, 30, constraints=["time <= 0"]))
    assert len(found.chosen) == 30
    assert found.front == 0
    assert compared(found.values, {1: found.values}) is None


def test_a_search_of_which_no_setting_keeps_the_constraints_ends_with_nothing():
    found, machine, seen = searched(space("nsga2", 30, constraints=["a > 16"]))
    assert (found.chosen, machine.asked, seen) == ((), [], [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_ends_where_the_space_does(kind):
    what = space(kind, 6, axes={"a": [1, 2], "b": [1, 2, 3], "c": ["x"], "d": [True]})
    assert sorted(searched(what)[0].chosen) == list(range(6))
    tight = space(kind, 6, axes={"a": [1, 2], "b": [1, 2, 3], "c": ["x"], "d": [True]}, constraints=["b <= 2"])
    assert sorted(searched(tight)[0].chosen) == [0, 1, 3, 4]


def test_axes_of_numbers_are_searched_in_their_order():
    """The searcher's integers follow the values, whatever order the file has them in."""
    what = space("nsga2", 10)
    axes = searcher_of(what)._axes
    assert axes.ordered == [True, True, False, False]
    values = [what.settings(axes.index([at, 0, 0, 0]))["a"] for at in range(5)]
    assert values == [1, 2, 4, 8, 16]
    assert [what.settings(axes.index([0, 0, at, 0]))["c"] for at in range(3)] == ["x", "y", "z"]


@st.composite
def clouds(draw):
    count = draw(st.integers(1, 3))
    number = st.one_of(st.integers(0, 8).map(float), st.just(math.nan))
    return np.array(draw(st.lists(st.tuples(*[number] * count), min_size=1, max_size=12)), float).reshape(-1, count)


@settings(deadline=None)
@given(clouds())
def test_a_hypervolume_is_the_share_of_cells_that_are_beaten(values):
    """On integers up to 8, counted cell by cell."""
    count = values.shape[1]
    scale = Scale(np.zeros(count), np.full(count, 8.0))
    cells = np.stack(np.meshgrid(*[np.arange(8)] * count, indexing="ij"), axis=-1).reshape(-1, count)
    whole = values[~np.isnan(values).any(axis=1)]
    beaten = np.zeros(len(cells), bool)
    for row in whole:
        beaten |= (row <= cells).all(axis=1)
    assert scale.volume(values) * 8**count == pytest.approx(beaten.sum(), abs=1e-9)


@settings(deadline=None)
@given(clouds())
def test_a_curve_is_the_volume_of_what_was_evaluated_so_far(values):
    scale = Scale(np.zeros(values.shape[1]), np.full(values.shape[1], 8.0))
    each = [scale.volume(values[:count]) for count in range(1, len(values) + 1)]
    np.testing.assert_array_equal(curve(values, scale, range(1, len(values) + 1)), each)
    assert each == sorted(each)
    for share in (0.5, 1.0):
        wanted = share * each[-1]
        assert evaluations_to(values, scale, wanted) == next(n for n, v in enumerate(each, start=1) if v >= wanted)
    assert evaluations_to(values, scale, each[-1] + 1) is None


def test_a_scale_spans_all_points_and_a_tenth_more():
    scale = scale_of(np.array([[1.0, 5.0]]), np.array([[3.0, 5.0], [math.nan, 0.0]]))
    assert scale.best.tolist() == [1, 5]
    assert scale.reference.tolist() == [3 + 0.2, 5 + 0.1]
    assert scale_of(np.array([[math.nan, 1.0]])) is None


def test_the_comparison_is_on_one_scale_and_ends_at_the_budget():
    what = space("nsga2", 45)
    found = searched(what)[0]
    chance = {seed: baseline(what, Machine(what), 45, seed) for seed in (2, 3)}
    beside = compared(found.values, chance)
    scale = scale_of(found.values, *chance.values())
    whole = scale.volume(np.concatenate([found.values, *chance.values()]))
    assert beside.at[-1] == 45
    np.testing.assert_array_equal(beside.search, [scale.volume(found.values[:n]) / whole for n in beside.at])
    np.testing.assert_array_equal(beside.random[1], [scale.volume(chance[3][:n]) / whole for n in beside.at])
    assert beside.frame().columns.tolist() == ["evaluations", "search", "random, seed 2", "random, seed 3"]


@pytest.mark.parametrize("kind", ["nsga2", "nsga3"])
def test_a_genetic_algorithm_makes_no_point_twice_and_ends_when_it_has_made_all(kind):
    what = space(kind, axes={"a": [1, 2, 3], "b": [1, 2, 3], "c": ["x", "y"], "d": [True]}, population=4)
    searcher, asked = searcher_of(what), []
    while batch := searcher.ask():
        asked += batch
        values = np.array([[index % 5, -index % 7] for index in batch], float)
        searcher.tell(values, np.zeros((len(batch), 1)))
    assert len(asked) == len(set(asked))
    assert set(asked) <= set(range(18))
    assert len(asked) > 9
