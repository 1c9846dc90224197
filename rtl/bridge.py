"""Requests from a serial line become accesses of the memories and of the machine's registers: `rtl.protocol` in hardware.

One request at a time; bytes that come while one is answered are dropped. The data of a WRITE go to memory word by word as they
come, after the checksum of the request itself was right: a wrong checksum of the data leaves some of them written, and the
host writes them again. Registers and CONTROL are written only when the data's checksum is right.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.memories import host_signature, outside_of
from rtl.pipeline import wire
from rtl.protocol import CHECKSUM_START, MAGIC, REQUEST_BYTES, WORD_BYTES, Info, Opcode, Space, Status
from rtl.registers import LITE_PORTS
from simulator.register_map import REGISTERS

__all__ = ["Bridge", "crc_after"]


def crc_after(crc: Value, byte: Value) -> Value:
    """The checksum register after one more byte (polynomial 0x1021, most significant bit first)."""
    mixed = crc[8:] ^ byte
    folded = mixed ^ (mixed >> 4)
    return ((crc << 8) ^ (folded << 12) ^ (folded << 5) ^ folded)[:16]


class Bridge(wiring.Component):
    """`received` are the line's bytes, `lost` is high where one was lost; `sent` are the answers.

    `registers` is an AXI4-Lite master, `tensors` and `program` use the memories' host ports. Two cycles of `tick` without a
    byte, at most `idle_cycles`, are the silence after which a request that was begun is forgotten. `reset` is high for a cycle
    when the host asks for it; `stopped` says whether the status that the host read last told of a fault.
    """

    def __init__(
        self, *, memory_bytes: int, program_bytes: int, bus_bytes: int, clock_hz: int, idle_cycles: int, divisor: int
    ) -> None:
        self.memory_bytes, self.program_bytes = memory_bytes, program_bytes
        self.info = {
            Info.MAGIC: MAGIC,
            Info.MEMORY_BYTES: memory_bytes,
            Info.PROGRAM_BYTES: program_bytes,
            Info.BUS_BYTES: bus_bytes,
            Info.CLOCK_HZ: clock_hz,
            Info.IDLE_CYCLES: idle_cycles,
            Info.DIVISOR: divisor,
        }
        super().__init__(
            {
                "received": In(stream.Signature(8)),
                "lost": In(1),
                "sent": Out(stream.Signature(8)),
                "registers": In(wiring.Signature(LITE_PORTS)),
                "tensors": In(host_signature(memory_bytes)),
                "program": In(host_signature(program_bytes)),
                "tick": In(1),
                "busy": In(1),
                "reset": Out(1),
                "stopped": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        # The request: its bytes are shifted through these registers, the first one to the bottom.
        head = Signal(8 * (REQUEST_BYTES - 2))
        opcode, tag, end, address = head[:8], head[8:16], head[16:24], head[24:]
        space = address[30:]
        word = Signal(8 * WORD_BYTES)  # being received, or being sent: the next byte is the lowest
        status, crc, count = Signal(3), Signal(16, init=CHECKSUM_START), Signal(range(REQUEST_BYTES))
        deaf, first = Signal(), Signal()  # nothing is heard until the line is silent; no word of the answer was sent yet
        is_write = wire(m, "is_write", opcode[0])  # once it is known to be one of the two
        in_memory = wire(m, "in_memory", ~space[1])
        last_word = wire(m, "last_word", address[2:10] == end)
        silence = Signal(2)  # ticks in it
        silent = wire(m, "silent", silence[1])
        comes = wire(m, "comes", self.received.valid & self.received.ready)
        byte = wire(m, "byte", Mux(self.sent.valid, self.sent.payload, self.received.payload))
        next_crc = wire(m, "next_crc", crc_after(crc, byte))
        passes = wire(m, "passes", self.sent.valid & self.sent.ready)
        m.d.comb += self.received.ready.eq(1)
        m.d.sync += silence.eq(silence + (self.tick & ~silent))
        with m.If(self.received.valid | self.lost):
            m.d.sync += silence.eq(0)

        outside = self._outside(m, space, address, last_word)
        access = Signal()
        done, answered, refused, read_data = self._access(m, access, is_write, space, address, word)

        def answer(code: Status | Value) -> None:
            """Begins one."""
            m.d.sync += [status.eq(code), crc.eq(CHECKSUM_START)]
            m.next = "STATUS"

        def give_up(code: Status) -> None:
            """The line and we don't agree about where a request begins."""
            m.d.sync += [deaf.eq(1), silence.eq(0)]
            answer(code)

        with m.FSM():
            with m.State("HEAD"):
                with m.If(self.lost & (count != 0)):
                    give_up(Status.CHECKSUM)
                with m.Elif(comes & ~deaf):
                    m.d.sync += [crc.eq(next_crc), count.eq(count + 1)]
                    with m.If(count < REQUEST_BYTES - 2):
                        m.d.sync += head.eq(Cat(head[8:], byte))
                    with m.If(count == REQUEST_BYTES - 1):
                        m.next = "CHECK"
                with m.Elif(silent):
                    m.d.sync += [deaf.eq(0), count.eq(0), crc.eq(CHECKSUM_START)]
            with m.State("CHECK"):
                m.d.sync += [crc.eq(CHECKSUM_START), count.eq(0), status.eq(Status.OK), first.eq(1)]
                with m.If(crc != 0):
                    give_up(Status.CHECKSUM)
                with m.Elif((opcode != Opcode.READ) & (opcode != Opcode.WRITE)):
                    give_up(Status.OPCODE)
                with m.Elif(is_write):
                    with m.If(outside):
                        m.d.sync += status.eq(Status.ADDRESS)
                    m.next = "DATA"
                with m.Elif(outside):
                    answer(Status.ADDRESS)
                with m.Else():
                    m.next = "ACCESS"

            with m.State("DATA"):  # of a WRITE
                with m.If(self.lost):
                    give_up(Status.CHECKSUM)
                with m.Elif(comes):
                    m.d.sync += [crc.eq(next_crc), word.eq(Cat(word[8:], byte)), count.eq(count + 1)]
                    with m.If(count == WORD_BYTES - 1):
                        m.d.sync += count.eq(0)
                        with m.If(in_memory & (status == Status.OK)):
                            m.next = "ACCESS"
                        with m.Else():
                            m.next = "NEXT"
                with m.Elif(silent):
                    m.next = "FORGET"
            with m.State("CHECKSUM"):  # of a WRITE
                with m.If(self.lost):
                    give_up(Status.CHECKSUM)
                with m.Elif(comes):
                    m.d.sync += [crc.eq(next_crc), count.eq(count + 1)]
                    with m.If(count[0]):
                        m.next = "CHECK_DATA"
                with m.Elif(silent):
                    m.next = "FORGET"
            with m.State("CHECK_DATA"):
                m.d.sync += count.eq(0)
                with m.If(crc != 0):
                    give_up(Status.CHECKSUM)
                with m.Elif(in_memory | (status != Status.OK)):
                    answer(status)
                with m.Else():
                    m.next = "ACCESS"
            with m.State("ACCESS"):
                m.d.comb += [access.eq(1), self.received.ready.eq(0)]
                with m.If(done):
                    with m.If(~in_memory & refused):
                        answer(Status.REFUSED)
                    with m.Elif(~is_write):
                        m.next = "WAIT"
                    with m.Elif(in_memory):
                        m.next = "NEXT"
                    with m.Else():
                        answer(Status.OK)
            with m.State("WAIT"):  # for the word
                m.d.sync += word.eq(read_data)
                with m.If(answered):
                    m.next = "SEND"
                    with m.If(first):
                        answer(Status.OK)
            with m.State("NEXT"):  # word, or the end
                m.d.comb += self.received.ready.eq(0)
                with m.If(last_word):
                    m.next = "CHECKSUM"
                    with m.If(~is_write):
                        m.next = "CRC_HIGH"
                with m.Else():
                    m.d.sync += address[2:10].eq(address[2:10] + 1)
                    m.next = "DATA"
                    with m.If(~is_write):
                        m.next = "ACCESS"

            sends = (
                ("STATUS", status, "TAG"),
                ("TAG", tag, "SEND"),
                ("CRC_HIGH", crc[8:], "CRC_LOW"),
                ("CRC_LOW", crc, "FORGET"),
            )
            for state, payload, following in sends:
                with m.State(state):
                    m.d.comb += [self.sent.valid.eq(1), self.sent.payload.eq(payload)]
                    with m.If(passes):
                        m.next = following
                        if state in ("STATUS", "TAG"):
                            m.d.sync += crc.eq(next_crc)
                        if state == "TAG":
                            with m.If(is_write | (status != Status.OK)):
                                m.next = "CRC_HIGH"
            with m.State("SEND"):  # a word, its lowest byte first
                m.d.comb += [self.sent.valid.eq(1), self.sent.payload.eq(word)]
                with m.If(passes):
                    m.d.sync += [first.eq(0), crc.eq(next_crc), word.eq(word >> 8), count.eq(count + 1)]
                    with m.If(count == WORD_BYTES - 1):
                        m.d.sync += count.eq(0)
                        m.next = "NEXT"
            with m.State("FORGET"):  # and be ready for the next request
                m.d.sync += [count.eq(0), crc.eq(CHECKSUM_START)]
                m.next = "HEAD"
        return m

    def _outside(self, m: Module, space: Value, address: Value, one_word: Value) -> Signal:
        """Is a request's address outside of its memory, or not one word of the registers?"""
        beyond = {
            Space.TENSORS: outside_of(address[:30], self.memory_bytes),
            Space.PROGRAM: outside_of(address[:30], self.program_bytes),
            Space.REGISTERS: address[len(self.registers.araddr) : 30].any() | ~one_word,
            Space.INFO: address[2 + (len(Info) - 1).bit_length() : 30].any() | ~one_word,
        }
        return wire(m, "outside", address[:2].any() | Array([beyond[each] for each in Space])[space])

    def _access(
        self, m: Module, access: Value, is_write: Value, space: Value, address: Value, word: Value
    ) -> tuple[Value, Value, Value, Value]:
        """One word, from where the address says; returns whether it is done, whether (in a later cycle) what was read is there,
        whether it is refused (registers only), and what was read."""
        memories = {Space.TENSORS: self.tensors, Space.PROGRAM: self.program}
        for number, memory in memories.items():
            m.d.comb += [
                memory.valid.eq(access & (space == number)),
                memory.write.eq(is_write),
                memory.address.eq(address[2:]),
                memory.write_data.eq(word),
            ]

        lite, mine = self.registers, wire(m, "of_registers", access & (space == Space.REGISTERS))
        for channel, asks in (("aw", is_write), ("w", is_write), ("ar", ~is_write)):
            taken = Signal(name=f"{channel}_taken")
            valid, ready = getattr(lite, f"{channel}valid"), getattr(lite, f"{channel}ready")
            m.d.comb += valid.eq(mine & asks & ~taken)
            m.d.sync += taken.eq(mine & (taken | (valid & ready)))
        m.d.comb += [
            lite.awaddr.eq(address),
            lite.araddr.eq(address),
            lite.wdata.eq(word),
            lite.wstrb.eq(~0),
            lite.bready.eq(~access),  # in the cycle after it was seen, when what was read is taken
            lite.rready.eq(~access),
        ]
        response = wire(m, "response", lite.bvalid | lite.rvalid)
        writes = Signal()
        m.d.sync += writes.eq(writes ^ (mine & response & is_write))
        with m.If(mine & lite.rvalid & (address[2 : len(lite.araddr)] == REGISTERS["status"].address // 4)):
            m.d.sync += self.stopped.eq(lite.rdata[2])

        control = wire(m, "control", address[2:5] == Info.CONTROL)
        info = [Const(self.info[each], 32) for each in Info if each != Info.CONTROL]
        info.append(Cat(self.busy, writes, Const(0, 30)))
        m.d.sync += self.reset.eq(access & (space == Space.INFO) & is_write & control & word[0])
        done = Array([self.tensors.ready, self.program.ready, response, 1])[space]
        refused = Mux(space[0], is_write & ~control, Mux(is_write, lite.bresp[1], lite.rresp[1]))
        answered = wire(m, "answered", space[1] | self.tensors.answered | self.program.answered)
        memory_data = Mux(space[0], self.program.read_data, self.tensors.read_data)
        data = Mux(space[1], Mux(space[0], Array(info)[address[2:5]], lite.rdata), memory_data)
        return wire(m, "done", done), answered, wire(m, "refused", refused), wire(m, "read_data", data)
