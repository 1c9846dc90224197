"""Cycles of a training step on each of many machines: what `dse` asks, in closed form.

Covered: every workload and mapping that compiles; machines of any description. Equal shapes are evaluated once, and so are
machines that don't differ in what a part of the answer depends on. What is approximate, and how far off, say
`simulator.analytic` (one operation), `step` (several at a time), and the tests: tiny programs of tiny operations are not
what it is for.
"""

from collections.abc import Callable, Hashable, Sequence
from collections.abc import Mapping as Table
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dataflows.analytic.gemms import GemmCycles, gemm_cycles
from dataflows.analytic.machines import Machines
from dataflows.analytic.step import Thread, together
from dataflows.analytic.streams import StreamCycles, shape_of, stream_cycles
from dataflows.compile import (
    _needs,  # pyright: ignore[reportPrivateUsage]
    _rows,  # pyright: ignore[reportPrivateUsage]
    _thread,  # pyright: ignore[reportPrivateUsage]
)
from dataflows.mapping import Mapping
from simulator.analytic import Ints
from workloads.gemm import Gemm, Phase
from workloads.graph import Workload
from workloads.ops import Prune, Update, Vector

__all__ = ["Steps", "step_cycles", "step_shapes"]

_LANES = 1024  # points of a step at once: what is looked up stays in a core's cache
_T = TypeVar("_T")
_SMALL = 1000  # updates of less than this part of all parameters count as a part of the update that follows


@dataclass(frozen=True, kw_only=True)
class Steps:
    """By machine: whether it can run all GEMMs, and cycles of the step (0 where it can't)."""

    supported: NDArray[np.bool_]
    cycles: Ints


def step_cycles(workload: Workload, machines: Machines, mapping: Mapping) -> Steps:
    """A (prepared) workload on each machine.

    Engines that a machine lacks are not looked for here: `compile_workload` says so.
    """
    plan = _Plan(workload, mapping)
    gemms = gemm_cycles(plan.gemms, machines, mapping)
    streams = stream_cycles(plan.streams, machines, mapping, plan.rows)
    supported = gemms.supported[gemms.group]
    pairs = gemms.group * len(streams.total) + streams.group
    _, first, which = np.unique(pairs, return_index=True, return_inverse=True)
    cycles = np.zeros(len(first), np.int64)
    for start in range(0, len(first), _LANES):
        part = first[start : start + _LANES]
        cycles[start : start + _LANES] = _block(plan, machines, gemms, streams, part)
    return Steps(supported=supported, cycles=np.where(supported, cycles[which], 0))


def step_shapes(workload: Workload, mapping: Mapping) -> tuple[list[Gemm], list[Vector | Prune | Update], Table[str, int]]:
    """Of each distinct shape of GEMM and of work between GEMMs, one; and the elements of a row of memory, by operation."""
    plan = _Plan(workload, mapping)
    return plan.gemms, plan.streams, plan.rows


def _block(plan: "_Plan", machines: Machines, gemms: GemmCycles, streams: StreamCycles, part: Ints) -> Ints:
    some = machines.take(part)
    depth = some.values("sequencer", "queue_depth").astype(np.float64)
    token = some.values("sequencer", "token_latency").astype(np.float64)
    slots = some.values("work_buffer", "slots").astype(np.float64)
    g, s = gemms.group[part], streams.group[part]
    threads = (plan.gemm_thread(gemms, g), plan.stream_thread(0, streams, s), plan.stream_thread(1, streams, s))
    times = together(*threads, depth=depth, token_latency=token, slots=slots)
    busy = [
        gemms.cycles.port[g] @ plan.gemm_times + streams.port[s] @ plan.stream_times,
        gemms.cycles.array[g] @ plan.gemm_times,
        streams.vector[s] @ plan.stream_times,
        streams.update[s] @ plan.stream_times,
        gemms.cycles.prune[g] @ plan.gemm_times + streams.prune[s] @ plan.stream_times,
    ]
    return np.maximum(np.rint(times.total).astype(np.int64), np.max(busy, axis=0))


class _Plan:
    """The part of a step that is the same on all machines: distinct shapes, threads, and who needs whom."""

    def __init__(self, workload: Workload, mapping: Mapping) -> None:
        self.rows = _rows(workload)
        host = {op.name for op in workload.ops if isinstance(op, Vector) and mapping.vector == "host"}
        needs = _without(_needs(workload), host)
        position = {op.name: index for index, op in enumerate(workload.ops)}
        threads: tuple[list[int], list[int], list[int]] = ([], [], [])
        for index, op in enumerate(workload.ops):
            if op.name not in host:
                threads[_thread(op, mapping)].append(index)
        if mapping.update == "overlapped":  # as `compile` has them: in the order in which their gradients become final
            threads[2].sort(key=lambda i: max((position[n] for n in needs[workload.ops[i].name]), default=-1))
        merged = {number: self._merged(workload, thread) for number, thread in enumerate(threads)}
        order = [members[-1] for thread in merged.values() for members in thread]
        number = {workload.ops[index].name: at for at, index in enumerate(order)}
        self._needs = tuple(
            tuple(
                tuple(sorted({number[n] for index in members for n in needs[workload.ops[index].name] if n in number}))
                for members in thread
            )
            for thread in merged.values()
        )
        gemms = [op for op in (workload.ops[i] for i in threads[0]) if isinstance(op, Gemm)]
        self.gemms, self._gemm_of = _distinct(gemms, _plain)
        indices = [i for thread in threads[1:] for i in thread]
        streams = [op for op in (workload.ops[i] for i in indices) if not isinstance(op, Gemm)]
        self.streams, found = _distinct(streams, self._stream_shape)
        shape = dict(zip(indices, found, strict=True))
        self._stream_of = tuple([[shape[i] for i in members] for members in merged[number]] for number in (1, 2))
        self.gemm_times = np.bincount(self._gemm_of, minlength=len(self.gemms))
        self.stream_times = np.bincount(np.array(found, np.int64), minlength=len(self.streams))

    def _stream_shape(self, op: Vector | Prune | Update) -> Hashable:
        return shape_of(op), self.rows.get(op.name, 0)

    @staticmethod
    def _merged(workload: Workload, thread: list[int]) -> list[list[int]]:
        """A thread's operations, small updates with the one behind them."""
        least = workload.parameters / _SMALL
        merged: list[list[int]] = []
        waiting: list[int] = []
        for index in thread:
            op = workload.ops[index]
            waiting.append(index)
            if not (isinstance(op, Update) and op.elements < least) or index == thread[-1]:
                merged.append(waiting)
                waiting = []
        return merged

    def gemm_thread(self, found: GemmCycles, group: Ints) -> Thread:
        """The GEMMs on the machines of these groups."""
        which = np.ix_(group, np.array(self._gemm_of, np.int64))

        def of(values: Ints) -> NDArray[np.float64]:
            return np.ascontiguousarray(values[which].T, np.float64)

        cycles, tiles = found.cycles, np.maximum(found.tiles, 1)
        return Thread(
            needs=self._needs[0],
            body=of(cycles.array_end - cycles.first),
            port=of(cycles.port),
            commands=of(tiles),
            estimate=of(-(-found.estimate // tiles) * tiles),
            fill=of(cycles.first),
            early=of(cycles.array_end - np.where(cycles.before_last > 0, cycles.before_last, cycles.first)),
            drain=of(cycles.total - cycles.array_end),
            unit=of(cycles.array),
            chunks=of(tiles),
            ways=of(cycles.total),
            transfers=of(tiles),
            squares=of(cycles.squares),
        )

    def stream_thread(self, number: int, found: StreamCycles, group: Ints) -> Thread:
        """The work between GEMMs, or the overlapped updates."""

        def of(values: Ints) -> NDArray[np.float64]:
            some = values[group]
            rows = [some[:, members].sum(axis=1) for members in self._stream_of[number]]
            return np.array(rows, np.float64).reshape(len(rows), len(group))

        nothing = np.zeros((len(self._stream_of[number]), len(group)))
        return Thread(
            needs=self._needs[number + 1],
            body=of(found.total),
            port=of(found.port),
            commands=of(found.loads),
            estimate=of(found.estimate),
            fill=nothing,
            early=nothing,
            drain=nothing,
            unit=of(np.maximum(found.vector, np.maximum(found.update, found.prune))),
            chunks=of(found.chunks),
            ways=of(found.ways),
            transfers=of(found.transfers),
            squares=nothing,
        )


def _without(needs: dict[str, tuple[str, ...]], dropped: set[str]) -> dict[str, tuple[str, ...]]:
    """Needs, those of operations that take no time replaced by what they need themselves."""
    found: dict[str, tuple[str, ...]] = {}
    for name, before in needs.items():  # in program order: what an operation needs is done already
        found[name] = tuple(dict.fromkeys(x for need in before for x in (found[need] if need in dropped else (need,))))
    return found


def _distinct(ops: Sequence[_T], key: Callable[[_T], Hashable]) -> tuple[list[_T], list[int]]:
    """One operation of each shape, and which of them each operation has."""
    known: dict[Hashable, int] = {}
    first: list[_T] = []
    which: list[int] = []
    for op in ops:
        shape = key(op)
        if shape not in known:
            known[shape] = len(first)
            first.append(op)
        which.append(known[shape])
    return first, which


def _plain(gemm: Gemm) -> Gemm:
    """The GEMM without names and phase."""
    plain = {"tensor": "", "parameter": ""}
    return replace(gemm, name="", layer="", c="", phase=Phase.FORWARD, a=replace(gemm.a, **plain), b=replace(gemm.b, **plain))
