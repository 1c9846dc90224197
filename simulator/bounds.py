"""Lower bounds on the cycles of a workload that no program for this machine can beat, whatever its dataflows and tiles.

Each unit works in order and at a peak rate, so the cycles that its unavoidable work takes at that rate bound the run:

compute   multiplications left when the patterns' zeros are skipped, over all multipliers
memory    compulsory bits at the port's peak: the lesser of its bandwidth, and of what its outstanding bursts allow per latency
vector    element operations between GEMMs, of mask searches and of rescaling, over the vector unit's lanes
update    trained elements over the updater's lanes
prune     M cycles for each group of M that must pass the pruner, over its lanes, each tensor's in one command

Compulsory bits are those that cross the port though nothing is ever loaded twice *within an operation*:

* each element of a GEMM's operands once, in the form in which it lies in memory (compressed; dense where it is pruned at use;
  a convolution's feature map once where the machine lowers it, else its lowered matrix), and one of two operands that are
  the same tensor; each result once;
* what vector operations and online prunes read and write, once (not at all for vector operations on the host);
* master weights, optimizer state, gradient and mask in; weights, state and the copies for the next step out.

Results always go to memory, and each operation reads its inputs from there: a machine that kept a tensor on chip from one
operation to the next could beat the memory bound, this one can't. Nothing is said of latencies, of edges, of dependences
between operations, nor of two units that can't overlap: a run may well take longer than all its bounds.
"""

from typing import Literal, NamedTuple, assert_never

from simulator.arch import Accelerator, ceil_div
from simulator.formats import MASTER_BITS
from workloads.gemm import Gemm, Stage
from workloads.graph import Workload
from workloads.ops import Prune, Update, Vector
from workloads.sparsity import NM

__all__ = ["LowerBound", "compute_bound", "lower_bound", "memory_bound"]


class LowerBound(NamedTuple):
    """Cycles below which no run can be, by unit."""

    compute: int
    memory: int
    vector: int
    update: int
    prune: int

    @property
    def cycles(self) -> int:
        return max(self)

    @property
    def binding(self) -> str:
        """The unit that binds; the first of them where several do."""
        return self._fields[self.index(self.cycles)]


def lower_bound(workload: Workload, accelerator: Accelerator, *, pregenerate: bool, vector_on_chip: bool) -> LowerBound:
    """Bounds for a workload as it will run (vector operations fused or not).

    `pregenerate`: masks made at the update are stored compressed; else such operands pass the pruner at each use.
    `vector_on_chip`: vector operations run on the machine; else they take no time and no traffic.
    """
    vector = update = prune = 0
    pruner = accelerator.pruner
    for op in workload.ops:
        match op:
            case Gemm():
                for side, positions in _lines(op):
                    operand = op.operand(side)
                    if isinstance(operand.pattern, NM) and operand.pruned_at_use(pregenerate=pregenerate):
                        elements = op.batch * positions * op.k
                        prune += pruner.busy(elements, operand.pattern, across=op.lines_fastest(side))
            case Vector():
                vector += op.work if vector_on_chip else 0
            case Prune():
                prune += pruner.busy(op.source.elements, op.pattern, across=True)  # the faster way: the reader decides
                vector += 2 * op.source.elements if op.rescale else 0
            case Update():
                update += op.elements
                vector += op.mask_search
                for stage, pattern in op.prune if pregenerate else ():
                    prune += pruner.busy(op.elements, pattern, across=stage == "bp")
            case _:
                assert_never(op)
    return LowerBound(
        compute=compute_bound(workload, accelerator),
        memory=memory_bound(workload, accelerator, pregenerate=pregenerate, vector_on_chip=vector_on_chip),
        vector=ceil_div(vector, accelerator.vector.lanes),
        update=ceil_div(update, accelerator.updater.lanes),
        prune=prune,
    )


def compute_bound(workload: Workload, accelerator: Accelerator) -> int:
    """Cycles in which all multipliers together do the workload's effective multiplications."""
    return ceil_div(workload.effective_macs, accelerator.multipliers)


def memory_bound(workload: Workload, accelerator: Accelerator, *, pregenerate: bool, vector_on_chip: bool) -> int:
    """Cycles in which the port, at its peak rate, moves the compulsory bits of the module's docstring."""
    bits = 0
    for op in workload.ops:
        match op:
            case Gemm():
                bits += _gemm_bits(op, accelerator, pregenerate)
            case Vector():
                elements = sum(tensor.elements for tensor in (*op.reads, *op.writes))
                bits += elements * accelerator.pe.number.result_bits if vector_on_chip else 0
            case Prune():
                bits += op.source.elements * accelerator.pe.number.result_bits
                bits += _packed_bits(op.source.elements, op.pattern, accelerator)
            case Update():
                bits += _update_bits(op, accelerator, pregenerate)
            case _:
                assert_never(op)
    dram, clock = accelerator.dram, accelerator.clock_hz
    by_rate = ceil_div(bits * clock, 8 * dram.bytes_per_second)
    by_latency = ceil_div(bits * dram.latency_cycles(clock), 8 * dram.burst_bytes * dram.outstanding)
    return max(by_rate, by_latency)


def _lines(op: Gemm) -> tuple[tuple[Literal["a", "b"], int], ...]:
    """Each operand's side and lines."""
    return ("a", op.m), ("b", op.n)


def _packed_bits(elements: int, pattern: NM, accelerator: Accelerator) -> int:
    """Values and indices; a last partial group counts in proportion."""
    return elements * pattern.keep * accelerator.pe.stored_bits(pattern) // pattern.group


def _gemm_bits(op: Gemm, accelerator: Accelerator, pregenerate: bool) -> int:
    number = accelerator.pe.number
    sides: list[int] = []
    for side, positions in _lines(op):
        operand = op.operand(side)
        elements = positions * op.k
        if op.conv is not None and op.conv.operand == side and accelerator.implicit_im2col:
            whole = (op.k, positions) if op.stage is Stage.WU else (positions, op.k)
            elements = op.conv.footprint(*whole)
        elements *= op.batch
        if isinstance(operand.pattern, NM) and not operand.pruned_at_use(pregenerate=pregenerate):
            sides.append(_packed_bits(elements, operand.pattern, accelerator))
        else:
            sides.append(elements * number.operand_bits)
    operands = max(sides) if op.a.tensor == op.b.tensor else sum(sides)
    return operands + op.batch * op.m * op.n * number.result_bits


def _update_bits(op: Update, accelerator: Accelerator, pregenerate: bool) -> int:
    number = accelerator.pe.number
    words = MASTER_BITS * (1 + op.optimizer.state_words)
    bits = op.elements * (2 * words + number.result_bits)
    if op.decay:
        bits += op.elements  # the mask, a bit each
    if op.dense_copy or (op.prune and not pregenerate):
        bits += op.elements * number.operand_bits
    if pregenerate:
        bits += sum(_packed_bits(op.elements, pattern, accelerator) for _, pattern in op.prune)
    return bits
