# amaranth: UnusedElaboratable=no
"""On-chip memories for a machine without DRAM: the tensors behind `m_axi`, the program behind `p_axi`, each with a host port.

The tensor memory answers in the cycles of docs/machine.md, 'Memory port'. A burst requested in cycle t has a window of its
own, cycles t + L - 2 to t + L + beats - 3: a read takes its words in it (they pass a register on their way to the memory, and
are answered two cycles later), a write is answered two cycles after it. Requests are at least `beats` cycles apart, so
windows never overlap, and a memory of one port is enough: data to be written are taken when no read takes a word, at the
latest in the write's own window. No write is answered late whose data come within L - 2 cycles of the request, one a cycle.

Both rely on what `rtl.dma` and `rtl.sequencer` do: one request a cycle (AR or AW), every burst `burst_bytes` long and at a
multiple of them, RREADY and BREADY always high, data written to the end once their burst is requested. Requests that come
faster, and data that come later, are answered later.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from rtl import axi
from rtl.dma import ADDRESS_BITS, LEAST_LATENCY
from rtl.memory_block import BlockMaker, MemoryBlock
from rtl.pipeline import wire
from rtl.protocol import MEMORY_PAGE, WORD_BYTES
from simulator.arch import Accelerator, ceil_div
from simulator.encoding import COMMAND_BITS, COMMAND_BYTES
from simulator.layout import burst_slot, bus_bytes, power_of_two

__all__ = ["ProgramMemory", "TensorMemory", "check_bytes", "host_signature", "outside_of"]

SLAVE_ERROR = 0b10


def check_bytes(field: str, size: int) -> None:
    """Raise ValueError for a size that a memory can't have."""
    if type(size) is not int or size < MEMORY_PAGE or size % MEMORY_PAGE or size > 1 << 30:
        raise ValueError(f"System field {field!r} must be a multiple of {MEMORY_PAGE} bytes up to {1 << 30}, not {size!r}")


def host_signature(size: int) -> wiring.Signature:
    """The host's side of a memory of `size` bytes, as the memory sees it: words of `WORD_BYTES`.

    A request stays until `ready`. Where it reads, `answered` is high a few cycles later, with the word at `read_data`;
    `address` stays until then. The machine goes first.
    """
    return wiring.Signature(
        {
            "valid": In(1),
            "write": In(1),
            "address": In(range(size // WORD_BYTES)),  # in words
            "write_data": In(8 * WORD_BYTES),
            "ready": Out(1),
            "answered": Out(1),
            "read_data": Out(8 * WORD_BYTES),
        }
    )


class _Host:
    """The host's requests as accesses of wider words: which of its lanes they mean."""

    def __init__(self, host: wiring.PureInterface, word_bytes: int) -> None:
        self.lanes = word_bytes // WORD_BYTES
        low = self.lanes.bit_length() - 1
        self.lane, self.address = host.address[:low], host.address[low:]
        self.data = host.write_data.replicate(self.lanes)
        chosen = Cat(self.lane == number for number in range(self.lanes)) if self.lanes > 1 else Const(1, 1)
        self.write = Cat(bit.replicate(WORD_BYTES) for bit in chosen & (host.valid & host.write).replicate(self.lanes))

    def word(self, read_data: Value) -> Value:
        """The host's lane of a word that was read."""
        return read_data.word_select(self.lane, 8 * WORD_BYTES) if self.lanes > 1 else read_data


def outside_of(address: Value, size: int) -> Value:
    """Is a byte address beyond `size`?"""
    return address[size.bit_length() - 1 :].any() if size & (size - 1) == 0 else address >= size


class TensorMemory(wiring.Component):
    """`size` bytes behind the machine's `m_axi` (`axi`) and behind `host`. Bursts outside answer SLVERR and write nothing."""

    def __init__(self, accelerator: Accelerator, size: int, *, block: BlockMaker = MemoryBlock) -> None:
        check_bytes("memory_bytes", size)
        self.bus, self.burst, self.size = bus_bytes(accelerator), accelerator.dram.burst_bytes, size
        self.latency = accelerator.dram.latency_cycles(accelerator.clock_hz)
        if size % self.burst:
            raise ValueError(f"System field 'memory_bytes' must be a multiple of {self.burst}, a burst, not {size}")
        if self.latency < LEAST_LATENCY:
            raise ValueError(f"Dram field 'latency_ns' must be at least {LEAST_LATENCY} clock cycles, not {self.latency}")
        self.beats = self.burst // self.bus
        # Requests that wait for the end of their window; a power of two, as then its queues count without comparing.
        self.depth = power_of_two(ceil_div(self.latency + self.beats, burst_slot(accelerator)) + 1)
        self.block = block(size // self.bus, self.bus)
        super().__init__({"axi": In(axi.master_signature(8 * self.bus, ADDRESS_BITS)), "host": Out(host_signature(size))})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.block = block = self.block
        port, beat_bits = self.axi, self.beats.bit_length() - 1
        low, high = self.burst.bit_length() - 1, (self.size - 1).bit_length()

        # Requests: all of them in one queue until their window ends; writes in one of their own until their data are taken.
        request = wire(m, "request", Mux(port.awvalid, port.awaddr, port.araddr))
        burst = Cat(request[low:high], wire(m, "outside", outside_of(request, self.size)))
        m.submodules.requests = requests = SyncFIFO(width=len(burst) + 1, depth=self.depth)
        m.submodules.writes = writes = SyncFIFO(width=len(burst), depth=self.depth)
        room = wire(m, "room", requests.w_rdy & writes.w_rdy)
        accept = wire(m, "accept", room & (port.awvalid | port.arvalid))
        m.d.comb += [
            port.awready.eq(room),
            port.arready.eq(room),
            requests.w_en.eq(accept),
            requests.w_data.eq(Cat(burst, port.awvalid)),
            writes.w_en.eq(accept & port.awvalid),
            writes.w_data.eq(burst),
        ]

        # Windows, in order. `due`: those that may begin and have not ended.
        come = accept
        for stage in range(self.latency - 3):
            later = Signal(name=f"latency_{stage}")
            m.d.sync += later.eq(come)
            come = later
        due, beat = Signal(range(self.depth + 1)), Signal(max(1, beat_bits))
        written = Signal(range(self.depth + 1))  # bursts whose data are all taken, not answered yet
        index, outside, is_write = requests.r_data[: high - low], requests.r_data[-2], requests.r_data[-1]
        active = wire(m, "active", due != 0)
        last = wire(m, "last", beat == self.beats - 1)
        reads = wire(m, "reads", active & ~is_write)

        # Data to be written.
        write_beat = Signal(max(1, beat_bits))
        write_last = wire(m, "write_last", write_beat == self.beats - 1)
        writing = wire(m, "writing", writes.r_rdy & ~reads)
        takes = wire(m, "takes", writing & port.wvalid)
        complete = wire(m, "complete", takes & write_last)
        m.d.comb += [port.wready.eq(writing), writes.r_en.eq(complete)]
        with m.If(takes):
            m.d.sync += write_beat.eq(Mux(write_last, 0, write_beat + 1))

        answers = wire(m, "answers", active & is_write & last & ((written != 0) | complete))
        ends = wire(m, "ends", (reads & last) | answers)
        with m.If(active & ~(last & ~ends)):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        m.d.comb += requests.r_en.eq(ends)
        m.d.sync += [due.eq(due + come - ends), written.eq(written + complete - answers)]
        fault = Mux(outside, SLAVE_ERROR, 0)
        answer = {"rvalid": reads, "rlast": last, "rresp": fault, "bvalid": answers, "bresp": fault}
        for name, value in answer.items():
            stage = Signal(len(value), name=f"{name}_stage")
            m.d.sync += [stage.eq(value), getattr(port, name).eq(stage)]

        # The access, in a register before the memory.
        host = _Host(self.host, self.bus)
        for_host = wire(m, "for_host", ~reads & ~writes.r_rdy)
        strobe = wire(m, "strobe", port.wstrb & (takes & ~writes.r_data[-1]).replicate(self.bus))
        asked = Signal()
        m.d.comb += [
            self.host.ready.eq(for_host),
            self.host.read_data.eq(host.word(block.read_data)),
            port.rdata.eq(block.read_data),
            block.enable.eq(1),
        ]
        for_write = Cat(write_beat[:beat_bits], writes.r_data[:-1])
        m.d.sync += [
            block.write.eq(Mux(for_host, host.write, strobe)),
            block.write_data.eq(Mux(for_host, host.data, port.wdata)),
            block.address.eq(Mux(reads, Cat(beat[:beat_bits], index), Mux(for_host, host.address, for_write))),
            asked.eq(self.host.valid & for_host & ~self.host.write),
            self.host.answered.eq(asked),
        ]
        return m


class ProgramMemory(wiring.Component):
    """`size` bytes behind the machine's `p_axi` (`axi`), a command per beat, and behind `host`.

    `wide`: a whole command is read in a cycle and answered two cycles later, so that the sequencer never waits. Otherwise words
    of `word_bytes` are read one after another (64 / word_bytes + 4 cycles a command), from memory that is no wider: the program
    takes more cycles where the sequencer runs out of commands, and computes the same. Commands outside answer SLVERR.
    """

    def __init__(self, size: int, *, wide: bool = True, word_bytes: int = WORD_BYTES, block: BlockMaker = MemoryBlock) -> None:
        check_bytes("program_bytes", size)
        self.size, self.word = size, COMMAND_BYTES if wide else word_bytes
        if not WORD_BYTES <= self.word <= COMMAND_BYTES or self.word & (self.word - 1):
            raise ValueError(
                f"ProgramMemory field 'word_bytes' must be a power of two from {WORD_BYTES} to {COMMAND_BYTES}, "
                f"not {word_bytes}"
            )
        self.block = block(size // self.word, self.word)
        super().__init__({"axi": In(axi.read_signature(COMMAND_BITS, ADDRESS_BITS)), "host": Out(host_signature(size))})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.block = block = self.block
        port, host = self.axi, _Host(self.host, self.word)
        low, high = COMMAND_BYTES.bit_length() - 1, (self.size - 1).bit_length()
        command, outside = port.araddr[low:high], outside_of(port.araddr, self.size)
        asked = Signal()
        m.d.comb += [port.rlast.eq(1), block.enable.eq(1)]
        if self.word == COMMAND_BYTES:
            reads, address, comes = port.arvalid, command, Signal()
            fault = Signal(2)
            m.d.comb += [port.arready.eq(1), port.rdata.eq(block.read_data)]
            m.d.sync += [comes.eq(reads), port.rvalid.eq(comes), fault.eq(Mux(outside, SLAVE_ERROR, 0)), port.rresp.eq(fault)]
        else:
            reads, address = self._assemble(m, command, outside)
        m.d.comb += self.host.ready.eq(~reads)
        m.d.sync += [
            block.write.eq(host.write & (~reads).replicate(self.word)),
            block.write_data.eq(host.data),
            block.address.eq(Mux(reads, address, host.address)),
            Cat(asked, self.host.answered).eq(Cat(self.host.valid & ~reads & ~self.host.write, asked)),
        ]
        m.d.comb += self.host.read_data.eq(host.word(block.read_data))
        return m

    def _assemble(self, m: Module, command: Value, outside: Value) -> tuple[Value, Value]:
        """A command from words, the first one lowest; returns whether a word is read in this cycle, and from where."""
        port, words = self.axi, COMMAND_BYTES // self.word
        kept, place = Signal(len(command)), Signal(range(words))
        reads, later, comes = Signal(), Signal(), Signal()  # a word is asked for; is read; is there
        shift = Signal(COMMAND_BITS, reset_less=True)
        m.d.comb += [port.arready.eq(~(reads | later | comes | port.rvalid)), port.rdata.eq(shift)]
        m.d.sync += [later.eq(reads), comes.eq(later), port.rvalid.eq(comes & ~later)]
        with m.If(comes):
            m.d.sync += shift.eq(Cat(shift[8 * self.word :], self.block.read_data))
        with m.If(reads):
            m.d.sync += [place.eq(place + 1), reads.eq(place != words - 1)]
        with m.Elif(port.arvalid & port.arready):
            m.d.sync += [kept.eq(command), reads.eq(1), place.eq(0), port.rresp.eq(Mux(outside, SLAVE_ERROR, 0))]
        return reads, Cat(place, kept)
