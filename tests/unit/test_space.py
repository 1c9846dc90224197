"""Does a space hold the points that its file says, in a fixed order, and does it refuse what can't be?"""

import time
from itertools import product

import pytest

from dse.config import ConfigError
from dse.space import GRID_LIMIT, Objective, Space, read_space, shipped_spaces

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


def test_a_billion_points_are_refused_at_once_with_their_number(read):
    read(BASE + ROWS)  # the trace is in memory now
    begin = time.perf_counter()
    with pytest.raises(ConfigError, match=rf"at most {GRID_LIMIT:,} points, not 1,000,000,000; .*--points N"):
        read(BASE + BILLION)
    assert time.perf_counter() - begin < 0.2


def test_a_billion_points_can_be_sampled(read):
    begin = time.perf_counter()
    space = read(BASE + BILLION, samples=50, seed=3)
    assert len({tuple(s.values()) for s in space}) == 50
    assert space.size == 10**9
    assert time.perf_counter() - begin < 5


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
        assert len(read_space(name)) > 0
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
    "kind": (BASE + ROWS + '[search]\nkind = "grit"\n', "'search.kind' must be grid or random, not 'grit'"),
    "search field": (BASE + ROWS + "[search]\npoint = 3\n", "section 'search' has no field 'point'"),
    "search points": (BASE + ROWS + '[search]\nkind = "random"\npoints = 0\n', "'search.points' must be .* at least 1, not 0"),
    "search points missing": (BASE + ROWS + '[search]\nkind = "random"\n', "'search.points' must be .* at least 1, not 0"),
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
