"""Does the memory port serve in order of request, lower ranks first in a tie, without losing a cycle?"""

from fractions import Fraction
from math import floor

import simpy
from hypothesis import given
from hypothesis import strategies as st

from simulator.arch import Accelerator, Dram
from simulator.layout import transfer_complete
from simulator.memory import MemoryPort


def served(requests):
    """(rank, granted at) for requests (at, rank, cycles); each rank asks again only when it has been served."""
    env = simpy.Environment()
    port = MemoryPort(env)
    grants = []

    def client(rank, jobs):
        for at, cycles in jobs:
            if at > env.now:
                yield env.timeout(at - env.now)
            asked = env.now
            yield port.request(rank, cycles)
            grants.append((asked, rank, env.now, cycles))
            yield env.timeout(cycles)

    for rank in sorted({rank for _, rank, _ in requests}, reverse=True):  # creation order must not matter
        env.process(client(rank, [(at, cycles) for at, r, cycles in requests if r == rank]))
    env.run()
    return grants, port.busy_cycles


def test_order_of_request_and_rank():
    grants, busy = served([(0, 5, 10), (3, 4, 2), (2, 9, 2), (3, 1, 2)])
    assert [(rank, at) for _, rank, at, _ in grants] == [(5, 0), (9, 10), (1, 12), (4, 14)]
    assert busy == 16


def test_a_request_in_the_cycle_of_the_decision_takes_part():
    """Free at 10: one that waits since 9 goes first; of two that ask at 10, the lower rank."""
    grants, _ = served([(0, 0, 10), (10, 7, 1), (10, 2, 1), (9, 8, 1)])
    assert [(rank, at) for _, rank, at, _ in grants] == [(0, 0), (8, 10), (2, 11), (7, 12)]


def test_who_asks_late_in_a_cycle_takes_part_too():
    """Tokens, queues and grants pass within a cycle; the port decides when all of them have."""
    env = simpy.Environment()
    port = MemoryPort(env)
    grants = []

    def client(rank, hops):
        yield env.timeout(5)
        for _ in range(hops):
            yield env.timeout(0)
        yield port.request(rank, 3)
        grants.append((rank, env.now))

    for rank, hops in ((3, 0), (2, 9), (1, 4)):
        env.process(client(rank, hops))
    env.run()
    assert grants == [(1, 5), (2, 8), (3, 11)]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4), st.integers(1, 6)), min_size=1, max_size=20))
def test_any_requests(requests):
    requests = sorted(requests)
    grants, busy = served(requests)
    assert busy == sum(cycles for _, _, cycles in requests)
    # the written rule, replayed: at each grant the earliest asked, then the lowest rank, as soon as the port is free
    free, waiting = 0, list(grants)
    for asked, rank, at, cycles in grants:
        here = [(a, r) for a, r, *_ in waiting if a <= max(free, min(a for a, *_ in waiting))]
        assert (asked, rank) == min(here)
        assert at == max(free, asked)
        free = at + cycles
        waiting.remove((asked, rank, at, cycles))


def test_whole_bursts_at_the_peak_rate():
    dram = Dram(bytes_per_second=16 * 10**9, latency_ns=1, burst_bytes=64, outstanding=1000)
    clock = 10**9  # 16 bytes a cycle: a burst in 4
    assert [dram.transfer_cycles(1, size, clock) for size in (1, 64, 65, 640)] == [4, 4, 8, 40]
    assert dram.transfer_cycles(10, 1, clock) == 40  # each run starts a burst of its own


@given(
    runs=st.integers(1, 50),
    run_bytes=st.integers(1, 500),
    latency=st.integers(1, 300),
    burst=st.integers(1, 64),
    outstanding=st.integers(1, 64),
    rate=st.integers(1, 100),
)
def test_no_more_bursts_in_flight_than_allowed(runs, run_bytes, latency, burst, outstanding, rate):
    """Little's law: bursts in flight = rate of bursts x latency, never above the limit; nor bytes above the peak rate."""
    dram = Dram(bytes_per_second=rate * 10**9, latency_ns=latency, burst_bytes=burst, outstanding=outstanding)
    cycles = dram.transfer_cycles(runs, run_bytes, 10**9)
    bursts = runs * -(-run_bytes // burst)
    assert bursts * latency <= outstanding * cycles
    assert bursts * burst <= rate * cycles
    # and not a cycle more than one of the two asks for
    assert bursts * latency > outstanding * (cycles - 1) or bursts * burst > rate * (cycles - 1)


def test_latency_is_at_least_a_cycle():
    assert Dram(latency_ns=1).latency_cycles(1000) == 1
    assert Dram(latency_ns=100).latency_cycles(200_000_000) == 20
    assert Dram(latency_ns=101).latency_cycles(200_000_000) == 21


@given(
    runs=st.integers(1, 50),
    run_bytes=st.integers(1, 500),
    latency=st.integers(1, 300),
    burst=st.integers(1, 300),
    outstanding=st.integers(1, 64),
    rate=st.integers(1, 100),
)
def test_the_last_burst_s_data_complete_a_transfer(runs, run_bytes, latency, burst, outstanding, rate):
    """Burst i is asked for in cycle floor(i slot), its first beat comes a latency later, its other beats after that."""
    dram = Dram(bytes_per_second=rate * 10**9, latency_ns=latency, burst_bytes=burst, outstanding=outstanding)
    machine = Accelerator(name="x", clock_hz=10**9, dram=dram)
    bus = next(width for width in (4, 8, 16, 32, 64, 128) if width >= rate)
    beats = next(n for n in range(1, 301) if n * bus >= burst)
    slot = max(Fraction(burst, rate), Fraction(latency, outstanding))
    arrivals = [floor(i * slot) + latency + beat for i in range(runs * -(-run_bytes // burst)) for beat in range(beats)]
    assert transfer_complete(machine, runs, run_bytes) == 1 + max(arrivals)
