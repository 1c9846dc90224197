"""Do channels and tokens deliver when they say, not a cycle before, and hold no more than they may?"""

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from simulator.channel import Channel, Progress


def received(puts, *, latency, capacity=8, start=0):
    """(item, cycle) as a receiver sees items put at given cycles; and the cycles at which they went in."""
    env = simpy.Environment()
    channel = Channel(env, capacity=capacity, latency=latency)
    got, accepted = [], []

    def sender():
        for at, item in puts:
            if at > env.now:
                yield env.timeout(at - env.now)
            yield channel.put(item)
            accepted.append(env.now)

    def receiver():
        yield env.timeout(start)
        for _ in puts:
            item = yield from channel.get()
            got.append((item, env.now))

    env.process(sender())
    env.process(receiver())
    env.run()
    return got, accepted


@pytest.mark.parametrize("latency", [1, 2, 7])
def test_an_item_is_visible_a_latency_after_it_was_put(latency):
    assert received([(5, "x")], latency=latency)[0] == [("x", 5 + latency)]


def test_not_visible_a_cycle_before():
    env = simpy.Environment()
    channel = Channel(env, capacity=1, latency=3)
    channel.put("x")
    process = env.process(channel.get())
    env.run(until=3)  # up to the end of cycle 2
    assert process.is_alive
    env.run(until=4)
    assert process.value == "x"


@given(gaps=st.lists(st.integers(0, 5), min_size=1, max_size=12), latency=st.integers(1, 5), start=st.integers(0, 20))
def test_items_come_in_order_each_as_soon_as_it_may(gaps, latency, start):
    puts = [(sum(gaps[: i + 1]), i) for i in range(len(gaps))]
    want = [(i, max(at + latency, start)) for at, i in puts]
    assert received(puts, latency=latency, capacity=99, start=start)[0] == want


@given(capacity=st.integers(1, 4), count=st.integers(1, 10), start=st.integers(3, 20))
def test_no_more_than_the_capacity_waits(capacity, count, start):
    got, accepted = received([(0, i) for i in range(count)], latency=1, capacity=capacity, start=start)
    assert sum(at < start for at in accepted) == min(count, capacity)
    assert [item for item, _ in got] == list(range(count))


@pytest.mark.parametrize("latency", [0, -1])
def test_no_channel_without_a_register(latency):
    with pytest.raises(ValueError, match=f"'latency' must be at least 1, not {latency}"):
        Channel(simpy.Environment(), capacity=1, latency=latency)


def woken(finishes, wanted, *, latency, asked_at=0):
    """Cycle in which `wanted` commands are visibly finished, when commands finish at (cycle, delay)."""
    env = simpy.Environment()
    progress = Progress(env, latency=latency)
    when = []

    def waiter():
        yield env.timeout(asked_at)
        if progress.visible < wanted:
            yield progress.reached(wanted)
        when.append(env.now)

    def worker():
        for at, delay in finishes:
            yield env.timeout(at - env.now)
            progress.finish(delay)

    env.process(waiter())
    env.process(worker())
    env.run()
    return when[0] if when else None


@pytest.mark.parametrize(("delay", "latency"), [(0, 1), (4, 1), (0, 3), (5, 2)])
def test_a_token_is_visible_a_latency_after_the_result(delay, latency):
    assert woken([(10, delay)], 1, latency=latency) == 10 + delay + latency


def test_tokens_count():
    finishes = [(1, 0), (2, 0), (5, 3)]
    assert [woken(finishes, count, latency=1) for count in (1, 2, 3, 4)] == [2, 3, 9, None]
    assert woken(finishes, 2, latency=1, asked_at=7) == 7


def test_all_waiters_for_one_count_wake_together():
    env = simpy.Environment()
    progress = Progress(env, latency=1)
    events = [progress.reached(2), progress.reached(1), progress.reached(2), progress.reached(3)]
    progress.finish(0)
    progress.finish(3)
    env.run(until=2)
    assert [event.triggered for event in events] == [False, True, False, False]
    env.run(until=5)
    assert [event.triggered for event in events] == [True, True, True, False]
