"""A pass of equal chunks through the work buffer's slots: the first worked out one by one, the others in the same period."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.analytic import Ints
from simulator.schedule import Engine

__all__ = ["Pass", "kept_chunks", "pipeline"]


@dataclass(slots=True)
class Pass:
    """A pass of an operation: its usual chunk's transfers and units, as (busy, complete), and how many chunks it has."""

    reads: list[tuple[int, int]]
    units: list[tuple[Engine, int, int]]
    writes: list[tuple[int, int]]
    chunks: int
    slots: int
    dispatch: int
    token: int

    @property
    def flow(self) -> int:
        """Cycles of a chunk if nothing but the busiest of port and units mattered."""
        busy = {"port": sum(busy for busy, _ in (*self.reads, *self.writes))}
        for unit, cycles, _ in self.units:
            busy[unit.value] = busy.get(unit.value, 0) + cycles
        return max(busy.values())

    @property
    def way(self) -> int:
        """Cycles of a chunk alone, from its first load to its last store."""
        ends = [moves[-1][1] - moves[-1][0] for moves in (self.reads, self.writes) if moves]
        stages = sum(complete + self.token for _, _, complete in self.units) + self.token * bool(self.reads)
        return sum(busy for busy, _ in (*self.reads, *self.writes)) + sum(ends) + stages


def kept_chunks(slots: int) -> int:
    """Chunks worked out one by one, at most: some until their period is steady, those that it is measured over, the last."""
    return 3 + 3 * slots


class _Moves:
    """Transfers of a chunk, one behind the other: by transfer and lane, cycles of the port, and to the result."""

    def __init__(self, lanes: Sequence[list[tuple[int, int]]]) -> None:
        table = np.array(lanes, np.int64).reshape(len(lanes), -1, 2)
        self.count = table.shape[1]
        padded = np.concatenate([table, np.zeros((len(lanes), 1, 2), np.int64)], axis=1)
        self._lane = np.arange(len(lanes))
        self._busy, self._complete = padded[:, :, 0], padded[:, :, 1]

    def busy(self, which: Ints) -> Ints:
        return self._busy[self._lane, which]

    def complete(self, which: Ints) -> Ints:
        return self._complete[self._lane, which]


def pipeline(passes: Sequence[Pass], slots: int, kept: int) -> Ints:
    """Cycles of passes of like structure, one a lane. A chunk's stores share the port with the loads of the chunk that takes
    the slot of the one before; they are served in order of request."""
    reads, writes = _Moves([each.reads for each in passes]), _Moves([each.writes for each in passes])
    count, dispatch, token = (
        np.array([getattr(each, name) for each in passes], np.int64) for name in ("chunks", "dispatch", "token")
    )
    units = [
        (unit, *np.array([each.units[number][1:] for each in passes], np.int64).T)
        for number, (unit, _, _) in enumerate(passes[0].units)
    ]
    zero = np.zeros(len(passes), np.int64)
    port = _SharedPort(reads, writes, dispatch)
    free = dict.fromkeys((unit for unit, _, _ in units), zero)
    ready: dict[int, Ints] = {}  # by chunk: when its loads' token is there
    stored: dict[int, Ints] = {}  # by chunk: when its slot may be filled again
    ends: list[Ints] = []
    for chunk in range(min(slots - 1, kept)):
        ready[chunk] = port.serve(dispatch, None)[0] + token
    for chunk in range(kept):
        if slots == 1:
            ready[chunk] = port.serve(stored.get(chunk - 1, dispatch), None)[0] + token
        done = ready[chunk]
        for unit, busy, complete in units:
            start = np.maximum(done, free[unit])
            free[unit] = start + busy
            done = start + complete + token
        ends.append(free[units[0][0]])
        ahead = chunk + slots - 1
        load = stored.get(ahead - slots, dispatch) if slots > 1 and ahead < kept else None
        loaded, stored[chunk] = port.serve(load, done)
        stored[chunk] = (stored[chunk] if writes.count else done - token) + token
        if load is not None:
            ready[ahead] = loaded + token
    window = 2 * slots
    total = stored[kept - 1] - token
    if kept == kept_chunks(slots):
        at = kept - 1 - slots
        total = total + (count - kept) * (ends[at] - ends[at - window]) // window
    return total


class _SharedPort:
    """The port between a chunk's stores and another's loads, each in order."""

    def __init__(self, reads: _Moves, writes: _Moves, begin: Ints) -> None:
        self._reads, self._writes, self._free = reads, writes, begin
        self._loaded, self._stored = begin, begin  # when the engines' last results are complete

    def serve(self, load: Ints | None, store: Ints | None) -> tuple[Ints, Ints]:
        """Loads that may begin at `load` and stores that may at `store`, in order of request; when both are complete."""
        nothing = np.full(len(self._free), np.iinfo(np.int64).max // 2)
        zero = np.zeros(len(self._free), np.int64)
        loads, stores = (self._reads.count if load is not None else 0), (self._writes.count if store is not None else 0)
        load_at, store_at = zero, zero
        load_asks = load if load is not None and loads else nothing
        store_asks = store if store is not None and stores else nothing
        if load is not None and not loads:
            self._loaded = np.maximum(self._loaded, load)
        for _ in range(loads + stores):
            loading = load_asks <= store_asks
            granted = np.maximum(self._free, np.where(loading, load_asks, store_asks))
            busy = np.where(loading, self._reads.busy(load_at), self._writes.busy(store_at))
            complete = granted + np.where(loading, self._reads.complete(load_at), self._writes.complete(store_at))
            self._free = granted + busy
            self._loaded = np.where(loading, np.maximum(self._loaded, complete), self._loaded)
            self._stored = np.where(loading, self._stored, np.maximum(self._stored, complete))
            load_at, store_at = load_at + loading, store_at + ~loading
            load_asks = np.where(loading, np.where(load_at < loads, self._free, nothing), load_asks)
            store_asks = np.where(loading, store_asks, np.where(store_at < stores, self._free, nothing))
        return self._loaded, self._stored
