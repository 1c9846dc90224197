"""Evaluate a design point: compile its workload, run the machine, and say where the time went."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from dataflows.compile import compile_workload, prepared
from dataflows.mapping import Mapping
from dse.config import changed
from dse.point import Point, make_point, workload_of
from dse.pricing import COST_COLUMNS, cost_columns, too_large
from simulator.arch import Accelerator
from simulator.bounds import LowerBound, lower_bound
from simulator.cost.actions import Actions, Tally
from simulator.machine import run
from simulator.result import ArrayCauses, Counters, OpTime, Result
from simulator.schedule import Command, Engine, Program, Unsupported, UnsupportedError
from workloads.gemm import Gemm
from workloads.graph import Workload
from workloads.ops import Prune, Update
from workloads.stages import STAGES, stage_of

__all__ = ["METRICS", "Run", "evaluate", "is_metric", "row_of", "simulate"]

METRICS = (
    "cycles",
    "cycles_per_image",
    "latency_ms",
    "images_per_second",
    "utilization",
    "dense_gops",
    "effective_gops",
    "dram_bytes_per_image",
    "dram_busy",
    "mac_bound_speedup",
    "multipliers",
    "storage_bits",
    *(f"{stage}_cycles" for stage in STAGES),
    *(f"array_{cause}_cycles" for cause in ArrayCauses().as_dict()),
    *Counters().as_dict(),
    "dense_fallbacks",
    *COST_COLUMNS,
)
"""Columns that each run has in a sweep; beside them stands an ``array_wait_..._cycles`` for each cause that occurred."""

_MEMORY = (Engine.LOAD_A, Engine.LOAD_B, Engine.LOAD_WORK, Engine.STORE_C, Engine.STORE_WORK)


def is_metric(column: str) -> bool:
    """Whether a run may have this column in a sweep."""
    return column in METRICS or (column.startswith("array_wait_") and column.endswith("_cycles"))


def _bound_by(use: OpTime) -> str:
    """The engine that was busiest with an operation; the five DMA channels count together, as "memory"."""
    busy = {engine.value: cycles for engine, cycles in use.busy.items() if engine not in _MEMORY}
    busy["memory"] = sum(cycles for engine, cycles in use.busy.items() if engine in _MEMORY)
    return max(busy, key=lambda name: busy[name]) if any(busy.values()) else ""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One evaluated point: its workload as it ran, its program and the machine's account of it."""

    point: Point
    workload: Workload
    program: Program
    result: Result
    actions: Actions

    def __repr__(self) -> str:
        result = self.result
        return (
            f"<Run {self.point.workload} {self.point.method} batch {self.point.batch} on {self.point.accelerator.name}: "
            f"{result.cycles:,} cycles, {self.images_per_second:,.1f} images/s, {float(result.utilization):.1%} of multipliers>"
        )

    @property
    def images_per_second(self) -> float:
        return self.point.batch / self.result.seconds if self.result.cycles else 0.0

    @property
    def bound(self) -> LowerBound:
        """Cycles that no program for this machine can beat, by unit."""
        mapping = self.point.mapping
        return lower_bound(
            self.workload,
            self.point.accelerator,
            pregenerate=mapping.pregenerate,
            vector_on_chip=mapping.vector == "chip",
        )

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row per operation, in program order."""
        rows: list[dict[str, Any]] = []
        for op, use, choice in zip(self.workload.ops, self.result.ops, self.program.choices, strict=True):
            array = use.busy.get(Engine.ARRAY, 0)
            rows.append(
                {
                    "op": op.name,
                    "layer": op.parameter if isinstance(op, Update) else op.layer,
                    "stage": stage_of(op),
                    "phase": "update" if isinstance(op, Update) else op.phase.value,
                    "dataflow": choice,
                    "pattern": str(op.pattern) if isinstance(op, Gemm | Prune) else "",
                    "m": op.m if isinstance(op, Gemm) else 0,
                    "n": op.n if isinstance(op, Gemm) else 0,
                    "k": op.k if isinstance(op, Gemm) else 0,
                    "count": op.batch if isinstance(op, Gemm) else 0,
                    "dense_macs": op.dense_macs if isinstance(op, Gemm) else 0,
                    "macs": use.macs,
                    "cycles": use.cycles,
                    "start": use.start,
                    "end": use.end,
                    "array_busy": array,
                    "utilization": use.macs / (array * self.result.multipliers) if array else 0.0,
                    "memory_busy": sum(use.busy.get(engine, 0) for engine in _MEMORY),
                    "dram_bytes": use.dram_bytes,
                    "bound_by": _bound_by(use),
                    **{f"array_{cause}": cycles for cause, cycles in use.array.as_dict().items()},
                    **{f"stall_{cause}": cycles for cause, cycles in use.array_stalls.items()},
                }
            )
        frame = pd.DataFrame(rows)
        stalls = [name for name in frame.columns if name.startswith("stall_")]
        frame[stalls] = frame[stalls].fillna(0).astype("int64")
        return frame

    @cached_property
    def stages(self) -> pd.DataFrame:
        """Totals by stage; `cycles` add up to the run's."""
        return self.table.groupby("stage").sum(numeric_only=True).reindex(STAGES, fill_value=0)

    @property
    def timeline(self) -> pd.DataFrame:
        """A row per command: engine, operation, start and end cycle; empty unless the run recorded events."""
        events = [(e.engine.value, self.workload.ops[e.op].name, e.start, e.end) for e in self.result.events]
        return pd.DataFrame(events, columns=["engine", "op", "start", "end"])

    def metrics(self) -> dict[str, Any]:
        """What a sweep keeps of a run: one flat row of numbers."""
        result, accelerator, batch = self.result, self.point.accelerator, self.point.batch
        array = result.engines[Engine.ARRAY]
        stages = self.stages["cycles"]
        return {
            "cycles": result.cycles,
            "cycles_per_image": result.cycles / batch,
            "latency_ms": 1e3 * result.seconds,
            "images_per_second": self.images_per_second,
            "utilization": float(result.utilization),
            "dense_gops": result.dense_ops_per_second / 1e9,
            "effective_gops": result.effective_ops_per_second / 1e9,
            "dram_bytes_per_image": (result.counters.dram_read_bytes + result.counters.dram_write_bytes) / batch,
            "dram_busy": result.port_busy_cycles / max(1, result.cycles),
            "mac_bound_speedup": self.workload.dense_macs() / max(1, self.workload.effective_macs),
            "multipliers": accelerator.multipliers,
            "storage_bits": accelerator.storage_bits,
            **{f"{stage}_cycles": int(stages[stage]) for stage in STAGES},
            **{f"array_{cause}_cycles": int(self.table[f"array_{cause}"].sum()) for cause in ArrayCauses().as_dict()},
            **{f"array_wait_{cause}_cycles": cycles for cause, cycles in sorted(array.stalls.items())},
            **result.counters.as_dict(),
            "dense_fallbacks": len(self.workload.notices),
            **cost_columns(accelerator, self.actions, result.cycles, batch),
        }


def evaluate(point: Point, *, record_events: bool = False) -> Run | Unsupported:
    """Run a point on the event-driven machine; `Unsupported` where it can't run its workload or doesn't fit its device."""
    if point.fit and (reason := too_large(point.accelerator, point.fit)) is not None:
        return reason
    workload = prepared(workload_of(point.workload, point.batch, point.method), point.mapping)
    try:
        program = compile_workload(workload, point.accelerator, point.mapping)
    except UnsupportedError as error:
        return error.reason
    passing = _Tallied(program, Tally(point.accelerator))
    result = run(passing, point.accelerator, record_events=record_events)
    return Run(point=point, workload=workload, program=program, result=result, actions=passing.tally.total())


@dataclass(frozen=True, slots=True)
class _Tallied:
    """A program whose commands are counted while the machine takes them: it is made only once."""

    program: Program
    tally: Tally

    @property
    def tags(self) -> int:
        return self.program.tags

    def __iter__(self) -> Iterator[Command]:
        for command in self.program:
            self.tally.add(command)
            yield command


def row_of(point: Point, settings: dict[str, Any], how: Callable[[Point], Run | Unsupported] = evaluate) -> dict[str, Any]:
    """A point's row in a store: key, settings, status, and metrics or the reason against it."""
    row: dict[str, Any] = {"key": point.key, "digest": point.accelerator.digest, **settings}
    outcome = how(point)
    if isinstance(outcome, Unsupported):
        reason = {"constraint": outcome.constraint, "demand": outcome.demand, "limit": outcome.limit}
        return row | {"status": "unsupported", **reason}
    return row | {"status": "ok", **outcome.metrics()}


def simulate(
    workload: str,
    accelerator: str | Accelerator = "sat-vcu1525",
    method: str = "dense",
    *,
    batch: int = 1,
    mapping: Mapping | None = None,
    record_events: bool = False,
    **changes: Any,
) -> Run:
    """The notebook's entry: ``simulate("resnet18", "sat-vcu1525", "bdwp:2:8", batch=64)``.

    `changes` set accelerator fields by path with ``__`` for dots, as in ``pe__group=8``. Raises ConfigError for a
    setting that can't be, UnsupportedError for a point that can't run.
    """
    name = accelerator if isinstance(accelerator, str) else "sat-vcu1525"
    paths = {f"accelerator.{key.replace('__', '.')}": value for key, value in changes.items()}
    own = {} if isinstance(accelerator, Accelerator) else paths
    point = make_point({"accelerator": name, "workload": workload, "method": method, "batch": batch, **own})
    if isinstance(accelerator, Accelerator):
        fields = {path.removeprefix("accelerator."): value for path, value in paths.items()}
        point = replace(point, accelerator=changed(accelerator, fields))
    if mapping is not None:
        point = replace(point, mapping=mapping)
    outcome = evaluate(point, record_events=record_events)
    if isinstance(outcome, Unsupported):
        raise UnsupportedError(outcome)
    return outcome
