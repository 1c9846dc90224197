"""Cycles of a training step on each of many machines: what `dse` asks, in closed form.

Covered: every workload and mapping that compiles; machines of any description. Equal shapes are evaluated once, and so are
machines that don't differ in what a part of the answer depends on. What is approximate, and how far off, say
`simulator.analytic` (one operation), `step` (several at a time), and the tests: tiny programs of tiny operations are not
what it is for.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflows.analytic.actions import ACTIONS
from dataflows.analytic.gemms import GemmCycles
from dataflows.analytic.machines import Machines, combined
from dataflows.analytic.plan import Plan, plan_of
from dataflows.analytic.step import FIELDS, Lanes, together
from dataflows.analytic.streams import StreamCycles
from dataflows.compile import LONGEST_PROGRAM, missing_engine, needed_engines, too_large, too_long
from dataflows.mapping import Mapping
from simulator.analytic import Ints
from simulator.arch import ceil_div
from simulator.schedule import Unsupported
from workloads.graph import Workload
from workloads.stages import STAGES

__all__ = ["Steps", "step_cycles"]


@dataclass(frozen=True, kw_only=True)
class Steps:
    """By machine; where a machine can't run the step, `reason` says why, and all else is 0.

    Cycles are those of the closed form; sums over commands (bytes, what the port and the engines do) are the event machine's.
    """

    reason: Ints  # position in `reasons`; 0: it runs
    demand: Ints  # what the step needs of that, and
    limit: Ints  # what the machine has; both 0 where the description itself can't be
    reasons: tuple[str, ...]  # "", then constraints as the compiler names them, or what `Accelerator` says of the description
    cycles: Ints
    stages: Ints  # (machines, STAGES): by how much the stage's operations move the end; these add up to the cycles
    dram_read_bytes: Ints
    dram_write_bytes: Ints
    port_busy: Ints  # cycles in which the memory port is held,
    array_busy: Ints  # and the engines are busy
    vector_busy: Ints
    update_busy: Ints
    prune_busy: Ints
    actions: dict[str, Ints] | None  # by field of `simulator.cost.actions.Actions`, where asked for

    @property
    def supported(self) -> NDArray[np.bool_]:
        """Whether a machine can run the step."""
        return self.reason == 0


class _Reasons:
    """Why machines are left out: codes, and what they stand for."""

    def __init__(self, machines: Machines) -> None:
        self.texts = {text: number for number, text in enumerate(machines.refusals)}
        self.reason = machines.refusal.copy()
        self.demand, self.limit = np.zeros(len(machines), np.int64), np.zeros(len(machines), np.int64)

    def give(self, which: Ints, why: Unsupported) -> None:
        self.reason[which] = self.texts.setdefault(why.constraint, len(self.texts))
        self.demand[which], self.limit[which] = why.demand, why.limit

    @property
    def left(self) -> Ints:
        """Machines that nothing speaks against yet."""
        return np.flatnonzero(self.reason == 0)


def step_cycles(workload: Workload, machines: Machines, mapping: Mapping, *, actions: bool = False) -> Steps:
    """A (prepared) workload on each machine; with what it makes the machine do, if `actions`."""
    reasons, plan = _Reasons(machines), plan_of(workload, mapping)
    if why := too_large(workload):
        reasons.give(reasons.left, why)
    for name in needed_engines(workload, mapping):
        lanes, left = machines.values(*name.split(".")), reasons.left
        reasons.give(left[lanes[left] == 0], missing_engine(name))
    left = reasons.left
    gemms = plan.gemms.cycles(machines.take(left), actions=actions)
    for number, why in enumerate(gemms.refusal):
        if why is not None:
            reasons.give(left[gemms.group == number], why)
    fits = reasons.reason[left] == 0
    left, group = left[fits], gemms.group[fits]
    some = machines.take(left)
    work = plan.streams.cycles(some, actions=actions)
    steps = _gemm_sum(plan, gemms, gemms.tiles)[group] + _work_sum(plan, work, work.chunks)
    for at in np.flatnonzero(steps > LONGEST_PROGRAM):
        if why := too_long(int(steps[at])):
            reasons.give(left[at : at + 1], why)
    found = {
        "dram_read_bytes": _gemm_sum(plan, gemms, gemms.read_bytes)[group] + _work_sum(plan, work, work.read_bytes),
        "dram_write_bytes": _gemm_sum(plan, gemms, gemms.write_bytes)[group] + _work_sum(plan, work, work.write_bytes),
        "port_busy": _gemm_sum(plan, gemms, gemms.port)[group] + _work_sum(plan, work, work.port),
        "array_busy": _gemm_sum(plan, gemms, gemms.array)[group],
        "vector_busy": _work_sum(plan, work, work.vector),
        "update_busy": _work_sum(plan, work, work.update),
        "prune_busy": _gemm_sum(plan, gemms, gemms.prune)[group] + _work_sum(plan, work, work.prune),
    }
    cycles, stages = _together(plan, some, gemms, group, work)
    least = np.max([found[name] for name in found if name.endswith("busy")], axis=0, initial=0)
    found["stages"], found["cycles"] = _whole(stages, np.maximum(cycles, least)), np.maximum(cycles, least)
    if gemms.actions is not None and work.actions is not None:
        found["actions"] = _gemm_sum(plan, gemms, gemms.actions)[group] + _work_sum(plan, work, work.actions)
    runs = reasons.reason[left] == 0
    spread = {name: np.zeros((len(machines), *values.shape[1:]), np.int64) for name, values in found.items()}
    for name, values in found.items():
        spread[name][left[runs]] = values[runs]
    done: Ints | None = spread.pop("actions", None)
    return Steps(
        reason=reasons.reason,
        demand=reasons.demand,
        limit=reasons.limit,
        reasons=tuple(reasons.texts),
        actions=None if done is None else {name: done[:, at] for at, name in enumerate(ACTIONS)},
        **spread,
    )


def _together(
    plan: Plan, machines: Machines, gemms: GemmCycles, group: Ints, work: StreamCycles
) -> tuple[Ints, NDArray[np.float64]]:
    """Cycles of the step, and of its stages, by machine. Machines on which all of it takes the same are worked out once."""
    names = (("sequencer", "queue_depth"), ("sequencer", "token_latency"), ("work_buffer", "slots"))
    depth, token, slots = (machines.values(*name) for name in names)
    alike = np.unique(gemms.row, axis=0, return_inverse=True)[1].reshape(-1)
    first, which = combined(alike[group], *work.group, depth, token, slots)
    lanes = Lanes(
        group=group[first],
        gemm_row=gemms.row,
        kind=work.kind,
        first=work.first,
        work_group=np.ascontiguousarray(work.group[:, first]),
        depth=depth[first].astype(np.float64),
        token_latency=token[first].astype(np.float64),
        slots=slots[first].astype(np.float64),
    )
    total, stages = together(plan.order, lanes, _gemm_facts(gemms), _work_facts(work), len(STAGES))
    return np.rint(total).astype(np.int64)[which], stages[which]


def _gemm_facts(found: GemmCycles) -> NDArray[np.float64]:
    cycles, tiles = found.cycles, np.maximum(found.tiles, 1)
    facts = {
        "body": cycles.array_end - cycles.first,
        "port": found.port,
        "transfers": found.transfers,
        "loads": tiles,
        "outs": tiles,
        "estimate": ceil_div(found.estimate, tiles) * tiles,
        "unit": found.array,
        "chunks": tiles,
        "ways": cycles.total,
        "prunes": found.prune,
        "squares": found.squares,
        "fill": cycles.first,
        "late_a": found.late_a,
        "late_b": found.late_b,
        "early": cycles.array_end - np.where(cycles.before_last > 0, cycles.before_last, cycles.first),
        "drain": cycles.total - cycles.array_end,
    }
    return np.stack([facts[name] for name in FIELDS], axis=1).astype(np.float64)


def _work_facts(found: StreamCycles) -> NDArray[np.float64]:
    facts = {
        "body": found.total,
        "port": found.port,
        "transfers": found.transfers,
        "loads": found.loads,
        "outs": found.outs,
        "estimate": found.estimate,
        "unit": np.maximum(found.vector, np.maximum(found.update, found.prune)),
        "chunks": found.chunks,
        "ways": found.ways,
        "prunes": found.prune,
    }
    nothing = np.zeros_like(found.total)
    return np.stack([facts.get(name, nothing) for name in FIELDS], axis=1).astype(np.float64)


def _whole(stages: NDArray[np.float64], cycles: Ints) -> Ints:
    """Stages in whole cycles that add up to these."""
    ends = np.cumsum(stages, axis=1)
    scale = cycles / np.maximum(ends[:, -1], 1.0) if ends.size else np.ones(len(cycles))
    return np.diff(np.rint(ends * scale[:, None]).astype(np.int64), axis=1, prepend=0)


def _gemm_sum(plan: Plan, found: GemmCycles, values: Ints) -> Ints:
    """By group: over all GEMMs."""
    total = np.zeros((len(found.row), *values.shape[1:]), np.int64)
    for gemm, times in enumerate(plan.gemm_times):
        total += times * values[found.row[:, gemm]]
    return total


def _work_sum(plan: Plan, found: StreamCycles, values: Ints) -> Ints:
    """By machine: over all work between GEMMs."""
    total = np.zeros((found.group.shape[1], *values.shape[1:]), np.int64)
    for kind, group in enumerate(found.group):
        ops = np.flatnonzero(found.kind == kind)
        start, groups = found.first[ops[0]], found.groups[kind]
        table = values[start : start + groups * len(ops)].reshape(len(ops), groups, *values.shape[1:])
        total += np.tensordot(plan.stream_times[ops], table, axes=1)[group]
    return total
