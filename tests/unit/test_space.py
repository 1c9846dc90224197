"""Does a space hold the points that its file says, in a fixed order, and does it refuse what can't be?"""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from dse import space as space_module
from dse.config import ConfigError
from dse.space import GRID_LIMIT, Objective, Space, read_space, shipped_spaces, space_data, space_from

BASE = '[base]\naccelerator = "sat-vcu1525"\nworkload = "resnet18-cifar"\nmethod = "dense"\n'
ROWS = '[axes]\n"accelerator.array.rows" = [8, 16]\n'
ROW = "accelerator.array.rows"
BILLION = "[axes]\n" + "\n".join(
    f'"accelerator.{field}" = {{ start = 1, stop = 1000, step = 1 }}' for field in ("array.rows", "array.cols", "pruner.lanes")
)


@pytest.fixture
def read(tmp_path):
    def reading(text, **options):
        path = tmp_path / "space.toml"
        path.write_text(text)
        return read_space(str(path), **options)

    return reading


def test_the_last_axis_changes_fastest(read):
    values = ([8, 16], ["bdwp:2:4", "dense"], [1, 2, 4])
    space = read(
        '[base]\naccelerator = "sat-vcu1525"\nworkload = "resnet18-cifar"\n'
        '[axes]\n"accelerator.array.rows" = [8, 16]\nmethod = ["bdwp:2:4", "dense"]\n"accelerator.pe.interleave" = [1, 2, 4]\n'
    )
    found = [(s[ROW], s["method"], s["accelerator.pe.interleave"]) for s in space]
    assert found == list(product(*values))
    assert len(space) == space.size == 12
    assert [space.point_settings(i) for i in range(12)] == list(space) == [space.settings(i) for i in range(12)]
    assert space.varied == [ROW, "method", "accelerator.pe.interleave"]


def test_linked_settings_move_together_as_one_axis(read):
    space = read(BASE + ROWS + '[[linked]]\n"accelerator.array.cols" = [8, 16, 32]\n"accelerator.pruner.lanes" = [8, 16, 16]\n')
    assert [(s[ROW], s["accelerator.array.cols"], s["accelerator.pruner.lanes"]) for s in space] == [
        (rows, *pair) for rows in (8, 16) for pair in ((8, 8), (16, 16), (32, 16))
    ]


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ("{ start = 1, stop = 10, step = 3 }", [1, 4, 7, 10]),
        ("{ start = 2, stop = 9, step = 3 }", [2, 5, 8]),
        ("{ start = 1, stop = 64, factor = 4 }", [1, 4, 16, 64]),
        ("{ start = 3, stop = 20, factor = 2 }", [3, 6, 12]),
        ("{ start = 5, stop = 5, step = 1 }", [5]),
        ("[7]", [7]),
    ],
)
def test_an_axis_is_a_list_or_a_range_with_both_ends(read, given, values):
    assert [s[ROW] for s in read(BASE + f'[axes]\n"{ROW}" = {given}\n')] == values


def test_a_one_valued_axis_does_not_vary(read):
    assert read(BASE + '[axes]\n"accelerator.array.rows" = [8]\nbatch = [1, 2]\n').varied == ["batch"]


def test_a_sample_is_seeded_without_repetition_and_within_the_grid(read):
    axes = '[axes]\n"accelerator.array.rows" = { start = 1, stop = 100, step = 1 }\nbatch = { start = 1, stop = 8, step = 1 }\n'
    space = read(BASE + axes, samples=200, seed=7)
    points = [(s[ROW], s["batch"]) for s in space]
    assert len(space) == len(points) == len(set(points)) == 200
    assert all(1 <= rows <= 100 and 1 <= batch <= 8 for rows, batch in points)
    assert points == [(s[ROW], s["batch"]) for s in read(BASE + axes, samples=200, seed=7)]
    assert points != [(s[ROW], s["batch"]) for s in read(BASE + axes, samples=200, seed=8)]
    assert space.point_settings(150) == list(space)[150]
    assert set(points) < {(s[ROW], s["batch"]) for s in read(BASE + axes)}


def test_a_file_may_ask_for_a_sample_which_the_caller_may_change(read):
    text = BASE + '[axes]\nbatch = [1, 2, 3, 4]\n[search]\nkind = "random"\npoints = 3\nseed = 5\n'
    assert (len(read(text)), read(text).seed) == (3, 5)
    assert (len(read(text, samples=2, seed=1)), read(text, samples=2, seed=1).seed) == (2, 1)


def test_a_billion_points_are_refused_with_their_number_before_any_is_made(read, monkeypatch):
    monkeypatch.setattr(space_module, "make_point", lambda _: pytest.fail("a point was made"))
    with pytest.raises(ConfigError, match=rf"at most {GRID_LIMIT:,} points, not 1,000,000,000; .*--points N"):
        read(BASE + BILLION)


def test_a_billion_points_can_be_sampled(read):
    space = read(BASE + BILLION, samples=50, seed=3)
    assert len({tuple(s.values()) for s in space}) == 50
    assert space.size == 10**9


def test_the_limit_can_be_raised_and_lowered(read):
    with pytest.raises(ConfigError, match="at most 1 points, not 2"):
        read(BASE + ROWS, limit=1)
    assert len(read(BASE + BILLION, limit=10**9)) == 10**9


def test_objectives(read):
    assert read(BASE + ROWS).objectives == tuple(Objective(c, True) for c in ("latency_ms", "multipliers", "storage_bits"))
    text = BASE + ROWS + '[objectives]\nminimize = ["cycles"]\nmaximize = ["utilization", "array_wait_load_a_cycles"]\n'
    expected = (Objective("cycles", True), Objective("utilization", False), Objective("array_wait_load_a_cycles", False))
    assert read(text).objectives == expected


def test_shipped_spaces_read():
    assert "resnet18" in shipped_spaces()
    for name in shipped_spaces():
        assert len(read_space(name, limit=10**9)) > 0
    assert len(read_space("resnet18")) == 240


BAD = {
    "no file": (None, "File 'missing.toml' must exist"),
    "not TOML": ("[axes\n", "must be valid TOML with each key once: .*at line 1.*'\\[axes'"),
    "key twice": (BASE + "[axes]\nbatch = [1]\nbatch = [2]\n", "each key once: .*'batch = \\[2\\]'"),
    "unknown section": (BASE + "[axis]\nbatch = [1]\n", "no section 'axis'; it must be one of: title, base, axes"),
    "section not a table": ("axes = 3\n", "section 'axes' must be a table, not 3"),
    "no axis": (BASE, "must have at least one axis"),
    "empty axis": (BASE + "[axes]\nbatch = []\n", "Axis 'batch' must be a list with at least one value, not \\[\\]"),
    "scalar axis": (BASE + "[axes]\nbatch = 3\n", "Axis 'batch' must be a list with at least one value, not 3"),
    "value twice": (BASE + "[axes]\nbatch = [1, 2, 1]\n", "Axis 'batch' must name each value once, not \\[1, 2, 1\\]"),
    "axis twice": (
        BASE + ROWS + f'[[linked]]\n"{ROW}" = [8, 4]\nbatch = [1, 2]\n',
        "must have one axis for 'accelerator.array.rows', in \\[axes\\] or in one",
    ),
    "range without step": (
        BASE + "[axes]\nbatch = { start = 1, stop = 2 }\n",
        "Axis 'batch' must be a list, or start and stop",
    ),
    "range with both": (BASE + "[axes]\nbatch = { start = 1, stop = 2, step = 1, factor = 2 }\n", "either step or factor"),
    "range unknown key": (BASE + "[axes]\nbatch = { start = 1, stop = 2, step = 1, by = 2 }\n", "not {.*'by': 2}"),
    "range of nothing": (BASE + "[axes]\nbatch = { start = 5, stop = 2, step = 1 }\n", "at least one value, not \\[\\]"),
    "range start": (
        BASE + "[axes]\nbatch = { start = 0, stop = 2, step = 1 }\n",
        "start must be an integer of at least 1, not 0",
    ),
    "range float": (BASE + "[axes]\nbatch = { start = 1, stop = 2.5, step = 1 }\n", "stop must be an integer .*, not 2.5"),
    "factor 1": (
        BASE + "[axes]\nbatch = { start = 1, stop = 2, factor = 1 }\n",
        "factor must be an integer of at least 2, not 1",
    ),
    "long range": (
        BASE + "[axes]\nbatch = { start = 1, stop = 2000000, step = 1 }\n",
        "at most 1,000,000 values, not 2,000,000",
    ),
    "linked lengths": (
        BASE + f'[[linked]]\n"{ROW}" = [8, 4]\nbatch = [1]\n',
        "lists of one length, not {'accelerator.array.rows': 2, 'batch': 1}",
    ),
    "linked not tables": (BASE.replace("[base]", "linked = [3]\n[base]"), "section 'linked' must be tables, .*, not \\[3\\]"),
    "kind": (BASE + ROWS + '[search]\nkind = "grit"\n', "'search.kind' must be grid, random, .* or \\w+, not 'grit'"),
    "search field": (BASE + ROWS + "[search]\npoint = 3\n", "section 'search' has no field 'point'"),
    "search points": (BASE + ROWS + '[search]\nkind = "random"\npoints = 0\n', "'search.points' must be .* at least 1, not 0"),
    "search points missing": (BASE + ROWS + '[search]\nkind = "random"\n', "'random' must be told how many points: --points N"),
    "seed": (BASE + ROWS + "[search]\nseed = -1\n", "'search.seed' must be an integer of at least 0, not -1"),
    "too many samples": (BASE + ROWS + '[search]\nkind = "random"\npoints = 3\n', "at most its 2 grid points, not 3"),
    "objectives section": (
        BASE + ROWS + '[objectives]\nmin = ["cycles"]\n',
        "must hold minimize and maximize, not \\['min'\\]",
    ),
    "objectives type": (
        BASE + ROWS + '[objectives]\nminimize = "cycles"\n',
        "'objectives.minimize' must be a list .*, not 'cycles'",
    ),
    "objectives empty": (BASE + ROWS + "[objectives]\nminimize = []\n", "at least one objective"),
    "objective unknown": (
        BASE + ROWS + '[objectives]\nminimize = ["cycls"]\n',
        "objective 'cycls' must .*did you mean 'cycles'",
    ),
    "objective arithmetic": (
        BASE + ROWS + '[objectives]\nminimize = ["latency_ms * multiplers"]\n',
        "objective 'latency_ms \\* multiplers' must .*did you mean 'multipliers'",
    ),
    "objective no arithmetic": (BASE + ROWS + '[objectives]\nminimize = ["latency_ms *"]\n', "must be arithmetic over columns"),
    "objective a field": (
        BASE + ROWS + '[objectives]\nminimize = ["accelerator.pe.group"]\n',
        "give 'accelerator.pe.group' a value in \\[base\\], or an axis",
    ),
    "accuracy without a table": (BASE + ROWS + '[objectives]\nmaximize = ["accuracy"]\n', "objective 'accuracy' must be"),
    "accuracy section": (BASE + ROWS + "[accuracy]\nfile = 3\n", "'accuracy' must hold table = \"FILE.csv\", not {'file': 3}"),
    "accuracy file": (BASE + ROWS + '[accuracy]\ntable = "none.csv"\n', "none.csv' must be a CSV file"),
    "constraint unknown": (
        BASE + ROWS + '[constraints]\nmust = ["power_w <= 3"]\n',
        "constraint 'power_w <= 3' must .*did you mean 'asic_45nm_power_w' or",
    ),
    "constraint no comparison": (BASE + ROWS + '[constraints]\nmust = ["cycles"]\n', "must be one comparison of columns"),
    "constraints section": (BASE + ROWS + '[constraints]\nall = ["cycles < 1"]\n', "'constraints' has no field 'all'"),
    "population": (BASE + ROWS + "[search]\npopulation = -1\n", "'search.population' must be an integer of at least 0, not -1"),
    "search without points": (
        BASE + ROWS + '[search]\nkind = "nsga2"\n',
        "'nsga2' must be told how many points: --points",
    ),
    "search of no points": (BASE + ROWS + '[search]\nkind = "nsga2"\npoints = 0\n', "'search.points' must be .* at least 1"),
    "objective a text": (
        BASE + ROWS + '[objectives]\nminimize = ["method"]\n',
        "of numbers, which 'method' has none of",
    ),
    "objective of a text": (BASE + ROWS + '[objectives]\nminimize = ["method * 2"]\n', "must be of numbers, which 'method'"),
    "objective of a list": (
        BASE + '[axes]\n"accelerator.array.dataflows" = [["os"], ["ws"]]\n'
        '[objectives]\nminimize = ["cycles * accelerator.array.dataflows"]\n',
        "must be of numbers, which 'accelerator.array.dataflows' has none of",
    ),
    "batch of lists": (BASE + "[axes]\nbatch = [1, [2]]\n", "batch must be a positive integer, not \\[2\\]"),
    "tables as values": (BASE + '[axes]\n"accelerator.pe" = [{lanes = 1}]\n', "as in 'accelerator.pe.FIELD'"),
    "device without estimate": (BASE + '[axes]\nfit = ["ecp5-85k", "gw1nr-9c"]\n', "not 'gw1nr-9c': nothing estimates gw1n"),
    "device in a list": (BASE + '[axes]\nfit = [["ecp5-85k"]]\n', "must be one of ecp5-25k, .*not \\['ecp5-85k'\\]"),
    "objective twice": (BASE + ROWS + '[objectives]\nminimize = ["cycles", "cycles"]\n', "each objective once"),
    "unknown setting": (BASE + "[axes]\nbach = [1]\n", "'bach' must be one of accelerator, batch, fit, method, workload"),
    "unknown field": (BASE + '[axes]\n"accelerator.pe.gruop" = [1]\n', "no field 'pe.gruop'; did you mean 'group'"),
    "value out of range": (BASE + f'[axes]\n"{ROW}" = [8, -2]\n', "Array field 'rows' must be between 1 and 4096, not -2"),
    "value of wrong type": (BASE + f'[axes]\n"{ROW}" = [8, 1.5]\n', "'array.rows' must be an integer, not 1.5"),
    "batch": (BASE + "[axes]\nbatch = [1, 0]\n", "batch must be a positive integer, not 0"),
    "method": (BASE + '[axes]\nmethod = ["bdwp:8:2"]\n', "'8:2' must satisfy 1 <= N <= M"),
    "workload": (BASE + '[axes]\nworkload = ["resnet"]\n', "Workload 'resnet' must be a trace file or one of"),
    "no accelerator": ("[axes]\nbatch = [1]\n", "Setting 'accelerator' must be a text, not None"),
}


@pytest.mark.parametrize("order", [(1, 16), (16, 1)])
def test_values_that_exclude_each_other_are_points_and_no_errors(order, read):
    """Two lanes take two registers; whichever value comes first, and though the first point of all can't be."""
    space = read(BASE + f'[axes]\n"accelerator.pe.lanes" = [2, 1]\n"accelerator.pe.registers" = {list(order)}\n')
    assert len(space) == 4
    with pytest.raises(ConfigError, match="Pe field 'registers' must be at least lanes=2, not 1"):
        read(BASE + '[axes]\n"accelerator.pe.lanes" = [2, 4]\n"accelerator.pe.registers" = [1]\n')


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_refused_by_name_rule_and_value(case, read):
    text, message = BAD[case]
    with pytest.raises(ConfigError, match=message):
        read_space("missing.toml") if text is None else read(text)


def test_a_name_that_is_no_file_lists_the_shipped_ones():
    with pytest.raises(ConfigError, match=r"Space 'nope' must be a \.toml file or one of: .*resnet18"):
        read_space("nope")


def test_a_point_past_the_end_is_refused():
    space = Space(title="t", base={}, axes=(({"batch": 1}, {"batch": 2}),), objectives=(Objective("cycles", True),))
    with pytest.raises(ConfigError, match="one of 0 to 1 of space 't', not 2"):
        space.point_settings(2)


@pytest.mark.parametrize("samples", [None, 4])
def test_points_whose_settings_break_a_constraint_are_none_of_the_space(samples, read):
    text = BASE + '[axes]\n"accelerator.array.rows" = [8, 16, 32]\nbatch = [1, 2, 3, 4]\n'
    limit = ["accelerator.array.rows * batch <= 40", "batch != 3", "latency_ms <= 5"]
    whole = [i for i, s in enumerate(read(text)) if s[ROW] * s["batch"] <= 40 and s["batch"] != 3]
    space = read(text + f"[constraints]\nmust = {limit[:2]}\n", constraints=limit[2:], samples=samples)
    assert [c.text for c in space.constraints] == limit
    assert [c.text for c in space.on_settings] == limit[:2]
    assert len(space) == len(list(space)) == (samples or len(whole))
    assert set(space.indices) <= set(whole)
    assert samples or list(space.indices) == whole
    assert [space.point_settings(i) for i in range(len(space))] == list(space)
    with pytest.raises(ConfigError, match="at most the 3 whose settings keep the constraints, not 4"):
        read(text + f"[constraints]\nmust = {[*limit[:2], 'batch > 1']}\n", samples=4)


def test_constraints_that_no_settings_keep_are_refused_by_name(read):
    with pytest.raises(ConfigError, match="must have a point whose settings keep 'batch > 2', but of 2 none does"):
        read(BASE + "[axes]\nbatch = [1, 2]\n[constraints]\nmust = ['batch > 2', 'latency_ms < 1']\n")


def test_a_large_grid_is_sampled_where_its_settings_keep_the_constraints(read):
    limits = ["accelerator.array.rows < accelerator.array.cols", "accelerator.pruner.lanes % 2 == 0"]
    text = BASE + BILLION + f"\n[constraints]\nmust = {limits}\n"
    space = read(text, samples=40, seed=5)
    chosen = list(space)
    assert len({tuple(s.values()) for s in chosen}) == 40
    assert all(s[ROW] < s["accelerator.array.cols"] and s["accelerator.pruner.lanes"] % 2 == 0 for s in chosen)
    assert chosen == list(read(text, samples=40, seed=5))
    assert chosen != list(read(text, samples=40, seed=6))
    with pytest.raises(ConfigError, match="only 0 have settings that keep the constraints, not 2"):
        read(BASE + BILLION + "\n[constraints]\nmust = ['accelerator.array.rows < 1']\n", samples=2)


def test_columns_are_the_settings_of_the_points(read):
    space = read(BASE + '[axes]\n"accelerator.array.rows" = [8, 16, 32]\nmethod = ["dense", "bdwp:2:4"]\nbatch = [1, 2]\n')
    indices = np.array([11, 0, 5, 5])
    columns = space.columns(indices, space.names)
    assert set(columns) == set(space.settings(0))
    for row, index in enumerate(indices):
        assert {name: values[row] for name, values in columns.items()} == space.settings(int(index))


def test_a_search_has_the_points_that_it_chose(read):
    text = BASE + '[axes]\nbatch = [1, 2, 3, 4]\n[search]\nkind = "nsga2"\npoints = 3\nseed = 5\npopulation = 2\n'
    space = read(text)
    assert (space.search, space.samples, space.seed, space.population, len(space)) == ("nsga2", 3, 5, 2, 0)
    chosen = replace(space, chosen=(2, 0))
    assert [s["batch"] for s in chosen] == [3, 1]
    assert chosen.point_settings(1)["batch"] == 1
    overridden = read(text, kind="tpe", samples=2, seed=1, population=4)
    assert (overridden.search, overridden.samples, overridden.seed, overridden.population) == ("tpe", 2, 1, 4)
    assert read(text, kind="grid").search == ""
    assert len(read(text, kind="grid")) == 4
    assert len(read(text, kind="random")) == 3


def test_a_space_is_the_same_after_it_was_kept(read, tmp_path):
    (tmp_path / "a.csv").write_text("workload,method,accuracy,source\nresnet18-cifar,dense,90,me\n")
    text = BASE + ROWS + '[[linked]]\nbatch = [1, 2]\n"accelerator.array.cols" = [8, 16]\n[accuracy]\ntable = "a.csv"\n'
    text += '[objectives]\nmaximize = ["accuracy", "images_per_second / multipliers"]\n[constraints]\nmust = ["batch < 4"]\n'
    for space in (read(text), replace(read(text, kind="nsga2", samples=2), chosen=(1, 3))):
        assert space_from(json.loads(json.dumps(space_data(space)))) == space
