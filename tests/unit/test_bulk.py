"""Does the closed form say of many points at once what an event run says of each, wherever it must?"""

import math
import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dse import bulk
from dse.bulk import BULK_METRICS, EXACT, evaluate_points
from dse.evaluate import METRICS
from dse.positions import Order
from dse.space import Objective, Space
from dse.sweep import evaluate_settings

WORST = 0.03  # of cycles, as tests/theory/test_analytic.py holds the closed form to it


def choices(name, *values):
    return tuple({name: value} for value in values)


SPACE = Space(
    title="t",
    base={"accelerator": "sat-vcu1525", "batch": 2},
    axes=(
        choices("workload", "resnet18-cifar", "vgg19-cifar"),
        choices("method", "dense", "bdwp:2:8", "srste:2:4"),
        choices("mapping.pregenerate", True, False),
        choices("mapping.vector", "chip", "host"),
        choices("fit", "", "ecp5-85k"),
        choices("accelerator.clock_hz", 100_000_000, 200_000_000),
        choices("accelerator.pe.group", 16, 4),
        choices("accelerator.pe.interleave", 2, 4),
        choices("accelerator.pe.registers", 16, 1),
        choices("accelerator.pe.lanes", 1, 2),
        choices("accelerator.array.rows", 1, 16, 32),
        choices("accelerator.array.dataflows", ["os", "ws"], ["ws"]),
        choices("accelerator.a_buffer.bytes", 2**18, 2**21),
        choices("accelerator.work_buffer.bytes", 2**19, 2**20),
        choices("accelerator.updater.lanes", 32, 0),
        choices("accelerator.vector.lanes", 16, 32),
        choices("accelerator.dram.bytes_per_second", 9_600_000_000, 38_400_000_000),
    ),
    objectives=(Objective("cycles", True),),
)


def same(mine, other):
    """Equal, or neither has a number or text."""
    missing = [value is None or (isinstance(value, float) and math.isnan(value)) for value in (mine, other)]
    return all(missing) if any(missing) else mine == other


def compare(space):
    """Every column of every point, by both fidelities; the statuses that occurred."""
    points = Order(space).points(0, len(space))
    table = evaluate_points(points)
    assert set(table) == {
        *("point", "status", "fidelity", "constraint", "demand", "limit", "error"),
        *BULK_METRICS,
        *points.settings(0),
    }
    errors = []
    for i, row in enumerate(table.to_dict("records")):
        settings = points.settings(i)
        event = evaluate_settings(settings)
        assert row["status"] == event["status"], (settings, row["error"], event.get("error"))
        assert row["fidelity"] == "analytic"
        for name in ("constraint", "demand", "limit", "error"):
            assert same(row[name], event.get(name)), (name, row[name], event.get(name))
        for name, value in settings.items():
            assert row[name] == (" ".join(value) if isinstance(value, list) else value)
        if event["status"] != "ok":
            assert all(math.isnan(row[name]) for name in BULK_METRICS)
            continue
        for name in EXACT:
            assert row[name] == event[name], (name, row[name], event[name])
        for name in ("ff_cycles", "bp_cycles", "wu_cycles", "aa_cycles", "vector_cycles", "prune_cycles", "update_cycles"):
            assert row[name] >= 0
        assert sum(row[f"{stage}_cycles"] for stage in bulk.STAGES) == row["cycles"]
        derived(row, event, settings)
        errors.append(abs(row["cycles"] / event["cycles"] - 1))
    assert max(errors) <= WORST
    return table["status"].value_counts()


def derived(row, event, settings):
    """What follows from cycles, follows from them as an event run's does."""
    cycles, clock, batch = row["cycles"], settings["accelerator.clock_hz"], settings["batch"]
    factor = cycles / event["cycles"]
    assert row["latency_ms"] == 1e3 * (cycles / clock)
    assert row["cycles_per_image"] == cycles / batch
    assert row["images_per_second"] == batch / (cycles / clock)
    assert row["utilization"] == row["macs"] / (cycles * row["multipliers"])
    for name in ("cycles_per_image", "latency_ms"):
        assert row[name] / event[name] == pytest.approx(factor, rel=1e-12)
    for name in ("images_per_second", "utilization", "dense_gops", "effective_gops", "dram_busy"):
        assert row[name] / event[name] == pytest.approx(1 / factor, rel=1e-12)


def test_points_are_as_an_event_run_has_them():
    counts = compare(replace(SPACE, samples=40, seed=1))
    assert counts["ok"] > 5
    assert counts["unsupported"] > 5
    assert counts["invalid"] > 5
    assert counts["failed"] == 0


@pytest.mark.slow
def test_many_points_are_as_an_event_run_has_them():
    compare(replace(SPACE, samples=300, seed=2))


def test_parts_of_a_range_are_the_range():
    order = Order(replace(SPACE, samples=200, seed=3))
    whole = evaluate_points(order.points(0, 200))
    cut = sorted(random.Random(3).sample(range(1, 200), 5))
    parts = [evaluate_points(order.points(a, b)) for a, b in zip([0, *cut], [*cut, 200], strict=True)]
    joined = pd.concat([part.astype("object") for part in parts], ignore_index=True)
    pd.testing.assert_frame_equal(joined, whole.astype("object"), check_exact=True)


def test_metrics_are_those_of_an_event_run():
    assert set(BULK_METRICS) <= set(METRICS)
    assert len(set(BULK_METRICS)) == len(BULK_METRICS)
    assert set(EXACT) < set(BULK_METRICS)
    assert "cycles" not in EXACT
    assert "latency_ms" not in EXACT
    assert "multipliers" in EXACT


MANY = (  # 96 points, few enough to look at one by one
    choices("method", "dense", "bdwp:2:8"),
    choices("mapping.pregenerate", True, False),
    choices("accelerator.array.rows", 4, 8),
    choices("accelerator.a_buffer.bytes", 2**18, 2**21),
    choices("accelerator.updater.lanes", 32, 0),
    choices("accelerator.vector.lanes", 16, 32, 64),
)
SINGLE = replace(SPACE, base=SPACE.base | {"workload": "resnet18-cifar"}, axes=MANY)


def is_bad(lanes, size):
    """Two of each six neighbours."""
    return (size == 2**18) & (lanes != 32)


def broken_steps(raised):
    """`step_cycles` with another outcome for bad machines: an error, or a number of cycles that is none."""
    whole = bulk.step_cycles

    def step_cycles(workload, machines, mapping, **options):
        bad = is_bad(machines.values("vector", "lanes"), machines.values("a_buffer", "bytes"))
        if isinstance(raised, Exception) and bad.any():
            raise raised
        steps = whole(workload, machines, mapping, **options)
        return steps if isinstance(raised, Exception) else replace(steps, cycles=np.where(bad, raised, steps.cycles))

    return {"step_cycles": step_cycles}


def broken_machines(raised):
    """The same of the table of machines, which is made for points of several networks at once."""
    whole = bulk.machine_columns

    def machine_columns(points):
        table = [points.settings(at) for at in range(len(points))]
        if any(is_bad(row["accelerator.vector.lanes"], row["accelerator.a_buffer.bytes"]) for row in table):
            raise raised
        return whole(points)

    return {"machine_columns": machine_columns}


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        (broken_steps(ZeroDivisionError("no luck")), "ZeroDivisionError: no luck"),
        (broken_steps(MemoryError()), "MemoryError: "),
        (broken_steps(np.nan), "Cycles must be a number of at least 0, not nan"),
        (broken_steps(np.inf), "Cycles must be a number of at least 0, not inf"),
        (broken_steps(-5), "Cycles must be a number of at least 0, not -5"),
        (broken_machines(OverflowError("too large")), "OverflowError: too large"),
    ],
    ids=["error", "memory", "nan", "inf", "overflow", "machine"],
)
def test_bad_points_fail_and_no_others(monkeypatch, parts, error):
    """However many and wherever they are: all else is what it is without them, in every bit."""
    points = Order(SINGLE).points(0, len(SINGLE))
    good = evaluate_points(points)
    for name, part in parts.items():
        monkeypatch.setattr(bulk, name, part)
    found = evaluate_points(points)
    bad = is_bad(good["accelerator.vector.lanes"], good["accelerator.a_buffer.bytes"])
    if error.startswith("Cycles"):
        bad &= good["status"] == "ok"  # what does not run has none
    assert set(found["status"][bad]) == {"failed"}
    assert set(found["error"][bad]) == {error}
    reasons = ["constraint", "demand", "limit", *BULK_METRICS]
    assert found.loc[bad, reasons].isna().all(axis=None)
    pd.testing.assert_frame_equal(found[~bad].astype("object"), good[~bad].astype("object"), check_exact=True)
    assert good["status"].value_counts().to_dict() == {"ok": 48, "unsupported": 48, "invalid": 0, "failed": 0}


def test_a_setting_of_no_machine_and_a_network_of_no_file_are_said_for_each_point():
    base = SPACE.base | {"method": "dense"}
    axes = (choices("accelerator.vector.lanes", 16, 32),)
    for wrong in ({"accelerator.peach.lanes": 3, "workload": "resnet18-cifar"}, {"workload": "nowhere"}):
        points = Order(replace(SPACE, base=base | wrong, axes=axes)).points(0, 2)
        found = evaluate_points(points)
        for i in range(2):
            event = evaluate_settings(points.settings(i))
            assert (found["status"][i], found["error"][i]) == (event["status"], event["error"])
