"""Is every difference between two stores found, and nothing else; and can stores of other releases be compared at all?"""

import io
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from dse.accuracy import Accuracy
from dse.config import ConfigError
from dse.constraints import parse_constraint
from dse.diff import diff
from dse.folder import SweepFolder
from dse.pareto import front_of
from dse.point import make_point
from dse.render_diff import headline, print_diff
from dse.sides import read_side
from dse.space import Objective, Space
from dse.store import Store, StoreError

BASE = {"accelerator": "sat-vcu1525", "workload": "resnet18-cifar", "accelerator.array.dataflows": ["os", "ws"]}
METHODS = ("dense", "bdwp:2:8", "srste:2:4")
AXES = (
    tuple({"method": method} for method in METHODS),
    tuple({"accelerator.pe.interleave": count, "mapping.fuse": count > 2} for count in (2, 4)),
)
OBJECTIVES = (Objective("cycles", True), Objective("multipliers", True))
SPACE = Space(title="t", base=BASE, axes=AXES, objectives=OBJECTIVES)
VALUES = [(100, 8), (50, 8), (80, 4), (70, 4), (90, 2), (60, 2)]  # cycles, multipliers; on the front: #1, #5


def row(chosen, **values):
    point = make_point(chosen)
    return {"key": point.key, "digest": point.accelerator.digest, **chosen, "status": "ok", **values}


def folder(path, change=lambda rows: rows, space=SPACE):
    """A sweep's folder whose rows are those of `VALUES`, after `change` (of a list of rows)."""
    target = SweepFolder(path)
    target.create()
    target.save_space(space, "dse sweep x")
    rows = [
        row(chosen, cycles=cycles, multipliers=size, array_wait_vector_cycles=7)
        for chosen, (cycles, size) in zip(SPACE, VALUES, strict=True)
    ]
    with Store(target.store) as store:
        store.add(change(rows))
    return read_side(path)


@pytest.fixture
def old(tmp_path):
    return folder(tmp_path / "old")


def changed(tmp_path, *changes, **options):
    """A folder of which rows are changed: each change a row's number and its new values."""

    def apply(rows):
        for number, values in changes:
            rows[number] = {name: value for name, value in (rows[number] | values).items() if value is not None}
        return rows

    return folder(tmp_path / "new", apply, **options)


def other_release(rows):
    return [{**each, "key": f"x{number}{each['key'][2:]}"} for number, each in enumerate(rows)]


def test_equal_stores_do_not_differ(old, tmp_path):
    found = diff(old, folder(tmp_path / "new"))
    assert (found.changed, found.pairs, found.ranked, found.moved, found.front) == (False, 6, 6, 0, (2, 2))
    assert found.columns == found.left == found.entered == found.statuses == ()
    assert found.compared == 5
    assert headline(found) == "Nothing changed: 6 points, 5 columns."
    assert old.current == 6


def test_points_of_another_release_are_matched_by_settings(old, tmp_path):
    found = diff(old, folder(tmp_path / "new", other_release))
    assert (found.pairs, found.only_old, found.new.current) == (6, (), 0)
    assert [(change.column, change.points) for change in found.columns] == [("key", 6)]
    assert found.changed
    assert not diff(old, found.new, columns=["cycles"]).changed


def test_a_store_alone_is_compared_with_its_folder(old, tmp_path):
    found = diff(old, read_side(tmp_path / "old" / "store.sqlite"))
    assert (found.changed, found.pairs, found.front) == (False, 6, (2, 2))  # the folder's objectives
    alone = read_side(tmp_path / "old" / "store.sqlite")
    assert diff(alone, alone).notes == ("a store alone has no objectives: --minimize and --maximize name some",)
    assert diff(alone, alone, objectives=OBJECTIVES).front == (2, 2)
    assert {name[:6] for name in alone.names} == {str(key)[:6] for key in old.frame["key"]}


def test_points_otherwise_named_are_matched_by_key(old, tmp_path):
    def renamed(rows):
        return [{**each, "accelerator.pe.group": 16} for each in rows]  # as it is

    renaming = folder(
        tmp_path / "new", renamed, Space(title="t", base=BASE | {"accelerator.pe.group": 16}, axes=AXES, objectives=())
    )
    assert not set(renaming.idents) & set(old.idents)
    found = diff(old, renaming)
    assert (found.pairs, found.changed) == (6, False)


def test_a_batch_of_one_is_the_same_said_or_not(old, tmp_path):
    said = folder(tmp_path / "new", other_release, Space(title="t", base=BASE | {"batch": 1}, axes=AXES, objectives=OBJECTIVES))
    assert (said.current, diff(old, said).pairs) == (0, 6)


def test_points_of_one_store_only(old, tmp_path):
    fewer = Space(title="t", base=BASE, axes=(AXES[0][:2], AXES[1]), objectives=OBJECTIVES)
    found = diff(old, folder(tmp_path / "new", lambda rows: rows[:4], fewer))
    assert (found.pairs, found.only_old, found.only_new) == (4, ("#4", "#5"), ())
    assert found.old.labels["#5"] == "pe.interleave 4, fuse 1, method srste:2:4"
    assert [tuple(change) for change in found.left] == [("#5", "no longer there")]
    assert [tuple(change) for change in found.entered] == [("#3", "was beaten by #5")]
    back = diff(found.new, old)
    assert (back.only_old, back.only_new) == ((), ("#4", "#5"))
    assert [tuple(change) for change in back.entered] == [("#5", "new")]


def test_a_sweep_under_way(old, tmp_path):
    found = diff(old, folder(tmp_path / "new", lambda rows: rows[:5]))
    assert (found.new.missing, found.only_old, found.changed) == (1, ("#5",), True)


def test_another_status_and_another_reason(old, tmp_path):
    refused = {"status": "unsupported", "constraint": "pe.group", "demand": 8, "limit": 4, "cycles": None, "multipliers": None}
    new = changed(tmp_path, (0, refused), (5, refused))
    found = diff(old, new)
    assert [tuple(change) for change in found.statuses] == [
        ("#0", "ok", "unsupported", "pe.group: needs 8, has 4"),
        ("#5", "ok", "unsupported", "pe.group: needs 8, has 4"),
    ]
    assert found.columns == found.columns_only_new == ()
    assert [tuple(change) for change in found.left] == [("#5", "now unsupported")]
    more = folder(tmp_path / "more", lambda rows: [{**rows[0], **refused, "limit": 6}, *rows[1:5], {**rows[5], **refused}])
    assert [tuple(change) for change in diff(new, more).statuses] == [
        ("#0", "unsupported", "unsupported", "pe.group: needs 8, has 6")
    ]


def test_values(old, tmp_path):
    new = changed(tmp_path, (0, {"cycles": 110}), (2, {"cycles": 60}), (3, {"array_wait_vector_cycles": None, "shiny": 1.5}))
    found = diff(old, new)
    columns = {change.column: change for change in found.columns}
    assert tuple(columns["cycles"]) == ("cycles", 2, 6, (0.1 - 0.25) / 2, -0.25, "#2", 80, 60)
    waited = columns["array_wait_vector_cycles"]  # a cause that did not occur has no column in the row
    assert (waited.points, waited.worst, waited.point, waited.old, waited.new) == (1, -1.0, "#3", 7, 0)
    assert set(columns) == {"cycles", "array_wait_vector_cycles"}
    assert (found.columns_only_old, found.columns_only_new) == ((), ("shiny",))
    assert diff(new, old).columns_only_old == ("shiny",)
    assert [change.column for change in diff(old, new, columns=["multipliers"]).columns] == []
    from_nothing = diff(new, old)
    assert {c.column: c.worst for c in from_nothing.columns}["array_wait_vector_cycles"] == float("inf")
    assert {c["column"]: c["worst"] for c in json.loads(json.dumps(from_nothing.as_json()))["columns"]}[
        "array_wait_vector_cycles"
    ] is None


def test_another_machine_behind_the_same_settings(old, tmp_path):
    found = diff(old, changed(tmp_path, (4, {"digest": "0123456789ab"})))
    assert [(c.column, c.points, c.median, c.new) for c in found.columns] == [("digest", 1, None, "0123456789ab")]
    assert headline(found) == "Changed: digests; 6 points compared."


def test_ranks_and_front(old, tmp_path):
    found = diff(old, changed(tmp_path, (4, {"cycles": 55}), (0, {"cycles": 40, "multipliers": 2})))
    # cycles were 100 50 80 70 90 60: ranks 6 1 4 3 5 2; now 40 50 80 70 55 60: 1 2 6 5 3 4
    assert (found.moved, found.ranked, found.furthest) == (6, 6, ("#0", 6, 1))
    assert [tuple(change) for change in found.left] == [("#1", "beaten by #0"), ("#5", "beaten by #0")]
    assert [tuple(change) for change in found.entered] == [("#0", "was beaten by #1")]
    assert found.front == (2, 1)
    assert diff(old, found.new, objectives=(Objective("multipliers", False),)).front == (2, 1)
    narrow = diff(old, found.new, columns=["cycles"])  # an objective is not compared: neither are fronts
    assert (narrow.objectives, narrow.moved, narrow.front) == ((), 0, (0, 0))


LIMITS = tuple(map(parse_constraint, ("cycles <= 75", "accelerator.pe.interleave * multipliers >= 8")))


def test_fronts_under_constraints(tmp_path):
    """Of cycles 100 50 80 70 90 60 and multipliers 8 8 4 4 2 2, interleave 2 4 2 4 2 4: 50, 70 and 60 keep both limits."""
    limited = replace(SPACE, constraints=LIMITS)
    before = folder(tmp_path / "before", space=limited)
    same = diff(before, folder(tmp_path / "same", space=limited))
    assert (same.changed, same.front, same.kept, same.limits) == (False, (2, 2), (3, 3), ())
    after = changed(
        tmp_path, (5, {"cycles": 76}), (2, {"cycles": 60, "multipliers": 5}), (4, {"multipliers": 1}), space=limited
    )
    found = diff(before, after)
    assert found.kept == (3, 3)
    assert [tuple(change) for change in found.limits] == [("#2", "cycles <= 75", ""), ("#5", "", "cycles <= 75")]
    assert [tuple(change) for change in found.left] == [("#5", "now breaks cycles <= 75")]
    entered = [tuple(change) for change in found.entered]
    assert entered == [("#2", "broke cycles <= 75"), ("#3", "was beaten by #5")]
    assert (found.ranked, found.moved) == (2, 0)  # of the points that keep all limits on both sides
    assert found.as_json()["limits"][0] == {"point": "#2", "old": "cycles <= 75", "new": ""}
    assert headline(found).endswith("the front (1 left, 2 entered); 6 points compared.")
    assert "2 points that break other limits" in headline(found)
    console = Console(file=io.StringIO(), width=150, color_system=None)
    print_diff(console, found, top=5)
    flat = " ".join(console.file.getvalue().split())
    assert "limits cycles <= 75, accelerator.pe.interleave * multipliers >= 8: kept by 3 points, now 3" in flat
    assert "#2: broke cycles <= 75, now keeps all" in flat
    assert "#5: now breaks cycles <= 75" in flat


def test_constraints_of_the_new_sweep_hold_for_both(old, tmp_path):
    limited = folder(tmp_path / "new", space=replace(SPACE, constraints=LIMITS[:1]))
    found = diff(old, limited)
    assert (found.kept, found.changed) == ((3, 3), False)
    assert found.notes == ("OLD was swept under other constraints (none); here NEW's hold for both",)
    back = diff(limited, old)
    assert (back.kept, back.notes) == (
        (6, 6),
        ("OLD was swept under other constraints ('cycles <= 75'); here NEW's hold for both",),
    )
    asked = diff(old, old, constraints=LIMITS[:1])
    assert (asked.kept, asked.constraints, asked.notes) == ((3, 3), ("cycles <= 75",), ())


def test_measured_accuracies_are_compared_and_objectives(tmp_path):
    """A table that changed changes the front, as a result would."""

    def swept(name, *rows):
        known = tuple(Accuracy("resnet18-cifar", method, value, "s") for method, value in rows)
        wanted = (Objective("accuracy", False), Objective("log(cycles)", True))
        return folder(tmp_path / name, space=replace(SPACE, objectives=wanted, accuracies=known))

    first = swept("a", ("dense", 90.0), ("bdwp:2:8", 88.0))
    found = diff(first, swept("b", ("dense", 90.0), ("bdwp:2:8", 88.0)))
    assert (found.changed, found.notes, found.front) == (False, (), (1, 1))
    assert found.compared == 6
    found = diff(first, swept("c", ("dense", 87.0), ("bdwp:2:8", 88.0)))
    assert [(c.column, c.points, c.old, c.new) for c in found.columns] == [("accuracy", 2, 90.0, 87.0)]
    assert (found.left, found.front) == ((), (1, 2))
    assert [tuple(change) for change in found.entered] == [("#3", "was beaten by #1")]
    alone = diff(read_side(tmp_path / "a" / "store.sqlite"), first)
    assert (alone.changed, alone.front) == (False, (1, 1))


def test_several_rows_for_the_settings_of_a_point(old, tmp_path):
    both = folder(tmp_path / "new", lambda rows: [*rows, *other_release(rows)])
    assert (both.current, both.ambiguous, diff(old, both).changed) == (6, (), False)  # this release's row is taken

    def two_others(rows):
        return [*rows[1:], *({**rows[0], "key": key} for key in ("x", "y"))]

    unclear = folder(tmp_path / "unclear", two_others)
    found = diff(old, unclear)
    assert (unclear.ambiguous, found.changed, found.pairs) == (("#0",), True, 5)
    assert len(read_side(tmp_path / "unclear" / "store.sqlite").ambiguous) == 1


@settings(max_examples=30)  # each writes two folders
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(("cycles", "multipliers")), st.integers(0, 60)), unique_by=lambda c: c[:2]
    )
)
def test_what_differs_is_exactly_what_was_changed(tmp_path_factory, edits):
    place = tmp_path_factory.mktemp("d")
    before = folder(place / "old")
    values = [dict(zip(("cycles", "multipliers"), pair, strict=True)) for pair in VALUES]
    merged = [dict(own) for own in values]
    for number, column, value in edits:
        merged[number][column] = value
    found = diff(before, changed(place, *enumerate(merged)))
    expected = {column: [i for i in range(6) if merged[i][column] != values[i][column]] for column in ("cycles", "multipliers")}
    assert {change.column: change.points for change in found.columns} == {c: len(p) for c, p in expected.items() if p}
    assert found.changed == any(expected.values())
    for change in found.columns:
        moves = [
            abs(merged[i][change.column] - values[i][change.column]) / values[i][change.column] for i in expected[change.column]
        ]
        assert abs(change.worst) == max(moves)
    fronts = [{f"#{i}" for i in front_of(side.frame, OBJECTIVES).index} for side in (before, found.new)]
    assert {change.point for change in found.left} == fronts[0] - fronts[1]
    assert {change.point for change in found.entered} == fronts[1] - fronts[0]


def test_what_cannot_be_compared_is_said(old, tmp_path):
    with pytest.raises(
        ConfigError, match=r"'--columns' must name columns of the results, not 'cycls'; did you mean 'cycles'\?"
    ):
        diff(old, old, columns=["cycls"])
    with pytest.raises(ConfigError, match="Objective 'cycls' must be a number column"):
        diff(old, old, objectives=(Objective("cycls", True),))
    with pytest.raises(ConfigError, match="must be the folder of a sweep or a store file"):
        read_side(tmp_path / "none")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ConfigError, match="must be the folder of a sweep or a store file"):
        read_side(tmp_path / "empty")
    assert (tmp_path / "empty").read_bytes() == b""
    (tmp_path / "text").write_text("no store" * 1000)
    with pytest.raises(StoreError, match="not a database"):
        read_side(tmp_path / "text")
    (tmp_path / "old" / "store.sqlite").unlink()
    with pytest.raises(ConfigError, match=r"must hold a sweep, but it has no store\.sqlite"):
        read_side(tmp_path / "old")
    assert not (tmp_path / "old" / "store.sqlite").exists()


def test_a_sweep_of_which_no_point_ran_yet(old, tmp_path):
    found = diff(old, folder(tmp_path / "new", lambda _: []))
    assert (found.pairs, len(found.only_old), found.new.missing, found.changed) == (0, 6, 6, True)
    assert found.notes == ("no ranks and no fronts: there is a store in which no point ran",)


@pytest.mark.parametrize("width", [80, 150])
def test_a_comparison_is_whole_at_any_width(old, tmp_path, width):
    refused = {"status": "failed", "error": "[b]x", "cycles": None, "multipliers": None}
    new = changed(tmp_path, (0, refused), (1, {"cycles": 123_456_789_012, "shiny": 1}), (2, {"digest": "x"}))
    found = diff(old, new)
    console = Console(file=io.StringIO(), width=width, color_system=None)
    print_diff(console, found, top=5)
    text = console.file.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    flat = " ".join(text.split())
    for part in (
        headline(found),
        "[b]x",
        "123,456,789,012",
        "columns only in NEW shiny",
        "digests",
        "furthest #1, from 1 to 5",
    ):
        assert part in flat
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    assert ("pe.interleave 4, fuse 1, method dense" in flat) == (width == 150)
