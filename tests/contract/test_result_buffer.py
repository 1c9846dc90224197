# amaranth: UnusedElaboratable=no
"""Does the result buffer keep sums where docs/machine.md says, and do stores give their rows, rounded, a beat a cycle?"""

import functools

import numpy as np
import pytest
from rtl_kit.require import need_rtl
from strategies import wide_machine

need_rtl()

from pe_jobs import accumulator_bits, operand_bits, pack, random_sums  # noqa: E402
from port_rows import as_array, as_integers  # noqa: E402
from result_tops import PlainPorts  # noqa: E402
from rtl_kit import NativeModel  # noqa: E402

from rtl.array_ports import sum_request, sum_write  # noqa: E402
from rtl.emit import check, verilog_of  # noqa: E402
from rtl.native.toolchain import ports_of  # noqa: E402
from rtl.pe import product_cycles  # noqa: E402
from rtl.result_buffer import ResultBuffer, store_layout  # noqa: E402
from simulator.arch import Accelerator, Buffer, Dram, Pe  # noqa: E402
from simulator.arithmetic import to_result  # noqa: E402
from simulator.layout import bus_bytes, result_places, result_words  # noqa: E402

CLOCK = 200_000_000


def machine(name, cols, bus, *, multiply=1, slots=2) -> Accelerator:
    pe = Pe(format=name, multiply_latency=multiply)
    buffer = Buffer(bytes=slots * 8192, banks=64, bank_bits=2**16, slots=slots)
    dram = Dram(bytes_per_second=bus * CLOCK, latency_ns=50, burst_bytes=64, outstanding=4)
    accelerator = wide_machine(pe, 2, cols, double=True, c_buffer=buffer, dram=dram)
    assert bus_bytes(accelerator) == bus
    return accelerator


MACHINES = {  # columns and results of a beat: equal, either more, one; powers of two and not
    "fp16-2-bus4": machine("fp16", 2, 4),
    "fp16-3-bus16": machine("fp16", 3, 16, multiply=0, slots=3),
    "bf16-1-bus16": machine("bf16", 1, 16),
    "int8-5-bus8": machine("int8", 5, 8, multiply=0),
    "int8-2-bus32": machine("int8", 2, 32),
    "int8-3-bus4": machine("int8", 3, 4),
}


class Bench:
    """Emitted Verilog, a cycle at a time."""

    def __init__(self, accelerator: Accelerator) -> None:
        verilog = verilog_of(PlainPorts(accelerator), "sums")
        ports = ports_of(verilog, "sums")
        self.bits = {name: port.bits for name, port in ports.items()}
        self.inputs = ["sums_request", "results", "start", "fields", "ready"]
        self.model = NativeModel(verilog, "sums", self.inputs, ["sums_data", "valid", "payload"])

    def cycle(self, values: dict[str, int], *, restart: bool = False) -> dict[str, int]:
        arrays = {name: as_array([values.get(name, 0)], self.bits[name]) for name in self.inputs}
        return {name: as_integers(array)[0] for name, array in self.model.run(arrays, restart=restart).items()}


@functools.cache
def bench(name: str) -> Bench:
    return Bench(MACHINES[name])


class Tile:
    """Random sums (m, n) in a slot."""

    def __init__(self, accelerator, rng, slot) -> None:
        cols, places = accelerator.array.cols, result_places(accelerator)
        self.slot, self.swapped = slot, bool(rng.integers(2))
        while True:
            self.m, self.n = (int(x) for x in rng.integers(1, 3 * max(cols, places) + 2, 2))
            u_end, v_end = (self.n, self.m) if self.swapped else (self.m, self.n)
            self.stride = -(-v_end // cols) + int(rng.integers(0, 2))
            if -(-u_end // places) * self.stride <= result_words(accelerator):
                break
        self.cols, self.places = cols, places
        values = random_sums(rng, accelerator.pe.format, (self.m, self.n))
        self.sums = accumulator_bits(values)
        rounded = to_result(accelerator.pe.number, values)
        self.results = rounded.view(np.uint32) if rounded.dtype.kind == "i" else operand_bits(accelerator.pe.format, rounded)
        self.result_bits = accelerator.pe.number.result_bits

    def address(self, u, v) -> tuple[int, dict]:
        """Bank, and the fields that say where in it (docs/machine.md)."""
        fold = v // self.cols
        place = (u + fold) % self.places
        return v % self.cols, {"slot": self.slot, "word": u // self.places * self.stride + fold, "place": place}

    def sum(self, u, v) -> int:
        return int(self.sums[(v, u) if self.swapped else (u, v)])

    @property
    def fields(self) -> dict:
        sizes = {"rows": self.m, "columns": self.n, "stride": self.stride}
        return sizes | {"slot": self.slot, "swapped": int(self.swapped)}

    def beats(self) -> list[int]:
        rows = ([int(x) for x in row] for row in self.results)
        parts = (row[at : at + self.places] for row in rows for at in range(0, self.n, self.places))
        return [sum(x << i * self.result_bits for i, x in enumerate(part)) for part in parts]


def array_cycles(accelerator, rng, tile):
    """What the array does with a tile, cycle by cycle: (results, requests and their answers), by column.

    First other sums are written, then the tile's, each at random times; requests are for what was written before, and in the
    very cycle where the array may count on it.
    """
    at_once = product_cycles(accelerator.pe) == 0
    u_end, v_end = (tile.n, tile.m) if tile.swapped else (tile.m, tile.n)
    todo = {bank: [] for bank in range(tile.cols)}
    for v in range(v_end):
        for u in range(u_end):
            todo[v % tile.cols].append((u, v))
    held = {bank: {} for bank in todo}
    for final in (False, True):
        lists = {bank: list(where) for bank, where in todo.items()}
        for where in lists.values():
            rng.shuffle(where)
        while any(lists.values()):
            writes, asks = {}, {}
            for bank, where in lists.items():
                before = dict(held[bank])
                if where and rng.random() < 0.9:
                    u, v = (int(x) for x in where.pop())
                    value = tile.sum(u, v) if final else int(rng.integers(1 << 32))
                    assert tile.address(u, v)[0] == bank
                    writes[bank] = tile.address(u, v)[1] | {"valid": 1, "sum": value}
                    held[bank][u, v] = value
                    if at_once:
                        before = held[bank]
                if before and rng.random() < 0.7:
                    newest = next(reversed(before)) if rng.random() < 0.5 else list(before)[rng.integers(len(before))]
                    asks[bank] = tile.address(*newest)[1] | {"valid": 1}, before[newest]
            yield writes, asks


def play(name, seed, tiles, *, ready=1.0):
    """Fill a slot after another, store each while the next is filled; returns beats by cycle, and cycles of starts."""
    accelerator, rng = MACHINES[name], np.random.default_rng(seed)
    slots = accelerator.c_buffer.slots
    request, write, bits = sum_request(accelerator), sum_write(accelerator), accelerator.pe.number.accumulator_bits
    every = [Tile(accelerator, rng, i % slots) for i in range(tiles)]
    filled, started, stored, at, answers = 0, 0, 0, None, {}
    left, taken, starts, clean, cycle = [], [], [], [], 0
    compared = 0
    while stored < tiles:
        values = {"ready": int(rng.random() < ready), "sums_request": 0, "results": 0}
        writes, asks = {}, {}
        if at is None and filled < tiles and stored > filled - slots:
            at = array_cycles(accelerator, rng, every[filled])
        if at is not None:
            writes, asks = next(at, (None, {}))
            if writes is None:
                at, filled, writes = None, filled + 1, {}
        for bank, fields in writes.items():
            values["results"] |= pack(write, fields) << bank * write.size
        for bank, (fields, _) in asks.items():
            values["sums_request"] |= pack(request, fields) << bank * request.size
        # A store starts a cycle after its sums are written; up to two are on their way.
        if started < filled and started - stored < 2 and rng.random() < 0.5:
            values |= {"start": 1, "fields": pack(store_layout(), every[started].fields)}
            clean.append(started == stored and not left)
            left += [(started, beat) for beat in every[started].beats()]
            starts.append(cycle)
            started += 1
        outputs = bench(name).cycle(values, restart=cycle == 0)
        for bank, value in answers.items():
            assert outputs["sums_data"] >> bank * bits & (1 << bits) - 1 == value, (cycle, bank)
            compared += 1
        answers = {bank: value for bank, (_, value) in asks.items()}
        if outputs["valid"] and values["ready"]:
            number, beat = left.pop(0)
            assert outputs["payload"] == beat, (cycle, number)
            taken.append((cycle, number))
            if not any(other == number for other, _ in left):
                stored += 1
        cycle += 1
        assert cycle < 100_000
    for _ in range(8):
        assert not bench(name).cycle({"ready": 1})["valid"]
    assert compared > 20 * tiles > 0
    return every, taken, starts, clean


@pytest.mark.parametrize("name", MACHINES)
def test_beats_that_wait(name: str):
    """Values and order, whatever the memory port does; the array's sums are right all the while."""
    every, taken, _, _ = play(name, 1, 40, ready=0.4)
    assert {tile.swapped for tile in every} == {False, True}
    assert len(taken) == sum(len(tile.beats()) for tile in every)


@pytest.mark.parametrize("name", MACHINES)
def test_a_beat_a_cycle(name: str):
    """The first beat 4 cycles after the start, the others in the cycles after it."""
    every, taken, starts, clean = play(name, 2, 30)
    assert sum(clean) > 3
    for number, (start, alone) in enumerate(zip(starts, clean, strict=True)):
        cycles = [cycle for cycle, of in taken if of == number]
        assert cycles == list(range(cycles[0], cycles[0] + len(every[number].beats())))
        assert cycles[0] == start + 4 if alone else cycles[0] >= start + 4


@pytest.mark.parametrize("name", ["fp16-3-bus16", "int8-3-bus4"])
def test_text_is_sound(name: str):
    check(verilog_of(ResultBuffer(MACHINES[name]), "sums"), "sums")
