"""Evaluate many points at once by the closed form: columns of the names and meaning that an event run's row has."""

from collections.abc import Iterator
from collections.abc import Mapping as Table
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataflows.analytic.machines import Machines
from dataflows.analytic.points import Steps, step_cycles
from dataflows.compile import prepared
from dataflows.mapping import Mapping
from dse.area_columns import AreaColumns, area_columns, misfits
from dse.config import ConfigError
from dse.energy_columns import energy_columns
from dse.evaluate import METRICS
from dse.halves import in_halves
from dse.machine_columns import machine_columns
from dse.point import Point, make_point, workload_of
from dse.positions import Ints, Points
from simulator.result import ArrayCauses
from workloads.graph import Workload
from workloads.ops import Update
from workloads.stages import STAGES

__all__ = ["ANALYTIC", "BULK_METRICS", "EXACT", "STATUSES", "evaluate_points", "failed_points"]

_Columns = dict[str, NDArray[np.float64]]
ANALYTIC = "analytic"
"""Fidelity of the closed form, as the column of that name has it."""

STATUSES = ("ok", "unsupported", "invalid", "failed")
_EVENT_ONLY = (*(f"array_{cause}_cycles" for cause in ArrayCauses().as_dict()), "vector_operations")
BULK_METRICS = tuple(name for name in METRICS if name not in _EVENT_ONLY)
"""Columns of an event run's row that the closed form has too."""

_STATIC = ("energy_uj", "energy_uj_per_image", "_power_w", "_edp_js")  # of the time, where a technology has static power
_TIMED = ("cycles", "_ms", "_per_second", "utilization", "_gops", "_busy", "cycles_per_image", *_STATIC)
EXACT = tuple(name for name in BULK_METRICS if not name.endswith(_TIMED))
"""Of them, those that depend on no cycles: equal to an event run's."""


class _Reasons(NamedTuple):
    """By point, as an event run's row has it; "" and NaN where there is none."""

    status: NDArray[np.object_]
    constraint: NDArray[np.object_]
    demand: NDArray[np.float64]
    limit: NDArray[np.float64]
    error: NDArray[np.object_]

    @classmethod
    def of(cls, points: int) -> "_Reasons":
        texts = [np.full(points, "", np.object_) for _ in range(3)]
        texts[0][:] = "ok"
        return cls(texts[0], texts[1], np.full(points, np.nan), np.full(points, np.nan), texts[2])

    def stop(self, status: str, which: NDArray[Any], error: Any) -> None:
        self.status[which], self.error[which] = status, error
        self.constraint[which], self.demand[which], self.limit[which] = "", np.nan, np.nan  # of a try that came to more

    def refuse(self, which: NDArray[Any], constraint: Any, demand: Any, limit: Any) -> None:
        self.status[which], self.constraint[which], self.demand[which], self.limit[which] = (
            "unsupported",
            constraint,
            demand,
            limit,
        )


def evaluate_points(points: Points) -> pd.DataFrame:
    """A row for each point, in their order: `point` (its number), `status`, settings, metrics (NaN where it did not run), and
    why it did not: `constraint`, `demand`, `limit`, or `error`. No point's failure keeps the others from running."""
    reasons = _Reasons.of(len(points))
    metrics = {name: np.full(len(points), np.nan) for name in BULK_METRICS}
    every = np.arange(len(points))
    in_halves(every, lambda some: _evaluate(points.take(some), some, reasons, metrics), partial(reasons.stop, "failed"))
    return _frame(points, reasons, metrics)


def failed_points(points: Points, error: str) -> pd.DataFrame:
    """The rows of points that could not be evaluated at all, and why."""
    reasons = _Reasons.of(len(points))
    reasons.stop("failed", np.arange(len(points)), error)
    return _frame(points, reasons, {name: np.full(len(points), np.nan) for name in BULK_METRICS})


def _groups(points: Points) -> Iterator[Ints]:
    """Positions of points that run the same: network, batch, method, mapping, device."""
    axes = [i for i, axis in enumerate(points.grid.axes) if any(not name.startswith("accelerator.") for name in axis[0])]
    code = points.code(axes)
    order = np.argsort(code, kind="stable")
    if len(order):
        yield from np.split(order, np.flatnonzero(np.diff(code[order])) + 1)


def _evaluate(points: Points, at: Ints, reasons: _Reasons, metrics: _Columns) -> None:
    """Fill in reasons and metrics of these points, which stand at these positions. Raises whatever their machines raise."""
    try:
        found = machine_columns(points)
    except ConfigError as error:
        reasons.stop("invalid", at, str(error))
        return
    bad = found.error != ""
    reasons.stop("invalid", at[bad], found.error[bad])
    good = np.flatnonzero(~bad)
    machines = found.machines.take(good)
    for members in _groups(points.take(good)):
        _evaluate_alike(points.settings(int(good[members[0]])), at[good[members]], machines.take(members), reasons, metrics)


def _evaluate_alike(settings: dict[str, Any], at: Ints, machines: Machines, reasons: _Reasons, metrics: _Columns) -> None:
    """The same of points that run what these settings say, on these machines. Raises nothing: failures are filled in too."""
    try:
        point = make_point(settings)
        workload = _workload(point.workload, point.batch, point.method, point.mapping)
    except ConfigError as error:
        reasons.stop("invalid", at, str(error))
        return
    except Exception as error:  # all of them run this
        reasons.stop("failed", at, f"{type(error).__name__}: {error}")
        return

    def run(some: Ints) -> None:
        found, here = _run(point, workload, machines.take(some), at[some], reasons), at[some]
        ran = reasons.status[here] == "ok"
        for name, values in found.items():
            metrics[name][here] = np.where(ran, values, np.nan)

    in_halves(np.arange(len(at)), run, lambda some, error: reasons.stop("failed", at[some], error))


@lru_cache(maxsize=16)
def _workload(workload: str, batch: int, method: str, mapping: Mapping) -> Workload:
    return prepared(workload_of(workload, batch, method), mapping)


def _run(point: Point, workload: Workload, machines: Machines, at: Ints, reasons: _Reasons) -> Table[str, Any]:
    """Metrics of a point's workload on each machine; where one can't run it, the reason is filled in."""
    areas, left = area_columns(machines), np.arange(len(at))
    if point.fit:
        over = misfits(areas, point.fit)
        no = over.exceeds
        reasons.refuse(at[no], over.constraint[no], over.demand[no], over.limit[no])
        left = np.flatnonzero(~no)
    runs = machines.take(left)
    steps = _finite(step_cycles(workload, runs, point.mapping, actions=True), at[left], reasons)
    no = ~steps.supported
    reasons.refuse(at[left[no]], np.array(steps.reasons, np.object_)[steps.reason[no]], steps.demand[no], steps.limit[no])
    found = _metrics(workload, point.batch, runs, steps) | _costs(runs, steps, areas, left)
    assert steps.actions is not None  # asked for
    found |= {name: steps.actions[name] for name in ("commands", "pruned_elements")}
    found |= energy_columns(runs, steps.actions, steps.cycles, point.batch)
    spread = {name: np.zeros(len(at)) for name in found}
    for name, values in found.items():
        spread[name][left] = values
    return spread


def _finite(steps: Steps, at: Ints, reasons: _Reasons) -> Steps:
    """The same, with 0 cycles where they are not a number or overflowed; which points that are is filled in."""
    cycles = np.asarray(steps.cycles)
    good = (cycles >= 0) & (cycles < np.inf)
    wrong = steps.supported & ~good
    told = [f"Cycles must be a number of at least 0, not {value}" for value in cycles[wrong].tolist()]
    reasons.stop("failed", at[wrong], np.array(told, np.object_))
    return steps if good.all() else replace(steps, cycles=np.where(good, cycles, 0))


def _metrics(workload: Workload, batch: int, machines: Machines, steps: Steps) -> dict[str, Any]:
    """`Run.metrics` as far as the closed form knows them; floating-point operations in the same order."""
    counts, cycles = _counts(workload), steps.cycles
    multipliers, storage = _sizes(machines)
    with np.errstate(divide="ignore", invalid="ignore"):  # cycles are 0 where a point did not run
        seconds = cycles / machines.clock_hz
        return {
            "cycles": cycles,
            "cycles_per_image": cycles / batch,
            "latency_ms": 1e3 * seconds,
            "images_per_second": batch / seconds,
            "utilization": counts["macs"] / (cycles * multipliers),
            "dense_gops": 2 * counts["dense_macs"] / seconds / 1e9,
            "effective_gops": 2 * counts["macs"] / seconds / 1e9,
            "dram_bytes_per_image": (steps.dram_read_bytes + steps.dram_write_bytes) / batch,
            "dram_busy": steps.port_busy / np.maximum(1, cycles),
            "multipliers": multipliers,
            "storage_bits": storage,
            **{f"{stage}_cycles": steps.stages[:, number] for number, stage in enumerate(STAGES)},
            "dram_read_bytes": steps.dram_read_bytes,
            "dram_write_bytes": steps.dram_write_bytes,
            **counts,
        }


def _costs(machines: Machines, steps: Steps, areas: dict[str, AreaColumns], which: Ints) -> dict[str, Any]:
    """`dse.pricing.cost_columns` as far as the closed form knows them; `areas` are of more machines: these are `which`."""
    clock, found = machines.clock_hz, dict[str, Any]()
    for technology, area in areas.items():
        found |= {f"{technology}_{resource}": cells[which] for resource, cells in area.cells.items()}
        found[f"{technology}_extrapolated"] = area.extrapolated[which]
        if f"{technology}_fmax_mhz" in BULK_METRICS:
            routed = np.where(area.fmax_hz > 0, area.fmax_hz, np.nan)[which]
            found[f"{technology}_fmax_mhz"] = routed / 1e6
            found[f"{technology}_latency_ms"] = 1e3 * steps.cycles / np.minimum(routed, clock)
    return found


@lru_cache(maxsize=16)
def _counts(workload: Workload) -> dict[str, float]:
    """What a workload does on any machine."""
    dense, effective = workload.dense_macs(), workload.effective_macs
    return {
        "mac_bound_speedup": dense / max(1, effective),
        "macs": effective,
        "dense_macs": dense,
        "updated_elements": sum(op.elements for op in workload.ops if isinstance(op, Update)),
        "dense_fallbacks": len(workload.notices),
    }


def _sizes(machines: Machines) -> tuple[Ints, Ints]:
    """By machine: multipliers, and bits of storage."""
    alike, which = machines.distinct("pe", "array")
    specs = [alike[i] for i in range(len(alike))]
    multipliers = np.array([spec.multipliers for spec in specs], np.int64)[which]
    around = np.array([spec.storage_bits - 8 * sum(buffer.bytes for buffer in spec.buffers) for spec in specs], np.int64)
    return multipliers, around[which] + 8 * sum(machines.values(name, "bytes") for name in _BUFFERS)


_BUFFERS = ("a_buffer", "b_buffer", "c_buffer", "work_buffer")


def _frame(points: Points, reasons: _Reasons, metrics: _Columns) -> pd.DataFrame:
    settings = {name: _setting(points, name) for name in points.settings(0)} if len(points) else {}
    columns: dict[str, Any] = {
        "point": points.numbers,
        **settings,
        "status": pd.Categorical(reasons.status, STATUSES),
        "fidelity": pd.Categorical([ANALYTIC] * len(points)),
        **metrics,
        "constraint": _texts(reasons.constraint),
        "demand": reasons.demand,
        "limit": reasons.limit,
        "error": _texts(reasons.error),
    }
    return pd.DataFrame(columns)


def _texts(values: NDArray[np.object_]) -> pd.Categorical:
    """Few different texts; none is missing."""
    return pd.Categorical([value or None for value in values])


def _setting(points: Points, name: str) -> Any:
    """A setting by point: numbers as such, all else as texts, of lists with spaces between (as `dse.store` keeps them)."""
    axis = next((i for i, axis in enumerate(points.grid.axes) if name in axis[0]), -1)
    choices = [choice[name] for choice in points.grid.axes[axis]] if axis >= 0 else [points.grid.base[name]]
    place = points.place(axis) if axis >= 0 else np.zeros(len(points), np.int64)
    if all(type(value) in (int, float) for value in choices) or all(type(value) is bool for value in choices):
        return np.array(choices)[place]
    texts = [" ".join(map(str, value)) if isinstance(value, list | tuple) else str(value) for value in choices]
    known = list(dict.fromkeys(texts))
    codes = np.array([known.index(text) for text in texts])[place]
    return pd.Categorical.from_codes(codes.tolist(), pd.Index(known))
