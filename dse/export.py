"""A run as data for other programs: JSON, and the trace-event format of Chrome's tracing and Perfetto."""

import json
from dataclasses import asdict
from typing import Any

from dse.evaluate import Run
from simulator.schedule import Engine
from workloads.stages import stage_of

__all__ = ["run_as_json", "trace_events"]


def run_as_json(run: Run, baseline: Run | None, settings: dict[str, Any]) -> dict[str, Any]:
    """Everything that `dse run` knows, in plain JSON types."""
    return {
        "settings": settings,
        "key": run.point.key,
        "digest": run.point.accelerator.digest,
        "accelerator": asdict(run.point.accelerator),
        "mapping": asdict(run.point.mapping),
        "metrics": run.metrics(),
        "lower_bound": run.bound._asdict(),
        "speedup_over_dense": baseline.result.cycles / run.result.cycles if baseline else None,
        "engines": {engine.value: {"busy": time.busy, "stalls": time.stalls} for engine, time in run.result.engines.items()},
        "stages": json.loads(
            run.stages.drop(columns=["m", "n", "k", "count", "start", "end", "utilization"]).to_json(orient="index")
        ),
        "operations": json.loads(run.table.to_json(orient="records")),
        "notices": [asdict(notice) for notice in run.workload.notices],
    }


def trace_events(run: Run) -> dict[str, Any]:
    """The engine timeline; one microsecond of the viewer is one cycle."""
    rows = {engine: number for number, engine in enumerate(Engine)}
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "thread_name", "pid": 0, "tid": number, "args": {"name": engine.value}}
        for engine, number in rows.items()
    ]
    for event in run.result.events:
        op = run.workload.ops[event.op]
        events.append(
            {
                "ph": "X",
                "name": op.name,
                "cat": stage_of(op),
                "pid": 0,
                "tid": rows[event.engine],
                "ts": event.start,
                "dur": event.end - event.start,
            }
        )
    return {"traceEvents": events, "otherData": {"accelerator": run.point.accelerator.digest, "unit": "cycles"}}
