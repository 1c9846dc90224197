"""The work buffer with its engines, seeded scripts of what they do, and what docs/machine.md says that comes out, when."""

# pyright: basic, reportAttributeAccessIssue=false, reportCallIssue=false

import json
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from port_rows import as_array, as_integers
from pruner_bench import bits_of, numbers
from rtl_kit import NativeModel

from rtl.emit import verilog_of
from rtl.native.toolchain import ports_of
from rtl.prune_engine import PruneEngine
from rtl.work_buffer import WorkBuffer
from rtl.work_engines import EVENTS, UpdateEngine, VectorEngine
from simulator.arch import OPTIMIZERS, Accelerator, Buffer, Dram, Pe, Pruner, Updater, VectorUnit, ceil_div
from simulator.arithmetic import compress, sgd_momentum
from simulator.encoding import PLANES
from simulator.layout import bus_bytes, bus_elements, plane_bytes
from simulator.optimizers import AdamCoefficients, adam
from simulator.vector_operations import VectorOperation, vector_operation
from workloads.sparsity import NM

ENGINES = {"prune": PruneEngine, "update": UpdateEngine, "vector": VectorEngine}
BINARY = (VectorOperation.ADD, VectorOperation.MULTIPLY, VectorOperation.RELU_GRADIENT)
RATES = AdamCoefficients(
    lr=0.1, momentum=0.9, gain=0.15, square_momentum=0.99, square_gain=0.02, eps=1e-3, weight_decay=5e-4, decoupled_decay=2e-3,
    decay=2e-4,
)  # fmt: skip
SGD_RATES = {name: getattr(RATES, name) for name in ("lr", "momentum", "weight_decay", "decay")}
Plane: TypeAlias = tuple[int, int]  # slot, plane
START = 4  # cycles from a store's command to its first beat


class WorkTop(wiring.Component):
    """The buffer and some engines, with every port flat: what is left when their requests are connected."""

    def __init__(self, accelerator: Accelerator, engines: Sequence[str]) -> None:
        self.buffer = WorkBuffer(accelerator)
        self.engines = {name: ENGINES[name](accelerator) for name in engines}
        bus = 8 * bus_bytes(accelerator)
        ports = {name: self.buffer.signature.members[name] for name in ("load", "beat", "store")}
        ports |= {"stored_valid": Out(1), "stored_payload": Out(bus), "stored_ready": In(1)}
        for name, engine in self.engines.items():
            ports |= {f"{name}_{port}": engine.signature.members[port] for port in ("accept", "command", *EVENTS)}
        self.coefficients = self.engines["update"].coefficients if "update" in engines else ()
        ports |= {name: In(32) for name in self.coefficients}
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.buffer = buffer = self.buffer
        m.d.comb += [getattr(buffer, name).eq(getattr(self, name)) for name in ("load", "beat", "store")]
        m.d.comb += [self.stored_valid.eq(buffer.stored.valid), self.stored_payload.eq(buffer.stored.payload)]
        m.d.comb += buffer.stored.ready.eq(self.stored_ready)
        for name, engine in self.engines.items():
            m.submodules[name] = engine
            for port, member in engine.signature.members.items():
                outer = buffer if hasattr(buffer, port) else self
                own = port if outer is buffer or port in self.coefficients else f"{name}_{port}"
                pair = (getattr(outer, own), getattr(engine, port))
                m.d.comb += pair[0].eq(pair[1]) if member.flow is Out else pair[1].eq(pair[0])
        return m


def packed(layout: data.StructLayout, values: dict[str, int]) -> int:
    """The bits of a structure."""
    return sum(int(value) << layout[name].offset for name, value in values.items())


def stored_numbers(name: str, bits: np.ndarray) -> np.ndarray:
    """Results as the golden model stores them."""
    return bits.view(np.int32) if name == "int8" else numbers(name, bits)


def stored_bits(name: str, values: np.ndarray) -> np.ndarray:
    return values.view(np.uint32) if name == "int8" else bits_of(name, values)


@dataclass
class Rows:
    """Port values by cycle, and those that must come out; a wanted value of -1 is any."""

    inputs: dict[str, list[int]]
    want: dict[str, list[int]]

    def table(self) -> str:
        """As `rows_bench` reads it."""
        want = {name: [pair for pair in enumerate(values) if pair[1] != -1] for name, values in self.want.items()}
        return json.dumps({"inputs": self.inputs, "want": want})

    def cut(self, cycle: int) -> "Rows":
        """Up to `cycle`, then a cycle of reset."""
        inputs = {name: [*values[:cycle], int(name == "rst")] for name, values in self.inputs.items()}
        return Rows(inputs, {name: [*values[:cycle], -1] for name, values in self.want.items()})

    def then(self, other: "Rows") -> "Rows":
        inputs = {name: values + other.inputs[name] for name, values in self.inputs.items()}
        return Rows(inputs, {name: values + other.want[name] for name, values in self.want.items()})


def machine(
    format_name: str,
    group: int,
    lanes: tuple[int, int, int],
    bus: int,
    slots: int,
    latencies: tuple[int, int, int] = (2, 3, 2),
    optimizers: tuple[str, ...] = ("sgd-momentum",),
) -> Accelerator:
    """A machine with planes of 128 bytes; lanes and latencies are the pruner's, the updater's and the vector unit's."""
    return Accelerator(
        name="work",
        clock_hz=10**9,
        pe=Pe(format=format_name, group=group),
        work_buffer=Buffer(bytes=slots * PLANES * 128, slots=slots),
        pruner=Pruner(lanes=lanes[0], latency=latencies[0]),
        updater=Updater(lanes=lanes[1], latency=latencies[1], optimizers=optimizers),
        vector=VectorUnit(lanes=lanes[2], latency=latencies[2]),
        dram=Dram(bytes_per_second=bus * 10**9, latency_ns=20),
    )


class Bench:
    """A top's Verilog as a native model."""

    def __init__(self, accelerator: Accelerator, engines: Sequence[str]) -> None:
        self.accelerator, self.engines = accelerator, engines
        top = WorkTop(accelerator, engines)
        self.layouts = {name: member.shape for name, member in top.signature.members.items()}
        self.verilog = verilog_of(top, "work")
        self.ports = {name: port for name, port in ports_of(self.verilog, "work").items() if name != "clk"}
        self.inputs = [name for name, port in self.ports.items() if port.direction == "input"]
        self.model = NativeModel(self.verilog, "work", self.inputs, [name for name in self.ports if name not in self.inputs])

    def wrong(self, rows: Rows) -> str:
        """How the outputs differ from what is wanted; empty where they do not."""
        arrays = {name: as_array(values, self.ports[name].bits) for name, values in rows.inputs.items()}
        got = {name: as_integers(array) for name, array in self.model.run(arrays).items()}
        differ = [
            (cycle, name, value, wanted)
            for name, values in rows.want.items()
            for cycle, (value, wanted) in enumerate(zip(got[name], values, strict=True))
            if wanted not in (-1, value)
        ]
        if not differ:
            return ""
        cycle, name, value, wanted = min(differ)
        return f"{len(differ)} wrong; first: cycle {cycle}: {name} must be {wanted:#x}, not {value:#x}"


class Script:
    """What happens at the ports, in program order; each command starts as soon as engine and tokens let it, or a bit later.

    `stall`: the chance that a store's beat is not taken in a cycle, and that none of a load comes.
    """

    def __init__(self, bench: Bench, seed: int, stall: float, gap: float = 0.2) -> None:
        self.bench, self.accelerator, self.stall, self.gap = bench, bench.accelerator, stall, gap
        self.rng, self.np_rng = random.Random(seed), np.random.default_rng(seed)
        optimizers = self.accelerator.updater.optimizers
        self.adam = OPTIMIZERS.index(optimizers[seed % len(optimizers)])  # a program has one optimizer
        self.name, self.number = self.accelerator.pe.format, self.accelerator.pe.number
        self.bus, self.size = bus_bytes(self.accelerator), plane_bytes(self.accelerator)
        self.slots = self.accelerator.work_buffer.slots
        self.planes = np.zeros((self.slots, PLANES, self.size), np.uint8)
        self.given: dict[str, dict[int, int]] = defaultdict(dict)
        self.events: dict[str, dict[int, int]] = defaultdict(dict)
        self.free: dict[str, int] = defaultdict(lambda: 1)
        self.written: dict[tuple[int, int], int] = defaultdict(int)  # from when on a plane may be read
        self.read: dict[tuple[int, int], tuple[int, str]] = {}  # until when it is read, and by whom
        self.in_flight: dict[str, list[int]] = {"load": [0] * 30, "store": [0] * 30}  # ends of the latest
        self.wide: set[tuple[int, int]] = set()  # planes that hold some FP32, whose NaNs are other NaNs in halves
        self.beat_free = self.taken = self.end = 0
        self.ready = [self.rng.random() >= stall or self.rng.random() < 0.05 for _ in range(200_000)]

    def _begin(self, user: str, reads: Sequence[Plane], writes: Sequence[Plane]) -> int:
        """The cycle s in which a command starts."""
        start = max([self.free[user], *(self.written[plane] for plane in (*reads, *writes))])
        for plane in (*reads, *writes):
            until, by = self.read.get(plane, (0, user))
            start = start if by == user and plane in reads else max(start, until)
        if user in self.in_flight:
            start = max(start, self.in_flight[user][-30])
        return start + (self.rng.randint(1, 6) if self.rng.random() < self.gap else 0)

    def _finish(self, user: str, reads: Sequence[Plane], read: int, writes: Sequence[Plane], done: int) -> None:
        """Planes are read until the cycle before `read`, and written in `done` at the latest."""
        for plane in reads:
            self.read[plane] = max((read, user), self.read.get(plane, (0, user)))
        for plane in writes:
            self.written[plane] = done + 1
        self.end = max(self.end, done, read)

    def _struct(self, port: str, cycle: int, **values: int) -> None:
        assert cycle not in self.given[port]
        self.given[port][cycle] = packed(self.bench.layouts[port], values)

    # What may happen.

    def load(self, slot: int, plane: int, content: np.ndarray) -> None:
        """Bytes from the plane's first on, beats at random; the fields come some time before."""
        start = self._begin("load", (), [(slot, plane)])
        self._struct("load", start, valid=1, slot=slot, plane=plane)
        self.free["load"] = start + 1
        cycle = max(start + 1, self.beat_free)
        for first in range(0, len(content), self.bus):
            while self.rng.random() < self.stall:
                cycle += 1
            part = content[first : first + self.bus].tobytes()
            word = int.from_bytes(part + self.rng.randbytes(self.bus - len(part)), "little")
            self._struct("beat", cycle, valid=1, data=word, bytes=len(part), end=first + self.bus >= len(content))
            cycle += 1
        self.beat_free = cycle
        self.planes[slot, plane, : len(content)] = content
        if len(content) == self.size:
            self.wide.discard((slot, plane))
        self.in_flight["load"].append(cycle)
        self._finish("load", [], 0, [(slot, plane)], cycle - 1)

    def store(self, slot: int, plane: int, rows: int, row_bytes: int) -> None:
        """Plain rows."""
        content = self.planes[slot, plane, : rows * row_bytes].reshape(rows, row_bytes)
        streams = [(int.from_bytes(row.tobytes(), "little"), row_bytes) for row in content]
        fields = {"rows": rows, "row_bytes": row_bytes, "indices": self.rng.randrange(PLANES), "group": self.rng.randrange(512)}
        self._store({"slot": slot, "plane": plane, "entries": self.rng.getrandbits(24), **fields}, streams, [(slot, plane)])

    def store_kept(self, slot: int, plane: int, indices: int, group: int, rows: int, entries: int) -> None:
        """Rows of entries, packed; as docs/machine.md has it."""
        operand, index_bits = self.number.operand_bits, (group - 1).bit_length()
        bits, count = operand + index_bits, rows * entries
        values = self.planes[slot, plane, : count * operand // 8].view(f"u{operand // 8}").reshape(rows, entries)
        places = self.planes[slot, indices, :count].reshape(rows, entries) & ((1 << index_bits) - 1)
        row_bytes = ceil_div(entries * bits, 8)
        streams = []
        for row, where in zip(values.tolist(), places.tolist(), strict=True):
            words = [value | index << operand for value, index in zip(row, where, strict=True)]
            streams.append((sum(word << i * bits for i, word in enumerate(words)), row_bytes))
        fields = {"plane": plane, "indices": indices, "group": group, "entries": entries, "rows": rows, "row_bytes": row_bytes}
        self._store({"slot": slot, "kept": 1, **fields}, streams, [(slot, plane), (slot, indices)])

    def _store(self, fields: dict[str, int], streams: list[tuple[int, int]], reads: list[tuple[int, int]]) -> None:
        start = self._begin("store", reads, ())
        self._struct("store", start, valid=1, **fields)
        self.free["store"] = start + 1
        cycle = max(start + START, self.taken)
        for stream, row_bytes in streams:
            for beat in range(ceil_div(row_bytes, self.bus)):
                word = stream >> 8 * self.bus * beat & ((1 << 8 * self.bus) - 1)
                while True:
                    self.events["stored_valid"][cycle], self.events["stored_payload"][cycle] = 1, word
                    cycle += 1
                    if self.ready[cycle - 1]:
                        break
        self.taken = cycle
        self.in_flight["store"].append(cycle)
        self._finish("store", reads, cycle, (), 0)

    def command(self, engine: str, fields: dict[str, int], reads: Sequence[int], writes: Sequence[int], busy: int, tail: int):
        """A command of an engine on planes of a slot."""
        read, written = [(fields["slot"], plane) for plane in reads], [(fields["slot"], plane) for plane in writes]
        start = self._begin(engine, read, written)
        self.given[f"{engine}_accept"][start - 1] = 1
        self._struct(f"{engine}_command", start - 1, **fields)
        self.free[engine] = start + busy
        self.events[f"{engine}_started"][start] = 1
        self.events[f"{engine}_ended"][start + busy - 1] = 1
        self.events[f"{engine}_done"][start + busy + tail] = 1
        self.events[f"{engine}_ready"] |= dict.fromkeys(range(start, start + busy - 1), 0)
        self._finish(engine, read, start + busy, written, start + busy + tail)

    def prune(self, slot: int, planes: Sequence[int], pattern: NM, blocks: int, columns: int, across: int) -> None:
        """Groups down the rows of a matrix of blocks*group x columns, or `columns` groups in each of `blocks` rows."""
        pruner, (source, values, indices) = self.accelerator.pruner, planes
        count = blocks * pattern.group * columns
        operand = self.number.operand_bits // 8
        matrix = numbers(self.name, self.planes[slot, source, : count * operand].view(f"u{operand}"))
        shape = (blocks, pattern.group, columns) if across else (blocks, columns, pattern.group)
        kept = compress(matrix.reshape(shape), pattern, 1 if across else 2)
        entries, places = (np.moveaxis(part, 1, 2) if across else part for part in kept)
        raw = bits_of(self.name, np.ascontiguousarray(entries)).astype(f"u{operand}").ravel().view(np.uint8)
        self.planes[slot, values, : len(raw)] = raw
        self.planes[slot, indices, : places.size] = np.ascontiguousarray(places).ravel()
        fields = {"slot": slot, "source": source, "values": values, "indices": indices, "across": across}
        fields |= {"row_elements": columns * (1 if across else pattern.group), "elements": count}
        fields |= {"keep": pattern.keep, "group": pattern.group}
        busy = (0 if across else pattern.group) + pruner.cycles(count, pattern) + pruner.latency + pattern.keep - 1
        assert busy == pruner.busy(count, pattern, across=bool(across))
        self.command("prune", fields, [source], [values, indices], busy, 0)

    def update(self, slot: int, planes: Sequence[int], elements: int, masked: int) -> None:
        """Of SGD, by the first five planes, or of Adam."""
        weight, velocity, gradient, copy, mask = planes[:5]
        given, moments = self.planes[slot], (weight, velocity, *planes[5 : 5 + self.adam])
        state = [given[plane, : 4 * elements].view(np.float32).copy() for plane in moments]
        slope = numbers(self.name, given[gradient, : 2 * elements].view(np.uint16))
        keep = np.unpackbits(given[mask], bitorder="little")[:elements].astype(bool) if masked else None
        with np.errstate(all="ignore"):
            if self.adam:
                *new, short = adam(*state, slope, self.number, RATES, keep)
            else:
                *new, short = sgd_momentum(*state, slope, self.number, mask=keep, **SGD_RATES)
        for plane, value in zip(moments, new, strict=True):
            bits = np.where(np.isnan(value), np.uint32(0x7FC00000), value.view(np.uint32))
            self.planes[slot, plane, : 4 * elements] = bits.view(np.uint8)
            self.wide.add((slot, plane))
        self.planes[slot, copy, : 2 * elements] = bits_of(self.name, short).astype(np.uint16).view(np.uint8)
        fields = {"slot": slot, "weight": weight, "velocity": velocity, "gradient": gradient, "copy": copy, "mask": mask}
        fields |= {"second": planes[5], "adam": self.adam}  # SGD's is any plane, and nobody touches it
        reads = [*moments, gradient, *([mask] if masked else [])]
        busy, tail = self.accelerator.updater.cycles(elements), self.accelerator.updater.latency
        fields |= {"masked": masked, "elements": elements}
        self.command("update", fields, reads, [*moments, copy], busy, tail)

    def vector(self, slot: int, planes: Sequence[int], operation: VectorOperation, elements: int, scalar: float) -> None:
        (x, y, out), width = planes, self.number.result_bits // 8
        operands = [stored_numbers(self.name, self.planes[slot, p, : width * elements].view(f"u{width}")) for p in (x, y)]
        result = stored_bits(self.name, vector_operation(self.number, operation, *operands, scalar)).astype(f"u{width}")
        self.planes[slot, out, : width * elements] = result.view(np.uint8)
        fields = {"slot": slot, "operation": operation, "x": x, "y": y, "out": out, "elements": elements}
        fields["scalar"] = int(np.float32(scalar).view(np.uint32))
        reads = [x, y] if operation in BINARY else [x]
        busy, tail = self.accelerator.vector.cycles(elements), self.accelerator.vector.latency
        self.command("vector", fields, reads, [out], busy, tail)

    # Seeded choices.

    def content(self, size: int) -> np.ndarray:
        """Random bytes without NaNs that have a payload; the pruner would compare it."""
        raw = self.np_rng.integers(0, 256, size + size % 2, dtype=np.uint8)
        if self.name != "int8":
            halves = raw.view(np.uint16)
            nan, top = (0x7E00, 0x7C00) if self.name == "fp16" else (0x7FC0, 0x7F80)
            halves[(halves & 0x7FFF) > top] = nan
        return raw[:size]

    def fill(self) -> None:
        for slot in range(self.slots):
            for plane in range(PLANES):
                self.load(slot, plane, self.content(self.size))

    def empty(self) -> None:
        """Every byte of every plane."""
        for slot in range(self.slots):
            for plane in range(PLANES):
                self.store(slot, plane, 1, self.size)

    def any_load(self) -> None:
        size = self.rng.choice([1, self.bus, self.size, self.rng.randint(1, self.size)])
        self.load(self.rng.randrange(self.slots), self.rng.randrange(PLANES), self.content(size))

    def any_store(self) -> None:
        slot, (plane, indices) = self.rng.randrange(self.slots), self.rng.sample(range(PLANES), 2)
        if self.rng.random() < 0.5:
            row_bytes = self.rng.choice([1, self.bus, 2 * self.bus, self.rng.randint(1, 4 * self.bus), self.size])
            self.store(slot, plane, self.rng.randint(1, min(9, self.size // row_bytes)), row_bytes)
        else:
            most, per_beat = 8 * self.size // self.number.operand_bits, bus_elements(self.accelerator)
            entries = min(most, self.rng.choice([1, per_beat, self.rng.randint(1, 5 * per_beat), most]))
            group = 1 << self.rng.randrange(self.accelerator.pe.group.bit_length())
            self.store_kept(slot, plane, indices, group, self.rng.randint(1, min(9, most // entries)), entries)

    def any_prune(self) -> None:
        lanes, most = self.accelerator.pruner.lanes, 8 * self.size // self.number.operand_bits
        across, slot = self.rng.randrange(2), self.rng.randrange(self.slots)
        sources = [plane for plane in range(PLANES) if (slot, plane) not in self.wide]
        group = 1 << self.rng.randrange(self.accelerator.pe.group.bit_length())
        if not sources or group * lanes > most:
            return
        source = self.rng.choice(sources)
        others = self.rng.sample([plane for plane in range(PLANES) if plane != source], 2)
        unit = lanes if across else 1
        columns = unit * self.rng.randint(1, min(9, most // (group * unit)))
        blocks = self.rng.randint(1, min(4, most // (group * columns)))
        self.prune(slot, [source, *others], NM(self.rng.randint(1, group), group), blocks, columns, across)

    def any_update(self) -> None:
        elements = self.rng.choice([1, self.rng.randint(1, self.size // 4), self.rng.randint(1, 9)])
        planes = self.rng.sample(range(PLANES), 6)
        self.update(self.rng.randrange(self.slots), planes, elements, self.rng.randrange(2))

    def any_vector(self) -> None:
        most = 8 * self.size // self.number.result_bits
        elements = self.rng.choice([1, self.rng.randint(1, most), self.rng.randint(1, 9)])
        planes = [self.rng.randrange(PLANES) for _ in range(3)]
        operation, scalar = self.rng.choice(list(VectorOperation)), self.rng.choice([0.5, -3.7, 1e-3, 100.0])
        slot = self.rng.randrange(self.slots)
        self.vector(slot, planes, operation, elements, scalar)

    def any(self, *names: str, count: int) -> None:
        actions: dict[str, Callable[[], None]] = {name: getattr(self, f"any_{name}") for name in names}
        for _ in range(count):
            actions[self.rng.choice(names)]()

    def rows(self) -> Rows:
        """All of it; ports that say nothing carry anything."""
        length = self.end + 12
        inputs, want = {}, {}
        for name in self.bench.inputs:
            given, bits = self.given[name], self.bench.ports[name].bits
            low = 1 if name in ("load", "beat", "store") else 0  # `valid` is the lowest bit of these
            idle = (lambda: 0) if bits == 1 else (lambda bits=bits, low=low: self.rng.getrandbits(bits) >> low << low)
            inputs[name] = [given[cycle] if cycle in given else idle() for cycle in range(length)]
        inputs["stored_ready"] = [int(ready) for ready in self.ready[:length]]
        for name, number in RATES._asdict().items():
            if name in inputs:
                inputs[name] = [int(np.float32(number).view(np.uint32))] * length
        for name in self.bench.ports:
            if name not in self.bench.inputs:
                default = {"ready": 1, "payload": -1}.get(name.rpartition("_")[2], 0)
                want[name] = [self.events[name].get(cycle, default) for cycle in range(length)]
        return Rows(inputs, want)
