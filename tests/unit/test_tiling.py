"""Are tiles whole, within the buffers, and the cheapest of those tried; and is what can't run refused with its numbers?"""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import accelerators, gemm, gemms, wide_machine

from dataflows.mapping import Mapping
from dataflows.select import choose
from dataflows.tiling import Tiling, best_tiling, tiles
from simulator.arch import Array, Buffer, Dataflow, Dram, Pe
from simulator.layout import (
    banking,
    entries_of_line,
    lines_of_bank,
    operand_words,
    result_places,
    result_words,
    word_elements,
)
from simulator.schedule import Tile, UnsupportedError
from simulator.timing import multiply_time
from workloads.gemm import Stage
from workloads.sparsity import DENSE, NM

PE = Pe(format="int8", group=8, registers=8)


def reason(op, machine, dataflow=Dataflow.OS, pregenerate=True):
    with pytest.raises(UnsupportedError) as caught:
        best_tiling(op, machine, dataflow, pregenerate)
    found = caught.value.reason
    assert str(found) == f"{found.constraint}: needs {found.demand}, has {found.limit}" == str(caught.value)
    return found.constraint, found.demand, found.limit


def test_a_pattern_wider_than_the_selector():
    assert reason(gemm(4, 4, 16, pattern=NM(2, 16)), wide_machine(PE, 2, 2, double=True)) == (
        "pe.group for pattern 2:16",
        16,
        8,
    )


def test_too_few_registers_for_the_stationary_operand():
    machine = wide_machine(replace(PE, registers=3), 2, 2, double=True)
    op = gemm(4, 4, 16, pattern=NM(4, 8))
    assert reason(op, machine, Dataflow.WS) == ("pe.registers for 4:8 in ws", 4, 3)
    assert reason(op, machine, Dataflow.IS) == ("pe.registers for 4:8 in is", 8, 3)
    assert best_tiling(op, machine, Dataflow.OS, True).dataflow is Dataflow.OS


def narrow(burst=4, **fields):
    """2x2 PEs on a bus of 4 bytes: words of 8 operands in each of two banks, of one sum in each of two."""
    dram = Dram(bytes_per_second=4 * 200_000_000, latency_ns=10, burst_bytes=burst, outstanding=64)
    return wide_machine(PE, 2, 2, double=True, dram=dram, **fields)


@pytest.mark.parametrize("name", "abc")
def test_a_buffer_too_small_for_the_smallest_tile(name):
    """OS: the smallest tile is 2 x 2 over 32 of k: 4 words of A and of B, 16 bytes each; 2 words of sums, 8 bytes each."""
    machine = narrow(**{f"{name}_buffer": Buffer(bytes=15 if name == "c" else 63, slots=1)})
    need, limit = (16, 8) if name == "c" else (64, 48)
    assert reason(gemm(64, 64, 64), machine) == (f"{name}_buffer bytes per slot", need, limit)


def test_only_the_part_of_a_slot_counts():
    assert reason(gemm(64, 64, 64), narrow(a_buffer=Buffer(bytes=127, slots=2))) == ("a_buffer bytes per slot", 64, 48)


def test_what_a_tile_takes_up_depends_on_the_dataflow():
    """Two lines of one group of 8, two banks: WS has the whole step in the first one, OS a line in each."""
    op, machine = gemm(2, 2, 8, pattern=NM(2, 8)), narrow(a_buffer=Buffer(bytes=31, slots=1))
    assert reason(op, machine, Dataflow.WS) == ("a_buffer bytes per slot", 32, 16)
    assert best_tiling(op, machine, Dataflow.OS, True).k == 8


@pytest.mark.parametrize(
    ("stage", "split"), [(Stage.FF, {"k": 64, "n": 16}), (Stage.BP, {"k": 64, "n": 64}), (Stage.WU, {"m": 64, "n": 64})]
)
def test_parts_of_memory_rows_begin_at_bursts(stage, split):
    """Bursts of 64 bytes: 64 operands of one byte, 16 results of four, along whatever is fastest; 320 of each, tiny buffers."""
    tiny, sums = Buffer(bytes=10240, slots=2), Buffer(bytes=32768, slots=2)
    op, sizes = gemm(320, 320, 320, stage=stage), set()
    for dataflow in Dataflow:
        machine = narrow(64, a_buffer=tiny, b_buffer=tiny, c_buffer=sums)
        tiling = best_tiling(op, machine, dataflow, True)
        for name, unit in split.items():
            size = getattr(tiling, name)
            assert size % unit == 0
            sizes.add(size)
    assert min(sizes) < 320, "else this shows nothing"


@given(op=gemms(), accelerator=accelerators(), dataflow=st.sampled_from(Dataflow), pregenerate=st.booleans())
def test_every_part_of_a_row_begins_at_a_burst(op, accelerator, dataflow, pregenerate):
    try:
        tiling = best_tiling(op, accelerator, dataflow, pregenerate)
    except UnsupportedError:
        assume(False)
    burst, number = 8 * accelerator.dram.burst_bytes, accelerator.pe.number
    for tile in tiles(op, tiling):
        assert tile.n.start * number.result_bits % burst == 0
        for side, lines in (("a", tile.m), ("b", tile.n)):
            operand = op.operand(side)
            if operand.pattern == DENSE or operand.pruned_at_use(pregenerate=pregenerate):
                fastest = lines if op.lines_fastest(side) else tile.k
                assert fastest.start * number.operand_bits % burst == 0


def test_a_dataflow_that_the_array_has_not():
    machine = wide_machine(PE, 2, 2, double=True)
    machine = replace(machine, array=Array(rows=2, cols=2, dataflows=(Dataflow.OS,)))
    with pytest.raises(UnsupportedError) as caught:
        choose(gemm(4, 4, 4), machine, Mapping(dataflow="ws"))
    found = caught.value.reason
    assert (found.constraint, found.demand, found.limit) == ("dataflow ws on the array", 1, 0)


def test_best_passes_over_a_dataflow_that_can_not():
    machine = wide_machine(replace(PE, registers=3), 2, 2, double=True)
    machine = replace(machine, array=replace(machine.array, dataflows=(Dataflow.WS, Dataflow.OS)))
    op = gemm(4, 4, 16, pattern=NM(4, 8))
    assert choose(op, machine, Mapping()).dataflow is Dataflow.OS
    none = replace(machine, array=replace(machine.array, dataflows=(Dataflow.WS, Dataflow.IS)))
    with pytest.raises(UnsupportedError, match="4:8 in ws: needs 4, has 3"):  # the first one's reason
        choose(op, none, Mapping())


@given(op=gemms(), accelerator=accelerators(), dataflow=st.sampled_from(Dataflow), pregenerate=st.booleans())
def test_tiles_fit_their_slots(op, accelerator, dataflow, pregenerate):
    try:
        tiling = best_tiling(op, accelerator, dataflow, pregenerate)
    except UnsupportedError:
        assume(False)
    for tile in tiles(op, tiling):
        m, n, k = len(tile.m), len(tile.n), len(tile.k)
        for side, lines in (("a", m), ("b", n)):
            operand = op.operand(side)
            kept = operand.pattern != DENSE and not operand.pruned_at_use(pregenerate=pregenerate)
            how = banking(dataflow, side)
            across = op.lines_fastest(side)
            stride = entries_of_line(accelerator, how, op.pattern, k, kept=kept, across=across)
            entries = lines_of_bank(accelerator, how, lines) * stride
            words = -(-entries // word_elements(accelerator))
            assert len(tile.batch) * words <= operand_words(accelerator, side)
        u, v = (n, m) if dataflow is Dataflow.IS else (m, n)
        words = -(-u // result_places(accelerator)) * -(-v // accelerator.array.cols)
        assert len(tile.batch) * words <= result_words(accelerator)


@given(op=gemms(), accelerator=accelerators(), dataflow=st.sampled_from(Dataflow))
def test_steps_are_never_cut(op, accelerator, dataflow):
    """A tile of k ends at the end of k or of a step: else tiling would change the order of additions."""
    try:
        tiling = best_tiling(op, accelerator, dataflow, True)
    except UnsupportedError:
        assume(False)
    step = accelerator.pe.depth(op.pattern)
    assert all(tile.k.start % step == 0 for tile in tiles(op, tiling))


def hand(order="mn", batch=1):
    return Tiling(dataflow=Dataflow.OS, batch=batch, m=2, n=3, k=4, order=order, array_cycles=0, memory_cycles=0, cycles=0)


def test_loop_order():
    op = gemm(3, 4, 6, batch=2)
    parts = [(t.batch.start, t.m.start, t.n.start, t.k.start) for t in tiles(op, hand())]
    assert parts[:8] == [(0, m, n, k) for m in (0, 2) for n in (0, 3) for k in (0, 4)]
    assert [p[1:] for p in parts[8:]] == [p[1:] for p in parts[:8]]
    other = [(t.m.start, t.n.start, t.k.start) for t in tiles(op, hand("nm"))][:8]
    assert other == [(m, n, k) for n in (0, 3) for m in (0, 2) for k in (0, 4)]
    assert list(tiles(op, hand()))[7] == Tile(range(1), range(2, 3), range(3, 4), range(4, 6))


def test_whole_entries_may_share_a_tile():
    op = gemm(2, 3, 4, batch=5)
    assert [t.batch for t in tiles(op, hand(batch=2))] == [range(2), range(2, 4), range(4, 5)]


@pytest.mark.parametrize("dataflow", Dataflow)
@pytest.mark.parametrize("kilobytes", [1, 64])
def test_the_estimate_adds_up_the_tiles(dataflow, kilobytes):
    """Array cycles: each tile with its own edges; where k is split, every tile as one that reads partial sums."""
    small = Buffer(bytes=1024 * kilobytes, slots=2)
    machine = wide_machine(PE, 4, 4, double=True, a_buffer=small, b_buffer=small)
    op = gemm(9, 11, 300, batch=2)
    tiling = best_tiling(op, machine, dataflow, True)
    split = tiling.k < op.k
    assert split or kilobytes > 1, "else this shows nothing"
    total = 0
    for t in tiles(op, tiling):
        time = multiply_time(machine, dataflow, len(t.m), len(t.n), len(t.k), op.pattern, "b", split)
        total += len(t.batch) * int(time.occupancy)
    assert tiling.array_cycles == total
