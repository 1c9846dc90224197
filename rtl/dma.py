"""The memory port: five DMA channels that take turns on one AXI4 master (docs/machine.md, 'Memory port').

A channel takes a command (address, rows, row_bytes, pitch; none of the sizes 0, address and pitch at bursts) in cycle s - 1
and asks for the port from cycle s. The port is granted in order of request, in a tie in the order of `CHANNELS`, to a request
of the same cycle if it is free: cycle g, `started`. Then whole bursts are requested, row after row, burst i in cycle
g + floor(i*slot); one that the memory doesn't take at once stays, and all behind it shift. The port is held for
ceil(bursts*slot) cycles; in the last one `ended` is high, and the channel's `ready` too. Reset forgets all that is in flight:
the memory must be reset with it.

Loads: a beat that comes in cycle y (RREADY is always high) is at the channel's `beat` in cycle y + 1, with the number of its
`bytes` that belong to the row; beats that have none are not shown. `done` is high in the cycle after the very last beat.

Stores: a channel gives ceil(row_bytes/bus) beats per row on `write_data`, from the cycle after a burst's request; beats beyond
the row are written without it, strobe 0. Bytes beyond the row are masked here. `done`: in the cycle after the last response.

Error responses let the transfer go on: `read_fault` and `write_fault` are high in the cycle after; `read_error` and
`write_error` from then on, until reset.

A load of 3 bursts of 2 beats, slot 5/2, latency 8:

| cycle | 0      | 1       | 3   | 6   | 8            | 9 | 10  | 11  | 12  | 13  | 14 | 15  | 16        |
|-------|--------|---------|-----|-----|--------------|---|-----|-----|-----|-----|----|-----|-----------|
| port  | accept | AR 0    | AR 1| AR 2|              | R | R   | R   | R   |     | R  | R   |           |
| shows |        | started |     |     | ended, ready |   | 0.0 | 0.1 | 1.0 | 1.1 |    | 2.0 | 2.1, done |
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false
# Amaranth makes ports attributes at run time.

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from rtl import axi
from rtl.dma_walk import ADDRESS_BITS, command_layout, first_place, place_layout, walk
from rtl.pipeline import wire
from simulator.arch import Accelerator, ceil_div
from simulator.layout import burst_slot, bus_bytes

__all__ = [
    "ADDRESS_BITS",
    "CHANNELS",
    "LOADS",
    "STORES",
    "Dma",
    "bursts_in_flight",
    "command_layout",
    "load_signature",
    "store_signature",
    "write_layout",
]

LOADS = ("load_a", "load_b", "load_work")
STORES = ("store_c", "store_work")
CHANNELS = LOADS + STORES  # in the order of `Engine`
LEAST_LATENCY = 8  # cycles: a store's data may begin latency - 1 cycles after their request without a late response


def write_layout(bus: int) -> data.StructLayout:
    """A beat to be written."""
    return data.StructLayout({"data": 8 * bus, "strobe": bus})


_EVENTS = {"started": Out(1), "ended": Out(1), "done": Out(1)}


def load_signature(bus: int) -> wiring.Signature:
    """A load channel, as the port sees it; `bus` bytes a beat. `first`, `last`: of the row; `end`: last of the command."""
    beat = {"valid": 1, "data": 8 * bus, "bytes": range(bus + 1), "first": 1, "last": 1, "end": 1}
    beats = wiring.Signature({name: Out(shape) for name, shape in beat.items()})
    return wiring.Signature({"command": In(stream.Signature(command_layout())), "beat": Out(beats)} | _EVENTS)


def store_signature(bus: int) -> wiring.Signature:
    """A store channel, as the port sees it; `bus` bytes a beat."""
    command, write = stream.Signature(command_layout()), stream.Signature(write_layout(bus))
    return wiring.Signature({"command": In(command), "write_data": In(write)} | _EVENTS)


def bursts_in_flight(accelerator: Accelerator) -> int:
    """Most bursts that may be requested and not yet complete.

    A burst is in flight for latency + beats cycles, and k bursts later at least k*slot - 1 cycles have passed (exclusively), so
    that with the modelled memory ceil((latency + beats) / slot) are in flight at most. As slot is at least latency/outstanding
    and beats, that is not more than outstanding + 1: those that wait, and the one whose beats come. Up to 64 of `outstanding`
    are allowed beyond that, for a slower memory.
    """
    dram = accelerator.dram
    beats = dram.burst_bytes // bus_bytes(accelerator)
    needed = ceil_div(dram.latency_cycles(accelerator.clock_hz) + beats, burst_slot(accelerator))
    return max(needed, min(dram.outstanding, 64))


def _check(accelerator: Accelerator) -> None:
    dram, bus = accelerator.dram, bus_bytes(accelerator)
    latency = dram.latency_cycles(accelerator.clock_hz)
    if bus > 128:
        limit = 128 * accelerator.clock_hz
        raise ValueError(f"Dram field 'bytes_per_second' must be at most {limit} for the RTL, not {dram.bytes_per_second}")
    burst, most = dram.burst_bytes, min(4096, 256 * bus)
    if not bus <= burst <= most or burst & (burst - 1):
        raise ValueError(f"Dram field 'burst_bytes' must be a power of two from {bus} to {most} for the RTL, not {burst}")
    if latency < LEAST_LATENCY:
        raise ValueError(f"Dram field 'latency_ns' must be at least {LEAST_LATENCY} clock cycles for the RTL, not {latency}")


def _chosen(chosen: Value, values: list[Value]) -> Value:
    """The value whose bit is set; 0 where none is."""
    return reduce(or_, (Mux(chosen[i], value, 0) for i, value in enumerate(values)))


class Dma(wiring.Component):
    """The five channels (members named as in `CHANNELS`), the master `axi`, and the error outputs. `read_bytes` and
    `written_bytes`: bytes of rows in the beat before this cycle, 0 if there was none."""

    def __init__(self, accelerator: Accelerator) -> None:
        _check(accelerator)
        self.bus, self.burst = bus_bytes(accelerator), accelerator.dram.burst_bytes
        self.beats, self.slot = self.burst // self.bus, burst_slot(accelerator)
        self.limit = bursts_in_flight(accelerator)
        self._byte_bits, self._burst_bits = (size.bit_length() - 1 for size in (self.bus, self.burst))
        loads, stores = load_signature(self.bus), store_signature(self.bus)
        errors = ("read_fault", "write_fault", "read_error", "write_error")
        super().__init__(
            {name: Out(loads) for name in LOADS}
            | {name: Out(stores) for name in STORES}
            | {"axi": Out(axi.master_signature(8 * self.bus, ADDRESS_BITS))}
            | {name: Out(1) for name in errors}
            | {name: Out(range(self.bus + 1)) for name in ("read_bytes", "written_bytes")}
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        owner = Signal(len(CHANNELS))  # who has held the port since a cycle before this one
        held = Signal()  # somebody has
        ends = Signal()  # this is the last cycle of a hold
        commands, waiting, chosen = self._channels(m, owner, held)
        holder = wire(m, "holder", Mux(held, owner, chosen))
        holds = wire(m, "holds", held | waiting.any())
        m.d.sync += [owner.eq(Mux(ends, 0, holder)), held.eq(holds & ~ends)]
        for name, mine in zip(CHANNELS, holder, strict=True):
            m.d.comb += getattr(self, name).ended.eq(ends & mine)
        stores = wire(m, "stores", holder[len(LOADS) :].any())
        room = Signal(name="room")
        first = Signal(place_layout(self._burst_bits), name="first")
        m.d.comb += first.as_value().eq(_chosen(chosen, [each.as_value() for each in commands]))
        ready = Mux(stores, self.axi.awready, self.axi.arready)
        burst = walk(m, first, held, waiting.any(), room, ready, burst_bits=self._burst_bits, slot=self.slot)
        m.d.comb += ends.eq(burst["ends"])
        place, asks = burst["place"], burst["asks"]
        for name, valid in (("aw", asks & stores), ("ar", asks & ~stores)):
            address = place.address << self._burst_bits
            fields = {"addr": address, "len": self.beats - 1, "size": self._byte_bits, "burst": axi.INCR, "valid": valid}
            m.d.comb += [getattr(self.axi, name + field).eq(value) for field, value in fields.items()]
        last_byte = Mux(place.ends_row, (place.left - 1)[: self._burst_bits], self.burst - 1)
        asked = {
            "new": burst["new"],
            "channel": holder,
            "last_byte": wire(m, "last_byte", last_byte),  # that belongs to the row
            "first": burst["begins_row"],
            "last": place.ends_row,
            "end": burst["ends_command"],
        }
        returned, written = self._reads(m, asked), self._writes(m, asked)
        in_flight = Signal(range(self.limit + 1))
        m.d.sync += in_flight.eq(in_flight + asked["new"] - returned - written)
        m.d.comb += room.eq(in_flight != self.limit)
        return m

    def _channels(self, m: Module, owner: Value, held: Value) -> tuple[list[data.View], Value, Value]:
        """Where each channel's command begins, which channels wait, and (one bit at most) which of these asked first; it has
        the port from this cycle on if that is not `held`."""
        layout, count = place_layout(self._burst_bits), len(CHANNELS)
        commands = [Signal(layout, name=f"command_{name}", reset_less=True) for name in CHANNELS]
        waiting, chosen, accepted = (Signal(count, name=name) for name in ("waiting", "chosen", "accepted"))
        granted = wire(m, "granted", Mux(held, 0, chosen))
        for i, (name, command) in enumerate(zip(CHANNELS, commands, strict=True)):
            channel = getattr(self, name)
            m.d.comb += [
                channel.command.ready.eq(~(waiting[i] | owner[i]) | channel.ended),
                accepted[i].eq(channel.command.valid & channel.command.ready),
                channel.started.eq(granted[i]),
            ]
            with m.If(accepted[i]):
                begins = first_place(channel.command.payload, self._burst_bits)
                m.d.sync += [command[field].eq(value) for field, value in begins.items()]
        m.d.sync += waiting.eq(waiting & ~granted | accepted)
        earlier = [Signal(count, name=f"earlier_{name}") for name in CHANNELS]  # [i][j]: j asked before i, if both wait
        for i in range(count):
            for j in range(i):
                before = Signal(name=f"{CHANNELS[j]}_before_{CHANNELS[i]}", reset_less=True)
                with m.If(accepted[i]):
                    m.d.sync += before.eq(1)
                with m.Elif(accepted[j]):
                    m.d.sync += before.eq(0)
                m.d.comb += [earlier[i][j].eq(before), earlier[j][i].eq(~before)]
            m.d.comb += chosen[i].eq(waiting[i] & ~(earlier[i] & waiting).any())
        return commands, waiting, chosen

    def _queue(self, m: Module, name: str, new: Value, burst: dict[str, Value], fields: dict[str, Value]):
        """Bursts in the order of their requests: the queue, and its oldest burst's fields."""
        layout = data.StructLayout({field: len(value) for field, value in fields.items()})
        m.submodules[name] = queue = SyncFIFO(width=layout.size, depth=max(2, self.limit))
        m.d.comb += [queue.w_en.eq(burst["new"] & new), queue.w_data.eq(Cat(fields.values()))]
        return queue, layout(queue.r_data)

    def _beat(self, m: Module, name: str, moves: Value, last_byte: Value) -> tuple[Value, Value, Value, Value]:
        """Counts a burst's beats: is this one the first, the last, does it hold bytes of the row, and the last of them?"""
        beat = Signal(range(max(2, self.beats)), name=f"{name}_beat")
        last = wire(m, f"{name}_last", beat == self.beats - 1)
        with m.If(moves):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        final = last_byte[self._byte_bits :]
        return beat == 0, last, wire(m, f"{name}_holds", beat <= final), wire(m, f"{name}_final", beat == final)

    def _reads(self, m: Module, burst: dict[str, Value]) -> Value:
        """Read data go to who asked for them; returns whether a burst is complete in this cycle."""
        loads = burst["channel"][: len(LOADS)]
        fields = {"channel": loads} | {name: burst[name] for name in ("last_byte", "first", "last", "end")}
        queue, head = self._queue(m, "reads", loads.any(), burst, fields)
        comes = wire(m, "read_comes", self.axi.rvalid & queue.r_rdy)
        first, last, holds, final = self._beat(m, "read", comes, head.last_byte)
        complete = wire(m, "read_complete", comes & last)
        m.d.comb += [self.axi.rready.eq(1), queue.r_en.eq(complete)]
        values = {
            "data": self.axi.rdata,
            "bytes": Mux(final, head.last_byte[: self._byte_bits] + 1, self.bus),
            "first": head.first & first,
            "last": head.last & final,
            "end": head.end & final,
        }
        shown = {name: Signal(value.shape(), name=f"shown_{name}", reset_less=True) for name, value in values.items()}
        with m.If(comes):
            m.d.sync += [shown[name].eq(value) for name, value in values.items()]
        for name, mine in zip(LOADS, head.channel, strict=True):
            channel = getattr(self, name)
            m.d.sync += [channel.beat.valid.eq(comes & mine & holds), channel.done.eq(complete & mine & head.end)]
            m.d.comb += [getattr(channel.beat, field).eq(register) for field, register in shown.items()]
        shows = Signal()
        m.d.sync += shows.eq(comes & holds)
        m.d.comb += self.read_bytes.eq(Mux(shows, shown["bytes"], 0))
        self._error(m, self.read_fault, self.read_error, comes & self.axi.rresp[1])
        return complete

    def _writes(self, m: Module, burst: dict[str, Value]) -> Value:
        """Write data, in the order of the requests, and responses; returns whether a burst is complete in this cycle."""
        stores = burst["channel"][len(LOADS) :]
        queue, head = self._queue(m, "writes", stores.any(), burst, {"channel": stores, "last_byte": burst["last_byte"]})
        sources = [getattr(self, name).write_data for name in STORES]
        moves = wire(m, "write_moves", self.axi.wvalid & self.axi.wready)
        _, last, holds, final = self._beat(m, "write", moves, head.last_byte)
        valid = _chosen(head.channel, [source.valid for source in sources])
        payload = Signal(write_layout(self.bus), name="write_payload")
        chosen = _chosen(head.channel, [source.payload.as_value() for source in sources])
        in_row = Cat(~final | (head.last_byte[: self._byte_bits] >= byte) for byte in range(self.bus))
        m.d.comb += [
            payload.as_value().eq(Mux(holds, chosen, 0)),
            self.axi.wdata.eq(payload.data),
            self.axi.wstrb.eq(payload.strobe & in_row),
            self.axi.wlast.eq(last),
            self.axi.wvalid.eq(queue.r_rdy & (valid | ~holds)),
            self.axi.bready.eq(1),
            queue.r_en.eq(moves & last),
        ]
        m.d.sync += self.written_bytes.eq(Mux(moves & holds, Mux(final, head.last_byte[: self._byte_bits] + 1, self.bus), 0))
        for source, mine in zip(sources, head.channel, strict=True):
            m.d.comb += source.ready.eq(queue.r_rdy & mine & holds & self.axi.wready)
        answers, answered = self._queue(m, "responses", stores.any(), burst, {"channel": stores, "end": burst["end"]})
        complete = wire(m, "write_complete", self.axi.bvalid & answers.r_rdy)
        m.d.comb += answers.r_en.eq(complete)
        for name, mine in zip(STORES, answered.channel, strict=True):
            m.d.sync += getattr(self, name).done.eq(complete & mine & answered.end)
        self._error(m, self.write_fault, self.write_error, complete & self.axi.bresp[1])
        return complete

    def _error(self, m: Module, fault: Value, error: Value, seen: Value) -> None:
        m.d.sync += [fault.eq(seen), error.eq(error | seen)]
