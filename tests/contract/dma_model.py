"""What the DMA must do with a list of commands: docs/machine.md 'Memory port' in plain Python, written without the RTL."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from operator import itemgetter
from typing import TypeAlias

import numpy as np

from simulator.arch import Accelerator, Dram
from simulator.layout import burst_slot, bus_bytes

CHANNELS = ("load_a", "load_b", "load_work", "store_c", "store_work")
LOADS = 3
KINDS = ("accepted", "started", "ended", "done")  # of events, a bit for each channel
FLAGS = ("read_fault", "write_fault", "read_error", "write_error")  # and what follows
BASE = 3 * 2**32 - 2**16  # of the memory: addresses with high bits, and a carry into them
SIZE = 2**20
_Event: TypeAlias = Callable[[int, str, int], None]  # cycle, kind, channel


@dataclass(frozen=True)
class Command:
    """`at`: offered from that cycle on, once the one before has been accepted."""

    channel: int
    at: int
    address: int
    rows: int
    row_bytes: int
    pitch: int

    @property
    def word(self) -> int:
        return self.address | self.rows << 40 | self.row_bytes << 60 | self.pitch << 84


@dataclass
class Log:
    """What happened: event bits per cycle, requests (cycle, is a write, address), shown beats, memory afterwards."""

    events: list[int]
    requests: list[tuple[int, int, int]]
    beats: list[tuple[int, int, int, int, bytes]]  # cycle, channel, bytes, flags (first, last, end), data
    memory: bytes
    most_in_flight: int


@dataclass
class Scenario:
    """Commands, the memory's content before them, and what store channels give: (data, strobe) in order."""

    accelerator: Accelerator
    commands: list[Command]
    memory: bytes
    sources: list[list[tuple[bytes, int]]]
    lag: int = 1  # cycles from the start of a store to its data
    bus: int = field(init=False)
    burst: int = field(init=False)

    def __post_init__(self) -> None:
        self.bus, self.burst = bus_bytes(self.accelerator), self.accelerator.dram.burst_bytes

    @property
    def latency(self) -> int:
        return self.accelerator.dram.latency_cycles(self.accelerator.clock_hz)

    def bursts(self, command: Command) -> list[int]:
        """Addresses of the bursts."""
        a_row = -(-command.row_bytes // self.burst)
        return [command.address + row * command.pitch + i * self.burst for row in range(command.rows) for i in range(a_row)]

    def write_beats(self, command: Command) -> int:
        return command.rows * -(-command.row_bytes // self.bus) if command.channel >= LOADS else 0


def machine(rate: Fraction | int, burst: int, latency: int, outstanding: int) -> Accelerator:
    """A memory of `rate` bytes per cycle."""
    clock = 10**9
    dram = Dram(bytes_per_second=int(rate * clock), latency_ns=latency, burst_bytes=burst, outstanding=outstanding)
    return Accelerator(name="dma", clock_hz=clock, dram=dram)


def scenario(accelerator: Accelerator, count: int, seed: int, *, spread: int, outside: bool = False, lag: int = 1) -> Scenario:
    """Random commands within the memory, loads in its lower half, stores in places of their own in the upper."""
    rng = np.random.default_rng(seed)
    burst, bus = accelerator.dram.burst_bytes, bus_bytes(accelerator)
    free, now, commands = SIZE // 2, 0, []
    for _ in range(count):
        channel = int(rng.integers(5))
        rows = int(rng.integers(1, 5))
        row_bytes = int(rng.choice((rng.integers(1, 4 * burst), burst * rng.integers(1, 4), rng.integers(1, bus + 1))))
        least = -(-row_bytes // burst)
        pitch = int(burst * (least + rng.integers(0, 3)))
        now += int(rng.integers(0, spread + 1)) if rng.random() < 0.7 else 0
        if channel < LOADS:
            pitch = pitch if rng.random() < 0.8 else 0  # one row again and again
            address = int(rng.integers(0, (SIZE // 2 - (rows - 1) * pitch - least * burst) // burst + 1)) * burst
        else:
            address, free = free, free + rows * pitch
        if outside and rng.random() < 0.3:
            address = int(rng.choice((-(2**20), SIZE) if channel >= LOADS else (-(2**20), SIZE - burst, SIZE)))
        commands.append(Command(channel, now, BASE + address, rows, row_bytes, pitch))
    assert free <= SIZE - burst
    made = Scenario(accelerator, commands, rng.bytes(SIZE), [[], []], lag)
    for command in commands:
        for _ in range(made.write_beats(command)):
            strobe = (1 << bus) - 1 if rng.random() < 0.8 else int.from_bytes(rng.bytes(bus), "little") % (1 << bus)
            made.sources[command.channel - LOADS].append((rng.bytes(bus), strobe))
    return made


@dataclass
class Times:
    """When what happens in a scenario; `grants`: (request, channel, grant, cycles of the hold)."""

    events: list[int]
    requests: list[tuple[int, int, int]]
    beats: list[int]  # cycles in which beats are shown
    grants: list[tuple[int, int, int, int]]


def times(plan: Scenario) -> Times:
    """Cycle by cycle, from the rules of the page."""
    slot, latency, beats = burst_slot(plan.accelerator), plan.latency, plan.burst // plan.bus
    todo = [[command for command in plan.commands if command.channel == channel] for channel in range(5)]
    ready_from, waiting, free_at, now = [0] * 5, [], 0, 0
    seen: dict[int, int] = {}
    found = Times([], [], [], [])

    def event(cycle: int, kind: str, channel: int) -> None:
        bit = 20 + FLAGS.index(kind) if kind in FLAGS else 5 * KINDS.index(kind) + channel
        seen[cycle] = seen.get(cycle, 0) | 1 << bit

    while any(todo) or waiting:
        if waiting and now >= free_at:
            requested, channel, command = waiting.pop(waiting.index(min(waiting, key=itemgetter(0, 1))))
            addresses = plan.bursts(command)
            hold = ceil(len(addresses) * slot)
            free_at = now + hold
            ready_from[channel] = free_at - 1
            event(now, "started", channel)
            event(free_at - 1, "ended", channel)
            event(now + floor((len(addresses) - 1) * slot) + beats + latency, "done", channel)
            found.grants.append((requested, channel, now, hold))
            for i, address in enumerate(addresses):
                _burst(plan, command, i, address, now + floor(i * slot), found, event)
        for channel in range(5):
            if todo[channel] and now >= max(todo[channel][0].at, ready_from[channel]):
                waiting.append((now + 1, channel, todo[channel].pop(0)))
                ready_from[channel] = 2**62  # until it is known
                event(now, "accepted", channel)
        now += 1
    found.events = [seen.get(cycle, 0) for cycle in range(max(seen) + 2 * latency)]
    for kind, (fault, error) in {"read": (20, 22), "write": (21, 23)}.items():
        first = next((cycle for cycle, bits in enumerate(found.events) if bits >> fault & 1), None)
        assert kind in FLAGS[fault - 20]
        if first is not None:
            for cycle in range(first, len(found.events)):
                found.events[cycle] |= 1 << error
    return found


def _burst(plan: Scenario, command: Command, i: int, address: int, cycle: int, found: Times, event: _Event) -> None:
    """What follows from the request of burst i in `cycle`."""
    per_row, beats = -(-command.row_bytes // plan.burst), plan.burst // plan.bus
    inside = address >= BASE and address + plan.burst <= BASE + SIZE
    found.requests.append((cycle, int(command.channel >= LOADS), address))
    left = command.row_bytes - i % per_row * plan.burst
    if command.channel >= LOADS:
        if not inside:
            event(cycle + plan.latency + beats, "write_fault", command.channel)
        return
    for beat in range(beats):
        shown = cycle + plan.latency + beat + 1
        if beat * plan.bus < left:
            found.beats.append(shown)
        if not inside:
            event(shown, "read_fault", command.channel)


def check_values(plan: Scenario, log: Log) -> None:
    """Whatever the memory's pace: each load shows its rows, each store has written its rows, and no byte else changed."""
    read, wanted = memoryview(plan.memory), bytearray(plan.memory)
    sources = [iter(beats) for beats in plan.sources]
    for channel in range(5):
        shown = iter([beat for beat in log.beats if beat[1] == channel])
        for command in (each for each in plan.commands if each.channel == channel):
            for row in range(command.rows):
                start = command.address + row * command.pitch - BASE
                for at in range(0, command.row_bytes, plan.bus):
                    count = min(plan.bus, command.row_bytes - at)
                    inside = start + at >= 0 and start + at + plan.bus <= SIZE
                    if channel < LOADS:
                        final = at + count == command.row_bytes
                        flags = (at == 0) | final << 1 | (final and row == command.rows - 1) << 2
                        _, _, got, bits, data = next(shown)
                        assert (got, bits) == (count, flags), (command, row, at)
                        assert data[:count] == (bytes(read[start + at :][:count]) if inside else bytes(count))
                    else:
                        data, strobe = next(sources[channel - LOADS])
                        for i in range(count if inside else 0):
                            if strobe >> i & 1:
                                wanted[start + at + i] = data[i]
        assert next(shown, None) is None
    assert log.memory == bytes(wanted)
    assert sorted(request[1:] for request in log.requests) == sorted(
        (int(command.channel >= LOADS), address) for command in plan.commands for address in plan.bursts(command)
    )
    for channel in range(5):
        commands = sum(command.channel == channel for command in plan.commands)
        for kind in range(len(KINDS)):
            assert sum(bits >> (5 * kind + channel) & 1 for bits in log.events) == commands, (KINDS[kind], channel)


def check_times(plan: Scenario, log: Log) -> None:
    """Every event, request and beat in its cycle."""
    wanted = times(plan)
    for cycle, (got, bits) in enumerate(zip(log.events, wanted.events, strict=False)):
        assert got == bits, f"cycle {cycle}: {names(got)} not {names(bits)}"
    assert len(log.events) >= len(wanted.events)
    assert not any(bits & 0xFFFFF for bits in log.events[len(wanted.events) :])
    assert log.requests == sorted(wanted.requests)
    assert [beat[0] for beat in log.beats] == sorted(wanted.beats)


def names(bits: int) -> list[str]:
    """An event word in words."""
    words = [f"{kind} {channel}" for kind in KINDS for channel in CHANNELS] + list(FLAGS)
    return [word for i, word in enumerate(words) if bits >> i & 1]
