"""Is the array's closed form what a systolic array does, PE by PE and cycle by cycle, on real numbers?

The model below knows the rules of `simulator.timing`'s docstring and none of its formulas: a controller issues beats, each
PE takes them as many cycles later as it lies down and across, a multiplication may start only when the sum that it adds to
will be there, a PE takes one beat a cycle, and stationary operands and results move while the array streams.
"""

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import wide_machine

from simulator.arch import Buffer, Dataflow, Pe
from simulator.timing import multiply_time
from workloads.sparsity import DENSE, NM


class ImpossibleError(Exception):
    """The schedule asks a PE for what it can't do."""


def port_cycles(bits, buffer):
    """Cycles in which a buffer's ports move so many bits, counted one by one."""
    cycles = 0
    while bits > 0:
        bits -= buffer.banks * buffer.bank_bits
        cycles += 1
    return cycles


def chunks(total, size):
    return [list(range(s, min(s + size, total))) for s in range(0, total, size)]


@dataclass
class Trace:
    """When the PE in the corner takes each beat, and what follows from it in the others."""

    issues: list = field(default_factory=list)  # (cycle, fold, ...)
    hop: int = 1
    done: int = 0  # the last result is where the next command may use it
    free: int = 0  # a command that knows nothing of this one may start
    shifts: list = field(default_factory=list)  # cycles in which results leave through the columns' bottom (OS)
    c: np.ndarray | None = None


def kept_indices(pattern, seed, rows, k):
    """For each row (column of B, row of A) the positions of k that are multiplied, step by step."""
    rng = np.random.default_rng(seed)
    groups = range(0, k, pattern.group)
    return [
        [sorted(g + i for i in rng.choice(pattern.group, pattern.keep, replace=False)) for g in groups] for _ in range(rows)
    ]


def problem(m, n, k, pattern, sparse, lanes, seed):
    """Integer operands, the steps of k by (row, column), beat by beat, and the product that they must give."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-9, 10, (m, k)), rng.integers(-9, 10, (k, n))
    if isinstance(pattern, NM):
        kept = kept_indices(pattern, seed, m if sparse == "a" else n, k)
        mask = np.zeros((len(kept), k), bool)
        for row, groups in enumerate(kept):
            mask[row, list(itertools.chain(*groups))] = True
        want = (a * mask) @ b if sparse == "a" else a @ (b * mask.T)

        def beats(i, j, step):
            return chunks_of(kept[i if sparse == "a" else j][step], lanes)
    else:
        want, steps = a @ b, chunks(k, lanes)

        def beats(_i, _j, step):
            return [steps[step]]

    return a, b, want, beats


def chunks_of(items, size):
    return [items[s : s + size] for s in range(0, len(items), size)]


def stationary(machine, time, columns, k, pattern, resident, sparse, hop, numbers):
    """WS (resident "b": positions are rows of A) and IS (resident "a"), with a given hop. Raises ImpossibleError."""
    pe, array = machine.pe, machine.array
    rows, cols, lag = array.rows, array.cols, pe.accumulate_latency
    a, b, _, beats_of = numbers
    depth = pattern.group if isinstance(pattern, NM) else pe.lanes
    beats = len(chunks_of(range(pattern.keep), pe.lanes)) if isinstance(pattern, NM) else 1
    steps = len(chunks(k, depth))
    word = pe.number.operand_bits
    index = (pattern.group - 1).bit_length() if isinstance(pattern, NM) else 0
    buffers = {"a": machine.a_buffer, "b": machine.b_buffer}
    moving = "a" if resident == "b" else "b"
    sparse_resident = isinstance(pattern, NM) and sparse == resident
    registers = beats * pe.lanes if sparse_resident else depth
    one_register = port_cycles(cols * (word + (index if sparse_resident else 0)), buffers[resident])
    moved = pattern.keep * (word + index) if isinstance(pattern, NM) and sparse == moving else depth * word
    port = max(port_cycles(rows * moved, buffers[moving]), port_cycles(cols * pe.number.accumulator_bits, machine.c_buffer))

    trace = Trace(hop=hop)
    order = []  # of a fold: (offset, position, beat), and how long it lasts
    length = 0
    if beats == 1:
        for p in range(time):
            order.append((length, p, 0))
            length += max(1, port)
    else:
        for block in chunks(time, pe.interleave):
            turn = max(len(block), lag)
            order += [(length + beat * turn + q, p, beat) for beat in range(beats) for q, p in enumerate(block)]
            length += max(beats * turn, len(block) * port)

    folds = list(itertools.product(chunks(steps, rows), chunks(columns, cols)))
    sums = np.zeros((time, columns), np.int64)
    in_buffer = {}  # (first column, position) -> cycle from which column 0 of the array can read its partial sum
    load_from, slot_end, everything_out, number_of_columns = 0, 0, 0, len(chunks(columns, cols))
    start = 0
    for number, (part, wide) in enumerate(folds):
        loaded = load_from
        for _ in range(rows * registers):
            loaded += one_register
        start = max(loaded, slot_end)
        if number >= number_of_columns:
            start = max([start, *(in_buffer[wide[0], p] - offset for offset, p, beat in order if beat == 0)])
        last_beat: dict = {}  # (row, column, position) -> cycle of its latest multiplication here
        busy: set = set()
        for row, col in itertools.product(range(rows), range(cols)):
            for offset, p, beat in order:
                t = start + offset + row * hop + col
                if (row, col, t) in busy:
                    raise ImpossibleError
                busy.add((row, col, t))
                before = last_beat.get((row, col, p)) if beat else last_beat.get((row - 1, col, p))
                if before is not None and t < before + lag:
                    raise ImpossibleError
                last_beat[row, col, p] = t
                if row < len(part) and col < len(wide):
                    i, j = (p, wide[col]) if resident == "b" else (wide[col], p)
                    for at in beats_of(i, j, part[row])[beat]:
                        sums[p, wide[col]] += a[i, at] * b[at, j]
        for p in range(time):
            in_buffer[wide[0], p] = last_beat[rows - 1, 0, p] + pe.latency + 1
        trace.issues += [(start + offset, number) for offset, _, _ in order]
        slot_end = start + length
        # The corner PE across from the first is the last to finish its slot, a pipeline later its sum is in the buffer.
        everything_out = slot_end - 1 + (rows - 1) * hop + (cols - 1) + pe.latency + 1
        if array.double_buffered:
            load_from = start
            slot_end = max(slot_end, start + rows * registers * one_register)
        else:
            load_from = slot_end = everything_out
    trace.done = (
        max(everything_out, slot_end - 1 + (rows - 1) * hop + (cols - 1) + pe.latency + 1)
        if array.double_buffered
        else slot_end
    )
    trace.free = max(slot_end + row * hop - row for row in range(rows)) if array.double_buffered else slot_end
    trace.c = sums if resident == "b" else sums.T
    return trace


def output(machine, m, n, k, pattern, sparse, accumulate, numbers):
    """OS: each PE keeps up to `interleave` outputs along the longer dimension; rows and columns lag by a cycle each."""
    pe, array = machine.pe, machine.array
    rows, cols, lag = array.rows, array.cols, pe.accumulate_latency
    a, b, _, beats_of = numbers
    depth = pattern.group if isinstance(pattern, NM) else pe.lanes
    beats = len(chunks_of(range(pattern.keep), pe.lanes)) if isinstance(pattern, NM) else 1
    steps = len(chunks(k, depth))
    word, index = pe.number.operand_bits, (pattern.group - 1).bit_length() if isinstance(pattern, NM) else 0
    bits = {
        side: pattern.keep * (word + index) if isinstance(pattern, NM) and side == sparse else depth * word for side in "ab"
    }
    port = {"a": port_cycles(rows * bits["a"], machine.a_buffer), "b": port_cycles(cols * bits["b"], machine.b_buffer)}
    shift = sum(
        port_cycles(cols * pe.number.accumulator_bits, machine.c_buffer) for _ in range(rows) for _ in range(pe.interleave)
    )

    down, across = chunks(m, rows), chunks(n, cols)
    if len(across) >= len(down):
        folds = [[(d, c) for c in group] for d in down for group in chunks_of(across, pe.interleave)]
        shared, several = "a", "b"
    else:
        folds = [[(d, c) for d in group] for c in across for group in chunks_of(down, pe.interleave)]
        shared, several = "b", "a"
    trace, sums = Trace(), np.zeros((m, n), np.int64)
    now = shift if accumulate else 0
    for number, fold in enumerate(folds):
        if number and accumulate and not array.double_buffered:
            now += shift
        start, finished = now, {}
        for step in range(steps):
            step_start = now
            for beat in range(beats):
                for q, (down_part, across_part) in enumerate(fold):
                    t = now + q
                    trace.issues.append((t, number))
                    if t < finished.get(q, -lag) + lag:
                        raise ImpossibleError
                    finished[q] = t
                    for i, j in itertools.product(down_part, across_part):
                        for at in beats_of(i, j, step)[beat]:
                            sums[i, j] += a[i, at] * b[at, j]
                now += max(len(fold), lag)  # the beat's turn
            now = max(now, step_start + max(port[shared], len(fold) * port[several]))
        if array.double_buffered:
            now = max(now, start + shift)
            trace.shifts += range(now, now + shift)
        else:
            now += rows - 1 + cols - 1 + pe.latency + shift
    trace.free = now
    trace.done = now + (rows - 1 + cols - 1 + pe.latency + shift if array.double_buffered else 0)
    trace.c = sums
    return trace


def brute_force(machine, dataflow, m, n, k, pattern, sparse, accumulate, seed=0):
    numbers = problem(m, n, k, pattern, sparse, machine.pe.lanes, seed)
    if dataflow is Dataflow.OS:
        trace = output(machine, m, n, k, pattern, sparse, accumulate, numbers)
    else:
        time, columns, resident = (m, n, "b") if dataflow is Dataflow.WS else (n, m, "a")
        for hop in itertools.count(1):  # the shortest delay between rows with which every sum is there in time
            try:
                trace = stationary(machine, time, columns, k, pattern, resident, sparse, hop, numbers)
                break
            except ImpossibleError:
                continue
    np.testing.assert_array_equal(trace.c, numbers[2])  # it multiplied what it should
    return trace


@st.composite
def machines(draw, narrow=False, most=4):
    pe = Pe(
        format=draw(st.sampled_from(("fp16", "int8"))),
        group=4,
        lanes=draw(st.integers(1, 3)),
        registers=16,
        multiply_latency=draw(st.integers(0, 2)),
        accumulate_latency=draw(st.integers(1, 4)),
        interleave=draw(st.integers(1, 4)),
    )
    ports = {}
    if narrow:
        ports = {
            f"{name}_buffer": Buffer(bytes=2**20, banks=1, bank_bits=draw(st.sampled_from((8, 24, 64, 100)))) for name in "abc"
        }
    return wide_machine(pe, draw(st.integers(1, most)), draw(st.integers(1, most)), double=draw(st.booleans()), **ports)


@st.composite
def products(draw):
    pattern = draw(st.sampled_from((DENSE, NM(1, 2), NM(1, 4), NM(2, 4), NM(3, 4), NM(4, 4), NM(2, 3))))
    unit = pattern.group if isinstance(pattern, NM) else 1
    size = st.integers(1, 9)
    shape = (draw(size), draw(size), unit * draw(st.integers(1, 12 // unit)))
    return draw(st.sampled_from(Dataflow)), *shape, pattern, draw(st.sampled_from("ab")), draw(st.booleans())


@given(machine=machines(), product=products())
@settings(max_examples=400)
def test_closed_form_is_what_the_pes_do(machine, product):
    trace, time = brute_force(machine, *product), multiply_time(machine, *product)
    assert (int(time.occupancy), int(time.occupancy + time.tail)) == (trace.free, trace.done)


@given(machine=machines(narrow=True), product=products())
@settings(max_examples=200)
def test_closed_form_with_narrow_ports(machine, product):
    trace, time = brute_force(machine, *product), multiply_time(machine, *product)
    assert (int(time.occupancy), int(time.occupancy + time.tail)) == (trace.free, trace.done)


@given(machine=machines(narrow=True), sequence=st.lists(products(), min_size=2, max_size=4))
@settings(max_examples=150)
def test_commands_back_to_back_never_meet_in_a_pe(machine, sequence):
    """Each command starts when the closed form says that the one before has left the array free, whatever both are."""
    start, last, leaving = 0, np.full((machine.array.rows, machine.array.cols), -1), set()
    for product in sequence:
        trace, time = brute_force(machine, *product), multiply_time(machine, *product)
        issues = [start + t for t, _ in trace.issues]
        assert len(set(issues)) == len(issues)
        for row, col in np.ndindex(last.shape):
            first = min(issues) + row * trace.hop + col
            assert first > last[row, col], "a wave caught up with the wave before it"
            last[row, col] = max(issues) + row * trace.hop + col
        shifts = {start + t for t in trace.shifts}
        assert len(shifts) == len(trace.shifts)
        assert not shifts & leaving, "two folds' results leave at once"
        leaving |= shifts
        start += int(time.occupancy)


def test_the_docstring_example():
    """Numbers from the example in `simulator.timing`, worked out there by hand."""
    pe = Pe(format="int8", group=1, lanes=1, registers=1, multiply_latency=1, accumulate_latency=1, interleave=1)
    machine = wide_machine(pe, 2, 2, double=True)
    product = (Dataflow.WS, 3, 2, 2, DENSE, "b", False)
    time, trace = multiply_time(machine, *product), brute_force(machine, *product)
    assert (int(time.occupancy), int(time.tail)) == (5, 4)
    assert [t for t, _ in trace.issues] == [2, 3, 4]


@pytest.mark.parametrize("dataflow", Dataflow)
def test_a_partial_sum_is_not_taken_up_before_it_is_there(dataflow):
    """One column, two parts of the reduction, one position: nothing hides the way of the sum down the rows.

    Fold 1 enters at 3 (weights in 0-2); its sum passes three rows of 2 cycles each, is in the buffer a cycle after the
    pipeline's 1 + 2, and only then the second part's position enters.
    """
    pe = Pe(format="int8", group=1, lanes=1, registers=1, multiply_latency=1, accumulate_latency=2, interleave=1)
    machine = wide_machine(pe, 3, 1, double=True)
    product = (dataflow, 1, 1, 6, DENSE, "b", False)
    trace, time = brute_force(machine, *product), multiply_time(machine, *product)
    if dataflow is not Dataflow.OS:
        assert [t for t, _ in trace.issues] == [3, 3 + (2 + 2 + 3) + 1]
    assert int(time.occupancy + time.tail) == trace.done
