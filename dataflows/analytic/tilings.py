"""The compiler's choice of tilings, for all GEMMs of a workload on many machines.

It is `best_tiling`'s own: the same candidates, the same sizes and cycles of them, the same loop that picks one. Each of its
ingredients depends on some parts of the machine only, and is made once for all machines that share these.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dataflows.analytic.machines import Ints, Machines
from dataflows.analytic.tables import Tables
from dataflows.candidates import (
    SIDES,
    Candidates,
    Runs,
    Side,
    array_cycles,
    candidates,
    operand_held,
    prune_cycles,
    result_held,
    runs_of_operand,
    runs_of_result,
    sizes_of,
)
from dataflows.mapping import Mapping
from dataflows.pick import BUFFERS, JOINT, PICKED, Columns, pick
from dataflows.tiling import check_pattern, slot_limits
from dataflows.traffic import feature_map, stored_kept
from simulator.arch import Accelerator, Dataflow, ceil_div
from simulator.compiled import compiled
from simulator.layout import bus_bytes
from simulator.schedule import Unsupported, UnsupportedError
from workloads.gemm import Gemm
from workloads.sparsity import Pattern

__all__ = ["DATAFLOWS", "TILED", "TilingTables", "Tilings"]

DATAFLOWS = tuple(Dataflow)
TILED = ("clock_hz", "pe", "array", "a_buffer", "b_buffer", "c_buffer", "dram", "implicit_im2col")
"""What a tiling depends on; where an operand is pruned at its use, the pruner too."""
_KEPT = 512  # tables of a kind: some hundred kilobytes each
_pick = compiled(pick)


@dataclass(frozen=True, kw_only=True)
class Tilings:
    """By machine and GEMM. Where a machine can't run one of them, `refusal` says why, and all else is 0."""

    refusal: list[Unsupported | None]  # by machine
    dataflow: Ints  # position in DATAFLOWS
    batch: Ints
    m: Ints
    n: Ints
    k: Ints
    swapped: Ints  # 1: order "nm"
    estimate: Ints  # cycles of array or memory, whichever takes longer: the compiler's, by which it orders the program
    tiles: Ints


@dataclass(frozen=True, slots=True)
class _Segments:
    """Candidates of all GEMMs in all dataflows, one after the other: a segment each."""

    gemms: Sequence[Gemm]
    refusal: list[Unsupported | None]  # by GEMM: why not even the first dataflow is tried
    of: list[tuple[int, Dataflow]]  # by segment: GEMM, dataflow
    first: Ints  # by position in the order of dataflows and GEMM: segment, or -1
    starts: Ints
    gemm: Ints  # by candidate
    flow: Ints
    tiles: Candidates
    counts: tuple[Ints, Ints, Ints, Ints]
    runs: dict[str, tuple[Ints, Ints]]  # by operand and "c"
    mapped: dict[Side, NDArray[np.bool_]]  # by candidate: whether the operand is a feature map
    held: dict[tuple[Side, Dataflow, Pattern, bool, bool], Ints]  # which candidates are alike in a buffer,
    timed: dict[tuple[Dataflow, Pattern, Side], Ints]  # and in the array


class TilingTables:
    """Choices for some GEMMs with some mapping. Keeps what machines have in common from call to call."""

    def __init__(self, gemms: Sequence[Gemm], mapping: Mapping) -> None:
        self._gemms, self._mapping = gemms, mapping
        self.at_use = any(gemm.operand(side).pruned_at_use(pregenerate=mapping.pregenerate) for gemm in gemms for side in SIDES)
        self._runs: dict[Hashable, Runs] = {}
        self._segments = Tables[_Segments](_KEPT)
        self._bytes = Tables[tuple[Ints, Ints, Ints]](_KEPT)
        self._arrays = Tables[Ints](_KEPT)
        self._loads = Tables[tuple[Ints, Ints, Ints]](_KEPT)
        self._limits = Tables[Ints](_KEPT)

    def choose(self, machines: Machines) -> Tilings:
        """The tilings on each machine."""
        names = ("refusal", "dataflow", "batch", "m", "n", "k", "swapped", "estimate", "tiles")
        shape = (len(machines), len(self._gemms))
        found = {name: np.zeros(shape, np.int64) for name in names[1:]}
        refusal: list[Unsupported | None] = [None] * len(machines)
        sharing: dict[Hashable, list[int]] = defaultdict(list)
        accelerators = [machines[number] for number in range(len(machines))]
        for number, each in enumerate(accelerators):
            sharing[_segments_key(each)].append(number)
        for key, members in sharing.items():
            segments = self._segments.made(key, lambda at=members[0]: self._make(accelerators[at]))
            picked = np.zeros((len(members), len(segments.of), PICKED), np.int64)
            limits = np.zeros((len(members), len(segments.of), 3), np.int64)
            cycles = np.zeros((len(members), len(segments.gemm)), np.int64)
            room = np.empty(2 * len(segments.gemm), np.int64), np.empty(2 * len(segments.gemm), np.int64)
            for row, number in enumerate(members):
                accelerator = accelerators[number]
                columns = self._columns(segments, key, accelerator)
                cycles[row], limits[row] = columns.array, self._limit(segments, key, accelerator)
                slots = accelerator.a_buffer.slots, accelerator.b_buffer.slots
                _pick(segments.starts, columns, limits[row], *slots, *room, picked[row])
            self._take(segments, picked, limits, cycles, np.array(members), found, refusal)
        return Tilings(refusal=refusal, **found)

    def runs(self, gemm: int, name: Literal["a", "b", "c"], accelerator: Accelerator) -> Runs:
        """Of an operand or the result of a GEMM; results have the same for all."""
        kind = accelerator.pe.format, accelerator.implicit_im2col
        key = ("c", *kind) if name == "c" else (gemm, name, *kind)
        if key not in self._runs:
            pregenerate = self._mapping.pregenerate
            self._runs[key] = (
                runs_of_result(accelerator)
                if name == "c"
                else runs_of_operand(self._gemms[gemm], name, accelerator, pregenerate=pregenerate)
            )
        return self._runs[key]

    def _make(self, accelerator: Accelerator) -> _Segments:
        mapping = self._mapping
        refusal: list[Unsupported | None] = [None] * len(self._gemms)
        of: list[tuple[int, Dataflow]] = []
        flows = len(accelerator.array.dataflows)
        first = np.full((flows, len(self._gemms)), -1, np.int64)
        parts: list[Candidates] = []
        runs: dict[str, list[tuple[Ints, Ints]]] = {"a": [], "b": [], "c": []}
        for number, gemm in enumerate(self._gemms):
            try:
                allowed = mapping.candidates(gemm.stage, accelerator.array)
            except UnsupportedError as error:
                refusal[number] = error.reason
                continue
            for at, dataflow in enumerate(allowed):
                try:
                    check_pattern(gemm, accelerator, dataflow)
                except UnsupportedError as error:
                    refusal[number] = error.reason if at == 0 else refusal[number]
                    continue
                sizes = sizes_of(gemm, accelerator, dataflow, mapping.pregenerate)
                first[at, number] = len(of)
                of.append((number, dataflow))
                parts.append(candidates(sizes))
                for side in SIDES:
                    runs[side].append(self.runs(number, side, accelerator).candidates(sizes))
                runs["c"].append(self.runs(number, "c", accelerator).candidates(sizes))
        lengths = [len(part.m) for part in parts]
        segment = np.repeat(np.arange(len(of)), lengths)
        gemm_of = np.array([number for number, _ in of], np.int64)[segment]
        tiles = Candidates(*(_joined([part[dim] for part in parts]) for dim in range(4)))
        whole = self._whole(gemm_of)
        held: dict[tuple[Side, Dataflow, Pattern, bool, bool], list[int]] = defaultdict(list)
        timed: dict[tuple[Dataflow, Pattern, Side], list[int]] = defaultdict(list)
        for at, (number, dataflow) in enumerate(of):
            gemm = self._gemms[number]
            timed[dataflow, gemm.pattern, gemm.sparse_operand].append(at)
            for side in SIDES:
                kept = stored_kept(gemm, side, pregenerate=mapping.pregenerate)
                held[side, dataflow, gemm.pattern, kept, gemm.lines_fastest(side)].append(at)
        return _Segments(
            gemms=self._gemms,
            refusal=refusal,
            of=of,
            first=first,
            starts=np.cumsum([0, *lengths], dtype=np.int64),
            gemm=gemm_of,
            flow=np.array([DATAFLOWS.index(flow) for _, flow in of], np.int64)[segment],
            tiles=tiles,
            counts=tuple(ceil_div(all_of, size) for all_of, size in zip(whole, tiles, strict=True)),
            runs={name: (_joined([r for r, _ in some]), _joined([b for _, b in some])) for name, some in runs.items()},
            mapped={
                side: np.array([feature_map(gemm, side, accelerator) for gemm in self._gemms], np.bool_)[gemm_of]
                for side in SIDES
            },
            held={alike: np.flatnonzero(np.isin(segment, some)) for alike, some in held.items()},
            timed={alike: np.flatnonzero(np.isin(segment, some)) for alike, some in timed.items()},
        )

    def _whole(self, gemm: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        batch, m, n, k = (np.array([getattr(each, dim) for each in self._gemms], np.int64)[gemm] for dim in ("batch", *"mnk"))
        return batch, m, n, k

    def _columns(self, segments: _Segments, key: Hashable, accelerator: Accelerator) -> Columns:
        ports = tuple(getattr(accelerator, f"{name}_buffer").bits_per_cycle for name in "abc")
        memory = accelerator.dram, accelerator.clock_hz, accelerator.pruner if self.at_use else None
        held = self._bytes.made((key, bus_bytes(accelerator)), lambda: self._held(segments, accelerator))
        loads = self._loads.made((key, memory), lambda: self._transfers(segments, accelerator))
        array = self._arrays.made((key, accelerator.array, accelerator.pe, ports), lambda: self._array(segments, accelerator))
        return Columns(*held, *loads, array, *segments.counts)

    def _held(self, segments: _Segments, accelerator: Accelerator) -> tuple[Ints, Ints, Ints]:
        found = {name: np.zeros(len(segments.gemm), np.int64) for name in "abc"}
        for (side, dataflow, pattern, kept, across), which in segments.held.items():
            tiles = Candidates(*(column[which] for column in segments.tiles))
            found[side][which] = operand_held(accelerator, dataflow, side, pattern, tiles, kept=kept, across=across)
        for side, mapped in segments.mapped.items():
            runs, run_bytes = segments.runs[side]
            found[side] = np.where(mapped, runs * run_bytes, found[side])
        for number, dataflow in enumerate(DATAFLOWS):
            which = np.flatnonzero(segments.flow == number)
            found["c"][which] = result_held(accelerator, dataflow, Candidates(*(column[which] for column in segments.tiles)))
        return found["a"], found["b"], found["c"]

    def _transfers(self, segments: _Segments, accelerator: Accelerator) -> tuple[Ints, Ints, Ints]:
        dram, clock = accelerator.dram, accelerator.clock_hz
        found = {name: dram.transfer_cycles(*runs, clock) for name, runs in segments.runs.items()}
        for at, (number, _) in enumerate(segments.of):
            gemm, part = self._gemms[number], slice(segments.starts[at], segments.starts[at + 1])
            for side in SIDES:
                if gemm.operand(side).pruned_at_use(pregenerate=self._mapping.pregenerate):
                    tiles = Candidates(*(column[part] for column in segments.tiles))
                    found[side][part] = np.maximum(found[side][part], prune_cycles(gemm, side, accelerator, tiles))
        return found["a"], found["b"], found["c"]

    def _array(self, segments: _Segments, accelerator: Accelerator) -> Ints:
        found = np.zeros(len(segments.gemm), np.int64)
        for (dataflow, pattern, sparse), which in segments.timed.items():
            tiles = Candidates(*(column[which] for column in segments.tiles))
            whole = self._whole(segments.gemm[which])
            found[which] = array_cycles(accelerator, dataflow, pattern, sparse, whole, tiles)
        return found

    def _limit(self, segments: _Segments, key: Hashable, accelerator: Accelerator) -> Ints:
        """By segment: bytes of a slot of a, b, c."""
        buffers = tuple(getattr(accelerator, f"{name}_buffer").slot_bytes for name in "abc")

        def make() -> Ints:
            known: dict[Hashable, tuple[int, int, int]] = {}
            limits: list[tuple[int, int, int]] = []
            for number, _ in segments.of:
                gemm = self._gemms[number]
                alike = tuple(feature_map(gemm, side, accelerator) for side in SIDES)
                if alike not in known:
                    known[alike] = slot_limits(gemm, accelerator)
                limits.append(known[alike])
            return np.array(limits, np.int64).reshape(-1, 3)

        return self._limits.made((key, bus_bytes(accelerator), buffers), make)

    def _take(
        self,
        segments: _Segments,
        picked: Ints,
        limits: Ints,
        cycles: Ints,
        members: Ints,
        found: dict[str, Ints],
        refusal: list[Unsupported | None],
    ) -> None:
        """The best dataflow of each GEMM, those named first before others that are as good; and why there is none."""
        rows = np.arange(len(members))[:, None]
        best, least = np.full((len(members), len(self._gemms)), -1), np.zeros((len(members), len(self._gemms)), np.int64)
        for at in segments.first if segments.of else ():
            there = picked[:, at]
            better = (at >= 0) & (there[:, :, 0] == 0) & ((best < 0) | (there[:, :, 4] < least))
            best, least = np.where(better, at, best), np.where(better, there[:, :, 4], least)
        runs = (best >= 0).all(axis=1)
        if runs.any():
            fine, chosen = members[runs], picked[rows, best][runs]
            candidate = chosen[:, :, 1]
            for name, column in zip(("batch", "m", "n", "k"), segments.tiles, strict=True):
                found[name][fine] = column[candidate]
            found["dataflow"][fine] = segments.flow[candidate]
            found["swapped"][fine] = chosen[:, :, 2]
            found["estimate"][fine] = np.maximum(chosen[:, :, 3], cycles[np.flatnonzero(runs)[:, None], candidate])
            found["tiles"][fine] = chosen[:, :, 5]
        for row in np.flatnonzero(~runs):
            gemm = int(np.argmax(best[row] < 0))
            if (reason := segments.refusal[gemm]) is None:
                segment = segments.first[0, gemm]
                unfit, demand = (int(value) for value in picked[row, segment, :2])
                limit = limits[row, segment]
                reason = Unsupported((*BUFFERS, JOINT)[unfit - 1], demand, int((*limit, limit.sum())[unfit - 1]))
            refusal[members[row]] = reason


def _segments_key(accelerator: Accelerator) -> Hashable:
    """What of the machine the candidates, their runs, and what they take up in a buffer depend on, but for the bus."""
    array, pe = accelerator.array, accelerator.pe
    memory = accelerator.dram.burst_bytes, accelerator.implicit_im2col
    return array.rows, array.cols, array.dataflows, pe.format, pe.group, pe.lanes, pe.registers, *memory


def _joined(columns: list[Ints]) -> Ints:
    return np.concatenate([np.zeros(0, np.int64), *columns])
