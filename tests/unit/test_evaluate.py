"""Do a run's numbers add up, is a point's key its content, and does the notebook's entry do what it says?"""

import dataclasses

import pytest

from dataflows.mapping import Mapping
from dse.config import ConfigError
from dse.evaluate import METRICS, evaluate, is_metric, row_of, simulate
from dse.point import make_point
from simulator.presets import PRESETS
from simulator.schedule import Engine, UnsupportedError
from workloads.formats.trace_file import save_trace
from workloads.stages import STAGES
from workloads.zoo import load_workload_trace

BASE = {"accelerator": "sat-vcu1525", "workload": "resnet18-cifar", "method": "bdwp:2:8", "batch": 1}


@pytest.fixture(scope="module")
def run():
    return evaluate(make_point(BASE), record_events=True)


def test_stages_add_up_to_the_run(run):
    metrics = run.metrics()
    assert sum(metrics[f"{stage}_cycles"] for stage in STAGES) == metrics["cycles"] == run.result.cycles
    assert run.stages["cycles"].sum() == run.table["cycles"].sum() == run.result.cycles
    assert list(run.stages.index) == list(STAGES)
    assert run.stages["macs"].sum() == metrics["macs"]
    assert run.stages["dram_bytes"].sum() == metrics["dram_read_bytes"] + metrics["dram_write_bytes"]


def test_the_arrays_causes_and_waits_add_up_to_the_run(run):
    metrics = run.metrics()
    causes = sum(metrics[f"array_{cause}_cycles"] for cause in ("compute", "latency", "bandwidth", "shift", "fill"))
    waits = sum(value for name, value in metrics.items() if name.startswith("array_wait_"))
    assert causes == run.result.engines[Engine.ARRAY].busy == run.table["array_busy"].sum()
    assert causes + waits == metrics["cycles"]


def test_metrics_follow_from_each_other(run):
    metrics, accelerator = run.metrics(), PRESETS["sat-vcu1525"].accelerator
    seconds = metrics["cycles"] / accelerator.clock_hz
    assert metrics["latency_ms"] == pytest.approx(1e3 * seconds)
    assert metrics["images_per_second"] == pytest.approx(1 / seconds)
    assert metrics["utilization"] == pytest.approx(metrics["macs"] / (metrics["cycles"] * 1024))
    assert metrics["dense_gops"] == pytest.approx(2 * metrics["dense_macs"] / seconds / 1e9)
    assert metrics["multipliers"] == 1024
    assert 0 < metrics["dram_busy"] <= 1
    assert 1 < metrics["mac_bound_speedup"] == pytest.approx(metrics["dense_macs"] / metrics["macs"])


def test_the_names_of_metrics_are_those_of_a_run(run):
    metrics = run.metrics()
    assert [name for name in metrics if not name.startswith("array_wait_")] == list(METRICS)
    assert all(map(is_metric, metrics))
    assert not is_metric("cycls")


def test_the_timeline_has_every_command_of_every_engine(run):
    timeline = run.timeline
    assert len(timeline) == run.result.counters.commands
    assert (timeline["end"] > timeline["start"]).all()
    last = run.result.cycles - timeline["end"].max()  # the port is done, the memory not yet: 100 ns at 200 MHz, and the
    assert last == 19  # last burst's beat, less the cycle and a third until the port takes another
    assert evaluate(make_point(BASE)).timeline.empty


def test_a_row_holds_key_digest_settings_and_metrics(run):
    point = make_point(BASE)
    row = row_of(point, BASE)
    assert row == {"key": point.key, "digest": point.accelerator.digest, **BASE, "status": "ok", **run.metrics()}
    narrow = BASE | {"accelerator.pe.group": 4}
    assert row_of(make_point(narrow), narrow)["status"] == "unsupported"


CHANGES = {
    "method": "bdwp:2:4",
    "batch": 2,
    "workload": "vgg19-cifar",
    "accelerator": "a100-like-sm",
    "accelerator.clock_hz": 100_000_000,
    "accelerator.pe.group": 8,
    "accelerator.array.dataflows": ["os"],
    "accelerator.c_buffer.slots": 3,
    "accelerator.dram.latency_ns": 101,
    "accelerator.implicit_im2col": False,
    "mapping.dataflow": "os",
    "mapping.bp": "ws",
    "mapping.pregenerate": False,
    "mapping.update": "end",
    "mapping.vector": "host",
    "mapping.fuse": False,
}


def test_a_changed_point_has_another_key():
    keys = [make_point(BASE).key] + [make_point(BASE | {name: value}).key for name, value in CHANGES.items()]
    assert len(set(keys)) == len(keys)


def test_names_do_not_change_a_key(tmp_path):
    key = make_point(BASE).key
    save_trace(load_workload_trace("resnet18-cifar"), tmp_path / "mine.jsonl.gz")
    (tmp_path / "mine.toml").write_text('base = "sat-vcu1525"\n')
    same = [
        {"accelerator.name": "other"},
        {"accelerator": str(tmp_path / "mine.toml")},
        {"workload": str(tmp_path / "mine.jsonl.gz")},
        {"accelerator.pe.group": 16, "mapping.dataflow": "best"},  # as it is
    ]
    assert {make_point(BASE | change).key for change in same} == {key}


def test_simulate_is_evaluate_in_one_call(run):
    mine = simulate("resnet18-cifar", "sat-vcu1525", "bdwp:2:8")
    assert mine.metrics() == run.metrics()
    expected = f"<Run resnet18-cifar bdwp:2:8 batch 1 on sat-vcu1525: {run.result.cycles:,} cycles, "
    assert repr(mine).startswith(expected)
    assert repr(mine).endswith(f"{float(run.result.utilization):.1%} of multipliers>")


def test_simulate_takes_changes_mappings_and_machines():
    changed = simulate("resnet18-cifar", method="bdwp:2:8", pe__interleave=2, batch=2, record_events=True)
    assert changed.point.key == make_point(BASE | {"batch": 2, "accelerator.pe.interleave": 2}).key
    assert not changed.timeline.empty
    mapped = simulate("resnet18-cifar", mapping=Mapping(dataflow="ws"))
    assert {choice for choice in mapped.program.choices if choice} == {"ws"}
    machine = dataclasses.replace(PRESETS["sat-vcu1525"].accelerator, clock_hz=123_000_000)
    assert simulate("resnet18-cifar", machine).point.accelerator == machine


def test_changes_apply_to_a_machine_that_is_handed_over():
    machine = PRESETS["edge-int8"].accelerator
    assert simulate("resnet18-cifar", machine, pe__group=4).point.accelerator.pe.group == 4


def test_simulate_raises_what_a_sweep_records():
    with pytest.raises(ConfigError, match=r"'pe\.group' must be an integer, not 'x'"):
        simulate("resnet18-cifar", pe__group="x")
    with pytest.raises(UnsupportedError, match=r"pe\.group for pattern 2:8: needs 8, has 4"):
        simulate("resnet18-cifar", method="bdwp:2:8", pe__group=4)
