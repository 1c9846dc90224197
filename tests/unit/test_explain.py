"""Do the parts of an explanation add up to all of the difference, for any points, and does the verdict say what they do?"""

import io
import json
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rich.console import Console
from strategies import accelerators, gemm, mappings, workloads

from dataflows.compile import compile_workload, prepared
from dse.attribution import CLOCK, GEMM_STAGES, within
from dse.evaluate import Run, evaluate
from dse.explain import explain
from dse.point import Point, make_point
from dse.render_explain import print_explanation
from simulator.cost.actions import actions
from simulator.machine import run
from simulator.result import ArrayCauses, Counters, EngineTime, OpTime, Result
from simulator.schedule import Engine, UnsupportedError
from workloads.graph import Workload
from workloads.ops import Update

SETTINGS = {"accelerator": "sat-vcu1525", "workload": "resnet18-cifar", "method": "bdwp:2:8", "batch": 1}


@st.composite
def runs(draw, workload):
    """A run of a small step on a small, odd machine; its point's batch is only what the time is divided by."""
    machine, mapping = draw(accelerators()), draw(mappings())
    step = prepared(workload, mapping)
    try:
        program = compile_workload(step, machine, mapping)
    except UnsupportedError:
        assume(False)
    return Run(
        point=Point(
            accelerator=machine, mapping=mapping, method="dense", workload="tiny", batch=draw(st.sampled_from((1, 1, 3)))
        ),
        workload=step,
        program=program,
        result=run(program, machine),
        actions=actions(program, machine),
    )


@st.composite
def two_runs(draw):
    """Of one step, or of two that have only some layers in common."""
    first = draw(workloads(layers=2))
    return draw(runs(first)), draw(runs(first if draw(st.booleans()) else draw(workloads(layers=2))))


@given(two_runs())
def test_parts_add_up_to_the_whole_difference(pair):
    found = explain(*pair)
    times = [Fraction(r.result.cycles, r.result.clock_hz * (r.point.batch if found.per_image else 1)) for r in pair]
    assert found.change == times[1] - times[0]
    for parts in (found.stages, found.layers, found.array):
        assert sum(part.seconds for part in parts) == found.change
        for side, r in (("a", pair[0]), ("b", pair[1])):
            assert sum(getattr(part, side) for part in parts) == found.count(r, r.result.cycles)
        assert len({part.path for part in parts}) == len(parts)
        assert (CLOCK in {part.path for part in parts}) == (pair[0].result.clock_hz != pair[1].result.clock_hz)
    by_stage = {part.path: part for part in found.stages}
    for path, part in by_stage.items():
        inside = [layer for layer in found.layers if layer.path[:1] == path]
        assert sum(layer.seconds for layer in inside) == part.seconds
        if path != CLOCK:
            assert [found.count(r, work.cycles) for r, work in zip(pair, found.work(path), strict=True)] == [part.a, part.b]
    back = explain(*reversed(pair))
    for name in ("stages", "layers", "array"):
        mine, other = ({part.path: part.seconds for part in getattr(one, name)} for one in (found, back))
        assert mine == {path: -seconds for path, seconds in other.items()}


@given(two_runs())
def test_what_stages_and_resources_and_kinds_of_bytes_hold_is_all_of_the_run(pair):
    found = explain(*pair)
    paths = [part.path for part in found.stages if part.path != CLOCK]
    for side, r in enumerate(pair):
        works = {path[0]: found.work(path)[side] for path in paths}
        for part in found.array:
            cause, cycles = part.path[0], (part.a, part.b)[side]
            if part.path != CLOCK and cause != "has no more work":
                there = sum(works[stage].array.get(cause, 0) for stage in GEMM_STAGES if stage in works)
                assert found.count(r, there) == cycles
        counters = r.result.counters
        moved = counters.dram_read_bytes + counters.dram_write_bytes
        assert sum(both[side] for both in found.traffic.values()) == moved
        assert sum(work.dram_bytes for work in works.values()) == moved
        busy = found.busy(r)
        assert max(busy.values()) <= r.result.cycles
        assert busy["array"] >= r.bound.compute
        assert busy["memory"] >= r.bound.memory
        for name in busy:
            assert sum(work.busy.get(name, 0) for work in works.values()) == busy[name]


@pytest.fixture(scope="module")
def sparse():
    return evaluate(make_point(SETTINGS))


@pytest.fixture(scope="module")
def dense():
    return evaluate(make_point(SETTINGS | {"method": "dense"}))


@pytest.fixture(scope="module")
def other():
    """Another workload and clock, and another batch."""
    return evaluate(make_point(SETTINGS | {"workload": "vgg19-cifar", "batch": 2, "accelerator.clock_hz": 300_000_000}))


def planted(run, cycles, *, clock=100, batch=1, waits=None):
    """The run with other cycles for its operations: `cycles` by name, none for the others; the array's account likewise."""
    waits = waits or {}
    ops, end = [], 0
    for op in run.workload.ops:
        own = cycles.get(op.name, 0)
        end += own
        waited = min(own, waits.get(op.name, 0))
        stalls = {"load_b": waited} if waited else {}
        ops.append(OpTime(end=end, cycles=own, array=ArrayCauses(compute=own - waited), array_stalls=stalls))
    total = sum(cycles.values())
    waited = sum(sum(op.array_stalls.values()) for op in ops)
    stalls = {"load_b": waited} if waited else {}
    result = Result(
        accelerator="",
        cycles=total,
        multipliers=1,
        clock_hz=clock,
        counters=Counters(),
        engines={Engine.ARRAY: EngineTime(busy=total - waited, stalls=stalls)},
        ops=tuple(ops),
        port_busy_cycles=0,
    )
    machine = replace(run.point.accelerator, clock_hz=clock * 1_000_000)
    return replace(run, result=result, point=replace(run.point, accelerator=machine, batch=batch, fit=str(cycles)))


WU = {f"layer4.{i}.conv{j}/wu": 100 for i in (0, 1) for j in (1, 2)}


def test_the_verdict_names_the_module_that_holds_most_of_it_and_what_the_array_did(dense):
    names = [op.name for op in dense.workload.ops]
    assert set(WU) <= set(names)
    a = planted(dense, WU | {"conv1/ff": 200}, waits=dict.fromkeys(WU, 30))
    b = planted(dense, dict.fromkeys(WU, 70) | {"conv1/ff": 170})
    found = explain(a, b)
    assert found.change == Fraction(450 - 600, 100)
    said = "80% of that is wu of layer4, where the array never waits for load_b (120 cycles less); then ff 20%."
    assert found.verdict == f"B is 1.33x faster (4,500 ms a step, not 6,000 ms): {said}"
    assert explain(b, a).verdict == found.verdict.replace("B is", "A is")
    assert repr(found) == f"<Explanation: {found.verdict}>"


def test_modules_are_told_apart_by_whole_names():
    assert within("layer1.0.conv1", "layer1")
    assert within("layer1", "layer1")
    assert within("layer1", "")
    assert not within("layer10.0.conv1", "layer1")
    assert not within("layer1", "layer1.0")


def test_the_verdict_says_what_works_against_it(dense):
    a = planted(dense, {"conv1/ff": 200, "layer1.0.conv1/wu": 100})
    b = planted(dense, {"conv1/ff": 100, "layer1.0.conv1/wu": 150})
    assert explain(a, b).verdict.endswith(
        "200% of that is ff of conv1, where the array computes 100 cycles less; against it wu -100%."
    )


def test_a_clocks_part_is_the_mean_of_the_cycles_times_the_difference_of_the_periods(dense):
    a, b = planted(dense, {"conv1/ff": 100}, clock=100), planted(dense, {"conv1/ff": 50}, clock=200)
    found = explain(a, b)
    assert found.change == Fraction(50, 200) - Fraction(100, 100)
    by_path = {part.path: part.seconds for part in found.stages}
    assert by_path["ff",] == (50 - 100) * (Fraction(1, 100) + Fraction(1, 200)) / 2
    assert by_path[CLOCK] == Fraction(100 + 50, 2) * (Fraction(1, 200) - Fraction(1, 100))
    same = explain(a, planted(dense, {"conv1/ff": 100}, clock=200))
    assert "100% of that is the clock (0.0001 MHz in A, 0.0002 MHz in B)." in same.verdict


def test_other_batches_are_compared_by_the_image(dense):
    a, b = planted(dense, {"conv1/ff": 100}), planted(dense, {"conv1/ff": 100}, batch=4)
    found = explain(a, b)
    assert (found.per, found.change) == ("image", Fraction(25 - 100, 100))
    assert found.verdict.startswith("B is 4.00x faster (250 ms an image, not 1,000 ms)")


def test_equal_points_and_equal_times_are_said(dense, sparse):
    assert explain(sparse, sparse).verdict.startswith("A and B are the same point: ")
    a, b = planted(dense, {"conv1/ff": 100}), planted(dense, {"layer1.0.conv1/ff": 100})
    assert explain(a, b).verdict == "A and B take the same time: 1,000 ms a step."
    assert explain(sparse, sparse).settings == {}


def test_settings_that_differ(dense, sparse):
    assert explain(dense, sparse).settings == {"method": ("dense", "bdwp:2:8")}
    other = evaluate(make_point(SETTINGS | {"accelerator.pe.interleave": 2, "mapping.fuse": False, "accelerator.name": "x"}))
    assert explain(sparse, other).settings == {"pe.interleave": (4, 2), "mapping.fuse": (True, False)}


def test_bytes_are_told_by_what_they_are(dense):
    step = Workload(name="one", batch=1, ops=(gemm(64, 32, 16),))  # a: activations, b: weights
    program = compile_workload(step, dense.point.accelerator, dense.point.mapping)
    one = replace(dense, workload=step, program=program)
    number = dense.point.accelerator.pe.number
    bits = {"activations read": 64 * 16 * number.operand_bits, "weights read": 16 * 32 * number.operand_bits}
    bits["results written"] = 64 * 32 * number.result_bits
    assert explain(one, one).traffic == {kind: (count // 8, count // 8) for kind, count in bits.items()}
    ops = zip(dense.workload.ops, dense.result.ops, strict=True)
    moved = sum(use.dram_bytes for op, use in ops if isinstance(op, Update))
    traffic = explain(dense, dense).traffic
    assert traffic["update read"][0] + traffic["update written"][0] == moved


def test_an_account_that_does_not_add_up_is_refused(sparse):
    bad = SimpleNamespace(**{name: getattr(sparse.result, name) for name in ("clock_hz", "cycles", "engines", "ops")})
    bad.cycles += 1
    with pytest.raises(ValueError, match=f"Array's account must add up to {bad.cycles} cycles, not {bad.cycles - 1}"):
        _ = explain(sparse, replace(sparse, result=bad)).array


def test_json_holds_all_of_it_in_whole_cycles(dense, sparse):
    data = json.loads(json.dumps(explain(dense, sparse).as_json()))
    for name in ("stages", "layers", "array"):
        assert sum(row["change"] for row in data[name]) == sparse.result.cycles - dense.result.cycles
        assert all(type(row["change"]) is int for row in data[name])
    assert sum(b for _, b in data["dram_bytes"].values()) == sum(
        (sparse.result.counters.dram_read_bytes, sparse.result.counters.dram_write_bytes)
    )
    assert data["resources"]["array"]["a_least"] == dense.bound.compute
    assert data["a"]["lower_bound"]["binding"] == dense.bound.binding
    for technology, parts in data["energy_j"].items():
        total = dense.metrics()[f"{technology.replace('-', '_')}_energy_uj"]
        assert sum(a for a, _ in parts.values()) == pytest.approx(1e-6 * total)


def test_the_table_has_a_row_per_stage_and_layer(dense, sparse):
    found = explain(dense, sparse)
    table = found.table
    assert len(table) == len(found.layers)
    assert table["change"].sum() == sparse.result.cycles - dense.result.cycles
    assert table["of_change"].sum() == pytest.approx(1)


@pytest.mark.parametrize("width", [80, 150])
@pytest.mark.parametrize("far", [False, True])
def test_an_explanation_is_whole_at_any_width(dense, sparse, other, width, far):
    second = other if far else sparse
    console = Console(file=io.StringIO(), width=width, color_system=None)
    found = explain(dense, second)
    print_explanation(console, found, ("out/a#1", "[b]x"), top=5)
    text = console.file.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    flat = " ".join(text.split())
    assert flat.startswith(found.verdict)
    for word in (
        "out/a#1",
        "[b]x",
        "method",
        "of all",
        "compute",
        "waits for load_a",
        "least A",
        "binds",
        "weights read",
        "B/A",
    ):
        assert word in flat
    assert f"{dense.result.cycles:,}" in flat
    assert "more that differ" in flat
    assert "-0.0%" not in text
    assert ("the array, where it differs most" in flat) == (width == 150)
