"""Are the numbers behind the report's plots right, and does it say in words what it can't show?"""

import math
from dataclasses import replace
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dse.evaluate import Run, evaluate
from dse.point import make_point
from reports.assumptions import counts, field_rows
from reports.effects import changed_alone
from reports.infeasible import reasons
from reports.inputs import Detail, ReportInputs
from reports.plot_pareto import front_order
from reports.report import render, write_report
from reports.roofline import gemm_dots, roof_of
from reports.speedup import paired_speedups, speedup_summary
from reports.stacks import by_cause, by_stage, engine_rows
from reports.summary import cards, front_table, headline, point_counts
from reports.timeline import thin, window_of
from reports.values import compact, number, quantity, setting, show
from simulator.arch import leaf_fields

SETTINGS = {"accelerator": "sat-vcu1525", "workload": "resnet18-cifar", "method": "bdwp:2:8", "batch": 1}
OBJECTIVES = (("latency_ms", "min"), ("multipliers", "min"))


@lru_cache(maxsize=1)
def small_run() -> Run:
    run = evaluate(make_point(SETTINGS), record_events=True)
    assert isinstance(run, Run)
    return run


def small_detail(**changes: object) -> Detail:
    run = small_run()
    engines = pd.DataFrame({e.value: {"busy": t.busy, **t.stalls} for e, t in run.result.engines.items()}).T
    detail = Detail(
        name="knee",
        key="k0",
        settings=SETTINGS,
        metrics=run.metrics(),
        accelerator=leaf_fields(run.point.accelerator),
        table=run.table,
        stages=run.stages,
        timeline=run.timeline,
        engines=engines,
    )
    return replace(detail, **changes)  # type: ignore[arg-type]


def sweep(methods: tuple[str, ...] = ("dense", "bdwp:2:4", "bdwp:2:8"), seed: int = 0) -> pd.DataFrame:
    """A made-up sweep, in which cycles are random."""
    rng = np.random.default_rng(seed)
    rows = []
    for i, (workload, method, size, pre) in enumerate(product(("a-net", "b-net"), methods, (16, 32), (True, False))):
        cycles = int(rng.integers(10_000, 90_000))
        rows.append(
            {
                "key": f"k{i}",
                "digest": f"d{size}",
                "workload": workload,
                "method": method,
                "accelerator.array.rows": size,
                "mapping.pregenerate": pre,
                "status": "ok",
                "cycles": cycles,
                "latency_ms": cycles / 2e5,
                "multipliers": size * 32,
                "mac_bound_speedup": 1.0 if method == "dense" else 1.9,
            }
        )
    return pd.DataFrame(rows)


def made(frame: pd.DataFrame | None = None, **changes: object) -> ReportInputs:
    fields: dict[str, object] = {
        "title": "A made-up sweep",
        "frame": sweep() if frame is None else frame,
        "axes": ("workload", "method", "accelerator.array.rows", "mapping.pregenerate"),
        "objectives": OBJECTIVES,
        "front": ("k0", "k1"),
        "candidates": {"fastest": "k0", "knee": "k1"},
        "command": "dse sweep x.toml",
    }
    return ReportInputs(**fields | changes)  # type: ignore[arg-type]


# -- speed-ups ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_speedups_pair_points_that_differ_in_the_method_only(seed: int) -> None:
    frame = sweep(seed=seed).sample(frac=1, random_state=seed)
    pairs = paired_speedups(frame).set_index("key")
    place = ["workload", "accelerator.array.rows", "mapping.pregenerate"]
    checked = 0
    for _, sparse in frame[frame["method"] != "dense"].iterrows():
        for _, dense in frame[frame["method"] == "dense"].iterrows():
            if all(sparse[name] == dense[name] for name in place):
                assert pairs.loc[sparse["key"], "dense_key"] == dense["key"]
                assert pairs.loc[sparse["key"], "speedup"] == dense["cycles"] / sparse["cycles"]
                checked += 1
    assert checked == len(pairs) == 16


def test_a_point_without_dense_partner_has_no_speedup_and_is_counted() -> None:
    frame = sweep()
    gone = (frame["method"] == "dense") & (frame["accelerator.array.rows"] == 16) & (frame["workload"] == "a-net")
    frame.loc[gone, "status"] = "unsupported"
    pairs = paired_speedups(frame)
    assert pairs["speedup"].isna().sum() == 4  # two methods x two ways to prune
    assert (pairs[pairs["speedup"].isna()]["dense_key"] == "").all()
    assert "4 points have no dense partner" in render(made(frame))


def test_missing_settings_are_equal_to_each_other() -> None:
    frame = sweep()
    frame["mapping.dataflow"] = [math.nan if i % 2 else None for i in range(len(frame))]
    assert paired_speedups(frame)["speedup"].notna().all()


def test_summary_spans_the_pairs_of_a_network_and_a_method() -> None:
    frame = sweep()
    row = speedup_summary(paired_speedups(frame)).set_index(["workload", "method"]).loc[("a-net", "bdwp:2:8")]
    a = frame[frame["workload"] == "a-net"]
    sparse, dense = (a[a["method"] == m]["cycles"].to_numpy() for m in ("bdwp:2:8", "dense"))
    ratios = sorted(dense / sparse)  # both in the order of the sweep's other axes
    assert (row["least"], row["greatest"], row["pairs"]) == (ratios[0], ratios[-1], 4)
    assert row["median"] == pytest.approx((ratios[1] + ratios[2]) / 2)


def test_an_axis_changed_alone_is_compared_at_equal_other_settings() -> None:
    frame = sweep()
    groups = frame["accelerator.array.rows"].astype(str)
    others = ["workload", "method", "mapping.pregenerate"]
    factor, pairs = changed_alone(frame, frame["latency_ms"], groups, ("16", "32"), others)
    wide = frame.pivot(index=others, columns="accelerator.array.rows", values="latency_ms")
    assert pairs == 12
    assert factor == pytest.approx((wide[32] / wide[16]).median())
    assert changed_alone(frame, frame["latency_ms"], groups, ("16", "64"), others)[1] == 0


# -- stacks ------------------------------------------------------------------------------------------------------------


def test_stages_causes_and_engines_add_up_to_the_run() -> None:
    detail, cycles = small_detail(), small_run().result.cycles
    assert sum(by_stage(detail).values()) == cycles
    assert sum(by_stage(replace(detail, stages=pd.DataFrame())).values()) == cycles  # from the metrics alone
    assert sum(by_cause(detail).values()) == cycles
    assert "other" not in by_stage(detail) | by_cause(detail)
    rows = engine_rows(detail.engines)
    assert len(rows) == 9
    assert all(sum(parts.values()) == cycles for parts in rows.values())


def test_what_a_stack_lacks_is_shown_as_other() -> None:
    metrics = {"cycles": 100, "array_compute_cycles": 60, "array_wait_port_cycles": 30, "ff_cycles": math.nan}
    detail = Detail(name="x", key="k", settings={}, metrics=metrics)
    assert by_cause(detail) == {"compute": 60, "port": 30, "other": 10}
    assert by_stage(detail) == {}


# -- timeline ----------------------------------------------------------------------------------------------------------


def random_timeline(seed: int, commands: int) -> pd.DataFrame:
    """Engines that each work in order, one command at a time; operations change now and then."""
    rng = np.random.default_rng(seed)
    rows = []
    for engine in ("array", "load_a", "update"):
        now = 0
        for _ in range(commands):
            now += int(rng.integers(0, 6))
            end = now + int(rng.integers(1, 9))
            rows.append((engine, f"op{rng.integers(0, 5)}", now, end))
            now = end
    return pd.DataFrame(rows, columns=["engine", "op", "start", "end"])


STAGE_OF = {"op0": "ff", "op1": "ff", "op2": "bp", "op3": "wu"}  # op4 has none


@pytest.mark.parametrize("limit", [10_000, 900, 100], ids=["all", "stages", "bins"])
@pytest.mark.parametrize("seed", range(4))
def test_thinning_keeps_every_busy_cycle_of_each_engine(seed: int, limit: int) -> None:
    timeline = random_timeline(seed, 500)
    low, high = 400, 2400
    thinned = thin(timeline, STAGE_OF, window=(low, high), pixels=200, limit=limit)
    bars = thinned.bars
    for engine, part in timeline.groupby("engine"):
        occupied = np.zeros(int(timeline["end"].max()) + 1, dtype=bool)
        for start, end in zip(part["start"], part["end"], strict=True):
            occupied[start:end] = True
        assert bars[bars["engine"] == engine]["busy"].sum() == occupied[low:high].sum()
    assert len(bars) <= limit
    assert (bars["busy"] <= bars["end"] - bars["start"]).all()
    assert bars["start"].min() >= low
    assert bars["end"].max() <= high
    assert ((bars["below"] + bars["busy"] / (bars["end"] - bars["start"])) <= 1 + 1e-9).all()


def test_each_way_of_thinning_was_tried_and_says_so() -> None:
    timeline = random_timeline(0, 500)
    rules = [thin(timeline, STAGE_OF, window=(0, 5000), pixels=200, limit=limit).rule for limit in (10_000, 1_100, 100)]
    assert "of one operation" in rules[0]
    assert "of one stage" in rules[1]
    assert "gathers" in rules[2]


def test_thinning_splits_busy_cycles_by_stage() -> None:
    timeline = random_timeline(1, 300)
    expected = (timeline["end"] - timeline["start"]).groupby(timeline["op"].map(STAGE_OF).fillna("other")).sum()
    for limit in (10_000, 100):
        bars = thin(timeline, STAGE_OF, window=(0, int(timeline["end"].max())), pixels=100, limit=limit).bars
        # merging by operation and binning by stage never mix stages
        assert bars.groupby("stage")["busy"].sum().to_dict() == expected.to_dict()


def test_neighbours_closer_than_a_pixel_become_one_bar() -> None:
    timeline = pd.DataFrame(
        [("array", "op0", 0, 10), ("array", "op0", 12, 20), ("array", "op0", 40, 50), ("array", "op2", 50, 60)],
        columns=["engine", "op", "start", "end"],
    )
    bars = thin(timeline, STAGE_OF, window=(0, 100), pixels=20).bars  # a pixel is 5 cycles
    assert bars[["start", "end", "busy", "commands", "label"]].to_numpy().tolist() == [
        [0, 20, 18, 2, "op0"],
        [40, 50, 10, 1, "op0"],
        [50, 60, 10, 1, "op2"],
    ]


def test_the_window_shows_the_operation_before_which_the_array_waits_longest() -> None:
    detail = small_detail()
    low, high, op = window_of(detail.timeline, detail.table)
    table = detail.table.set_index("op")
    waits = table[[c for c in table.columns if c.startswith("stall_")]].sum(axis=1)
    assert waits[op] == waits.max() > 0
    inside = detail.timeline[(detail.timeline["op"] == op) & (detail.timeline["start"].between(low, high))]
    assert len(inside) > 0
    assert 0 <= low < high <= small_run().result.cycles


# -- roofline, front, tables -------------------------------------------------------------------------------------------


def test_no_gemm_stands_above_the_roof() -> None:
    detail = small_detail()
    roof, dots = roof_of(detail), gemm_dots(detail)
    assert roof is not None
    assert roof.peak_gops == 2 * 32 * 32 * 0.2  # PEs x GHz
    assert roof.at(roof.ridge) == pytest.approx(roof.peak_gops)
    assert len(dots) == detail.table["stage"].isin(("ff", "bp", "wu", "aa")).sum()
    assert (dots["gops"] <= dots["intensity"].map(roof.at) * (1 + 1e-9)).all()
    sparse = dots[dots["pattern"] == "2:8"]
    assert sparse["dense_gops"].to_numpy() == pytest.approx(4 * sparse["gops"].to_numpy())


def test_the_line_of_a_front_starts_at_its_best_x() -> None:
    rows = pd.DataFrame({"x": [3, 1, 2], "y": [10, 30, 20]})
    assert list(front_order(rows, "x", "min")["x"]) == [1, 2, 3]
    assert list(front_order(rows, "x", "max")["x"]) == [3, 2, 1]


def test_cards_show_where_candidates_differ_and_merge_names_of_one_point() -> None:
    found = cards(made(candidates={"fastest": "k1", "smallest": "k0", "knee": "k1"}))
    assert [card.name for card in found] == ["fastest and knee", "smallest"]
    assert [card.recommended for card in found] == [True, False]
    assert found[0].settings == (("pregenerate", "no"),)  # k0 and k1 differ in nothing else


def test_headline_names_the_knee_and_compares_it() -> None:
    frame = sweep()
    title, why = headline(made(frame, candidates={"fastest": "k0", "knee": "k10"}))
    assert title == "Build the knee point: a-net, bdwp:2:8, array.rows 32"  # k0 and k10 prune alike
    factor = frame["cycles"][10] / frame["cycles"][0]
    assert f"Against the fastest point: {factor:.2f}x the time per step and 2.00x the multipliers." in why
    assert any(f"{frame['cycles'][2] / frame['cycles'][10]:.2f}x as fast as dense" in text for text in why)


def test_the_front_is_listed_best_first() -> None:
    table = front_table(made(front=("k3", "k0", "k5")))
    times = [float(row[table.headings.index("Time per step (ms)")][1]) for row in table.rows]
    assert times == sorted(times)
    assert len(times) == 3
    assert all(len(row) == len(table.headings) == len(table.numeric) for row in table.rows)


def test_a_point_of_the_front_has_the_number_by_which_commands_take_it() -> None:
    frame = sweep().assign(point=range(100, 100 + len(sweep())))
    inputs = made(frame, front=("k3", "k0", "k5"), store="out/small/store.sqlite")
    table = front_table(inputs)
    at = table.headings.index("point")
    assert sorted(row[at] for row in table.rows) == [("#100", "100"), ("#103", "103"), ("#105", "105")]
    assert table.numeric[at]
    assert all(len(row) == len(table.headings) == len(table.numeric) for row in table.rows)
    assert "<code>dse run out/small#N</code>" in render(inputs)
    assert "dse run" not in render(made(front=("k3",), store="out/small/store.sqlite"))


def test_reasons_give_the_worst_demand_and_what_its_points_share() -> None:
    frame = sweep().assign(constraint=None, demand=math.nan, limit=math.nan, error=None)
    stopped = frame["method"] == "bdwp:2:8"
    frame.loc[stopped, "status"] = "unsupported"
    frame.loc[stopped, "constraint"] = "pe.group"
    frame.loc[stopped, "demand"] = range(1, int(stopped.sum()) + 1)
    frame.loc[stopped, "limit"] = 4
    frame.loc[0, ["status", "error"]] = ["failed", "boom"]
    first, second = reasons(made(frame, front=(), candidates={}))
    assert (first.what, first.points, first.demand, first.limit) == ("pe.group", 8, "8", "4")
    assert first.common == "method bdwp:2:8"
    assert (second.status, second.what, second.points) == ("failed", "boom", 1)
    assert point_counts(frame) == {"ok": 15, "unsupported": 8, "failed": 1}


def test_every_field_has_one_kind_of_origin() -> None:
    detail = small_detail(
        settings=SETTINGS | {"accelerator.array.rows": 32},
        provenance={"clock_hz": ("sourced", "a paper"), "pe.lanes": ("assumed", "")},
    )
    rows = {row.path: row for row in field_rows([detail])}
    assert rows["clock_hz"].kind == "sourced"
    assert rows["clock_hz"].values == ("200 MHz",)
    assert rows["array.rows"].kind == "set here"
    assert rows["array.cols"].kind == "unknown"
    assert sum(counts(list(rows.values())).values()) == len(rows) == len(detail.accelerator) - 1  # all but the name


# -- values ------------------------------------------------------------------------------------------------------------


def test_values_are_written_with_units_and_three_digits() -> None:
    assert [number(v) for v in (0, 0.04567, 3.14159, 31.4159, 314.159, 31415.9)] == [
        "0",
        "0.0457",
        "3.14",
        "31.4",
        "314",
        "31,416",
    ]
    assert {number(v) for v in (math.nan, math.inf, None, "x")} == {"\N{EN DASH}"}
    assert number(np.int64(5)) == "5"
    assert compact(24_105_333) == "24.1 M"
    assert show("storage_bits", 8 * 2**20) == "1 MiB"
    assert show("utilization", 0.246) == "24.6%"
    assert show("latency_ms", math.nan) == "\N{EN DASH}"
    assert quantity("area_um2").unit == "µm²"
    assert setting("accelerator.dram.bytes_per_second", 19_200_000_000) == "19.2 GB/s"
    assert setting("accelerator.a_buffer.bytes", 2 * 2**20) == "2 MiB"
    assert setting("mapping.pregenerate", np.bool_(True)) == "yes"


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_file_needs_no_network_and_escapes_what_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "out" / "report.html"
    write_report(made(title="<script>alert(1)</script>", notices=("a < b",), details=(small_detail(key="k1"),)), path)
    page = path.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "a &lt; b" in page
    for outside in ('src="', 'href="http', "@import", "url("):
        assert outside not in page[: page.index("<script>")] + page[page.index("</script>") :]
    assert page.count("plotly.js v") == 1


def without(frame: pd.DataFrame, status: str) -> pd.DataFrame:
    columns = ["key", "digest", "workload", "method", "accelerator.array.rows", "mapping.pregenerate"]
    return frame[columns].assign(status=status, constraint="too small", demand=2, limit=1)


BARE = Detail(name="bare", key="k0", settings={}, metrics={})
EMPTY = sweep().iloc[:0]


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        (made(front=(), candidates={}), "The front is empty"),
        (made(front=(), candidates={}), "No candidate was named"),
        (made(), "No point was looked at in detail"),
        (made(details=(BARE,)), "No events were recorded for bare"),
        (made(details=(BARE,)), "so its cycles can&#39;t be split by stage"),
        (made(sweep(("bdwp:2:8",)), front=(), candidates={}), "has a dense partner"),
        (made(sweep(("dense",)), front=(), candidates={}), "No sparse method ran"),
        (made(without(sweep(), "unsupported"), front=(), candidates={}), "No point of this sweep ran"),
        (made(EMPTY, front=(), candidates={}), "No point of this sweep ran"),
        (made(sweep().assign(latency_ms=math.nan)), "No point of this sweep ran, so there is no front"),
        (made(sweep().drop(columns="latency_ms")), "No point has a value for latency_ms"),
        (made(sweep().iloc[:1], front=("k0",), candidates={"knee": "k0"}), "No axis takes more than one value"),
        (made(sweep().drop(columns=["cycles", "mac_bound_speedup"])), "no speed-up to show"),
        (made(objectives=(*OBJECTIVES, ("cycles", "max"))), "The front is over three objectives"),
        (made(command=""), "was not recorded"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(inputs: ReportInputs, sentence: str) -> None:
    assert sentence in render(inputs)


def test_gaps_in_the_metrics_do_not_stop_the_report() -> None:
    frame = sweep()
    frame.loc[::3, ["latency_ms", "cycles", "mac_bound_speedup"]] = math.nan
    assert "Pareto front" in render(made(frame))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"front": ("nobody",)}, "keys of the frame"),
        ({"objectives": (("cycles", "min"),)}, "two or three"),
        ({"objectives": (("cycles", "best"), ("multipliers", "min"))}, "min or max"),
        ({"axes": ("no.such",)}, "columns of the frame"),
        ({"frame": pd.DataFrame({"key": []})}, "key and status"),
    ],
)
def test_inputs_that_contradict_each_other_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(**changes)
