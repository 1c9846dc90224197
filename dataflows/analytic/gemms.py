"""Cycles of GEMMs alone on many machines: tilings as the compiler chooses them, timed by the recurrence over their skeletons.

Machines that differ in nothing that a GEMM's tiling depends on share its choice, and those that differ in nothing that its
commands depend on share its cycles.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dataflows.analytic.machines import Machines
from dataflows.analytic.skeleton import Class, Structure, shortened, skeleton
from dataflows.mapping import Mapping
from dataflows.select import choose
from dataflows.tiling import Tiling
from dataflows.traffic import operand_runs, result_runs
from simulator.analytic import Cost, Cycles, Dispatch, Ints, recurrence
from simulator.arch import Accelerator, Dataflow, ceil_div
from simulator.layout import burst_beats, burst_slot, pitch
from simulator.schedule import UnsupportedError
from simulator.timing import multiply_time
from workloads.gemm import Gemm
from workloads.sparsity import NM

__all__ = ["GemmCycles", "gemm_cycles"]

_TILING = ("clock_hz", "pe", "array", "a_buffer", "b_buffer", "c_buffer", "dram", "implicit_im2col")
_SIDES: tuple[Literal["a", "b"], ...] = ("a", "b")
_LANES = 8192  # of a recurrence at once: what its arrays take up stays in a core's cache


@dataclass(frozen=True, kw_only=True)
class GemmCycles:
    """By machine group and GEMM, alone on the machine; and for each machine the group that it is in."""

    group: Ints
    supported: NDArray[np.bool_]  # by group: all GEMMs run
    cycles: Cycles  # (groups, GEMMs); where not supported: 0
    tiles: Ints
    estimate: Ints  # the compiler's, by which it orders the program
    dataflow: NDArray[np.str_]


@dataclass(slots=True)
class _Row:
    """One GEMM on one machine, tiled."""

    gemm: Gemm
    machine: int
    accelerator: Accelerator
    tiling: Tiling
    counts: tuple[int, int, int, int]

    def size(self, dim: str, last: bool) -> int:
        whole, size = getattr(self.gemm, dim), getattr(self.tiling, dim)
        return (whole - 1) % size + 1 if last else size


def gemm_cycles(gemms: Sequence[Gemm], machines: Machines, mapping: Mapping) -> GemmCycles:
    """Each GEMM alone on each machine, as the compiler would tile it."""
    at_use = any(gemm.operand(side).pruned_at_use(pregenerate=mapping.pregenerate) for gemm in gemms for side in _SIDES)
    names = (*_TILING, "pruner") if at_use else _TILING
    tiled, tiling_of = machines.distinct(names)
    groups, group = machines.distinct((*names, "sequencer"))
    first = np.zeros(len(groups), np.int64)
    first[group] = tiling_of
    rows = [_rows(gemms, number, tiled[number], mapping) for number in range(len(tiled))]
    supported = np.array([row is not None for row in rows])[first]
    shape = (len(groups), len(gemms))
    found = {item.name: np.zeros(shape, np.int64) for item in fields(Cycles)}
    tiles, estimate, dataflow = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.full(shape, "  ")
    alike: dict[Structure, list[tuple[int, int, _Row, tuple[int, int, int, int]]]] = defaultdict(list)
    depths = [sequencer.queue_depth for sequencer in groups.parts["sequencer"]]
    for number in range(len(groups)):
        for position, row in enumerate(rows[first[number]] or ()):
            structure, left = _structure(row, mapping, depths[groups.index["sequencer"][number]])
            alike[structure].append((number, position, row, left))
            tiles[number, position] = np.prod(row.counts, dtype=np.int64)
            estimate[number, position] = max(row.tiling.array_cycles, row.tiling.memory_cycles)
            dataflow[number, position] = row.tiling.dataflow.value
    cycles = groups.values("sequencer", "dispatch_cycles")
    latency = groups.values("sequencer", "token_latency")
    for structure, members in alike.items():
        for start in range(0, len(members), _LANES):
            part = members[start : start + _LANES]
            at = np.array([(number, position) for number, position, _, _ in part]).T
            costs = _costs(structure, [row for _, _, row, _ in part], mapping)
            left = np.array([each for _, _, _, each in part], np.int64).T
            times = recurrence(skeleton(structure).steps, costs, Dispatch(cycles[at[0]], latency[at[0]]), tuple(left))
            for name, values in found.items():
                values[at[0], at[1]] = getattr(times, name)
    return GemmCycles(
        group=group, supported=supported, cycles=Cycles(**found), tiles=tiles, estimate=estimate, dataflow=dataflow
    )


def _rows(gemms: Sequence[Gemm], number: int, accelerator: Accelerator, mapping: Mapping) -> list[_Row] | None:
    """The GEMMs tiled for a machine; None where it can't run one of them."""
    rows: list[_Row] = []
    for gemm in gemms:
        try:
            tiling = choose(gemm, accelerator, mapping)
        except UnsupportedError:
            return None
        dims = ("batch", *tiling.order, "k")
        counts = tuple(ceil_div(getattr(gemm, dim), getattr(tiling, dim)) for dim in dims)
        rows.append(_Row(gemm, number, accelerator, tiling, counts))  # pyright: ignore[reportArgumentType]
    return rows


def _structure(row: _Row, mapping: Mapping, queue_depth: int) -> tuple[Structure, tuple[int, int, int, int]]:
    accelerator = row.accelerator
    slots = (accelerator.a_buffer.slots, accelerator.b_buffer.slots, accelerator.c_buffer.slots)
    at_use: Literal["", "a", "b"] = ""
    for side in _SIDES:
        if row.gemm.operand(side).pruned_at_use(pregenerate=mapping.pregenerate):
            at_use = side
    return shortened(row.tiling.order, row.counts, slots, at_use, queue_depth)


def _costs(structure: Structure, rows: list[_Row], mapping: Mapping) -> dict[Hashable, Cost]:
    slots = [burst_slot(row.accelerator) for row in rows]
    top, bottom = (np.array([getattr(slot, name) for slot in slots], np.int64) for name in ("numerator", "denominator"))
    behind = np.array(
        [burst_beats(row.accelerator) + row.accelerator.dram.latency_cycles(row.accelerator.clock_hz) for row in rows], np.int64
    )
    costs: dict[Hashable, Cost] = {}
    for each in skeleton(structure).classes:
        match each.kind:
            case "a" | "b" | "c":
                bursts = np.array([_bursts(row, each, mapping) for row in rows], np.int64)
                costs[each] = Cost(ceil_div(bursts * top, bottom), (bursts - 1) * top // bottom + behind)
            case "prune a" | "prune b":
                busy = np.array([_prune(row, each) for row in rows], np.int64)
                costs[each] = Cost(busy, busy)
            case "array":
                costs[each] = _array(rows, each)
    return costs


def _bursts(row: _Row, each: Class, mapping: Mapping) -> int:
    """Bursts of a transfer."""
    accelerator, batch = row.accelerator, row.size("batch", each.batch)
    if each.kind == "c":
        runs, run_bytes = result_runs(accelerator, batch, row.size("m", each.m), row.size("n", each.n))
    else:
        side = "a" if each.kind == "a" else "b"
        lines = row.size("m", each.m) if side == "a" else row.size("n", each.n)
        depth = row.size("k", each.k)
        runs, run_bytes = operand_runs(row.gemm, side, accelerator, batch, lines, depth, pregenerate=mapping.pregenerate)
    return runs * (pitch(accelerator, run_bytes) // accelerator.dram.burst_bytes)


def _prune(row: _Row, each: Class) -> int:
    side = "a" if each.kind == "prune a" else "b"
    lines = row.size("m", each.m) if side == "a" else row.size("n", each.n)
    elements = row.size("batch", each.batch) * lines * row.size("k", each.k)
    pattern = row.gemm.pattern
    assert isinstance(pattern, NM)
    return row.accelerator.pruner.busy(elements, pattern, across=row.gemm.lines_fastest(side))


def _array(rows: list[_Row], each: Class) -> Cost:
    """The array's closed form, once for all tiles on like arrays."""
    alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        acc, gemm = row.accelerator, row.gemm
        ports = tuple(buffer.bits_per_cycle for buffer in (acc.a_buffer, acc.b_buffer, acc.c_buffer))
        alike[acc.pe, acc.array, ports, row.tiling.dataflow, gemm.pattern, gemm.sparse_operand].append(number)
    busy, complete = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    for members in alike.values():
        some = [rows[number] for number in members]
        one = some[0]
        sizes = {
            dim: np.array([row.size(dim, getattr(each, dim)) for row in some], np.int64) for dim in ("batch", "m", "n", "k")
        }
        dataflow: Dataflow = one.tiling.dataflow
        time = multiply_time(
            one.accelerator,
            dataflow,
            sizes["m"],
            sizes["n"],
            sizes["k"],
            one.gemm.pattern,
            one.gemm.sparse_operand,
            each.accumulate,
        )
        busy[members] = sizes["batch"] * time.occupancy
        complete[members] = busy[members] + time.tail
    return Cost(busy, complete)
