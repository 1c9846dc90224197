"""Are expressions, constraints and accuracies what was typed, and is what cannot be refused by name, rule and value?"""

import math

import numpy as np
import pandas as pd
import pytest

from dse.accuracy import ACCURACY, Accuracy, read_accuracies, with_accuracy
from dse.config import ConfigError
from dse.constraints import BREAKS, account, breaks, parse_constraint, read_constraints
from dse.derived import with_derived
from dse.expressions import parse_expression
from dse.grid import Space
from dse.objectives import Objective, check_column
from dse.pareto import front_of, objective_values

FRAME = pd.DataFrame(
    {
        "key": list("abcd"),
        "status": ["ok", "ok", "ok", "unsupported"],
        "method": ["dense", "srste:2:4", "dense", "dense"],
        "workload": ["resnet18", "resnet18", "resnet50", "resnet18"],
        "accelerator.array.rows": [8, 16, 32, 64],
        "mapping.pregenerate": [True, False, True, True],
        "latency_ms": [4.0, 2.0, 1.0, math.nan],
        "energy": [1.0, 3.0, 0.0, math.nan],
    }
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latency_ms * energy", [4.0, 6.0, 0.0, math.nan]),
        ("latency_ms / energy", [4.0, 2 / 3, math.inf, math.nan]),
        ("-latency_ms + 2 ** 3", [4.0, 6.0, 7.0, math.nan]),
        ("accelerator.array.rows // 3", [2, 5, 10, 21]),
        ("sqrt(latency_ms * 4)", [4.0, math.sqrt(8), 2.0, math.nan]),
        ("log(energy - 1)", [-math.inf, math.log(2), math.nan, math.nan]),
        ("accelerator.array.rows % 5 - 1 / 4", [2.75, 0.75, 1.75, 3.75]),
    ],
)
def test_arithmetic_over_columns(text, expected):
    np.testing.assert_array_equal(parse_expression(text, "T").of(FRAME), expected)


def test_names_are_those_of_the_columns_each_once():
    found = parse_expression("accelerator.array.rows * latency_ms / accelerator.array.rows + log(energy)", "T")
    assert found.names == ("accelerator.array.rows", "latency_ms", "energy")


@pytest.mark.parametrize(
    "text",
    ["a +", "a; b", "f(a)", "log(a, b)", "a.b(c)", "[a]", "lambda: a", "a if b else c", "a[0]", "a is b", "__import__('os')"],
)
def test_what_is_no_arithmetic_is_refused(text):
    with pytest.raises(ConfigError, match=r"^Objective must "):
        parse_expression(text, "Objective")


def test_objectives_may_be_arithmetic_and_equal_a_column_of_the_same_numbers():
    product = FRAME.assign(product=FRAME["latency_ms"] * FRAME["energy"])
    for minimize in (True, False):
        typed, column = (Objective(c, minimize) for c in ("latency_ms * energy", "product"))
        np.testing.assert_array_equal(objective_values(FRAME, (typed,)), objective_values(product, (column,)))
        assert front_of(FRAME, (typed,))["key"].tolist() == front_of(product, (column,))["key"].tolist()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("cycls", "did you mean 'cycles'"),
        ("power_w", "did you mean 'asic_45nm_power_w' or .*'ecp5_power_w'"),
        ("latency_ms * multiplers", "did you mean 'multipliers'"),
        ("accuracy", "must be a column of the results"),
        ("accelerator.pe.lanes", "give 'accelerator.pe.lanes' a value in \\[base\\], or an axis"),
    ],
)
def test_an_unknown_column_is_refused_with_what_was_probably_meant(text, hint):
    with pytest.raises(ConfigError, match=hint):
        check_column(text, ["accelerator.array.rows"], (), "Objective")
    check_column("accelerator.array.rows * latency_ms - accuracy", ["accelerator.array.rows"], ("accuracy",), "Objective")


def test_a_product_of_large_integers_is_no_small_number():
    """Beyond 64 bits integers would come around to the other end."""
    frame = pd.DataFrame({"key": ["a", "b"], "status": "ok", "cycles": [2**40, 2**39], "storage_bits": [2**30, 2**30]})
    objective = Objective("cycles * storage_bits", True)
    assert objective_values(frame, (objective,)).ravel().tolist() == [2.0**70, 2.0**69]
    assert parse_constraint("cycles * storage_bits < 1").kept(frame).tolist() == [False, False]
    assert front_of(frame, (objective,))["key"].tolist() == ["b"]


KEPT = {
    "latency_ms <= 2": [False, True, True, False],
    "latency_ms < 2": [False, False, True, False],
    "2 <= latency_ms": [True, True, False, False],
    "latency_ms > 2": [True, False, False, False],
    "accelerator.array.rows * 2 == 32": [False, True, False, False],
    "accelerator.array.rows != 16": [True, False, True, True],
    'method == "dense"': [True, False, True, True],
    "method != 'dense'": [False, True, False, False],
    "method <= 1": [False, False, False, False],  # texts have no order
    "mapping.pregenerate == true": [True, False, True, True],
    "energy / energy >= 1": [True, True, False, False],  # 0/0 keeps nothing
}


@pytest.mark.parametrize("text", KEPT)
def test_a_constraint_is_kept_where_its_comparison_holds_and_by_no_missing_number(text):
    constraint = parse_constraint(text)
    assert constraint.kept(FRAME).tolist() == KEPT[text]
    violation = constraint.violation(FRAME)
    assert ((violation == 0) == constraint.kept(FRAME)).all()
    assert np.isfinite(violation).all()
    assert (violation >= 0).all()


def test_a_violation_is_a_share_of_the_limit():
    assert parse_constraint("accelerator.array.rows <= 16").violation(FRAME).tolist() == [0, 0, 1, 3]
    assert parse_constraint("accelerator.array.rows >= 32").violation(FRAME).tolist() == [0.75, 0.5, 0, 0]
    assert parse_constraint("latency_ms <= 0").violation(FRAME).tolist() == [4, 2, 1, 1]


@pytest.mark.parametrize(
    "text", ["latency_ms", "1 < latency_ms < 2", "3 < 4", "latency_ms <= ", "latency_ms =< 3", "a and b < 2"]
)
def test_a_constraint_must_be_one_comparison_of_columns(text):
    with pytest.raises(ConfigError, match=r"^Option '--constraint'"):
        parse_constraint(text, "Option '--constraint'")


@pytest.mark.parametrize("text", ["lut <<= 5", "lut = 5", "lut << 5", "", "lut in 5", "lut <= 5 and ff <= 5"])
def test_what_is_no_comparison_is_told_what_is_one(text):
    with pytest.raises(
        ConfigError, match=r"must be one comparison of columns by <= < >= > == or !=, as in 'ecp5_lut <= 80000'$"
    ):
        parse_constraint(text)


def test_a_text_has_no_limit():
    with pytest.raises(ConfigError, match=r"'method <= \"bdwp\"' must compare numbers: a text is only equal"):
        parse_constraint('method <= "bdwp"')


def test_the_section_holds_inequalities():
    assert [c.text for c in read_constraints({"must": ["a <= 1", "b > 2", "a <= 1"]}, "s")] == ["a <= 1", "b > 2"]
    with pytest.raises(ConfigError, match="no field 'all'; it must be must"):
        read_constraints({"all": []}, "s")
    with pytest.raises(ConfigError, match=r"'constraints\.must' must be a list of inequalities, not 'a < 1'"):
        read_constraints({"must": "a < 1"}, "s")


def test_broken_constraints_are_named_counted_and_kept_off_the_front():
    limits = tuple(parse_constraint(text) for text in ("latency_ms >= 2", "energy < 3", "unknown <= 1"))
    frame = FRAME.assign(**{BREAKS: breaks(FRAME, limits[:2])})
    assert frame[BREAKS].tolist() == ["", "energy < 3", "latency_ms >= 2", "latency_ms >= 2; energy < 3"]
    assert front_of(frame[:3], (Objective("latency_ms", True),))["key"].tolist() == ["a"]
    assert front_of(FRAME[:3], (Objective("latency_ms", True),))["key"].tolist() == ["c"]
    assert account(frame, limits[:2]) == ["1 of 3 break 'latency_ms >= 2'", "1 of 3 break 'energy < 3'"]
    assert breaks(FRAME, limits[2:]).tolist() == ["unknown <= 1"] * 4
    assert account(frame.assign(**{BREAKS: "unknown <= 1"}), limits[2:])[-1].startswith("no point keeps all constraints")


@pytest.fixture
def table(tmp_path):
    def writing(*rows, head="workload,method,accuracy,source"):
        (tmp_path / "a.csv").write_text("\n".join([head, *rows]) + "\n")
        return read_accuracies("a.csv", tmp_path)

    return writing


def test_accuracies_join_by_workload_and_method_whatever_the_method_is_called(table):
    rows = table("resnet18,dense,71.5,here", "resnet18,srste:2:4,71.0,here")
    found = with_accuracy(FRAME.assign(method=["dense", "srste:2:4,keep_dense=first+last", "dense", "no method"]), rows)
    np.testing.assert_array_equal(found[ACCURACY], [71.5, 71.0, math.nan, math.nan])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["resnet18,dense,71.5"], "line 2 must have a value for each of workload, method, accuracy, source"),
        (["resnet18,dense,71.5,"], "say in 'source' who measured it"),
        (["resnet18,dense,high,me"], "field 'accuracy' must be a number, not 'high'"),
        (["resnet18,dense,nan,me"], "field 'accuracy' must be a number, not 'nan'"),
        (["resnet18,bdwp:8:2,1,me"], "line 2: .*'8:2' must satisfy"),
        (["resnet18,dense,1,me", "resnet18,dense,2,me"], "must have one row for resnet18 and dense"),
    ],
)
def test_a_table_of_accuracies_is_refused_by_line_and_rule(rows, message, table):
    with pytest.raises(ConfigError, match=message):
        table(*rows)


def test_a_table_of_accuracies_needs_its_columns_and_a_file(table, tmp_path):
    with pytest.raises(ConfigError, match="must have the columns workload, method, accuracy, source, not workload, top1"):
        table(head="workload,top1")
    with pytest.raises(ConfigError, match=r"'.*none.csv' must be a CSV file that can be read"):
        read_accuracies("none.csv", tmp_path)


def test_the_shipped_accuracies_are_sourced(tmp_path):
    rows = read_accuracies("published", tmp_path)
    assert len(rows) >= 5
    assert all("github.com" in row.source or "arXiv" in row.source for row in rows)


def test_a_table_gains_what_a_space_asks_for():
    space = Space(
        title="t",
        base={},
        axes=(({"batch": 1},),),
        objectives=(Objective("latency_ms", True), Objective("energy * cycles", True), Objective("latency_ms / energy", True)),
        constraints=(parse_constraint("latency_ms >= 2"),),
        accuracies=(Accuracy("resnet18", "dense", 70.0, "s"),),
    )
    found = with_derived(space, FRAME)
    assert found[BREAKS].tolist() == ["", "", "latency_ms >= 2", ""]  # a point that did not run breaks nothing
    assert found["energy * cycles"].isna().all()  # no point has cycles
    np.testing.assert_array_equal(found["latency_ms / energy"], [4.0, 2 / 3, math.inf, math.nan])
    np.testing.assert_array_equal(found[ACCURACY], [70.0, math.nan, math.nan, 70.0])
    assert with_derived(space, FRAME[:0]).empty
