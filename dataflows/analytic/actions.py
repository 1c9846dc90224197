"""How often a step makes each part of the machine act, for many machines: sums of what `simulator.cost.actions` counts for one
command, over commands that are alike."""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from dataflows.analytic.machines import Ints, Machines, combined
from dataflows.analytic.rows import DIMS, Rows
from dataflows.analytic.skeleton import CLASSES
from dataflows.analytic.tilings import DATAFLOWS
from dataflows.candidates import SIDES, Side
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
    """Of GEMMs with some mapping. Commands of GEMMs that are alike, on machines that are alike in what counts, are one sum."""

    def __init__(self, gemms: Sequence[Gemm], mapping: Mapping) -> None:
        self._gemms, self._pregenerate = gemms, mapping.pregenerate
        kinds: dict[Hashable, int] = {}
        self._kind = np.array([kinds.setdefault(self._alike(gemm), len(kinds)) for gemm in gemms], np.int64)

    def _alike(self, gemm: Gemm) -> Hashable:
        """What of a GEMM its commands' actions depend on, but for their sizes."""
        return gemm.pattern, gemm.sparse_operand, *((self._at_use(gemm, side), gemm.lines_fastest(side)) for side in SIDES)

    def _at_use(self, gemm: Gemm, side: Side) -> bool:
        return gemm.operand(side).pruned_at_use(pregenerate=self._pregenerate)

    def of(self, rows: Rows, times: Ints, runs: Ints, run_bytes: Ints) -> Ints:
        """(rows, ACTIONS), from how often each row has commands of each of `CLASSES`, and what their transfers move."""
        found = np.zeros((len(rows), len(ACTIONS)), np.int64)
        commands = times.sum(axis=1)
        found[:, _AT["commands"]] = commands
        found[:, _AT["dram_burst_bits"]] = COMMAND_BITS * commands
        parts = self._parts(rows)
        used = times.any(axis=0)
        columns = {kind: np.flatnonzero(used & (kind == _KIND)) for kind in dict.fromkeys(_KIND.tolist())}
        for some, machine, _ in _shared(rows, parts["burst"]):
            for way in SIDES:
                at = np.ix_(some, columns[way])
                _add(found, some, times[at], Kinds(machine).load(runs[at], run_bytes[at]))
        for some, machine, _ in _shared(rows, parts["burst"], parts["bus"], parts["pe"], parts["array"]):
            at = np.ix_(some, columns["c"])
            _add(found, some, times[at], Kinds(machine).store_c(runs[at], run_bytes[at]))
        for some, machine, gemm in _shared(rows, parts["bus"], parts["pe"], parts["pruner"], self._kind[rows.gemm]):
            self._operands(rows, some, Kinds(machine), self._gemms[gemm], columns, times, found)
        self._multiplies(rows, parts, columns["array"], times, found)
        return found

    @staticmethod
    def _parts(rows: Rows) -> dict[str, Ints]:
        """By row: a number for what of its machine matters."""
        groups = rows.groups
        some, which = groups.distinct("dram", "clock_hz")
        buses = np.array([bus_bytes(some[at]) for at in range(len(some))], np.int64)[which]
        parts = {"burst": groups.values("dram", "burst_bytes"), "bus": buses}
        parts |= {name: groups.index[name] for name in ("pe", "array", "pruner")}
        return {name: column[rows.group] for name, column in parts.items()}

    def _operands(
        self, rows: Rows, some: Ints, kinds: Kinds, gemm: Gemm, columns: dict[str, Ints], times: Ints, found: Ints
    ) -> None:
        """What loads and prunes write into the operand buffers, and prunes read."""
        for side in SIDES:
            at_use, lines_of = self._at_use(gemm, side), "m" if side == "a" else "n"
            kept = isinstance(gemm.operand(side).pattern, NM) and not at_use
            for kind in (side, f"prune {side}"):
                often = times[np.ix_(some, columns[kind])]
                if not often.any():
                    continue
                batch, lines, k = (_sizes(rows, dim, columns[kind])[some] for dim in ("batch", lines_of, "k"))
                if kind == side:
                    one = kinds.fill(side, batch * lines * line_entries(gemm.pattern, k, kept=kept))
                else:
                    assert isinstance(gemm.pattern, NM)
                    one = kinds.prune(side, batch * lines * k, gemm.pattern, gemm.lines_fastest(side))
                _add(found, some, often, one)

    def _multiplies(self, rows: Rows, parts: dict[str, Ints], columns: Ints, times: Ints, found: Ints) -> None:
        """Each distinct shape on an array once."""
        row, column = np.nonzero(times[:, columns])
        batch, m, n, k = (_sizes(rows, dim, columns)[row, column] for dim in DIMS)
        accumulate = _ACCUMULATE[columns][column]
        keys = (parts["pe"], parts["array"], parts["bus"], rows.dataflow, self._kind[rows.gemm])
        _, array = combined(*keys)
        shapes, which = combined(array[row], accumulate, m, n, k)
        table = np.zeros((len(shapes), len(ACTIONS)), np.int64)
        first, alike = combined(array[row][shapes])
        for number, one in enumerate(first):
            its = np.flatnonzero(alike == number)
            at, example = shapes[its], row[shapes[one]]
            gemm, machine = self._gemms[int(rows.gemm[example])], rows.groups[int(rows.group[example])]
            shape = (DATAFLOWS[rows.dataflow[example]], m[at], n[at], k[at], gemm.pattern, gemm.sparse_operand, accumulate[at])
            for name, each in Kinds(machine).multiply(1, *shape).items():
                table[its, _AT[name]] = each
        often = times[row, columns[column]] * batch
        for name in np.flatnonzero(table.any(axis=0)):
            found[:, name] += _by_row(often * table[which, name], row, len(rows))


_KIND = np.array([each.kind for each in CLASSES])
_ACCUMULATE = np.array([each.accumulate for each in CLASSES], np.int64)


def _sizes(rows: Rows, dim: str, columns: Ints) -> Ints:
    """(rows, columns): sizes of commands' tiles along a dimension."""
    return np.stack([rows.size(dim, getattr(CLASSES[column], dim)) for column in columns], axis=1)


def _shared(rows: Rows, *parts: Ints) -> Iterator[tuple[Ints, Accelerator, int]]:
    """Rows that are alike in all parts; a machine and the GEMM of one of them."""
    first, which = combined(*parts)
    order = np.argsort(which, kind="stable")
    for one, some in zip(first, np.split(order, np.flatnonzero(np.diff(which[order])) + 1), strict=True):
        yield some, rows.groups[int(rows.group[one])], int(rows.gemm[one])


def _by_row(values: Ints, row: Ints, rows: int) -> Ints:
    """Sums of values by row, which ascends."""
    ends = np.searchsorted(row, np.arange(rows + 1))
    return np.diff(np.concatenate([[0], np.cumsum(values)])[ends])


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
    """Commands of some rows, by column, so often each."""
    for name, each in one.items():
        found[some, _AT[name]] += (often * each).sum(axis=1)
