"""Closed forms: how many cycles a Multiply holds the array, and why. The one statement of the array's timing.

A fold is one occupation of the array. Each fold has a slot of ``max(stream, shift)`` cycles where the array is double
buffered: while it streams, the next fold's stationary operands shift in and the last fold's results shift out.

OS: a fold computes ``rows x cols x I`` outputs (I independent outputs interleaved per PE); the reduction streams past.
    step  = beats * max(I, accumulate latency)         or what the a/b buffers need to deliver its operands, if more
    shift = rows * interleave * ceil(cols * accumulator bits / c buffer width)     results out, earlier partial sums in:
            of all accumulators, used or not, so that a fold's results have left before the next fold's come, whatever
            the next fold is (an edge, another command's)
WS: a fold holds ``rows`` steps of the reduction for `cols` columns of B; m streams past (IS: of A; n streams past).
    step  = beats * max(I, accumulate latency) for I of the streamed positions; one beat has no dependence within a PE
    shift = rows * registers used * ceil(cols * stored bits / buffer width)
    hop   = from a position's first beat in a row to its first beat in the row below: its beats there, and an addition
    The folds go through all columns before the next part of the reduction. A position enters again when its partial
    sum, after `rows` hops, is in the c buffer: `rows * hop + pe.latency - accumulate latency + 1` cycles later.

A column runs a cycle behind its neighbour, and a row a hop behind the row above (one cycle in OS). The next command may
have a smaller hop: it must not catch up, so the array stays occupied for the rows' cycles beyond one each. A sum is in the
c buffer (WS, IS), or in the shift register (OS), a cycle after it is in its accumulator.

Example, WS, 2x2 int8 array, dense, m=3, k=2, n=2, accumulate latency 1, multiply latency 1 (one fold):
    cycle 0-1 weights shift in | 2 m0 enters row 0 | 3 m1, and m0 enters row 1 | 4 m2 | 5 m2 in row 1 ...
    occupancy = 2 + 3 = 5; the last sum is in the buffer (rows-1) + (cols-1) + latency = 1 + 1 + 2 = 4 cycles later.

All sizes may be numpy integer arrays of one shape; the results then are arrays too.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simulator.arch import Accelerator, Dataflow, ceil_div
from workloads.sparsity import NM, Pattern

__all__ = ["MultiplyTime", "Size", "multiply_time", "stationary_registers"]

Size: TypeAlias = Any  # int or an integer array: numpy's operators serve both


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiplyTime:
    """Cycles of one Multiply. `occupancy` is the sum of the five causes; results are complete `tail` cycles later."""

    compute: Size  # beats that the folds need at full rate, edges included
    latency: Size  # waiting for the accumulate latency: too few independent outputs
    bandwidth: Size  # waiting for the a, b or c buffer's ports
    shift: Size  # stationary operands or results that shift for longer than the fold streams
    fill: Size  # the first fold's operands, rows behind by more than a cycle; all of each fold's ends if single buffered
    tail: Size  # skew, pipeline and the last results' way out

    @property
    def occupancy(self) -> Size:
        return self.compute + self.latency + self.bandwidth + self.shift + self.fill

    def scaled(self, count: Size) -> "MultiplyTime":
        """Of `count` equal multiplications back to back."""
        return MultiplyTime(
            compute=self.compute * count,
            latency=self.latency * count,
            bandwidth=self.bandwidth * count,
            shift=self.shift * count,
            fill=self.fill * count,
            tail=self.tail,
        )


@dataclass(frozen=True, slots=True)
class _Folds:
    """`count` equal folds: cycles of one, by cause."""

    count: Size
    compute: Size
    dependent: Size  # compute plus accumulate latency
    stream: Size  # ... plus waiting for ports
    shift: Size


def multiply_time(
    accelerator: Accelerator,
    dataflow: Dataflow,
    m: Size,
    n: Size,
    k: Size,
    pattern: Pattern,
    sparse: Literal["a", "b"],
    accumulate: Size,
) -> MultiplyTime:
    """Cycles of one ``C[m,n] (+)= A[m,k] B[k,n]`` whose `sparse` operand has `pattern`."""
    match dataflow:
        case Dataflow.OS:
            return _output_stationary(accelerator, m, n, k, pattern, sparse, accumulate)
        case Dataflow.WS:
            return _operand_stationary(accelerator, "b", m, n, k, pattern, sparse)
        case Dataflow.IS:
            return _operand_stationary(accelerator, "a", n, m, k, pattern, sparse)


def stationary_registers(accelerator: Accelerator, dataflow: Dataflow, pattern: Pattern, sparse: Literal["a", "b"]) -> int:
    """Registers per PE that a fold fills: the kept values of a stationary sparse operand, all of a dense one."""
    pe = accelerator.pe
    match dataflow:
        case Dataflow.OS:
            return 0
        case Dataflow.WS | Dataflow.IS:
            stationary = "b" if dataflow is Dataflow.WS else "a"
            if isinstance(pattern, NM) and sparse == stationary:
                return pe.beats(pattern) * pe.lanes
            return pe.depth(pattern)


def _step_bits(accelerator: Accelerator, operand: Literal["a", "b"], pattern: Pattern, sparse: Literal["a", "b"]) -> int:
    """Bits of one operand that one PE row or column takes in a step."""
    pe = accelerator.pe
    if isinstance(pattern, NM) and operand == sparse:
        return pattern.keep * pe.stored_bits(pattern)
    return pe.depth(pattern) * pe.number.operand_bits


def _result_cycles(accelerator: Accelerator) -> int:
    """Cycles in which the c buffer takes (and gives) one accumulator of every column."""
    bits = accelerator.array.cols * accelerator.pe.number.accumulator_bits
    return ceil_div(bits, accelerator.c_buffer.bits_per_cycle)


def _output_stationary(
    accelerator: Accelerator, m: Size, n: Size, k: Size, pattern: Pattern, sparse: Literal["a", "b"], accumulate: Size
) -> MultiplyTime:
    pe, array = accelerator.pe, accelerator.array
    row_tiles, col_tiles = ceil_div(m, array.rows), ceil_div(n, array.cols)
    along_n = col_tiles >= row_tiles  # interleave along the dimension with more outputs to choose from
    long, short = np.maximum(row_tiles, col_tiles), np.minimum(row_tiles, col_tiles)
    steps = ceil_div(k, pe.depth(pattern))
    a_cycles = ceil_div(array.rows * _step_bits(accelerator, "a", pattern, sparse), accelerator.a_buffer.bits_per_cycle)
    b_cycles = ceil_div(array.cols * _step_bits(accelerator, "b", pattern, sparse), accelerator.b_buffer.bits_per_cycle)
    shift = array.rows * pe.interleave * _result_cycles(accelerator)

    def folds(count: Size, interleaved: Size) -> _Folds:
        dependent = pe.beats(pattern) * np.maximum(interleaved, pe.accumulate_latency)
        ports = np.maximum(a_cycles * np.where(along_n, 1, interleaved), b_cycles * np.where(along_n, interleaved, 1))
        return _Folds(
            count,
            steps * pe.beats(pattern) * interleaved,
            steps * dependent,
            steps * np.maximum(dependent, ports),
            shift,
        )

    full, rest = (
        folds(short * (long // pe.interleave), pe.interleave),
        folds(short * (long % pe.interleave > 0), long % pe.interleave),
    )
    skew = array.rows + array.cols - 2 + pe.latency
    head = np.where(accumulate, shift, 0)
    if array.double_buffered:
        return _total(accelerator, (full, rest), head, skew + shift)
    return _total(accelerator, (full, rest), (full.count + rest.count) * (head + skew + shift), 0)


def _operand_stationary(
    accelerator: Accelerator,
    stationary: Literal["a", "b"],
    time: Size,
    columns: Size,
    k: Size,
    pattern: Pattern,
    sparse: Literal["a", "b"],
) -> MultiplyTime:
    pe, array = accelerator.pe, accelerator.array
    moving: Literal["a", "b"] = "a" if stationary == "b" else "b"
    buffers = {"a": accelerator.a_buffer, "b": accelerator.b_buffer}
    dataflow = Dataflow.WS if stationary == "b" else Dataflow.IS
    k_folds = ceil_div(k, array.rows * pe.depth(pattern))
    column_folds = ceil_div(columns, array.cols)
    beats = pe.beats(pattern)

    moving_cycles = ceil_div(array.rows * _step_bits(accelerator, moving, pattern, sparse), buffers[moving].bits_per_cycle)
    port_cycles = max(moving_cycles, _result_cycles(accelerator))
    stored_bits = pe.stored_bits(pattern) if sparse == stationary else pe.number.operand_bits
    register_cycles = ceil_div(array.cols * stored_bits, buffers[stationary].bits_per_cycle)
    shift = array.rows * stationary_registers(accelerator, dataflow, pattern, sparse) * register_cycles

    if beats == 1:  # no addition depends on another in the same PE
        dependent, stream = time, time * max(1, port_cycles)
        hop = pe.accumulate_latency
    else:
        blocks, rest = time // pe.interleave, time % pe.interleave
        wait, wait_rest = max(pe.interleave, pe.accumulate_latency), np.maximum(rest, pe.accumulate_latency)
        dependent = beats * (blocks * wait + (rest > 0) * wait_rest)
        stream = blocks * max(beats * wait, pe.interleave * port_cycles)
        stream = stream + (rest > 0) * np.maximum(beats * wait_rest, rest * port_cycles)
        hop = (beats - 1) * np.maximum(np.minimum(time, pe.interleave), pe.accumulate_latency) + pe.accumulate_latency
    skew = array.rows + array.cols - 2 + pe.latency
    behind = (array.rows - 1) * (hop - 1)
    folds = _Folds(k_folds * column_folds, time * beats, dependent, stream, shift)
    if not array.double_buffered:
        return _total(accelerator, (folds,), folds.count * (shift + behind + skew), 0)
    total = _total(accelerator, (folds,), shift + behind, skew)
    again = array.rows * hop + pe.latency - pe.accumulate_latency + 1
    waiting = (k_folds - 1) * np.maximum(again - column_folds * np.maximum(stream, shift), 0)
    return MultiplyTime(
        compute=total.compute,
        latency=total.latency + waiting,
        bandwidth=total.bandwidth,
        shift=total.shift,
        fill=total.fill,
        tail=total.tail,
    )


def _total(accelerator: Accelerator, parts: tuple[_Folds, ...], fill: Size, tail: Size) -> MultiplyTime:
    exposed = 1 if accelerator.array.double_buffered else 0

    def add(cycles: list[Size]) -> Size | NDArray[np.int64]:
        return sum(part.count * each for part, each in zip(parts, cycles, strict=True))

    return MultiplyTime(
        compute=add([part.compute for part in parts]),
        latency=add([part.dependent - part.compute for part in parts]),
        bandwidth=add([part.stream - part.dependent for part in parts]),
        shift=add([exposed * np.maximum(part.shift - part.stream, 0) for part in parts]),
        fill=fill,
        tail=tail,
    )
