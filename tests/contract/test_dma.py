# amaranth: UnusedElaboratable=no
"""Does the DMA move the right bytes in the cycles that docs/machine.md says, and survive a memory that doesn't?"""

import ctypes
import functools
import pickle
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import ceil
from pathlib import Path

import numpy as np
import pytest
import simpy
from rtl_kit.require import need_rtl

need_rtl()

from dma_model import (  # noqa: E402
    BASE,
    CHANNELS,
    LOADS,
    SIZE,
    Command,
    Log,
    Scenario,
    check_times,
    check_values,
    machine,
    names,
    scenario,
    times,
)
from rtl_kit import run_cocotb  # noqa: E402
from rtl_kit.axi_memory import Stalls  # noqa: E402

import rtl.dma  # noqa: E402
from rtl.emit import check, verilog_of  # noqa: E402
from rtl.native.model import build_shared  # noqa: E402
from rtl.native.toolchain import built  # noqa: E402
from simulator.arch import Accelerator  # noqa: E402
from simulator.layout import burst_slot, power_of_two  # noqa: E402
from simulator.memory import MemoryPort  # noqa: E402

SLOW_MEMORY = Stalls(arready=0.4, awready=0.3, wready=0.3, rvalid=0.3, bvalid=0.3, extra_latency=60, seed=5)
# rate, burst bytes, latency, outstanding: what decides the slot
MACHINES = {
    "whole": machine(16, 64, 20, 64),
    "one-beat": machine(8, 8, 9, 16),  # slot 1: a hold of one cycle
    "narrow": machine(3, 16, 8, 8),  # slot 16/3: nearly what the bus can do
    "fraction": machine(Fraction(19, 2), 32, 33, 64),  # 64/19
    "latency": machine(32, 64, 50, 7),  # 50/7
    "one-in-flight": machine(4, 64, 30, 1),
    "wide": machine(128, 256, 25, 32),
}


class _Scenario(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("bus", "latency", "base", "size", "count", "cycles", "lag", "seed")),
        ("stalls", ctypes.c_double * 6),
        ("extra_latency", ctypes.c_uint64),
        ("memory", ctypes.c_void_p),
        ("commands", ctypes.c_void_p),
        ("sources", ctypes.c_void_p * 2),
    ]


class _Log(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("events", "beats", "requests")),
        *((name, ctypes.c_uint64) for name in ("beat_count", "request_count", "most_in_flight")),
        ("violation", ctypes.c_char_p),
    ]


_COMMAND = np.dtype([("channel", "u8"), ("at", "u8"), ("write_beats", "u8"), ("fields", "u4", 4)])
_BEAT = np.dtype([("cycle", "u8"), ("channel", "u8"), ("bytes", "u8"), ("flags", "u8"), ("data", "u1", 128)])
_REQUEST = np.dtype([("cycle", "u8"), ("write", "u8"), ("address", "u8")])


def flat_verilog(accelerator: Accelerator) -> str:
    """With one underscore between the parts of ports' names: Verilator's C++ names hold no two in a row."""
    return verilog_of(rtl.dma.Dma(accelerator), "dma").replace("__", "_")


class Bench:
    """The emitted Verilog and the memory, compiled into one library."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.verilog = flat_verilog(accelerator)
        here = Path(__file__).parent
        model = (here.parents[1] / "rtl" / "native" / "memory_model.h").read_text()
        source = model + (here / "dma_harness.cc").read_text()
        folder = built("dma", [self.verilog, source], lambda path: build_shared(path, self.verilog, "dma", source))
        self.library = ctypes.CDLL(str(folder / "model.so"))
        self.library.dma_new.restype = ctypes.c_void_p
        self.library.dma_play.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
        self.handle = self.library.dma_new()

    def play(self, plan: Scenario, cycles: int, stalls: Stalls = Stalls(), dry: float = 0.0) -> Log:  # noqa: B008
        """From reset on; `dry` is the chance of a store's data not being there."""
        commands = np.zeros(len(plan.commands), _COMMAND)
        for i, each in enumerate(plan.commands):
            words = [each.word >> 32 * word & 0xFFFFFFFF for word in range(4)]
            commands[i] = (each.channel, each.at, plan.write_beats(each), words)
        bits = 9 * plan.bus
        payload = 8 if bits <= 64 else 4 * -(-bits // 32)
        beats = [
            b"".join((d + s.to_bytes(-(-plan.bus // 8), "little")).ljust(payload, b"\0") for d, s in x) for x in plan.sources
        ]
        memory = ctypes.create_string_buffer(plan.memory, SIZE)
        sources = [ctypes.create_string_buffer(each) for each in beats]
        events = np.zeros(cycles, np.uint32)
        count = sum(len(plan.bursts(each)) for each in plan.commands)
        shown, requests = np.zeros(count * plan.burst // plan.bus + 99, _BEAT), np.zeros(count + 99, _REQUEST)
        given = _Scenario(plan.bus, plan.latency, BASE, SIZE, len(commands), cycles, plan.lag, stalls.seed)
        given.stalls = (stalls.arready, stalls.awready, stalls.wready, stalls.rvalid, stalls.bvalid, dry)
        given.extra_latency, given.memory = stalls.extra_latency, ctypes.addressof(memory)
        given.commands, given.sources = commands.ctypes.data, tuple(ctypes.addressof(each) for each in sources)
        log = _Log(events.ctypes.data, shown.ctypes.data, requests.ctypes.data)
        self.library.dma_play(self.handle, ctypes.addressof(given), ctypes.addressof(log))
        assert log.violation is None, log.violation
        return Log(
            events.tolist(),
            [(int(each["cycle"]), int(each["write"]), int(each["address"])) for each in requests[: log.request_count]],
            [
                (int(x["cycle"]), int(x["channel"]), int(x["bytes"]), int(x["flags"]), x["data"].tobytes())
                for x in shown[: log.beat_count]
            ],
            memory.raw,
            log.most_in_flight,
        )


@functools.cache
def bench(name: str) -> Bench:
    return Bench(MACHINES[name])


def plan_of(name: str, count: int, seed: int, *, spread: int, outside: bool = False, lag: int = 1) -> Scenario:
    return scenario(MACHINES[name], count, seed, spread=spread, outside=outside, lag=lag)


def test_machines_differ():
    slots = {name: burst_slot(accelerator) for name, accelerator in MACHINES.items()}
    assert slots["one-beat"] == 1
    assert slots["whole"] == 4
    assert {slots["narrow"], slots["fraction"], slots["latency"]} == {Fraction(16, 3), Fraction(64, 19), Fraction(50, 7)}


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize(("spread", "seed"), [(0, 1), (40, 2), (400, 3)])
def test_values_and_cycles(name: str, spread: int, seed: int):
    """All channels in random order, asking all the time, often, and seldom."""
    plan = plan_of(name, 60, seed, spread=spread)
    log = bench(name).play(plan, len(times(plan).events) + 200)
    check_times(plan, log)
    check_values(plan, log)


@pytest.mark.parametrize("name", MACHINES)
def test_late_store_data(name: str):
    """Data that come as late as the page allows change no cycle."""
    plan = plan_of(name, 60, 4, spread=30, lag=MACHINES[name].dram.latency_ns - 1)
    log = bench(name).play(plan, len(times(plan).events) + 200)
    check_times(plan, log)
    check_values(plan, log)


@pytest.mark.parametrize("name", MACHINES)
def test_slow_memory(name: str):
    """Nothing is ready when it is expected: the same bytes, and never more bursts in flight than may be."""
    plan = plan_of(name, 60, 6, spread=20)
    log = bench(name).play(plan, 20 * len(times(plan).events) + 5000, SLOW_MEMORY, dry=0.5)
    check_values(plan, log)
    assert log.most_in_flight <= rtl.dma.bursts_in_flight(MACHINES[name])


@pytest.mark.parametrize("name", MACHINES)
def test_bursts_in_flight(name: str):
    """A memory that answers late gets as many bursts as may be in flight, and then none; the modelled one fewer or as many."""
    limit = rtl.dma.bursts_in_flight(MACHINES[name])
    long = Scenario(
        MACHINES[name], [Command(0, 0, BASE, 4, 32 * MACHINES[name].dram.burst_bytes, 2**13)], bytes(SIZE), [[], []]
    )
    log = bench(name).play(long, len(times(long).events) + 50)
    check_times(long, log)
    assert log.most_in_flight <= min(limit, MACHINES[name].dram.outstanding + 1)
    late = Stalls(extra_latency=4000, seed=2)
    log = bench(name).play(long, 200_000, late)
    assert log.most_in_flight == limit
    check_values(long, log)


def test_longest_bursts():
    """256 beats and 4096 bytes: AxLEN is full, and no burst crosses what it must not."""
    accelerator = machine(16, 4096, 20, 4)
    plan = scenario(accelerator, 6, 13, spread=300)
    log = Bench(accelerator).play(plan, len(times(plan).events) + 300)
    check_times(plan, log)
    check_values(plan, log)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_random_machines(seed: int):
    """Any rate, burst, latency and number outstanding."""
    rng = np.random.default_rng(seed)
    rate = Fraction(int(rng.integers(1, 400)), int(rng.integers(1, 20)))
    burst = min(256, power_of_two(max(4, ceil(min(rate, 128)))) << int(rng.integers(0, 4)))
    accelerator = machine(min(rate, 128), burst, int(rng.integers(8, 120)), int(rng.integers(1, 40)))
    for again in range(5):
        plan = scenario(accelerator, 50, 100 * seed + again, spread=int(rng.choice((0, 20, 200))), lag=int(rng.integers(1, 8)))
        log = Bench(accelerator).play(plan, len(times(plan).events) + 300)
        check_times(plan, log)
        check_values(plan, log)


def test_the_grants_are_those_of_the_machine():
    """The page's arbitration, as the test has it, against the simulator's port."""
    plan = plan_of("fraction", 80, 9, spread=30)
    wanted, grants = times(plan).grants, []
    env = simpy.Environment()
    port = MemoryPort(env)

    def client(channel: int, commands: list[Command]):
        for command in commands:
            if command.at + 1 > env.now:
                yield env.timeout(command.at + 1 - env.now)
            hold = -(-len(plan.bursts(command)) * burst_slot(plan.accelerator) // 1)
            asked = int(env.now)
            yield port.request(channel, int(-(-len(plan.bursts(command)) * burst_slot(plan.accelerator) // 1)))
            grants.append((asked, channel, int(env.now), int(hold)))
            yield env.timeout(int(hold))

    for channel in range(5):
        env.process(client(channel, [each for each in plan.commands if each.channel == channel]))
    env.run()
    assert grants == wanted


def test_the_docstring_example():
    """The table in rtl/dma.py."""
    accelerator = machine(Fraction(64, 20), 8, 8, 8)
    assert burst_slot(accelerator) == Fraction(5, 2)
    plan = Scenario(accelerator, [Command(1, 0, BASE, 1, 24, 24)], bytes(range(256)) * (SIZE // 256), [[], []])
    log = Bench(accelerator).play(plan, 40)
    assert {cycle: names(bits) for cycle, bits in enumerate(log.events) if bits} == {
        0: ["accepted load_b"],
        1: ["started load_b"],
        8: ["ended load_b"],
        16: ["done load_b"],
    }
    assert [cycle for cycle, *_ in log.requests] == [1, 3, 6]
    assert [beat[0] for beat in log.beats] == [10, 11, 12, 13, 15, 16]


@pytest.mark.parametrize("name", ["whole", "fraction", "one-beat"])
def test_ties(name: str):
    """All five ask in one cycle, again and again: lower ranks first, as one who has been served asks anew behind the others."""
    accelerator = MACHINES[name]
    burst = accelerator.dram.burst_bytes
    commands = [Command(c, 0, BASE + (c * 8 + i) * 2 * burst, 1, burst + 1, 2 * burst) for i in range(8) for c in range(5)]
    plan = Scenario(accelerator, commands, bytes(range(256)) * (SIZE // 256), [[], []])
    plan.sources = [[(bytes([i + 1]) * plan.bus, (1 << plan.bus) - 1) for i in range(8 * plan.write_beats(commands[3]))]] * 2
    assert [channel for _, channel, _, _ in times(plan).grants] == list(range(5)) * 8
    log = bench(name).play(plan, len(times(plan).events) + 50)
    check_times(plan, log)
    check_values(plan, log)


def test_back_to_back():
    """One channel alone: a request in the cycle after the hold before it."""
    plan = plan_of("fraction", 40, 11, spread=0)
    only = [replace(command, at=0, channel=2) for command in plan.commands if command.channel < LOADS]
    plan = replace(plan, commands=only, sources=[[], []])
    grants = times(plan).grants
    assert all(asked == granted == before + hold for (_, _, before, hold), (asked, _, granted, _) in pairwise(grants))
    log = bench("fraction").play(plan, len(times(plan).events) + 50)
    check_times(plan, log)
    check_values(plan, log)


@pytest.mark.parametrize("name", ["whole", "narrow"])
def test_errors(name: str):
    """Bursts beyond the memory: told in the cycle after each of their beats or responses; all else goes on."""
    plan = plan_of(name, 60, 12, spread=30, outside=True)
    wanted = times(plan)
    assert all(any(bits >> flag & 1 for bits in wanted.events) for flag in (20, 21))
    log = bench(name).play(plan, len(wanted.events))
    check_times(plan, log)
    check_values(plan, log)


@pytest.mark.parametrize("name", ["whole", "fraction"])
def test_reset_in_mid_transfer(name: str):
    """Whatever was going on: afterwards the first command is served as if it were the first ever."""
    for cut in range(1, 300, 7):
        bench(name).play(plan_of(name, 12, cut, spread=10, outside=True), cut, SLOW_MEMORY if cut % 2 else Stalls())
        plan = plan_of(name, 4, 1000 + cut, spread=10)
        log = bench(name).play(plan, len(times(plan).events) + 100)
        check_times(plan, log)
        check_values(plan, log)


def test_under_cocotb(tmp_path: Path):
    """The same rules in another simulator, with a memory written in another language."""
    accelerator = MACHINES["fraction"]
    plain, slow = (scenario(accelerator, 25, seed, spread=20, outside=seed == 20) for seed in (20, 21))
    plans = [(plain, Stalls(), len(times(plain).events)), (slow, SLOW_MEMORY, 12 * len(times(slow).events))]
    file = tmp_path / "plans.pickle"
    file.write_bytes(pickle.dumps(plans))
    run_cocotb(bench("fraction").verilog, "dma", "dma_bench", {"PLANS": str(file)})


@pytest.mark.parametrize("name", MACHINES)
def test_text_is_sound(name: str):
    check(verilog_of(rtl.dma.Dma(MACHINES[name]), "dma"), "dma")


def test_channels_are_ranked_alike():
    assert rtl.dma.CHANNELS == CHANNELS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((200, 256, 20, 64), "Dram field 'bytes_per_second' must be at most 128000000000 for the RTL, not 200000000000"),
        ((16, 48, 20, 64), "Dram field 'burst_bytes' must be a power of two from 16 to 4096 for the RTL, not 48"),
        ((16, 8, 20, 64), "Dram field 'burst_bytes' must be a power of two from 16 to 4096 for the RTL, not 8"),
        ((16, 8192, 20, 64), "Dram field 'burst_bytes' must be a power of two from 16 to 4096 for the RTL, not 8192"),
        ((4, 2048, 20, 64), "Dram field 'burst_bytes' must be a power of two from 4 to 1024 for the RTL, not 2048"),
        ((16, 64, 7, 64), "Dram field 'latency_ns' must be at least 8 clock cycles for the RTL, not 7"),
    ],
)
def test_memories_that_it_cannot_use(arguments: tuple[int, int, int, int], message: str):
    with pytest.raises(ValueError, match=message):
        rtl.dma.Dma(machine(*arguments))
