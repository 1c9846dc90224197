"""A workload as one program: tilings and dataflows chosen, operations ordered, independent ones interleaved."""

from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Literal

from dataflows.chunks import chunk_count
from dataflows.lower import Lowering, Step, gemm_tiles
from dataflows.mapping import Mapping
from dataflows.select import choose
from dataflows.tiling import Tiling
from simulator.arch import Accelerator
from simulator.schedule import Command, Program, Unsupported, UnsupportedError
from workloads.fuse import fuse_vectors
from workloads.gemm import Gemm, Stage
from workloads.graph import Workload
from workloads.ops import Prune, Update, Vector
from workloads.sparsity import NM

__all__ = [
    "LARGEST_GEMM",
    "LONGEST_PROGRAM",
    "compile_workload",
    "missing_engine",
    "needed_engines",
    "needs_of",
    "prepared",
    "rows_of",
    "thread_of",
    "too_large",
    "too_long",
]

_SIDES: tuple[Literal["a", "b"], ...] = ("a", "b")
LONGEST_PROGRAM = 5_000_000
"""Tiles and chunks: some 15 million commands, which take the event-driven machine ten minutes."""
LARGEST_GEMM = 2**50
"""Multiplications: a month of work for a thousand multipliers; 64-bit sums of cycles and bytes stay exact below it."""


def prepared(workload: Workload, mapping: Mapping) -> Workload:
    """The workload as it will run: vector operations chained if the mapping says so."""
    return fuse_vectors(workload) if mapping.fuse else workload


def compile_workload(workload: Workload, accelerator: Accelerator, mapping: Mapping) -> Program:
    """Place a (prepared) workload on an accelerator.

    Raises UnsupportedError where a GEMM can't run: no dataflow takes its pattern, or no tile fits; and where the program
    would be longer than an event-driven run can sensibly be.
    """
    if reason := too_large(workload):
        raise UnsupportedError(reason)
    for name in needed_engines(workload, mapping):
        unit, _, leaf = name.partition(".")
        if not getattr(getattr(accelerator, unit), leaf):
            raise UnsupportedError(missing_engine(name))
    tilings = {op.name: choose(op, accelerator, mapping) for op in workload.gemms}
    rows = rows_of(workload)
    steps = sum(_step_count(op, accelerator, mapping, tilings, rows) for op in workload.ops)
    if reason := too_long(steps):
        raise UnsupportedError(reason)
    return Program(
        ops=workload.ops,
        choices=tuple(tilings[op.name].dataflow.value if isinstance(op, Gemm) else "" for op in workload.ops),
        emit=partial(_emit, workload, accelerator, mapping, tilings, rows),
    )


def too_large(workload: Workload) -> Unsupported | None:
    """Why no machine may run the workload, if so."""
    largest = max((gemm.dense_macs for gemm in workload.gemms), default=0)
    return Unsupported("multiplications in one GEMM", largest, LARGEST_GEMM) if largest > LARGEST_GEMM else None


def too_long(steps: int) -> Unsupported | None:
    """Why a program of so many tiles and chunks may not run, if so."""
    what = "tiles in one program (of a smaller batch, or with larger buffers)"
    return Unsupported(what, steps, LONGEST_PROGRAM) if steps > LONGEST_PROGRAM else None


def needed_engines(workload: Workload, mapping: Mapping) -> tuple[str, ...]:
    """Paths of the lanes that a machine must have at least one of."""
    updates = [op for op in workload.ops if isinstance(op, Update)]
    operands = [operand for gemm in workload.gemms for operand in (gemm.a, gemm.b) if isinstance(operand.pattern, NM)]
    prunes = any(isinstance(op, Prune) for op in workload.ops) or any(op.prune for op in updates)
    prunes |= any(operand.pruned_at_use(pregenerate=mapping.pregenerate) for operand in operands)
    works = mapping.vector != "host" and any(isinstance(op, Vector) for op in workload.ops)
    needs = {"vector.lanes": works, "updater.lanes": bool(updates), "pruner.lanes": prunes}
    return tuple(name for name, wanted in needs.items() if wanted)


def missing_engine(name: str) -> Unsupported:
    """Why a machine without these lanes can't run a workload that needs them."""
    return Unsupported(name, 1, 0)


def rows_of(workload: Workload) -> dict[str, int]:
    """By operation, elements of a row of memory: of an update's weight W[O][I], as the forward pass reads it; and of a tensor
    that is pruned along the reduction of a weight gradient, whose groups lie down the rows. Left out where not known."""
    rows: dict[str, int] = {}
    weights: dict[str, set[int]] = {}
    across: dict[str, int] = {}
    for gemm in workload.gemms:
        for side in _SIDES:
            operand = gemm.operand(side)
            if operand.parameter and gemm.stage is Stage.FF:
                weights.setdefault(operand.parameter, set()).add(gemm.k)
            if isinstance(operand.pattern, NM) and gemm.lines_fastest(side):
                across[operand.tensor] = gemm.k
    for op in workload.ops:
        if isinstance(op, Update) and len(found := weights.get(op.parameter, set())) == 1:
            row = min(found)
            if op.elements % row == 0:
                rows[op.name] = row
        if isinstance(op, Prune) and (depth := across.get(op.target)) and op.source.elements % depth == 0:
            rows[op.name] = op.source.elements // depth
    return rows


def _step_count(
    op: Gemm | Vector | Prune | Update,
    accelerator: Accelerator,
    mapping: Mapping,
    tilings: dict[str, Tiling],
    rows: dict[str, int],
) -> int:
    """How many tiles or chunks an operation is made of."""
    if isinstance(op, Gemm):
        return gemm_tiles(op, tilings[op.name])
    if isinstance(op, Vector) and mapping.vector == "host":
        return 0
    chunks = chunk_count(op, accelerator, pregenerate=mapping.pregenerate, row_elements=rows.get(op.name, 0))
    return op.passes * chunks if isinstance(op, Vector) and chunks > 1 else chunks


def _emit(
    workload: Workload, accelerator: Accelerator, mapping: Mapping, tilings: dict[str, Tiling], rows: dict[str, int]
) -> Iterator[Command]:
    """Commands in program order.

    GEMMs, work between them, and updates are three threads, each in the workload's order. Among those whose next
    operation has all its inputs under way, the thread that would start earliest, by estimate, emits its next step.
    So independent operations (the weight gradient of a layer, the data gradient's way to the layer before it, an
    update) share the machine, and the order is still a topological one.
    """
    lowering = Lowering(accelerator, mapping, rows)
    threads: tuple[deque[int], ...] = (deque(), deque(), deque())
    for index, op in enumerate(workload.ops):
        threads[thread_of(op, mapping)].append(index)
    needs = needs_of(workload)
    if mapping.update == "overlapped":  # in the order in which their gradients become final
        position = {op.name: index for index, op in enumerate(workload.ops)}
        by_gradient = sorted(threads[2], key=lambda i: max((position[n] for n in needs[workload.ops[i].name]), default=-1))
        threads[2].clear()
        threads[2].extend(by_gradient)
    finished: dict[str, int] = {}  # by operation: its estimated end
    clock = [0] * len(threads)
    running: list[Iterator[Step] | None] = [None] * len(threads)
    while any(threads):
        ready: list[tuple[int, int]] = []
        for number, thread in enumerate(threads):
            if not thread:
                continue
            if running[number] is not None:
                ready.append((clock[number], number))
                continue
            op = workload.ops[thread[0]]
            if all(name in finished for name in needs[op.name]):
                ready.append((max([clock[number], *(finished[name] for name in needs[op.name])]), number))
        start, number = min(ready)
        index = threads[number][0]
        op = workload.ops[index]
        steps = running[number]
        if steps is None:
            steps = running[number] = _steps(lowering, workload, index, mapping, tilings)
        step = next(steps, None)
        if step is None:
            running[number] = None
            threads[number].popleft()
            finished[op.name] = clock[number] = start
            continue
        commands, cycles = step
        clock[number] = start + cycles
        yield from commands


def thread_of(op: Gemm | Vector | Prune | Update, mapping: Mapping) -> int:
    """Which of the three threads an operation belongs to: GEMMs, work between them, updates that overlap with both."""
    match op:
        case Gemm():
            return 0
        case Vector() | Prune():
            return 1
        case Update():
            return 2 if mapping.update == "overlapped" else 1


def needs_of(workload: Workload) -> dict[str, tuple[str, ...]]:
    """By operation: those that must precede it: its data, and for an update the last GEMM that reads the old weights."""
    last_reader = {operand.parameter: gemm.name for gemm in workload.gemms for operand in (gemm.a, gemm.b) if operand.parameter}
    needs: dict[str, tuple[str, ...]] = {}
    for op in workload.ops:
        data = tuple(workload.graph.predecessors(op.name))
        reader = last_reader.get(op.parameter) if isinstance(op, Update) else None
        needs[op.name] = (*data, reader) if reader else data
    return needs


def _steps(lowering: Lowering, workload: Workload, index: int, mapping: Mapping, tilings: dict[str, Tiling]) -> Iterator[Step]:
    op = workload.ops[index]
    match op:
        case Gemm():
            return lowering.gemm(op, index, tilings[op.name])
        case Vector():
            if mapping.vector == "host":
                lowering.skip(op)
                return iter(())
            return lowering.vector(op, index)
        case Prune():
            return lowering.prune(op, index)
        case Update():
            return lowering.update(op, index)
