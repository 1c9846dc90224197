"""The work buffer: slots of eight planes, which loads fill, the engines of `rtl.work_engines` work on, and stores empty.

A plane is a memory of words of `layout.plane_word_bytes` bytes with one read and one write port (`rtl.work_ports`: who uses
them, and how). Engines' requests come in at ``read_*`` and ``write_*``; ``data_*`` answers a read in the next cycle.

Loads: `load` is high in one cycle for each LOAD_WORK, before its first beat; commands wait in a queue until the ones before
have had their `end` beat. There is no back-pressure. Beat i of a command is written to bytes i*W .. i*W + `bytes` - 1 of the
plane, at the end of the cycle in which it is shown. So a tensor of more than one row needs rows of whole beats.

Stores: `rtl.work_store`.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false
# Amaranth makes ports attributes at run time.

from functools import reduce
from operator import or_

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from rtl.block_ram import block_ram
from rtl.dma import bursts_in_flight
from rtl.pipeline import wire
from rtl.work_ports import check_lanes, log2, read_layout, readers, write_layout, writers
from rtl.work_store import WorkStore, store_layout
from simulator.arch import Accelerator
from simulator.encoding import FIELDS, PLANES, Opcode
from simulator.layout import bus_bytes, plane_bytes, plane_word_bytes

__all__ = ["WorkBuffer", "beat_layout", "load_layout"]


def load_layout() -> data.StructLayout:
    """Where the next load goes."""
    fields = FIELDS[Opcode.LOAD_WORK]
    return data.StructLayout({"valid": 1, "slot": fields["slot"], "plane": fields["plane"]})


def beat_layout(bus: int) -> data.StructLayout:
    """A beat of a load of which `bytes` bytes are of the tensor; `end`: the last of the command."""
    return data.StructLayout({"valid": 1, "data": 8 * bus, "bytes": range(bus + 1), "end": 1})


class WorkBuffer(wiring.Component):
    """Planes, the way in for loads, and the way out for stores. Raises ValueError for lanes that are no powers of two."""

    def __init__(self, accelerator: Accelerator) -> None:
        check_lanes(accelerator)
        self.spec, self.bus = accelerator, bus_bytes(accelerator)
        self.word, self.slots = plane_word_bytes(accelerator), accelerator.work_buffer.slots
        self.words = plane_bytes(accelerator) // self.word
        self._readers, self._writers = readers(accelerator), writers(accelerator)
        ports = {"load": In(load_layout()), "beat": In(beat_layout(self.bus))}
        ports |= {"store": In(store_layout()), "stored": Out(stream.Signature(8 * self.bus))}
        for name, width in self._readers.items():
            if not name.startswith("store_"):
                ports |= {f"read_{name}": In(read_layout(accelerator, width)), f"data_{name}": Out(8 * width)}
        for name, width in self._writers.items():
            if name != "load":
                ports[f"write_{name}"] = In(write_layout(accelerator, width))
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.stores = store = WorkStore(self.spec)
        m.d.comb += [
            store.command.eq(self.store),
            self.stored.valid.eq(store.beats.valid),
            self.stored.payload.eq(store.beats.payload),
            store.beats.ready.eq(self.stored.ready),
        ]
        reads = {name: store if name.startswith("store_") else self for name in self._readers}
        requests = {name: getattr(owner, f"read_{name}") for name, owner in reads.items()}
        writes = {name: getattr(self, f"write_{name}") for name in self._writers if name != "load"}
        words = self._planes(m, requests, writes | {"load": self._load(m)})
        for name, owner in reads.items():
            m.d.comb += getattr(owner, f"data_{name}").eq(self._answer(m, name, requests[name], words))
        return m

    def _load(self, m: Module) -> data.View:
        """The write of the beat that is shown."""
        write = Signal(write_layout(self.spec, self.bus), name="write_load")
        where = data.StructLayout({name: shape for name, shape in load_layout().members.items() if name != "valid"})
        m.submodules.loads = queue = SyncFIFO(width=where.size, depth=bursts_in_flight(self.spec) + 2)
        head, position = where(queue.r_data), Signal(len(write.at))
        m.d.comb += [
            queue.w_en.eq(self.load.valid),
            queue.w_data.eq(Cat(self.load.slot, self.load.plane)),
            queue.r_en.eq(self.beat.valid & self.beat.end),
            write.valid.eq(self.beat.valid),
            write.slot.eq(head.slot),
            write.plane.eq(head.plane),
            write.at.eq(position),
            write.data.eq(self.beat.data),
            write.enable.eq(Cat(self.beat.bytes > byte for byte in range(self.bus))),
        ]
        with m.If(self.beat.valid):
            m.d.sync += position.eq(Mux(self.beat.end, 0, position + 1))
        return write

    def _planes(self, m: Module, reads: dict[str, data.View], writes: dict[str, data.View]) -> list[Value]:
        """The memories; returns the words that they show, slot by slot."""
        placed = {}  # a write's word, bytes and data for whole words
        for name, write in writes.items():
            parts = self.word // self._writers[name]
            part = write.at[: log2(parts)]
            enable = wire(m, f"enable_{name}", Cat(Mux(part == i, write.enable, 0) for i in range(parts)))
            placed[name] = {"addr": write.at[log2(parts) :], "en": enable, "data": write.data.replicate(parts)}
        asked = {name: read.at[log2(self.word // self._readers[name]) :] for name, read in reads.items()}
        words = []
        for slot in range(self.slots):
            for plane in range(PLANES):
                m.submodules[f"plane_{slot}_{plane}"] = plane_memory = block_ram(8 * self.word, self.words)
                read, write = plane_memory.read_port(), plane_memory.write_port(granularity=8)

                def here(request: data.View, slot: int = slot, plane: int = plane) -> Value:
                    return request.valid & (request.slot == slot) & (request.plane == plane)

                reading = {name: wire(m, f"{name}_reads_{slot}_{plane}", here(request)) for name, request in reads.items()}
                writing = {name: wire(m, f"{name}_writes_{slot}_{plane}", here(request)) for name, request in writes.items()}
                m.d.comb += [read.en.eq(Cat(reading.values()).any()), read.addr.eq(_chosen(reading, asked))]
                for port in ("addr", "en", "data"):
                    of = {name: each[port] for name, each in placed.items()}
                    m.d.comb += getattr(write, port).eq(_chosen(writing, of))
                words.append(read.data)
        return words

    def _answer(self, m: Module, name: str, request: data.View, words: list[Value]) -> Value:
        """The sub-word that was asked for in the cycle before."""
        parts = self.word // self._readers[name]
        place = Signal(range(len(words)), name=f"place_{name}", reset_less=True)
        m.d.sync += place.eq(Cat(request.plane, request.slot))
        word = wire(m, f"word_{name}", Array(words)[place])
        if parts == 1:
            return word
        part = Signal(range(parts), name=f"part_{name}", reset_less=True)
        m.d.sync += part.eq(request.at)
        return word.word_select(part, 8 * self._readers[name])


def _chosen(chosen: dict[str, Value], values: dict[str, Value]) -> Value:
    """The value of the user that is here; 0 where none is."""
    return reduce(or_, (Mux(chosen[name], values[name], 0) for name in values))
