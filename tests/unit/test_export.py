"""Is what other programs read complete, plain JSON, and a timeline that a viewer can draw?"""

import json
from itertools import pairwise

import pytest

from dse.evaluate import evaluate
from dse.export import run_as_json, trace_events
from dse.point import make_point
from simulator.schedule import Engine
from workloads.stages import STAGES

SETTINGS = {"accelerator": "sat-vcu1525", "workload": "resnet18-cifar", "method": "bdwp:2:7", "batch": 1}


@pytest.fixture(scope="module")
def run():
    return evaluate(make_point(SETTINGS), record_events=True)


def test_json_goes_there_and_back(run):
    dense = evaluate(make_point(SETTINGS | {"method": "dense"}))
    data = run_as_json(run, dense, SETTINGS)
    text = json.dumps(data, allow_nan=False)
    assert json.loads(text) == json.loads(json.dumps(json.loads(text)))
    back = json.loads(text)
    assert back["settings"] == SETTINGS
    assert back["key"] == run.point.key
    assert back["metrics"] == run.metrics()
    assert back["speedup_over_dense"] == dense.result.cycles / run.result.cycles
    assert sum(row["cycles"] for row in back["operations"]) == run.result.cycles
    assert [back["stages"][stage]["cycles"] for stage in STAGES] == run.stages["cycles"].tolist()
    assert all(e["busy"] + sum(e["stalls"].values()) == run.result.cycles for e in back["engines"].values())
    assert back["accelerator"]["pe"]["group"] == 16
    assert len(back["notices"]) == back["metrics"]["dense_fallbacks"] > 0
    assert run_as_json(run, None, SETTINGS)["speedup_over_dense"] is None


def test_the_timeline_has_a_named_row_per_engine_on_which_nothing_overlaps(run):
    data = json.loads(json.dumps(trace_events(run)))
    named = {e["tid"]: e["args"]["name"] for e in data["traceEvents"] if e["ph"] == "M"}
    assert sorted(named.values()) == sorted(engine.value for engine in Engine)
    spans = [e for e in data["traceEvents"] if e["ph"] == "X"]
    assert len(spans) == run.result.counters.commands
    assert len(spans) + len(named) == len(data["traceEvents"])
    for number, name in named.items():
        mine = sorted((e["ts"], e["ts"] + e["dur"]) for e in spans if e["tid"] == number)
        assert all(start < end for start, end in mine)
        assert all(first[1] <= second[0] for first, second in pairwise(mine)), name
        assert sum(end - start for start, end in mine) == run.result.engines[Engine(name)].busy
    assert {e["cat"] for e in spans} <= set(STAGES)
    assert data["otherData"] == {"accelerator": run.point.accelerator.digest, "unit": "cycles"}
