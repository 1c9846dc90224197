"""A bridge with two small memories and registers that answer late: what stands around it in a system, without the machine."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from rtl.bridge import Bridge
from rtl.memories import ProgramMemory

__all__ = ["MEMORY_BYTES", "PROGRAM_BYTES", "REGISTER_WORDS", "BridgeBench"]

MEMORY_BYTES, PROGRAM_BYTES = 3072, 1024
REGISTER_WORDS = 4  # that can be read and written; the others answer SLVERR
CLOCK_HZ, IDLE_CYCLES, DIVISOR = 12345678, 2048, 9


class BridgeBench(wiring.Component):
    def __init__(self) -> None:
        flags = {"lost": In(1), "tick": In(1), "busy": In(1), "reset": Out(1), "wait": In(2)}
        received = {"received_valid": In(1), "received_payload": In(8), "received_ready": Out(1)}
        sent = {"sent_valid": Out(1), "sent_payload": Out(8), "sent_ready": In(1)}
        super().__init__(flags | received | sent)

    def elaborate(self, platform):  # noqa: ARG002
        m = Module()
        sizes = {"memory_bytes": MEMORY_BYTES, "program_bytes": PROGRAM_BYTES, "bus_bytes": 4}
        m.submodules.bridge = bridge = Bridge(**sizes, clock_hz=CLOCK_HZ, idle_cycles=IDLE_CYCLES, divisor=DIVISOR)
        m.submodules.tensors = tensors = ProgramMemory(MEMORY_BYTES, wide=False)
        m.submodules.program = program = ProgramMemory(PROGRAM_BYTES)
        connect(m, bridge.tensors, tensors.host)
        connect(m, bridge.program, program.host)
        for name in ("lost", "tick", "busy"):
            m.d.comb += getattr(bridge, name).eq(getattr(self, name))
        m.d.comb += [
            self.reset.eq(bridge.reset),
            bridge.received.valid.eq(self.received_valid),
            bridge.received.payload.eq(self.received_payload),
            self.received_ready.eq(bridge.received.ready),
            self.sent_valid.eq(bridge.sent.valid),
            self.sent_payload.eq(bridge.sent.payload),
            bridge.sent.ready.eq(self.sent_ready),
        ]

        # Registers: address, data and answers each when `wait` has been 0, the data of a write before its address or after it.
        lite, words = bridge.registers, [Signal(32, name=f"register_{number}") for number in range(REGISTER_WORDS)]
        address, data, got_address, got_data = Signal(8), Signal(32), Signal(), Signal()
        go = self.wait == 0
        m.d.comb += [lite.awready.eq(~got_address & go), lite.wready.eq(~got_data & (self.wait == 1))]
        with m.If(lite.awvalid & lite.awready):
            m.d.sync += [address.eq(lite.awaddr), got_address.eq(1)]
        with m.If(lite.wvalid & lite.wready):
            m.d.sync += [data.eq(lite.wdata), got_data.eq(1)]
        with m.If(lite.bvalid & lite.bready):
            m.d.sync += lite.bvalid.eq(0)
        with m.If(got_address & got_data & go & ~lite.bvalid):
            m.d.sync += [lite.bvalid.eq(1), lite.bresp.eq(2), got_address.eq(0), got_data.eq(0)]
            for number, word in enumerate(words):
                with m.If(address == 4 * number):
                    m.d.sync += [word.eq(data), lite.bresp.eq(0)]
        m.d.comb += lite.arready.eq(~lite.rvalid & go)
        with m.If(lite.rvalid & lite.rready):
            m.d.sync += lite.rvalid.eq(0)
        with m.If(lite.arvalid & lite.arready):
            m.d.sync += [lite.rvalid.eq(1), lite.rdata.eq(0), lite.rresp.eq(2)]
            for number, word in enumerate(words):
                with m.If(lite.araddr == 4 * number):
                    m.d.sync += [lite.rdata.eq(word), lite.rresp.eq(0)]
        return m
