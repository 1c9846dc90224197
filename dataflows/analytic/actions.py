"""How often a step makes each part of the machine act, for many machines: sums of what `simulator.cost.actions` counts for one
command, over commands that are alike."""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dataflows.analytic.machines import Ints, Machines, combined
from dataflows.analytic.rows import DIMS, Rows
from dataflows.analytic.skeleton import CLASSES
from dataflows.analytic.tilings import DATAFLOWS
from dataflows.candidates import SIDES
from dataflows.chunks import Chunk
from dataflows.mapping import Mapping
from simulator.arch import Accelerator
from simulator.cost.actions import Actions, Kinds, line_entries
from simulator.encoding import COMMAND_BITS
from simulator.layout import bus_bytes, plane_word_bytes
from workloads.gemm import Gemm
from workloads.ops import Prune, Update, Vector
from workloads.sparsity import NM

__all__ = ["ACTIONS", "Counted", "GemmActions", "counted", "work_actions", "work_key"]

ACTIONS = tuple(Actions().as_dict())
_AT = {name: number for number, name in enumerate(ACTIONS)}


class GemmActions:
    """Of GEMMs with some mapping. Keeps what Multiplies of a shape do from call to call."""

    def __init__(self, gemms: Sequence[Gemm], mapping: Mapping) -> None:
        self._gemms, self._pregenerate = gemms, mapping.pregenerate
        self._known: dict[Hashable, list[int]] = {}
        patterns: dict[Hashable, int] = {}
        self._kind = np.array([patterns.setdefault((g.pattern, g.sparse_operand), len(patterns)) for g in gemms], np.int64)

    def of(self, rows: Rows, times: Ints, runs: Ints, run_bytes: Ints) -> Ints:
        """(rows, ACTIONS), from how often each row has commands of each of `CLASSES`, and what their transfers move."""
        found = np.zeros((len(rows), len(ACTIONS)), np.int64)
        commands = times.sum(axis=1)
        found[:, _AT["commands"]] = commands
        found[:, _AT["dram_burst_bits"]] = COMMAND_BITS * commands
        used: list[int] = np.flatnonzero(times.any(axis=0)).tolist()
        groups = rows.groups
        parts = [groups.index[name][rows.group] for name in ("dram", "clock_hz", "pe", "array", "pruner")]
        first, which = combined(*parts, rows.gemm)
        for number, one in enumerate(first):
            some = np.flatnonzero(which == number)
            gemm, kinds = self._gemms[int(rows.gemm[one])], Kinds(groups[int(rows.group[one])])
            for column in used:
                each, often = CLASSES[column], times[some, column]
                if each.kind == "array" or not often.any():
                    continue
                shape = runs[some, column], run_bytes[some, column]
                if each.kind == "c":
                    _add(found, some, often, kinds.store_c(*shape))
                    continue
                side = "a" if each.kind.endswith("a") else "b"
                lines = "m" if side == "a" else "n"
                batch, lines, k = (rows.size(dim, getattr(each, dim))[some] for dim in ("batch", lines, "k"))
                at_use = gemm.operand(side).pruned_at_use(pregenerate=self._pregenerate)
                if each.kind in SIDES:
                    kept = isinstance(gemm.operand(side).pattern, NM) and not at_use
                    _add(found, some, often, kinds.load(*shape))
                    _add(found, some, often, kinds.fill(side, batch * lines * line_entries(gemm.pattern, k, kept=kept)))
                else:
                    assert isinstance(gemm.pattern, NM)
                    across = gemm.lines_fastest(side)
                    _add(found, some, often, kinds.prune(side, batch * lines * k, gemm.pattern, across))
        self._multiplies(rows, times, found)
        return found

    def _multiplies(self, rows: Rows, times: Ints, found: Ints) -> None:
        groups = rows.groups
        some, which_machine = groups.distinct("dram", "clock_hz")
        buses = np.array([bus_bytes(some[at]) for at in range(len(some))], np.int64)[which_machine]
        parts = [column[rows.group] for column in (groups.index["pe"], groups.index["array"], buses)]
        for column, each in enumerate(CLASSES):
            at = np.flatnonzero(times[:, column])
            if each.kind != "array" or not len(at):
                continue
            sizes = [rows.size(dim, getattr(each, dim))[at] for dim in DIMS]
            first, which = combined(*(part[at] for part in parts), rows.dataflow[at], self._kind[rows.gemm[at]], *sizes[1:])
            table = np.array([self._multiply(rows, int(at[one]), each.accumulate, sizes, int(one)) for one in first], np.int64)
            found[at] += (times[at, column] * sizes[0])[:, None] * table[which]

    def _multiply(self, rows: Rows, row: int, accumulate: bool, sizes: list[Ints], at: int) -> list[int]:
        accelerator, gemm = rows.groups[int(rows.group[row])], self._gemms[rows.gemm[row]]
        m, n, k = (int(size[at]) for size in sizes[1:])
        shape = (DATAFLOWS[rows.dataflow[row]], m, n, k, gemm.pattern, gemm.sparse_operand, accumulate)
        key = (accelerator.pe, accelerator.array, bus_bytes(accelerator), shape)
        if key not in self._known:
            one = Kinds(accelerator).multiply(1, *shape)
            self._known[key] = [one.get(name, 0) for name in ACTIONS]
        return self._known[key]


class Counted(NamedTuple):
    """Commands of some operations: by kind of command and what is the same for all of it, their sizes, and how often each
    occurs in each operation."""

    sizes: dict[tuple[str, tuple[Any, ...]], tuple[Ints, Ints]]


def counted(
    ops: Sequence[tuple[Vector | Prune | Update, list[tuple[Chunk, int]], int]], mapping: Mapping, rows: Sequence[int]
) -> Counted:
    """Of operations with their distinct chunks and passes. `rows`: the elements of a row of memory, or 0."""
    tally: dict[tuple[str, tuple[Any, ...]], dict[tuple[int, ...], Counter[int]]] = {}

    def count(kind: str, static: tuple[Any, ...], sizes: tuple[int, ...], number: int, times: int) -> None:
        tally.setdefault((kind, static), {}).setdefault(sizes, Counter())[number] += times

    for number, ((op, chunks, passes), row) in enumerate(zip(ops, rows, strict=True)):
        for chunk, times in chunks:
            for move in chunk.reads:
                count("load_work", (), (1, move.bytes), number, passes * times)
            for move in chunk.writes:
                count("store_work", (move.pattern is not None,), (move.rows, move.bytes, move.entries), number, times)
            two = isinstance(op, Vector) and len(op.reads) > 1
            for work in chunk.work:
                count("vector", (two,), (work,), number, times)
            match op:
                case Prune():
                    count("prune", (op.pattern, row > 0), (chunk.elements,), number, times)
                case Update():
                    count("update", (op.decay, op.optimizer.is_adam), (chunk.elements,), number, times)
                    for stage, pattern in op.prune if mapping.pregenerate else ():
                        count("prune", (pattern, stage == "bp"), (chunk.elements,), number, times)
                case Vector():
                    pass
    found: dict[tuple[str, tuple[Any, ...]], tuple[Ints, Ints]] = {}
    for key, by_size in tally.items():
        often = np.zeros((len(by_size), len(ops)), np.int64)
        for column, by_op in enumerate(by_size.values()):
            for number, times in by_op.items():
                often[column, number] = times
        found[key] = np.array([*by_size], np.int64).T, often
    return Counted(found)


def work_key(machines: Machines) -> Ints:
    """By machine: a number for what the actions of work between GEMMs depend on beyond what its cycles do."""
    names = ("clock_hz", "dram", "pe", "vector", "updater", "pruner")
    some, which = machines.distinct(*names)
    words = np.array([plane_word_bytes(some[at]) for at in range(len(some))], np.int64)[which]
    return combined(machines.index["pe"], words)[1]


def work_actions(commands: Counted, machines: Machines, ops: int) -> Ints:
    """(machines, operations, ACTIONS)"""
    found = np.zeros((len(machines), ops, len(ACTIONS)), np.int64)
    extra = work_key(machines)
    for (kind, static), (sizes, often) in commands.sizes.items():
        parts = {"vector": ("vector",), "update": ("updater",), "prune": ("pruner",)}.get(kind, ("dram", "clock_hz"))
        first, which = combined(extra, *(machines.index[name] for name in parts))
        found[:, :, _AT["commands"]] += often.sum(axis=0)
        found[:, :, _AT["dram_burst_bits"]] += COMMAND_BITS * often.sum(axis=0)
        for number, one in enumerate(first):
            some = np.flatnonzero(which == number)
            for name, each in _of_work(machines[int(one)], kind, static, sizes).items():
                found[some, :, _AT[name]] += np.broadcast_to(each, sizes.shape[1]) @ often
    return found


def _of_work(accelerator: Accelerator, kind: str, static: tuple[Any, ...], sizes: Ints) -> dict[str, Any]:
    """Of one command of each of these sizes."""
    kinds = Kinds(accelerator)
    match kind:
        case "load_work":
            return kinds.load_work(*sizes)
        case "store_work":
            return kinds.store_work(*sizes, *static)
        case "vector":
            return kinds.vector(*sizes, *static)
        case "prune":
            return kinds.prune("work", *sizes, *static)
        case _:
            return kinds.update(*sizes, *static)


def _add(found: Ints, some: Ints, often: Ints, one: dict[str, Any]) -> None:
    for name, each in one.items():
        found[some, _AT[name]] += often * each
