"""Do two streams share port and sequencer as the machine's rules say: no more than there is of each, in program order?"""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.analytic.fields import BODY, CHUNKS, FIELDS, LOADS, PORT, PRUNES, TRANSFERS, UNIT, WAYS
from dataflows.analytic.sequencer import AT_HEAD, FREE, IDLE, NEVER, STOPPED, Head, behind_prunings, held, meeting, reach
from dataflows.analytic.shares import Piece, Product, piece_of, speeds

NONE = 3  # the place of an operation that never begins


def program(*spans):
    """Begin and end of operations that never begin, but for these; and commands in a cycle: loads, and things behind them."""
    begin, end, flow = np.full(4, NEVER), np.full(4, NEVER), np.zeros((4, 2))
    for op, (start, stop, loads, outs) in enumerate(spans):
        begin[op], end[op], flow[op] = start, stop, (loads / (stop - start), outs / (stop - start))
    return flow, begin, end


def test_a_queue_holds_the_commands_of_both_threads():
    flow, begin, end = program((0, 100, 50, 0), (0, 100, 150, 0))
    assert reach(flow, begin, end, 0, NONE, 0.0, 20.0, NEVER, 1e3, True) == Head(40.0, 100.0, 1.0)
    assert reach(flow, begin, end, 0, 1, 0.0, 20.0, NEVER, 1e3, True) == Head(10.0, 100.0, 1.0)
    assert reach(flow, begin, end, 0, 1, 95.0, 20.0, NEVER, 1e3, True).place == NEVER  # all the rest of both


def test_the_queue_that_is_full_first_counts():
    flow, begin, end = program((0, 100, 100, 50))
    assert reach(flow, begin, end, 0, NONE, 10.0, 30.0, 10.0, 1e3, True).place == 30.0
    assert reach(flow, begin, end, 0, NONE, 10.0, 15.0, 10.0, 1e3, True).place == 25.0
    assert reach(flow, begin, end, 0, NONE, 10.0, 15.0, 10.0, 20.0, True).place == 25.0  # known beyond what is asked
    assert reach(flow, begin, end, 0, NONE, 10.0, 15.0, 10.0, 1e3, False).pace == 0.0  # its loads are made already


def test_the_head_goes_faster_where_commands_are_few():
    flow, begin, end = program((0, 100, 100, 0), (100, 200, 25, 0))  # one behind the other
    assert reach(flow, begin, end, 0, NONE, 90.0, 20.0, NEVER, 1e3, True) == Head(140.0, 200.0, 4.0)


def test_dispatched_tiles_are_done_and_the_next_waits():
    """Tiles of 10 cycles of the compiler's up to 100; the head stands within the third."""
    assert held(22.0, 25.0, 100.0, 10.0, False) == (FREE, False, 30.0)
    assert held(30.0, 25.0, 100.0, 10.0, False) == (STOPPED, False, 30.0)
    assert held(30.0, 30.0, 100.0, 10.0, False) == (AT_HEAD, True, 30.0)  # the head has come; from here on with it
    assert held(30.0, 90.0, 100.0, 10.0, True) == (FREE, True, NEVER)  # the last tile is dispatched
    stopped = meeting(STOPPED, False, 30.0, 30.0, 90.0, 0.0, Head(25.0, 100.0, 1.0), 0.5)
    assert stopped == 10.0
    assert meeting(FREE, False, 22.0, 30.0, 90.0, 1.0, Head(25.0, 100.0, 1.0), 0.0) == 8.0
    assert meeting(IDLE, False, 0.0, NEVER, 90.0, 0.0, Head(NEVER, NEVER, 0.0), 0.5) == NEVER


def test_prunings_are_before_what_passes_the_pruner_behind_them():
    known = np.zeros((4, len(FIELDS)))
    _, begin, end = program((0, 40, 1, 1), (50, 60, 1, 1))
    free = Head(NEVER, NEVER, 0.0)
    assert behind_prunings(known, begin, end, 0, 10.0, free) == free
    known[1, PRUNES] = 5.0
    assert behind_prunings(known, begin, end, 0, 10.0, free) == Head(50.0, 60.0, 0.0)
    assert behind_prunings(known, begin, end, 1, 55.0, free) == Head(55.0, 60.0, 1.0)
    assert behind_prunings(known, begin, end, 0, 10.0, Head(20.0, 30.0, 1.0)) == Head(20.0, 30.0, 1.0)


def work(body, port, chunks, ways):
    known = np.zeros(len(FIELDS))
    known[[BODY, PORT, CHUNKS, WAYS, UNIT, TRANSFERS, LOADS]] = body, port, chunks, ways, port, 3 * chunks, 2 * chunks
    return known


def test_chunks_in_turn_wait_for_each_others_slot():
    """Two slots: with as many chunks of both, each has one, and its way through it; what is left over takes its time alone."""
    one, two = work(1000.0, 100.0, 10, 1500.0), work(400.0, 100.0, 10, 700.0)
    assert piece_of(one, two, 1.0, 1.0, 500.0, 2.0).body == 1500.0
    fewer = work(200.0, 50.0, 5, 350.0)
    assert piece_of(one, fewer, 1.0, 1.0, 500.0, 2.0).body == 5 * 150.0 + 5 * 100.0
    assert piece_of(one, fewer, 1.0, 0.0, 500.0, 2.0).body == 1000.0
    assert piece_of(one, fewer, 0.5, 0.0, 500.0, 2.0).body == 500.0


parts = st.floats(0.01, 1.0)


@pytest.mark.parametrize(
    ("g_state", "w_state"),  # never both at the head: each would be behind the other
    [*product((IDLE, FREE, STOPPED), (IDLE, FREE, AT_HEAD)), (AT_HEAD, IDLE), (AT_HEAD, FREE)],
)
@given(
    shares=st.tuples(parts, parts),
    turns=st.tuples(st.floats(1, 1e4), st.floats(1, 1e4)),
    rates=st.tuples(st.floats(0.05, 20), st.floats(0.05, 20)),
    chain=st.floats(0, 1),
    paces=st.tuples(st.floats(0, 5), st.floats(0, 5)),
)
def test_no_more_than_the_port_has_and_no_faster_than_the_head(g_state, w_state, shares, turns, rates, chain, paces):
    gemm = Product(rate=rates[0], step=1.0, share=shares[0], turn=turns[0], residual=turns[0] / 2)
    calls = shares[1] / turns[1]
    piece = Piece(
        body=1.0, rate=rates[1], step=1.0, share=shares[1], turn=turns[1], calls=calls, chain=chain, loads=calls, credit=0.0
    )
    g_speed, w_speed = speeds(gemm, piece, g_state, w_state, *paces)
    assert 0 <= g_speed <= 1 + 1e-9
    assert 0 <= w_speed <= 1 + 1e-9
    assert g_speed * gemm.share + w_speed * piece.share <= 1 + 1e-9
    if g_state in (IDLE, STOPPED):
        assert g_speed == 0
    if w_state == IDLE:
        assert w_speed == 0
    g_moves, w_moves = g_speed * gemm.rate, w_speed * piece.rate
    if g_state == AT_HEAD:
        assert g_moves <= paces[1] * w_moves * (1 + 1e-9)
    if w_state == AT_HEAD:
        assert w_moves <= paces[0] * g_moves * (1 + 1e-9)


@pytest.mark.parametrize(("states", "speed"), [((FREE, IDLE), (1.0, 0.0)), ((IDLE, FREE), (0.0, 1.0))])
def test_who_is_alone_has_the_port(states, speed):
    gemm = Product(rate=1.0, step=1.0, share=1.0, turn=10.0, residual=5.0)
    piece = Piece(body=1.0, rate=1.0, step=1.0, share=1.0, turn=10.0, calls=0.1, chain=1.0, loads=0.1, credit=0.0)
    assert speeds(gemm, piece, *states, 1.0, 1.0) == speed
