"""The golden model: what every command does to values, bit for bit as the RTL must do it.

Values and the order of additions are those of `simulator.arithmetic`; a tile of k starts at a multiple of the step (the
group, or the lanes), so that tiling doesn't change them.

The model also checks the program it runs: reading a slot that holds nothing or another tile, storing an unfinished sum,
and leaving an output unstored raise `GoldenError`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, assert_never

import numpy as np

from simulator.arch import Accelerator
from simulator.arithmetic import (
    Packed,
    Values,
    accumulator_dtype,
    compress,
    multiply_dense,
    multiply_sparse,
    operand_dtype,
    quantize,
    to_result,
)
from simulator.schedule import Command, Engine, Load, Multiply, Program, Prune, Store, Tile, Update, Vector
from workloads.gemm import Gemm
from workloads.sparsity import NM

__all__ = ["GoldenError", "execute"]


class GoldenError(RuntimeError):
    """The program does what the machine must not: reads what is not there, or leaves work undone."""


def execute(program: Program, tensors: Mapping[str, Values], accelerator: Accelerator) -> dict[str, Values]:
    """Run a program on values, in program order; returns each GEMM's output (batch, m, n) in the result format.

    `tensors` holds every operand as the lowered GEMM matrix, dense even where its pattern is N:M: A (batch, m, k),
    B (batch, k, n), in the operand format as `quantize` makes it. It is looked up as ``"<op name>.a"`` (or ``.b``) and
    then by the operand's tensor name: the former serves a tensor that GEMMs lower differently (W and its transpose).
    An output is named `Gemm.c`, or the op's name where several GEMMs write parts of one tensor. Memory's copy of an N:M
    operand without a Prune command is ``compress(dense)``. Work slots carry no values (see `sgd_momentum`), but must
    be loaded before use. Raises GoldenError for a wrong program, ValueError for unfit tensors.
    """
    machine = _Machine(program, tensors, accelerator)
    finished: Counter[Engine] = Counter()
    for command in program:
        for engine, count in command.waits:
            if count > finished[engine]:
                raise GoldenError(f"Wait ({engine.value}, {count}) of {command!r} must name commands before it, not later")
        machine.step(command)
        finished[command.engine] += 1
    return machine.results()


def _inside(tile: Tile, op: Gemm) -> bool:
    return all(
        0 <= part.start < part.stop <= size and part.step == 1
        for part, size in zip(tile, (op.batch, op.m, op.n, op.k), strict=True)
    )


def _turn(matrices: Values) -> Values:
    return matrices.transpose(0, 2, 1)


def _dense(content: Values | Packed) -> Values:
    assert not isinstance(content, Packed)  # a Prune takes only the N:M operand: it must name that operand's pattern
    return content


class _Region(NamedTuple):
    """Which part of which GEMM's matrix a slot holds: A (batch, m, k), B (batch, k, n) or C (batch, m, n)."""

    op: int
    batch: range
    rows: range
    cols: range

    @property
    def box(self) -> tuple[slice, slice, slice]:
        return (
            slice(self.batch.start, self.batch.stop),
            slice(self.rows.start, self.rows.stop),
            slice(self.cols.start, self.cols.stop),
        )


def _region(op: int, matrix: Literal["a", "b", "c"], tile: Tile) -> _Region:
    rows = tile.k if matrix == "b" else tile.m
    return _Region(op, tile.batch, rows, tile.k if matrix == "a" else tile.n)


@dataclass(slots=True)
class _Operand:
    region: _Region
    content: Values | Packed  # dense as loaded, or packed by a Prune


@dataclass(slots=True)
class _Sums:
    region: _Region
    values: Values
    reduced: int  # k up to which the sums are complete


class _Machine:
    """Memory and buffer slots while a program runs."""

    def __init__(self, program: Program, tensors: Mapping[str, Values], accelerator: Accelerator) -> None:
        self.ops = program.ops
        self.tensors = tensors
        self.pe = accelerator.pe
        self.slots = {
            "a": accelerator.a_buffer.slots,
            "b": accelerator.b_buffer.slots,
            "c": accelerator.c_buffer.slots,
            "work": accelerator.work_buffer.slots,
        }
        self.operands: dict[tuple[str, int], _Operand] = {}
        self.sums: dict[int, _Sums] = {}
        self.work: dict[int, int] = {}  # the operation whose data a work slot holds
        gemms = {i: op for i, op in enumerate(program.ops) if isinstance(op, Gemm)}
        empty = to_result(self.pe.number, np.zeros((), accumulator_dtype(self.pe.number)))
        self.outputs = {i: np.full((op.batch, op.m, op.n), empty) for i, op in gemms.items()}
        self.stored = {i: np.zeros(output.shape, np.bool_) for i, output in self.outputs.items()}
        self.memory = {(i, side): self._matrix(op, side) for i, op in gemms.items() for side in ("a", "b")}

    def step(self, command: Command) -> None:
        match command:
            case Load(engine=Engine.LOAD_WORK):
                self._check_slot("work", command.slot, command)
                self.work[command.slot] = command.op
            case Load():
                side = "a" if command.engine is Engine.LOAD_A else "b"
                self._check_slot(side, command.slot, command)
                region = _region(command.op, side, self._tile(command))
                self.operands[side, command.slot] = _Operand(region, self.memory[command.op, side][region.box].copy())
            case Multiply():
                self._multiply(command)
            case Prune(buffer="a" | "b"):
                self._prune(command, "a" if command.buffer == "a" else "b")
            case Vector():
                self._check_slot("work", command.slot, command)
                self.work[command.slot] = command.op  # it may write without having read
            case Prune() | Update() | Store(engine=Engine.STORE_WORK):
                if self.work.get(command.slot) != command.op:
                    raise GoldenError(f"Slot {command.slot} of buffer 'work' must hold operation {command.op} for {command!r}")
            case Store():
                self._store(command)
            case _:
                assert_never(command)

    def results(self) -> dict[str, Values]:
        """Every output, each element stored. Raises GoldenError otherwise."""
        results: dict[str, Values] = {}
        writers = Counter(op.c for op in self.ops if isinstance(op, Gemm))
        for i, output in self.outputs.items():
            op = self._gemm(i)
            if not self.stored[i].all():
                missing = int(np.count_nonzero(~self.stored[i]))
                raise GoldenError(f"Output {op.c!r} of {op.name!r} must be stored whole, not {missing} elements short")
            results[op.c if writers[op.c] == 1 else op.name] = output
        return results

    def _matrix(self, op: Gemm, side: Literal["a", "b"]) -> Values:
        name = op.operand(side).tensor
        key = f"{op.name}.{side}"
        key = key if key in self.tensors else name
        if key not in self.tensors:
            raise ValueError(f"Tensor {name!r} must be given for operand {side} of {op.name!r}, not left out")
        matrix, dtype = self.tensors[key], operand_dtype(self.pe.number)
        shape = (op.batch, op.m, op.k) if side == "a" else (op.batch, op.k, op.n)
        if matrix.shape != shape or matrix.dtype != dtype:
            raise ValueError(f"Tensor {key!r} must be {dtype} of shape {shape}, not {matrix.dtype} of shape {matrix.shape}")
        if quantize(self.pe.number, matrix).tobytes() != matrix.tobytes():
            raise ValueError(f"Tensor {key!r} must hold only {self.pe.format} values as quantize makes them, not others")
        return matrix

    def _gemm(self, index: int) -> Gemm:
        op = self.ops[index]
        if not isinstance(op, Gemm):
            raise GoldenError(f"Operation {op.name!r} must be a Gemm, not {type(op).__name__!r}")
        return op

    def _tile(self, command: Load | Multiply | Prune | Store) -> Tile:
        op, tile = self._gemm(command.op), command.tile
        if tile is None or not _inside(tile, op):
            raise GoldenError(f"Tile of {type(command).__name__} must lie within Gemm {op.name!r}, not {tile!r}")
        step = self.pe.depth(op.pattern)
        if tile.k.start % step or (tile.k.stop % step and tile.k.stop != op.k):
            raise GoldenError(f"Tile of {op.name!r} must split k into whole steps of {step}, not {tile.k!r}")
        return tile

    def _check_slot(self, buffer: str, slot: int, command: Command) -> None:
        if not 0 <= slot < self.slots[buffer]:
            raise GoldenError(f"Slot of buffer {buffer!r} must be below {self.slots[buffer]}, not {slot} in {command!r}")

    def _operand(self, side: Literal["a", "b"], slot: int, command: Multiply | Prune) -> _Operand:
        region = _region(command.op, side, self._tile(command))
        held = self.operands.get((side, slot))
        if held is None or held.region != region:
            found = "an unloaded slot" if held is None else held.region
            raise GoldenError(f"Slot {slot} of buffer {side!r} must hold {region} for {type(command).__name__}, not {found}")
        return held

    def _prune(self, command: Prune, side: Literal["a", "b"]) -> None:
        op, held = self._gemm(command.op), self._operand(side, command.slot, command)
        pattern = op.a.pattern if side == "a" else op.b.pattern
        if command.pattern != pattern:
            raise GoldenError(f"Prune of operand {side} of {op.name!r} must use its pattern {pattern}, not {command.pattern}")
        if isinstance(held.content, Packed):
            raise GoldenError(f"Slot {command.slot} of buffer {side!r} must be dense for Prune, not pruned already")
        if command.elements != held.content.size:
            raise GoldenError(f"Prune of {op.name!r} must count {held.content.size} elements, not {command.elements}")
        held.content = compress(held.content, command.pattern, 2 if side == "a" else 1)

    def _multiply(self, command: Multiply) -> None:
        op, tile, number, lanes = self._gemm(command.op), self._tile(command), self.pe.number, self.pe.lanes
        pattern = op.pattern
        if command.pattern != pattern or (isinstance(pattern, NM) and command.sparse != op.sparse_operand):
            wanted, got = f"{pattern} on {op.sparse_operand}", f"{command.pattern} on {command.sparse}"
            raise GoldenError(f"Multiply of {op.name!r} must use the pattern {wanted}, not {got}")
        self._check_slot("c", command.c_slot, command)
        a = self._operand("a", command.a_slot, command).content
        b = self._operand("b", command.b_slot, command).content
        sums = self._partial_sums(command, tile, op)
        if not isinstance(pattern, NM):
            sums = multiply_dense(number, lanes, sums, _dense(a), _dense(b))
        elif op.sparse_operand == "a":
            packed = a if isinstance(a, Packed) else compress(a, pattern, 2)
            sums = multiply_sparse(number, lanes, sums, packed, _dense(b), pattern)
        else:  # C' = B' A'
            packed = b if isinstance(b, Packed) else compress(b, pattern, 1)
            turned = Packed(_turn(packed.values), _turn(packed.indices))
            sums = _turn(multiply_sparse(number, lanes, _turn(sums), turned, _turn(_dense(a)), pattern))
        self.sums[command.c_slot] = _Sums(_region(command.op, "c", tile), sums, tile.k.stop)

    def _partial_sums(self, command: Multiply, tile: Tile, op: Gemm) -> Values:
        """What the tile's products add to: the slot's sums up to the tile's first k, or +0."""
        region = _region(command.op, "c", tile)
        if not command.accumulate:
            if tile.k.start:
                raise GoldenError(f"Multiply of {op.name!r} must accumulate from k={tile.k.start}, not begin there")
            return np.zeros(tuple(map(len, region[1:])), accumulator_dtype(self.pe.number))
        held = self.sums.get(command.c_slot)
        if held is None or held.region != region or held.reduced != tile.k.start:
            found = "an empty slot" if held is None else f"{held.region} up to k={held.reduced}"
            raise GoldenError(f"Slot {command.c_slot} of buffer 'c' must hold {region} up to k={tile.k.start}, not {found}")
        return held.values

    def _store(self, command: Store) -> None:
        op, region = self._gemm(command.op), _region(command.op, "c", self._tile(command))
        held = self.sums.get(command.slot)
        if held is None or held.region != region or held.reduced != op.k:
            found = "an empty slot" if held is None else f"{held.region} up to k={held.reduced}"
            raise GoldenError(f"Slot {command.slot} of buffer 'c' must hold {region} up to k={op.k} for Store, not {found}")
        if self.stored[command.op][region.box].any():
            raise GoldenError(f"Output {op.c!r} of {op.name!r} must be stored once, not again at {region}")
        self.outputs[command.op][region.box] = to_result(self.pe.number, held.values)
        self.stored[command.op][region.box] = True
