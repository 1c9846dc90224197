"""Cycles of GEMMs alone on many machines: tilings as the compiler chooses them, timed by the recurrence over their skeletons.

Equal tilings of a GEMM on machines that don't differ in what its commands depend on are timed once: a *row*.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dataflows.analytic.actions import ACTIONS, GemmActions
from dataflows.analytic.machines import Machines, combined
from dataflows.analytic.rows import DIMS, Rows
from dataflows.analytic.skeleton import CLASSES, Structure, shortened, skeleton
from dataflows.analytic.tilings import DATAFLOWS, TILED, TilingTables
from dataflows.candidates import SIDES, Side
from dataflows.mapping import Mapping
from dataflows.tiling import ORDERS
from simulator.analytic import RANK, Costs, Cycles, Dispatch, Ints, Listing, recurrence
from simulator.arch import ceil_div
from simulator.layout import transfer_complete
from simulator.schedule import Engine, Unsupported
from simulator.timing import multiply_time
from workloads.gemm import Gemm
from workloads.sparsity import NM

__all__ = ["GemmCycles", "GemmTables"]

_NAMES: tuple[Literal["a", "b", "c"], ...] = ("a", "b", "c")
_BLOCK = 4096  # rows at once: their costs take up some megabytes


@dataclass(frozen=True, kw_only=True)
class GemmCycles:
    """What GEMMs take alone: `row` has, by machine group and GEMM, the place in all others."""

    group: Ints  # by machine
    refusal: list[Unsupported | None]  # by group: why it can't run one of the GEMMs; its rows then mean nothing
    row: Ints
    cycles: Cycles
    port: Ints  # cycles in which the memory port is held
    transfers: Ints  # of the port
    squares: Ints  # of the transfers' cycles of the port, added up
    array: Ints  # cycles in which the array is busy
    prune: Ints  # cycles in which the pruner is
    read_bytes: Ints
    write_bytes: Ints
    tiles: Ints
    late_a: Ints  # from the request of a's first tile, all else being there, to the array's first command
    late_b: Ints
    estimate: Ints  # the compiler's, by which it orders the program
    dataflow: Ints  # position in DATAFLOWS
    actions: Ints | None  # (rows, ACTIONS), where asked for


class GemmTables:
    """The GEMMs of a workload with some mapping. Keeps what machines have in common from call to call."""

    def __init__(self, gemms: Sequence[Gemm], mapping: Mapping) -> None:
        self.gemms, self._mapping = tuple(gemms), mapping
        self._tilings, self._actions = TilingTables(self.gemms, mapping), GemmActions(self.gemms, mapping)
        self._whole = {dim: np.array([getattr(gemm, dim) for gemm in gemms], np.int64) for dim in DIMS}
        self._at_use = [
            next((side for side in SIDES if gemm.operand(side).pruned_at_use(pregenerate=mapping.pregenerate)), "")
            for gemm in gemms
        ]

    def cycles(self, machines: Machines, *, actions: bool = False) -> GemmCycles:
        """Each GEMM alone on each machine, as the compiler would tile it; and what it makes the machine do, if `actions`."""
        names = (*TILED, "pruner") if self._tilings.at_use else TILED
        tiled, tiling_of = machines.distinct(*names)
        groups, group = machines.distinct(*names, "sequencer")
        tilings = self._tilings.choose(tiled)
        of_group = np.zeros(len(groups), np.int64)
        of_group[group] = tiling_of
        refusal = [tilings.refusal[number] for number in of_group]
        fine = np.flatnonzero([why is None for why in refusal])
        of_fine, count = of_group[fine], len(self.gemms)
        whole = Rows(
            groups=groups,
            group=np.repeat(fine, count),
            gemm=np.tile(np.arange(count), len(fine)),
            dataflow=tilings.dataflow[of_fine].ravel(),
            swapped=tilings.swapped[of_fine].ravel(),
            sizes={dim: getattr(tilings, dim)[of_fine].ravel() for dim in DIMS},
            last={},
        )
        first, which = combined(*self._keys(whole))
        rows = whole.take(first)
        last = {dim: (self._whole[dim][rows.gemm] - 1) % rows.sizes[dim] + 1 for dim in DIMS}
        rows = replace(rows, last=last)
        found = {name: np.zeros(max(1, len(rows)), np.int64) for name in (*Cycles.__slots__, *_SUMS, *_MORE)}
        structures, left = self._structures(rows)
        done = np.zeros((len(found["total"]), len(ACTIONS)), np.int64) if actions else None
        for number in range(0, len(rows), _BLOCK):
            block = np.arange(number, min(number + _BLOCK, len(rows)))
            self._block(rows.take(block), [structures[i] for i in block], left[block], block, found, done)
        row = np.zeros((len(groups), count), np.int64)
        row[fine] = which.reshape(len(fine), count)
        tiles, estimate = (getattr(tilings, name)[of_fine].ravel()[first] for name in ("tiles", "estimate"))
        nothing = np.zeros(len(found["total"]) - len(rows), np.int64)
        return GemmCycles(
            group=group,
            refusal=refusal,
            row=row,
            cycles=Cycles(**{name: found[name] for name in Cycles.__slots__}),
            **{name: found[name] for name in (*_SUMS, *_MORE)},
            tiles=np.concatenate([tiles, nothing]),
            estimate=np.concatenate([estimate, nothing]),
            dataflow=np.concatenate([rows.dataflow, nothing]),
            actions=done,
        )

    def _keys(self, rows: Rows) -> list[Ints]:
        """What a row's cycles depend on."""
        groups = rows.groups
        slots = [groups.values(f"{name}_buffer", "slots") for name in "abc"]
        ports = [groups.key(f"{name}_buffer", lambda buffer: buffer.bits_per_cycle) for name in "abc"]
        fields = [groups.index[name] for name in ("clock_hz", "pe", "array", "dram", "implicit_im2col", "sequencer")]
        fields += [groups.index["pruner"]] if self._tilings.at_use else []
        _, alike = combined(*slots, *ports, *fields)
        return [alike[rows.group], rows.gemm, rows.dataflow, rows.swapped, *rows.sizes.values()]

    def _structures(self, rows: Rows) -> tuple[list[Structure], Ints]:
        counts = {dim: ceil_div(self._whole[dim][rows.gemm], rows.sizes[dim]) for dim in DIMS}
        slots = np.array([rows.groups.values(f"{name}_buffer", "slots") for name in "abc"])[:, rows.group]
        depth = rows.groups.values("sequencer", "queue_depth")[rows.group]
        at_use = np.array([("", *SIDES).index(side) for side in self._at_use], np.int64)[rows.gemm]
        first, which = combined(rows.swapped, *counts.values(), *slots, at_use, depth)
        found = [
            shortened(
                ORDERS[rows.swapped[i]],
                (
                    int(counts["batch"][i]),
                    int(counts[ORDERS[rows.swapped[i]][0]][i]),
                    int(counts[ORDERS[rows.swapped[i]][1]][i]),
                    int(counts["k"][i]),
                ),
                (int(slots[0, i]), int(slots[1, i]), int(slots[2, i])),
                ("", *SIDES)[at_use[i]],
                int(depth[i]),
            )
            for i in first
        ]
        left = np.array([each for _, each in found], np.int64).reshape(-1, 4)
        return [found[i][0] for i in which], left[which]

    def _block(
        self, rows: Rows, structures: list[Structure], left: Ints, at: Ints, found: dict[str, Ints], done: Ints | None
    ) -> None:
        sharing: dict[Structure, list[int]] = defaultdict(list)
        for number, structure in enumerate(structures):
            sharing[structure].append(number)
        used = np.flatnonzero(np.any([skeleton(structure).counts.any(axis=1) for structure in sharing], axis=0)).tolist()
        busy, complete, runs, run_bytes = (np.zeros((len(rows), len(CLASSES)), np.int64) for _ in range(4))
        self._transfers(rows, [i for i in used if CLASSES[i].kind in "abc"], busy, complete, (runs, run_bytes))
        self._multiplies(rows, [i for i in used if CLASSES[i].kind == "array"], busy, complete)
        self._prunes(rows, [i for i in used if CLASSES[i].kind.startswith("prune")], busy, complete)
        groups = rows.groups
        names = ("dispatch_cycles", "token_latency", "queue_depth")
        sequencer = Dispatch(*(groups.values("sequencer", name)[rows.group] for name in names))
        times = np.zeros((len(rows), len(CLASSES)), np.int64)
        for structure, members in sharing.items():
            listing, counts = skeleton(structure)
            some = np.array(members)
            sets = np.flatnonzero(counts.any(axis=0))
            weights = [
                np.prod([1 + left[some, level] for level in range(4) if each >> level & 1] or [1], axis=0) for each in sets
            ]
            times[some] = sum(
                np.multiply.outer(np.broadcast_to(w, len(some)), counts[:, s]) for w, s in zip(weights, sets, strict=True)
            )
            costs = Costs(busy[some], complete[some])
            cycles = recurrence(listing, costs, Dispatch(*(column[some] for column in sequencer)), left[some])
            for name in Cycles.__slots__:
                found[name][at[some]] = getattr(cycles, name)
            for side in SIDES:
                ways = [
                    complete[some, cost] + sequencer.token_latency[some] for cost in _first(listing, side, structure.at_use)
                ]
                found[f"late_{side}"][at[some]] = np.sum(ways, axis=0)
        for name, (classes, squared) in _SUMS.items():
            amount = runs * run_bytes if name.endswith("bytes") else busy
            found[name][at] = (times * amount ** (2 if squared else 1))[:, classes].sum(axis=1)
        found["transfers"][at] = times[:, _SUMS["port"][0]].sum(axis=1)
        least = np.maximum(np.maximum(found["port"], found["array"]), found["prune"])
        found["total"][at] = np.maximum(found["total"], least)[at]
        if done is not None:
            done[at] = self._actions.of(rows, times, runs, run_bytes)

    def _transfers(self, rows: Rows, classes: list[int], busy: Ints, complete: Ints, moved: tuple[Ints, Ints]) -> None:
        kinds = rows.groups.key("pe", lambda pe: pe.format) * 2 + rows.groups.key("implicit_im2col")
        first, which = combined(kinds[rows.group], rows.gemm)
        for number, one in enumerate(first):
            some = np.flatnonzero(which == number)
            accelerator = rows.groups[int(rows.group[one])]
            for name in _NAMES:
                columns = [at for at, each in enumerate(classes) if CLASSES[each].kind == name]
                sizes = [self._tile(rows, name, CLASSES[classes[at]]) for at in columns]
                first_, second, third = (np.concatenate([size[dim][some] for size in sizes]) for dim in range(3))
                found = self._tilings.runs(int(rows.gemm[one]), name, accelerator).columns(first_, second, third)
                for table, values in zip(moved, found, strict=True):
                    table[np.ix_(some, np.array([classes[at] for at in columns]))] = values.reshape(len(columns), len(some)).T
        first, which = combined(rows.groups.index["dram"][rows.group], rows.groups.index["clock_hz"][rows.group])
        for number, one in enumerate(first):
            some, accelerator = np.flatnonzero(which == number), rows.groups[int(rows.group[one])]
            columns = np.array(classes)
            shape = moved[0][np.ix_(some, columns)], moved[1][np.ix_(some, columns)]
            busy[np.ix_(some, columns)] = accelerator.dram.transfer_cycles(*shape, accelerator.clock_hz)
            complete[np.ix_(some, columns)] = transfer_complete(accelerator, shape[0], shape[1])

    @staticmethod
    def _tile(rows: Rows, kind: str, each: object) -> tuple[Ints, Ints, Ints]:
        dims = {"a": ("batch", "m", "k"), "b": ("batch", "n", "k"), "c": ("batch", "m", "n")}[kind]
        first, second, third = (rows.size(dim, getattr(each, dim)) for dim in dims)
        return first, second, third

    def _prunes(self, rows: Rows, classes: list[int], busy: Ints, complete: Ints) -> None:
        for column in classes:
            each = CLASSES[column]
            side: Side = "a" if each.kind == "prune a" else "b"
            batch, lines, depth = self._tile(rows, side, each)
            first, which = combined(rows.groups.index["pruner"][rows.group], rows.gemm)
            for number, one in enumerate(first):
                gemm = self.gemms[rows.gemm[one]]
                if self._at_use[rows.gemm[one]] != side:
                    continue
                some = np.flatnonzero(which == number)
                pruner = rows.groups.parts["pruner"][rows.groups.index["pruner"][rows.group[one]]]
                assert isinstance(gemm.pattern, NM)
                elements = (batch * lines * depth)[some]
                busy[some, column] = complete[some, column] = pruner.busy(
                    elements, gemm.pattern, across=gemm.lines_fastest(side)
                )

    def _multiplies(self, rows: Rows, classes: list[int], busy: Ints, complete: Ints) -> None:
        """The array's closed form, once for all tiles on like arrays."""
        groups = rows.groups
        ports = [groups.key(f"{name}_buffer", lambda buffer: buffer.bits_per_cycle)[rows.group] for name in "abc"]
        kinds: dict[Hashable, int] = {}
        kind = np.array([kinds.setdefault((gemm.pattern, gemm.sparse_operand), len(kinds)) for gemm in self.gemms], np.int64)[
            rows.gemm
        ]
        accumulate = np.array([CLASSES[i].accumulate for i in classes])
        first, which = combined(groups.index["pe"][rows.group], groups.index["array"][rows.group], *ports, rows.dataflow, kind)
        for number, one in enumerate(first):
            some = np.flatnonzero(which == number)
            gemm = self.gemms[rows.gemm[one]]
            batch, m, n, k = (
                np.stack([rows.size(dim, getattr(CLASSES[i], dim))[some] for i in classes], axis=1) for dim in DIMS
            )
            time = multiply_time(
                groups[int(rows.group[one])],
                DATAFLOWS[rows.dataflow[one]],
                m,
                n,
                k,
                gemm.pattern,
                gemm.sparse_operand,
                accumulate[None, :],
            )
            occupied = batch * time.occupancy
            busy[np.ix_(some, np.array(classes))] = occupied
            complete[np.ix_(some, np.array(classes))] = occupied + time.tail


def _first(listing: Listing, side: Side, at_use: str) -> list[int]:
    """Costs of an operand's first tile on its way to the array."""
    engines = (Engine.LOAD_A if side == "a" else Engine.LOAD_B, *((Engine.PRUNE,) if side == at_use else ()))
    return [int(listing.cost[np.argmax(listing.engine == RANK[engine])]) for engine in engines]


_MORE = ("transfers", "late_a", "late_b")


def _of(*kinds: str) -> Ints:
    return np.array([number for number, each in enumerate(CLASSES) if each.kind in kinds])


_SUMS = {
    "port": (_of("a", "b", "c"), False),
    "squares": (_of("a", "b", "c"), True),
    "array": (_of("array"), False),
    "prune": (_of("prune a", "prune b"), False),
    "read_bytes": (_of("a", "b"), False),
    "write_bytes": (_of("c"), False),
}
