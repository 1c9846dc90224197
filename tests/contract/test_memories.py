# amaranth: UnusedElaboratable=no
"""Do the on-chip memories answer with the values and in the cycles of docs/machine.md, whatever comes when?"""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from flat_top import Flat
from rtl_kit.require import need_rtl

need_rtl()

from rtl_kit import NativeModel  # noqa: E402

from reports.studies.rtl_training.machine import MACHINE  # noqa: E402
from rtl.emit import check, verilog_of  # noqa: E402
from rtl.memories import ProgramMemory, TensorMemory  # noqa: E402
from simulator.arch import Dram  # noqa: E402
from simulator.encoding import COMMAND_BYTES  # noqa: E402
from simulator.layout import burst_slot, bus_bytes  # noqa: E402

SIZE = 3072
DRAMS = {
    "4 beats": MACHINE.dram,
    "1 beat, latency 8": Dram(bytes_per_second=4 * 10**9, latency_ns=8, burst_bytes=4, outstanding=64),
    "slot 33/2": Dram(bytes_per_second=3 * 10**9, latency_ns=33, burst_bytes=32, outstanding=2),
    "bus of 16": Dram(bytes_per_second=16 * 10**9, latency_ns=9, burst_bytes=32, outstanding=64),
}


class Run:
    """A sequence of bursts on the port, each as `rtl.dma` would ask for it, as rows of port values."""

    def __init__(self, name: str, cycles: int) -> None:
        self.spec = replace(MACHINE, dram=DRAMS[name])
        self.bus, self.burst = bus_bytes(self.spec), self.spec.dram.burst_bytes
        self.beats, self.latency = self.burst // self.bus, self.spec.dram.latency_cycles(self.spec.clock_hz)
        self.cycles = cycles
        words = max(1, self.bus // 4)
        shapes = {"axi_wdata": (words, np.uint32), "axi_wstrb": (0, np.uint8 if self.bus <= 8 else np.uint16)}
        names = ("axi_awvalid", "axi_arvalid", "axi_wvalid", "host_valid", "host_write")
        self.rows = {each: np.zeros(cycles, np.uint8) for each in names}
        self.rows |= {each: np.zeros(cycles, np.uint64) for each in ("axi_awaddr", "axi_araddr")}
        self.rows |= {each: np.ones(cycles, np.uint8) for each in ("axi_rready", "axi_bready")}
        self.rows |= {"host_address": np.zeros(cycles, np.uint16), "host_write_data": np.zeros(cycles, np.uint32)}
        for each, (width, dtype) in shapes.items():
            self.rows[each] = np.zeros((cycles, width) if width > 1 else cycles, dtype)
        self.memory = np.zeros(SIZE, np.uint8)
        self.at, self.reads, self.answers, self.takes = 0, {}, {}, []

    def fill(self, rng: np.random.Generator) -> None:
        """By the host, a word a cycle."""
        self.memory[:] = rng.integers(0, 256, SIZE)
        words = SIZE // 4
        self.rows["host_valid"][:words] = self.rows["host_write"][:words] = 1
        self.rows["host_address"][:words] = np.arange(words)
        self.rows["host_write_data"][:words] = self.memory.view(np.uint32)
        self.at = words + 2

    def read(self, address: int) -> None:
        """A burst asked for now; its data are those of now, or no data and an error."""
        self.rows["axi_arvalid"][self.at], self.rows["axi_araddr"][self.at] = 1, address
        for beat in range(self.beats):
            here = address + beat * self.bus
            data = self.memory[here : here + self.bus].tobytes() if address < SIZE else None
            self.reads[self.at + self.latency + beat] = (data, beat + 1 == self.beats)

    def write(self, address: int, rng: np.random.Generator, delay: int) -> None:
        """A burst asked for now, its data from `delay` cycles later on, one a cycle."""
        self.rows["axi_awvalid"][self.at], self.rows["axi_awaddr"][self.at] = 1, address
        self.answers[self.at + self.latency + self.beats - 1] = 0 if address < SIZE else 2
        for beat in range(self.beats):
            data, strobe = rng.integers(0, 256, self.bus, np.uint8), rng.integers(0, 2, self.bus, np.uint8)
            self.takes.append((self.at + delay + beat, data, strobe))
            if address < SIZE:
                here = self.memory[address + beat * self.bus :][: self.bus]
                here[strobe == 1] = data[strobe == 1]

    def play(self) -> dict[str, np.ndarray]:
        verilog = verilog_of(Flat(TensorMemory(self.spec, SIZE)), "unit")
        outs = ["axi_awready", "axi_arready", "axi_wready", "axi_rvalid", "axi_rdata", "axi_rresp", "axi_rlast"]
        outs += ["axi_bvalid", "axi_bresp", "host_ready", "host_answered", "host_read_data"]
        windows, free, taken = {cycle - 2 for cycle in self.reads}, 0, []
        for at, data, strobe in self.takes:  # each is offered until it is taken: in the first cycle that is in no read's window
            cycle = max(at, free)
            while cycle in windows:
                self._offer(cycle, data, strobe)
                cycle += 1
            self._offer(cycle, data, strobe)
            taken.append(cycle)
            free = cycle + 1
        out = NativeModel(verilog, "unit", list(self.rows), outs).run(self.rows)
        offered = np.flatnonzero(self.rows["axi_wvalid"] & out["axi_wready"])
        assert offered.tolist() == taken
        return out

    def _offer(self, cycle: int, data: np.ndarray, strobe: np.ndarray) -> None:
        self.rows["axi_wvalid"][cycle] = 1
        self.rows["axi_wdata"][cycle] = data.view(np.uint32) if self.bus > 4 else data.view(np.uint32)[0]
        self.rows["axi_wstrb"][cycle] = int("".join(map(str, strobe[::-1])), 2)


@pytest.mark.parametrize("name", DRAMS)
@pytest.mark.parametrize("seed", [0, 1])
def test_values_and_cycles(name: str, seed: int):
    """Bursts at the port's rate and slower, reads and writes mixed, data late by as much as they may be, some outside."""
    rng = np.random.default_rng(seed)
    run = Run(name, 12000)
    run.fill(rng)
    slot, start = Fraction(burst_slot(run.spec)), run.at
    due, written, asked_at = Fraction(start), {}, {}
    while run.at < run.cycles - 2000:
        address = int(rng.integers(0, SIZE // run.burst)) * run.burst
        if rng.random() < 0.04:
            address = int(rng.choice([SIZE, SIZE + 1024, 1 << 12, 1 << 39]))
        # A burst must not meet one of the other kind that is under way: the machine waits for its end.
        apart = run.latency + run.beats
        if rng.random() < 0.5:
            if run.at - asked_at.get(address, -1000) <= apart:
                continue
            run.write(address, rng, int(rng.integers(1, run.latency - 1)) if seed else run.latency - 2)
            written[address] = run.at
        elif run.at - written.get(address, -1000) > apart:
            run.read(address)
            asked_at[address] = run.at
        due += slot if rng.random() < 0.9 else slot + int(rng.integers(0, 50))
        run.at = int(due)
    out = run.play()
    asked = (run.rows["axi_awvalid"] | run.rows["axi_arvalid"]) == 1
    assert out["axi_awready"][asked].all()
    assert out["axi_arready"][asked].all()
    assert np.flatnonzero(out["axi_rvalid"]).tolist() == sorted(run.reads)
    for cycle, (data, last) in run.reads.items():
        assert (out["axi_rresp"][cycle], bool(out["axi_rlast"][cycle])) == (0 if data is not None else 2, last)
        assert data is None or out["axi_rdata"][cycle].tobytes() == data, cycle
    found = {int(at): int(out["axi_bresp"][at]) for at in np.flatnonzero(out["axi_bvalid"])}
    assert found == run.answers
    assert len(run.reads) > 50 * run.beats
    assert len(found) > 50


def test_the_host_waits_for_the_machine():
    """And reads and writes in all cycles that are left, right up to a read's window."""
    rng = np.random.default_rng(5)
    run = Run("4 beats", 6000)
    run.fill(rng)
    first = run.at
    for _ in range(400):
        run.read(int(rng.integers(0, SIZE // run.burst)) * run.burst)
        run.at += int(rng.integers(4, 9))
    run.rows["host_valid"][first:] = 1
    addresses = rng.integers(0, SIZE // 4, run.cycles - first)
    run.rows["host_address"][first:] = np.repeat(addresses[::8], 8)[: len(addresses)]
    out = run.play()
    assert np.flatnonzero(out["axi_rvalid"]).tolist() == sorted(run.reads)
    assert all(out["axi_rdata"][cycle].tobytes() == data for cycle, (data, _) in run.reads.items())
    windows = {cycle - 2 for cycle in run.reads}
    for cycle in range(first, run.cycles - 2):
        assert out["host_ready"][cycle] == (cycle not in windows)
        assert out["host_answered"][cycle + 2] == (cycle not in windows)
        if cycle not in windows:
            word = int(run.memory.view(np.uint32)[run.rows["host_address"][cycle]])
            if run.rows["host_address"][cycle + 2] == run.rows["host_address"][cycle]:
                assert int(out["host_read_data"][cycle + 2]) == word


@pytest.mark.parametrize("wide", [True, False], ids=["wide", "narrow"])
@pytest.mark.parametrize("word_bytes", [4, 16])
def test_commands(wide: bool, word_bytes: int):
    """Each two cycles after it was asked for, or after as many as its words need; SLVERR outside."""
    rng = np.random.default_rng(word_bytes)
    memory = rng.integers(0, 256, SIZE, np.uint8)
    words, cycles = SIZE // 4, 6000
    rows = {"host_valid": np.zeros(cycles, np.uint8), "host_write": np.zeros(cycles, np.uint8)}
    rows |= {"host_address": np.zeros(cycles, np.uint16), "host_write_data": np.zeros(cycles, np.uint32)}
    rows["host_valid"][:words] = rows["host_write"][:words] = 1
    rows["host_address"][:words], rows["host_write_data"][:words] = np.arange(words), memory.view(np.uint32)
    rows |= {"axi_arvalid": np.zeros(cycles, np.uint8), "axi_araddr": np.zeros(cycles, np.uint64)}
    rows["axi_rready"] = np.ones(cycles, np.uint8)
    wait = 2 if wide else COMMAND_BYTES // word_bytes + 3
    every = 1 if wide else wait + 1
    asked = {}
    for number in range(150):
        at = words + 4 + number * every
        address = (
            int(rng.integers(0, SIZE // COMMAND_BYTES)) * COMMAND_BYTES if number % 10 else int(rng.choice([SIZE, 1 << 35]))
        )
        rows["axi_arvalid"][at], rows["axi_araddr"][at] = 1, address
        asked[at + wait] = address
    rows["host_valid"][-words - 8 : -8], rows["host_address"][-words - 8 : -8] = 1, np.arange(words)  # read back
    outs = ["axi_arready", "axi_rvalid", "axi_rdata", "axi_rresp", "axi_rlast", "host_answered", "host_read_data"]
    unit = ProgramMemory(SIZE, wide=wide, word_bytes=word_bytes)
    out = NativeModel(verilog_of(Flat(unit), "unit"), "unit", list(rows), outs).run(rows)
    assert out["axi_arready"][rows["axi_arvalid"] == 1].all()
    assert np.flatnonzero(out["axi_rvalid"]).tolist() == sorted(asked)
    for cycle, address in asked.items():
        assert (out["axi_rresp"][cycle], out["axi_rlast"][cycle]) == (0 if address < SIZE else 2, 1)
        if address < SIZE:
            assert out["axi_rdata"][cycle].tobytes() == memory[address : address + COMMAND_BYTES].tobytes()
    assert out["host_answered"][-words - 6 : -6].all()


@pytest.mark.parametrize("size", [0, 1000, 1 << 31, 4096.0])
def test_sizes(size: int):
    for make in (lambda: TensorMemory(MACHINE, size), lambda: ProgramMemory(size)):
        with pytest.raises(ValueError, match="must be a multiple of 1024 bytes"):
            make()


def test_text_is_sound():
    for unit in (TensorMemory(MACHINE, SIZE), ProgramMemory(SIZE), ProgramMemory(SIZE, wide=False)):
        check(verilog_of(unit, "unit"), "unit")
