# amaranth: UnusedElaboratable=no
"""Does an operand buffer hold every entry where docs/machine.md says, and answer the array's requests in the next cycle?"""

import functools

import numpy as np
import pytest
from rtl_kit.require import need_rtl
from strategies import wide_machine

need_rtl()

from operand_model import random_tile  # noqa: E402
from pe_jobs import pack  # noqa: E402
from port_rows import as_array, as_integers  # noqa: E402
from rtl_kit import NativeModel  # noqa: E402

from rtl.array_ports import column_request, row_request  # noqa: E402
from rtl.emit import check, verilog_of  # noqa: E402
from rtl.native.toolchain import ports_of  # noqa: E402
from rtl.operand_buffer import OperandBuffer  # noqa: E402
from rtl.operand_unpack import beat_layout, load_layout  # noqa: E402
from rtl.pe import operand_layout  # noqa: E402
from simulator.arch import Accelerator, Buffer, Dram, Pe  # noqa: E402
from simulator.layout import Banking, bus_bytes, bus_elements  # noqa: E402

CLOCK = 200_000_000


def machine(name, rows, cols, bus, *, group=8, lanes=1, slots=3) -> Accelerator:
    pe = Pe(format=name, group=group, lanes=lanes, registers=16)
    buffer = Buffer(bytes=slots * 5_000, banks=64, bank_bits=2**16, slots=slots)
    dram = Dram(bytes_per_second=bus * CLOCK, latency_ns=50, burst_bytes=64, outstanding=4)
    accelerator = wide_machine(pe, rows, cols, double=True, a_buffer=buffer, b_buffer=buffer, dram=dram)
    assert bus_bytes(accelerator) == bus
    return accelerator


MACHINES = {
    "int8-2x2-bus4": machine("int8", 2, 2, 4),
    "int8-3x5-bus8": machine("int8", 3, 5, 8, lanes=2),
    "int8-1x1-bus4": machine("int8", 1, 1, 4, group=4, slots=1),
    "fp16-4x3-bus4": machine("fp16", 4, 3, 4, group=16, lanes=2),
    "fp16-5x3-bus16": machine("fp16", 5, 3, 16, group=2, slots=2),
    "bf16-2x3-bus16": machine("bf16", 2, 3, 16, group=4, lanes=4),
    "int8-4x5-bus4": machine("int8", 4, 5, 4),
    "int8-5x4-lanes": machine("int8", 5, 4, 4, group=16, lanes=4),
    "int8-4x4-whole": machine("int8", 4, 4, 4, group=4, lanes=2),
    "int8-3x3-bus16": machine("int8", 3, 3, 16),
    "int8-2x1-dense": machine("int8", 2, 1, 8, group=1, lanes=1),
}
KINDS = [(how, kept, across) for how in Banking for kept in (False, True) for across in (False, True)]
KINDS = [kind for kind in KINDS if not (kind[0] is Banking.STEP_ROWS and kind[2])]


@functools.cache
def model(name: str, side: str) -> tuple[NativeModel, dict[str, int], list[str]]:
    verilog = verilog_of(OperandBuffer(MACHINES[name], side), "buffer")
    ports = ports_of(verilog, "buffer")
    inputs = ["load", "fields", "beat", "row_request", "column_request"]
    outputs = ["row_data", "column_data", "row_asked", "column_asked"]
    native = NativeModel(verilog, "buffer", inputs, outputs)
    return native, {name: port.bits for name, port in ports.items()}, outputs


class Play:
    """Port values by cycle, and the answers that must come."""

    def __init__(self, accelerator, side, rng) -> None:
        self.accelerator, self.side, self.rng = accelerator, side, rng
        self.pe, self.rows, self.cols = accelerator.pe, accelerator.array.rows, accelerator.array.cols
        self.load, self.fields, self.beat = {}, {}, {}
        self.asks: dict[tuple[int, str, int], dict] = {}
        self.wanted = []  # cycle, port, number, entries
        self.end = 2  # the next beat's first cycle
        self.strobe = 0

    def fill(self, tile, slot) -> None:
        """Beats with random gaps; the load's fields two cycles before or earlier, beside the beats of those before it."""
        start = max(self.end + int(self.rng.integers(0, 4)), self.strobe + 2)
        strobe = max(self.strobe, start - 2 - int(self.rng.integers(0, 5)))
        assert strobe < start - 1
        self.load[strobe], self.strobe = tile.fields | {"slot": slot}, strobe + 1
        at = start
        for beat in tile.beats(bus_bytes(self.accelerator)):
            self.beat[at] = beat
            at += 1 + int(self.rng.random() < 0.2)
        self.end = max(self.beat) + 1

    def read(self, tile, slot, first) -> int:
        """All that the array would ask of the tile, from cycle `first` on; returns the cycle after."""
        columns = tile.fields["banking"] == Banking.LINE_COLS
        port = "column" if columns else "row"
        by_bank = {}
        for bank, entry, count in tile.reads:
            by_bank.setdefault(bank, []).append((entry, count))
        after = first
        for bank, asks in by_bank.items():
            self.rng.shuffle(asks)
            furthest = max(entry for entry, _ in asks)
            asks.sort(key=lambda ask, furthest=furthest: ask[0] != furthest)  # what was written last comes first, mostly
            cycle = first
            for entry, count in asks:
                other = (self.side == "a") == columns
                self.asks[cycle, port, bank] = {
                    "valid": 1,
                    "operand_a" if columns else "operand_b": int(other),
                    "slot": slot,
                    "entry": entry,
                    "kept": tile.fields["kept"],
                }
                self.wanted.append((cycle + 1, port, bank, [tile.held[bank, entry + i] for i in range(count)]))
                cycle += 1 + int(self.rng.random() < 0.2)
            after = max(after, cycle)
        return after

    def distract(self) -> None:
        """Requests for the other buffer."""
        for cycle in range(self.length):
            for port, count in (("row", self.rows), ("column", self.cols)):
                number = int(self.rng.integers(count))
                if (cycle, port, number) not in self.asks:
                    flag = ("operand_b", "a") if port == "row" else ("operand_a", "b")
                    fields = {"valid": 1, flag[0]: int(self.side == flag[1]), "entry": int(self.rng.integers(1 << 20))}
                    self.asks[cycle, port, number] = fields | {"other": 1}

    @property
    def length(self) -> int:
        return max(*self.beat, *(ask[0] for ask in self.asks)) + 3

    def run(self, name) -> int:
        self.distract()
        native, bits, outputs = model(name, self.side)
        length = self.length
        requests = {"row": (row_request(self.accelerator), self.rows), "column": (column_request(self.accelerator), self.cols)}
        values = {port: [0] * length for port in ("load", "fields", "beat", "row_request", "column_request")}
        for cycle, fields in self.load.items():
            values["load"][cycle], values["fields"][cycle] = 1, pack(load_layout(), fields)
        for cycle, beat in self.beat.items():
            values["beat"][cycle] = pack(beat_layout(self.accelerator), beat)
        mine = {"row": [0] * (length + 1), "column": [0] * (length + 1)}
        for (cycle, port, number), ask in self.asks.items():
            fields = {field: value for field, value in ask.items() if field != "other"}
            layout = requests[port][0]
            values[f"{port}_request"][cycle] |= pack(layout, fields) << number * layout.size
            mine[port][cycle + 1] |= ("other" not in ask) << number
        arrays = {port: as_array(column, bits[port]) for port, column in values.items()}
        got = {port: as_integers(array) for port, array in native.run(arrays).items()}
        for port in mine:
            assert got[f"{port}_asked"] == mine[port][:length]
        layout = operand_layout(self.pe)
        value_bits, index_bits = self.pe.number.operand_bits, layout["index"].shape.elem_shape
        for cycle, port, number, entries in self.wanted:
            answer = got[f"{port}_data"][cycle] >> number * layout.size
            for i, (value, index) in enumerate(entries):
                assert answer >> i * value_bits & (1 << value_bits) - 1 == value, (cycle, port, number, i)
                if i < self.pe.lanes:
                    at = layout["index"].offset + i * index_bits
                    assert answer >> at & (1 << index_bits) - 1 == index, (cycle, port, number, i)
        assert set(outputs) == set(got)
        return len(self.wanted)


@pytest.mark.parametrize(("name", "side"), [*((name, "a") for name in MACHINES), ("int8-2x2-bus4", "b")])
def test_every_kind_of_tile(name: str, side: str):
    """Slots are filled one after another, each read while the next is filled: dense and kept, lines and steps, all banks."""
    accelerator = MACHINES[name]
    rng = np.random.default_rng(len(name))
    play, slots = Play(accelerator, side, rng), accelerator.a_buffer.slots
    kinds = KINDS * 20
    rng.shuffle(kinds)
    read = 0
    for number, (how, kept, across) in enumerate(kinds):
        tile, slot = random_tile(accelerator, rng, Banking(how), bool(kept), bool(across)), number % slots
        if slots == 1:
            play.end = max(play.end, read + 1)
        play.fill(tile, slot)
        read = play.read(tile, slot, max(read, play.end))
        play.end = max(play.end, read - 40)  # the reader is not left behind by more than the slots allow
        if number % slots == slots - 1:
            play.end = max(play.end, read)
    assert play.run(name) > 1000


@pytest.mark.parametrize("name", ["int8-2x2-bus4", "bf16-2x3-bus16"])
def test_text_is_sound(name: str):
    check(verilog_of(OperandBuffer(MACHINES[name], "a"), "buffer"), "buffer")


def test_machines_are_what_is_meant():
    """More and fewer elements in a beat than rows, columns, and a group."""
    sizes = [(bus_elements(x), x.array.rows, x.array.cols, x.pe.group) for x in MACHINES.values()]
    for other in (1, 2, 3):
        assert any(size[0] > size[other] for size in sizes)
        assert any(size[0] < size[other] for size in sizes)
