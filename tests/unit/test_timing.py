"""Does the array's closed form say the published cycles, and blame the right cause? (PE by PE: tests/theory.)"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import wide_machine

from simulator.arch import Buffer, Dataflow, Pe
from simulator.timing import MultiplyTime, multiply_time, stationary_registers
from workloads.sparsity import DENSE, NM

SMALL = Pe(format="int8", group=8, lanes=1, registers=8, multiply_latency=1, accumulate_latency=1, interleave=1)


def time_of(machine, dataflow, m, n, k, pattern=DENSE, sparse="b", accumulate=False):
    return multiply_time(machine, dataflow, m, n, k, pattern, sparse, accumulate)


def causes(time):
    return {name: int(getattr(time, name)) for name in ("compute", "latency", "bandwidth", "shift", "fill")}


@given(
    rows=st.integers(1, 40),
    cols=st.integers(1, 40),
    latency=st.integers(0, 9),
    sizes=st.tuples(*[st.integers(1, 300)] * 3),
    dataflow=st.sampled_from(Dataflow),
)
def test_single_buffered_dense_folds_take_the_published_form(rows, cols, latency, sizes, dataflow):
    """folds (2R + C + T - 2 + pipeline): SCALE-Sim's published form (arXiv:1811.02883), T the dimension in time."""
    pe = replace(SMALL, multiply_latency=latency)
    m, n, k = sizes
    down, across, length = {Dataflow.OS: (m, n, k), Dataflow.WS: (k, n, m), Dataflow.IS: (k, m, n)}[dataflow]
    folds = -(-down // rows) * -(-across // cols)
    time = time_of(wide_machine(pe, rows, cols, double=False), dataflow, m, n, k)
    assert time.occupancy + time.tail == folds * (2 * rows + cols + length - 2 + pe.latency)


@pytest.mark.parametrize("dataflow", Dataflow)
def test_double_buffering_hides_all_but_one_fold_s_ends(dataflow):
    """Long streams: folds of length T back to back, and one fold's ends."""
    machine = wide_machine(SMALL, 4, 4, double=True)
    m, n, k = {Dataflow.OS: (16, 16, 100), Dataflow.WS: (100, 16, 16), Dataflow.IS: (16, 100, 16)}[dataflow]
    time = time_of(machine, dataflow, m, n, k)
    assert time.occupancy + time.tail == 16 * 100 + (2 * 4 + 4 - 2 + SMALL.latency)
    assert int(time.compute) == 1600


@pytest.mark.parametrize(("keep", "lanes", "beats"), [(1, 1, 1), (2, 1, 2), (2, 2, 1), (3, 2, 2), (8, 4, 2)])
def test_a_group_takes_a_beat_per_lanes_values(keep, lanes, beats):
    pe = replace(SMALL, lanes=lanes)
    machine = wide_machine(pe, 4, 4, double=True)
    assert time_of(machine, Dataflow.OS, 4, 4, 80, NM(keep, 8)).compute == 10 * beats
    assert time_of(machine, Dataflow.WS, 50, 4, 32, NM(keep, 8)).compute == 50 * beats


def test_too_few_outputs_wait_for_the_adder():
    """Accumulate latency 4: one output per PE waits three cycles of four, four outputs none."""
    pe = replace(SMALL, accumulate_latency=4, interleave=4)
    machine = wide_machine(pe, 4, 4, double=True)
    alone, four = time_of(machine, Dataflow.OS, 4, 4, 100), time_of(machine, Dataflow.OS, 4, 16, 100)
    assert (causes(alone)["compute"], causes(alone)["latency"]) == (100, 300)
    assert (causes(four)["compute"], causes(four)["latency"]) == (400, 0)


def test_one_beat_per_position_never_waits_for_the_adder_in_ws():
    pe = replace(SMALL, accumulate_latency=4)
    assert time_of(wide_machine(pe, 4, 4, double=True), Dataflow.WS, 100, 4, 4).latency == 0


def test_narrow_ports_are_bandwidth():
    """Four rows of int8 take 32 bits a step; from an 8-bit port that is 4 cycles."""
    narrow = wide_machine(SMALL, 4, 4, double=True, a_buffer=Buffer(bytes=2**20, banks=1, bank_bits=8))
    assert causes(time_of(narrow, Dataflow.OS, 4, 4, 100))["bandwidth"] == 300
    assert causes(time_of(narrow, Dataflow.WS, 100, 4, 4))["bandwidth"] == 300
    assert causes(time_of(narrow, Dataflow.IS, 4, 100, 4))["bandwidth"] == 0  # A is stationary: it shifts in longer
    assert causes(time_of(narrow, Dataflow.IS, 4, 100, 4))["fill"] == 4 * 4


def test_short_streams_are_shift():
    """A fold of two positions on four rows waits for the next fold's four rows of weights."""
    machine = wide_machine(SMALL, 4, 4, double=True)
    assert causes(time_of(machine, Dataflow.WS, 2, 8, 4))["shift"] == 2 * 2


def test_partial_sums_in_are_fill():
    machine = wide_machine(SMALL, 4, 4, double=True)
    first, later = (time_of(machine, Dataflow.OS, 4, 4, 100, accumulate=again) for again in (False, True))
    assert (causes(first)["fill"], causes(later)["fill"]) == (0, 4)


@pytest.mark.parametrize(
    ("dataflow", "pattern", "sparse", "want"),
    [
        (Dataflow.OS, NM(2, 8), "b", 0),
        (Dataflow.WS, DENSE, "b", 1),
        (Dataflow.WS, NM(2, 8), "b", 2),
        (Dataflow.WS, NM(2, 8), "a", 8),
        (Dataflow.IS, NM(2, 8), "a", 2),
        (Dataflow.IS, NM(2, 8), "b", 8),
    ],
)
def test_stationary_registers(dataflow, pattern, sparse, want):
    assert stationary_registers(wide_machine(SMALL, 2, 2, double=True), dataflow, pattern, sparse) == want


def test_is_is_ws_with_the_operands_exchanged():
    machine = wide_machine(replace(SMALL, interleave=3, accumulate_latency=2), 3, 4, double=True)
    for pattern, sparse, other in ((DENSE, "b", "a"), (NM(2, 4), "b", "a"), (NM(3, 8), "a", "b")):
        assert time_of(machine, Dataflow.WS, 7, 9, 24, pattern, sparse) == time_of(
            machine, Dataflow.IS, 9, 7, 24, pattern, other
        )


def test_scaled():
    time = MultiplyTime(compute=1, latency=2, bandwidth=3, shift=4, fill=5, tail=6)
    assert (time.occupancy, time.scaled(3).occupancy, time.scaled(3).tail) == (15, 45, 6)
