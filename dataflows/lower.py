"""Each operation as steps of commands: loads, the work on a tile, the store, with the tokens that order them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from dataflows.mapping import Mapping
from dataflows.tiling import Tiling, tiles
from dataflows.traffic import operand_runs, result_runs, tensor_bytes, update_bytes
from simulator import schedule as cmd
from simulator.arch import Accelerator, Buffer, ceil_div
from simulator.schedule import Command, Engine, Wait
from workloads.gemm import Gemm
from workloads.graph import read_names, write_names
from workloads.ops import Prune, Update, Vector
from workloads.sparsity import NM

__all__ = ["Lowering", "Step", "gemm_tiles", "work_chunks"]

Step = tuple[list[Command], int]
"""Commands that belong together, and an estimate of the cycles that they take."""

_OPERAND_ENGINE: dict[str, Literal[Engine.LOAD_A, Engine.LOAD_B]] = {"a": Engine.LOAD_A, "b": Engine.LOAD_B}


@dataclass(slots=True)
class _Slots:
    """The slots of one buffer: which tile each holds, since when, and who must be done before it is overwritten."""

    spec: Buffer
    tile: list[object] = field(init=False)
    ready: list[Wait | None] = field(init=False)  # when the tile is there
    free: list[Wait | None] = field(init=False)  # when the slot may be overwritten
    used: list[int] = field(init=False)
    clock: int = 0

    def __post_init__(self) -> None:
        count = self.spec.slots
        self.tile, self.ready, self.free, self.used = [None] * count, [None] * count, [None] * count, [0] * count

    def find(self, tile: object) -> int | None:
        return self.tile.index(tile) if tile in self.tile else None

    def take(self, tile: object) -> int:
        """The least recently used slot, for another tile."""
        slot = self.used.index(min(self.used))
        self.tile[slot] = tile
        self.touch(slot)
        return slot

    def touch(self, slot: int) -> None:
        self.clock += 1
        self.used[slot] = self.clock


class Lowering:
    """Emits the commands of one workload's operations; keeps count of them, as the engines' token counters will."""

    def __init__(self, accelerator: Accelerator, mapping: Mapping) -> None:
        self._acc, self._map = accelerator, mapping
        self._count = dict.fromkeys(Engine, 0)
        self._a, self._b = _Slots(accelerator.a_buffer), _Slots(accelerator.b_buffer)
        self._c, self._work = _Slots(accelerator.c_buffer), _Slots(accelerator.work_buffer)
        self._written: dict[str, dict[Engine, int]] = {}  # by tensor: counts after which it is in memory
        self._weight_reads: dict[str, dict[Engine, int]] = {}  # by parameter: counts after which nobody reads the old weights

    def _done(self, command: Command) -> Wait:
        """Register a command; the token that says it has finished."""
        self._count[command.engine] += 1
        return Wait(command.engine, self._count[command.engine])

    def _inputs(self, *names: str) -> dict[Engine, int]:
        """Tokens for tensors that earlier operations of this step write."""
        needed: dict[Engine, int] = {}
        for name in names:
            _merge(needed, self._written.get(name, {}))
        return needed

    def _finish(self, op: Gemm | Vector | Prune | Update, needed: dict[Engine, int]) -> None:
        for name in write_names(op):
            _merge(self._written.setdefault(name, {}), needed)

    def skip(self, op: Vector) -> None:
        """Work that the host does in no time: what it writes is there as soon as what it reads."""
        self._finish(op, self._inputs(*read_names(op)))

    def gemm(self, op: Gemm, index: int, tiling: Tiling) -> Iterator[Step]:
        """Per tile: bring what is not on chip yet, prune it if it came dense, multiply; store after the last of k."""
        estimate = ceil_div(max(tiling.array_cycles, tiling.memory_cycles), gemm_tiles(op, tiling))
        previous: Wait | None = None
        stored: dict[Engine, int] = {}
        slot_c = 0
        for tile in tiles(op, tiling):
            commands: list[Command] = []
            slot_b, ready_b = self._operand(op, index, "b", tile, commands)
            slot_a, ready_a = self._operand(op, index, "a", tile, commands)
            waits = {ready_a, ready_b}
            accumulate = tile.k.start > 0
            if accumulate:
                assert previous is not None
                waits.add(previous)
            else:
                slot_c = self._c.take(None)
                waits.add(self._c.free[slot_c])
            multiply = cmd.Multiply(
                op=index,
                dataflow=tiling.dataflow,
                tile=tile,
                pattern=op.pattern,
                sparse=op.sparse_operand,
                accumulate=accumulate,
                a_slot=slot_a,
                b_slot=slot_b,
                c_slot=slot_c,
                waits=_waits(waits),
            )
            commands.append(multiply)
            previous = self._done(multiply)
            self._a.free[slot_a] = self._b.free[slot_b] = previous
            if tile.k.stop == op.k:
                runs, run_bytes = result_runs(op, self._acc, len(tile.batch), len(tile.m), len(tile.n))
                store = cmd.Store(
                    op=index,
                    engine=Engine.STORE_C,
                    slot=slot_c,
                    runs=runs,
                    run_bytes=run_bytes,
                    waits=(previous,),
                    tile=tile,
                )
                commands.append(store)
                self._c.free[slot_c] = done = self._done(store)
                stored[done.engine] = done.commands
            yield commands, estimate
        self._finish(op, stored)

    def _operand(
        self, op: Gemm, index: int, side: Literal["a", "b"], tile: cmd.Tile, commands: list[Command]
    ) -> tuple[int, Wait | None]:
        """The slot that holds the operand's tile and the token for it; loads it, and prunes it, if it is not there."""
        slots, positions = (self._a, tile.m) if side == "a" else (self._b, tile.n)
        key = (index, tile.batch, positions, tile.k)
        if (slot := slots.find(key)) is not None:
            slots.touch(slot)
            return slot, slots.ready[slot]
        slot = slots.take(key)
        operand = op.operand(side)
        needed = self._inputs(operand.tensor)
        runs, run_bytes = operand_runs(
            op, side, self._acc, len(tile.batch), len(positions), len(tile.k), pregenerate=self._map.pregenerate
        )
        load = cmd.Load(
            op=index,
            engine=_OPERAND_ENGINE[side],
            slot=slot,
            runs=runs,
            run_bytes=run_bytes,
            waits=_waits({slots.free[slot]}, needed),
            tile=tile,
        )
        commands.append(load)
        ready = self._done(load)
        if operand.parameter:
            self._weight_reads.setdefault(operand.parameter, {})[ready.engine] = ready.commands
        if operand.pruned_at_use(pregenerate=self._map.pregenerate):
            assert isinstance(op.pattern, NM)
            prune = cmd.Prune(
                op=index,
                buffer=side,
                slot=slot,
                elements=len(tile.batch) * len(positions) * len(tile.k),
                pattern=op.pattern,
                waits=(ready,),
                tile=tile,
            )
            commands.append(prune)
            ready = self._done(prune)
        slots.ready[slot] = ready
        return slot, ready

    def vector(self, op: Vector, index: int) -> Iterator[Step]:
        """Chunks through the work buffer; twice where statistics of the whole tensor come first and it does not fit."""
        read, written = tensor_bytes(op.reads, self._acc), tensor_bytes(op.writes, self._acc)
        chunks = work_chunks(op, self._acc, pregenerate=self._map.pregenerate)
        passes = op.passes if chunks > 1 else 1
        needed, stored = self._inputs(*read_names(op)), dict[Engine, int]()
        for number in range(passes):
            last = number == passes - 1
            for _ in range(chunks):
                commands: list[Command] = []
                slot, ready = self._work_in(index, len(op.reads), ceil_div(read, chunks), needed, commands)
                vector = cmd.Vector(op=index, slot=slot, work=ceil_div(op.work, chunks * passes), waits=_waits({ready}))
                commands.append(vector)
                self._work.free[slot] = done = self._done(vector)
                if last and written:
                    self._work_out(index, slot, len(op.writes), ceil_div(written, chunks), {done}, stored, commands)
                else:
                    stored = {done.engine: done.commands}
                yield commands, self._estimate(ceil_div(read + written * last, chunks))
        self._finish(op, stored)

    def prune(self, op: Prune, index: int) -> Iterator[Step]:
        """Online pruning of a tensor of this step: dense in, compressed out."""
        elements = op.source.elements
        runs_in, read, runs_out, written = update_bytes(op, self._acc, elements, pregenerate=True)
        chunks = work_chunks(op, self._acc, pregenerate=True)
        share = ceil_div(elements, chunks)
        needed, stored = self._inputs(op.source.name), dict[Engine, int]()
        for _ in range(chunks):
            commands: list[Command] = []
            slot, ready = self._work_in(index, runs_in, ceil_div(read, chunks), needed, commands)
            done = self._prune_work(index, slot, share, op.pattern, ready, commands)
            if op.rescale:  # L1 norms before and after, then the scale
                vector = cmd.Vector(op=index, slot=slot, work=2 * share, waits=(done,))
                commands.append(vector)
                done = self._done(vector)
            self._work_out(index, slot, runs_out, ceil_div(written, chunks), {done}, stored, commands)
            yield commands, self._estimate(ceil_div(read + written, chunks))
        self._finish(op, stored)

    def update(self, op: Update, index: int) -> Iterator[Step]:
        """The optimizer on master weights and state, then the copies that the next step's GEMMs read."""
        pregenerate = self._map.pregenerate
        runs_in, read, runs_out, written = update_bytes(op, self._acc, op.elements, pregenerate=pregenerate)
        chunks = work_chunks(op, self._acc, pregenerate=pregenerate)
        share = ceil_div(op.elements, chunks)
        needed = self._inputs(op.gradient)
        readers = self._weight_reads.get(op.parameter, {})  # the new weights must not overtake them
        stored: dict[Engine, int] = {}
        for _ in range(chunks):
            commands: list[Command] = []
            slot, ready = self._work_in(index, runs_in, ceil_div(read, chunks), needed, commands)
            update = cmd.Update(op=index, slot=slot, elements=share, waits=_waits({ready}))
            commands.append(update)
            done = self._done(update)
            if op.mask_search:
                search = cmd.Vector(op=index, slot=slot, work=ceil_div(op.mask_search, chunks), waits=(done,))
                commands.append(search)
                done = self._done(search)
            for _, pattern in op.prune if pregenerate else ():
                done = self._prune_work(index, slot, share, pattern, done, commands)
            waits = {done, *(Wait(engine, count) for engine, count in readers.items())}
            self._work_out(index, slot, runs_out, ceil_div(written, chunks), waits, stored, commands)
            yield commands, self._estimate(ceil_div(read + written, chunks))
        self._finish(op, stored)

    def _estimate(self, size: int) -> int:
        return self._acc.dram.transfer_cycles(1, size, self._acc.clock_hz)

    def _work_in(
        self, index: int, runs: int, size: int, needed: dict[Engine, int], commands: list[Command]
    ) -> tuple[int, Wait | None]:
        """A work slot with `size` bytes loaded, and the token for it."""
        slot = self._work.take(None)
        free = self._work.free[slot]
        if not size:
            return slot, free
        load = cmd.Load(
            op=index,
            engine=Engine.LOAD_WORK,
            slot=slot,
            runs=runs,
            run_bytes=ceil_div(size, runs),
            waits=_waits({free}, needed),
        )
        commands.append(load)
        return slot, self._done(load)

    def _prune_work(
        self, index: int, slot: int, elements: int, pattern: NM, ready: Wait | None, commands: list[Command]
    ) -> Wait:
        prune = cmd.Prune(op=index, buffer="work", slot=slot, elements=elements, pattern=pattern, waits=_waits({ready}))
        commands.append(prune)
        return self._done(prune)

    def _work_out(
        self,
        index: int,
        slot: int,
        runs: int,
        size: int,
        waits: set[Wait],
        stored: dict[Engine, int],
        commands: list[Command],
    ) -> None:
        store = cmd.Store(
            op=index,
            engine=Engine.STORE_WORK,
            slot=slot,
            runs=runs,
            run_bytes=ceil_div(size, runs),
            waits=_waits(waits),  # pyright: ignore[reportArgumentType]
        )
        commands.append(store)
        self._work.free[slot] = done = self._done(store)
        stored[done.engine] = done.commands


def gemm_tiles(op: Gemm, tiling: Tiling) -> int:
    """How many tiles a tiling has."""
    return ceil_div(op.batch, tiling.batch) * ceil_div(op.m, tiling.m) * ceil_div(op.n, tiling.n) * ceil_div(op.k, tiling.k)


def work_chunks(op: Vector | Prune | Update, accelerator: Accelerator, *, pregenerate: bool) -> int:
    """How many parts an operation takes through the work buffer, what it reads and what it writes side by side."""
    if isinstance(op, Vector):
        size = tensor_bytes((*op.reads, *op.writes), accelerator)
    else:
        elements = op.source.elements if isinstance(op, Prune) else op.elements
        _, read, _, written = update_bytes(op, accelerator, elements, pregenerate=pregenerate)
        size = read + written
    return max(1, ceil_div(size, accelerator.work_buffer.slot_bytes))


def _merge(into: dict[Engine, int], more: dict[Engine, int]) -> None:
    for engine, count in more.items():
        into[engine] = max(into.get(engine, 0), count)


def _waits(tokens: set[Wait | None], more: dict[Engine, int] | None = None) -> tuple[Wait, ...]:
    """Tokens without duplicates: for each engine the latest."""
    latest = dict(more or {})
    for token in tokens:
        if token is not None:
            latest[token.engine] = max(latest.get(token.engine, 0), token.commands)
    return tuple(Wait(engine, latest[engine]) for engine in Engine if engine in latest)
