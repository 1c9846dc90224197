"""Each operation as steps of commands: loads, the work on a tile, the store, with the tokens that order them."""

from collections.abc import Iterator
from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from dataflows.chunks import COPY, GRADIENT, MASK, PACKED, SOURCE, STATE, WEIGHT, Chunk, chunks_of, packed_planes
from dataflows.mapping import Mapping
from dataflows.tiling import Tiling, tiles
from dataflows.traffic import operand_runs, result_runs
from simulator import schedule as cmd
from simulator.arch import Accelerator, Buffer, ceil_div
from simulator.encoding import PLANES
from simulator.schedule import Command, Engine, Wait
from workloads.gemm import Gemm
from workloads.graph import read_names, write_names
from workloads.ops import Prune, Update, Vector
from workloads.sparsity import NM

__all__ = ["Lowering", "Step", "gemm_tiles"]

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
    """Emits the commands of one workload's operations; keeps count of them, as the engines' token counters will.

    `rows` has, by operation, the elements of a row of memory: of an update's weight, or of a tensor pruned down its rows.
    """

    def __init__(self, accelerator: Accelerator, mapping: Mapping, rows: Table[str, int] = MappingProxyType({})) -> None:
        self._acc, self._map, self._rows = accelerator, mapping, rows
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
                runs, run_bytes = result_runs(self._acc, len(tile.batch), len(tile.m), len(tile.n))
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
                across=op.lines_fastest(side),
            )
            commands.append(prune)
            ready = self._done(prune)
        slots.ready[slot] = ready
        return slot, ready

    def vector(self, op: Vector, index: int) -> Iterator[Step]:
        """Chunks through the work buffer; twice where statistics of the whole tensor come first and it does not fit."""
        chunks = list(chunks_of(op, self._acc, pregenerate=self._map.pregenerate))
        needed, stored = self._inputs(*read_names(op)), dict[Engine, int]()
        y, out = int(len(op.reads) > 1), len(op.reads) % PLANES if op.writes else 0
        passes = len(chunks[0].work)
        for number in range(passes):
            last = number == passes - 1
            for chunk in chunks:
                commands: list[Command] = []
                slot, ready = self._work_in(index, chunk, needed, commands)
                waits, work = _waits({ready}), chunk.work[number]
                vector = cmd.Vector(op=index, slot=slot, work=work, waits=waits, operation=op.operation, y=y, out=out)
                commands.append(vector)
                self._work.free[slot] = done = self._done(vector)
                if last and chunk.writes:
                    self._work_out(index, slot, chunk, {done}, stored, commands)
                elif not last or not op.writes:
                    stored = {done.engine: done.commands}
                yield commands, self._estimate(chunk, write=last)
        self._finish(op, stored)

    def prune(self, op: Prune, index: int) -> Iterator[Step]:
        """Online pruning of a tensor of this step: dense in, compressed out."""
        row = self._rows.get(op.name, 0)
        needed, stored = self._inputs(op.source.name), dict[Engine, int]()
        for chunk in chunks_of(op, self._acc, pregenerate=True, row_elements=row):
            commands: list[Command] = []
            slot, ready = self._work_in(index, chunk, needed, commands)
            done = self._prune_work(index, slot, chunk, op.pattern, ready, commands, source=SOURCE, row=row, across=row > 0)
            for work in chunk.work:
                vector = cmd.Vector(
                    op=index, slot=slot, work=work, waits=(done,), operation="rescale", x=PACKED, y=PACKED, out=PACKED
                )
                commands.append(vector)
                done = self._done(vector)
            self._work_out(index, slot, chunk, {done}, stored, commands)
            yield commands, self._estimate(chunk)
        self._finish(op, stored)

    def update(self, op: Update, index: int) -> Iterator[Step]:
        """The optimizer on master weights and state, then the copies that the next step's GEMMs read."""
        pregenerate, row = self._map.pregenerate, self._rows.get(op.name, 0)
        needed = self._inputs(op.gradient)
        readers = self._weight_reads.get(op.parameter, {})  # the new weights must not overtake them
        stored: dict[Engine, int] = {}
        for chunk in chunks_of(op, self._acc, pregenerate=pregenerate, row_elements=row):
            commands: list[Command] = []
            slot, ready = self._work_in(index, chunk, needed, commands)
            update = cmd.Update(
                op=index,
                slot=slot,
                elements=chunk.elements,
                waits=_waits({ready}),
                weight=WEIGHT,
                velocity=STATE[0],
                gradient=GRADIENT,
                copy=COPY,
                mask=MASK,
                masked=op.decay,
                second=STATE[1],
                adam=op.optimizer.is_adam,
            )
            commands.append(update)
            done = self._done(update)
            for work in chunk.work:
                search = cmd.Vector(
                    op=index, slot=slot, work=work, waits=(done,), operation="mask_search", x=COPY, y=COPY, out=COPY
                )
                commands.append(search)
                done = self._done(search)
            for copy, (stage, pattern) in enumerate(op.prune if pregenerate else ()):
                across = stage == "bp"  # down the rows of W, O x I; the forward copy's groups lie along them
                done = self._prune_work(
                    index, slot, chunk, pattern, done, commands, source=COPY, row=row, across=across, copy=copy
                )
            waits = {done, *(Wait(engine, count) for engine, count in readers.items())}
            self._work_out(index, slot, chunk, waits, stored, commands)
            yield commands, self._estimate(chunk)
        self._finish(op, stored)

    def _estimate(self, chunk: Chunk, *, write: bool = True) -> int:
        moves = (*chunk.reads, *chunk.writes) if write else chunk.reads
        return self._acc.dram.transfer_cycles(1, sum(move.rows * move.bytes for move in moves), self._acc.clock_hz)

    def _work_in(self, index: int, chunk: Chunk, needed: dict[Engine, int], commands: list[Command]) -> tuple[int, Wait | None]:
        """A work slot with what the chunk reads, each tensor in its plane, and the token for the last of it."""
        slot = self._work.take(None)
        ready = self._work.free[slot]
        waits = _waits({ready}, needed)
        for move in chunk.reads:
            load = cmd.Load(
                op=index, engine=Engine.LOAD_WORK, slot=slot, runs=1, run_bytes=move.bytes, waits=waits, plane=move.plane
            )
            commands.append(load)
            ready = self._done(load)
        return slot, ready

    def _prune_work(
        self,
        index: int,
        slot: int,
        chunk: Chunk,
        pattern: NM,
        ready: Wait | None,
        commands: list[Command],
        *,
        source: int,
        row: int,
        across: bool,
        copy: int = 0,
    ) -> Wait:
        values, indices = packed_planes(copy)
        prune = cmd.Prune(
            op=index,
            buffer="work",
            slot=slot,
            elements=chunk.elements,
            pattern=pattern,
            waits=_waits({ready}),
            across=across,
            row_elements=row,
            source=source,
            values=values,
            indices=indices,
        )
        commands.append(prune)
        return self._done(prune)

    def _work_out(
        self, index: int, slot: int, chunk: Chunk, waits: set[Wait], stored: dict[Engine, int], commands: list[Command]
    ) -> None:
        tokens = _waits({*waits})
        for move in chunk.writes:
            store = cmd.Store(
                op=index,
                engine=Engine.STORE_WORK,
                slot=slot,
                runs=move.rows,
                run_bytes=move.bytes,
                waits=tokens,
                plane=move.plane,
                pattern=move.pattern,
                indices=move.indices,
                entries=move.entries,
            )
            commands.append(store)
            self._work.free[slot] = done = self._done(store)
            stored[done.engine] = done.commands


def gemm_tiles(op: Gemm, tiling: Tiling) -> int:
    """How many tiles a tiling has."""
    return ceil_div(op.batch, tiling.batch) * ceil_div(op.m, tiling.m) * ceil_div(op.n, tiling.n) * ceil_div(op.k, tiling.k)


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
