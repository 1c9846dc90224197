"""What of a training step is the same on all machines: distinct shapes, who needs whom, and tables that machines share."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

import numpy as np

from dataflows.analytic.gemms import GemmTables
from dataflows.analytic.order import Thread, order_of
from dataflows.analytic.streams import StreamTables, Work, shape_of
from dataflows.compile import needs_of, rows_of, thread_of
from dataflows.mapping import Mapping
from workloads.gemm import Gemm, Phase
from workloads.graph import Workload, write_names
from workloads.ops import Update, Vector
from workloads.stages import STAGES, stage_of

__all__ = ["Plan", "one_of_each", "plan_of"]

_SMALL = 1000  # updates of less than this part of all parameters count as a part of the update that follows
_T = TypeVar("_T")


class Plan:
    """A (prepared) workload with a mapping."""

    def __init__(self, workload: Workload, mapping: Mapping) -> None:
        rows = rows_of(workload)
        host = {op.name for op in workload.ops if isinstance(op, Vector) and mapping.vector == "host"}
        needs = _without(needs_of(workload), host)
        position = {op.name: index for index, op in enumerate(workload.ops)}
        threads: tuple[list[int], list[int], list[int]] = ([], [], [])
        for index, op in enumerate(workload.ops):
            if op.name not in host:
                threads[thread_of(op, mapping)].append(index)
        if mapping.update == "overlapped":  # as `compile` has them: in the order in which their gradients become final
            threads[2].sort(key=lambda i: max((position[n] for n in needs[workload.ops[i].name]), default=-1))
        gemms = [op for op in (workload.ops[i] for i in threads[0]) if isinstance(op, Gemm)]
        shapes, gemm_of = _distinct(gemms, _plain)
        indices = [i for thread in threads[1:] for i in thread]
        work = [op for op in (workload.ops[i] for i in indices) if not isinstance(op, Gemm)]
        pieces, piece_of = _distinct(work, lambda op: (shape_of(op), rows.get(op.name, 0)))
        shape = dict(zip(threads[0], gemm_of, strict=True)) | dict(zip(indices, piece_of, strict=True))
        self.gemms, self.streams = GemmTables(shapes, mapping), StreamTables(pieces, mapping, rows)
        self.gemm_times = np.bincount(np.array(gemm_of, np.int64), minlength=len(shapes))
        self.stream_times = np.bincount(np.array(piece_of, np.int64), minlength=len(pieces))
        merged = [_merged(workload, thread) for thread in threads]
        order = [members[-1] for thread in merged for members in thread]
        number = {workload.ops[index].name: at for at, index in enumerate(order)}
        found: list[Thread] = []
        operands = _operands(workload, needs, host)
        for thread in merged:
            sides = [
                {
                    number[n]: operands.get((op, n), 3)
                    for index in members
                    for op in (workload.ops[index].name,)
                    for n in needs[op]
                }
                for members in thread
            ]
            found.append(
                Thread(
                    needs=[sorted(each) for each in sides],
                    sides=[[each[need] for need in sorted(each)] for each in sides],
                    members=[[shape[index] for index in members] for members in thread],
                )
            )
        stages = [STAGES.index(stage_of(workload.ops[index])) for index in order]
        self.order = order_of(found, sorted(enumerate(stages), key=lambda each: order[each[0]]))


def one_of_each(workload: Workload) -> list[Gemm | Work]:
    """The first operation of each distinct shape."""
    rows = rows_of(workload)
    return _distinct(workload.ops, lambda op: _plain(op) if isinstance(op, Gemm) else (shape_of(op), rows.get(op.name, 0)))[0]


@lru_cache(maxsize=6)
def plan_of(workload: Workload, mapping: Mapping) -> Plan:
    """The plan, with what earlier machines have left in its tables."""
    return Plan(workload, mapping)


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


def _operands(workload: Workload, needs: dict[str, tuple[str, ...]], host: set[str]) -> dict[tuple[str, str], int]:
    """By GEMM and operation that it needs: 1 if that is for operand a, 2 for b, 3 for both. `needs` are without those on the
    host."""
    writers: dict[str, list[str]] = {}
    for op in workload.ops:
        for tensor in write_names(op):
            writers.setdefault(tensor, []).append(op.name)
    found: dict[tuple[str, str], int] = {}
    for gemm in workload.gemms:
        for side, operand in ((1, gemm.a), (2, gemm.b)):
            for writer in writers.get(operand.tensor, ()):
                for need in needs[writer] if writer in host else (writer,):
                    found[gemm.name, need] = found.get((gemm.name, need), 0) | side
    return found


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
