"""The host's view: an AXI4-Lite slave with the machine's registers, 32 bits each, 64-bit ones low word first.

The addresses are `REGISTERS`. A read elsewhere gives 0 and SLVERR; so does a write to a register that the host can't write. One
access of each kind at a time; START is ignored while the machine is busy. A read takes a few cycles, of a counter as many as
make it final once the machine is seen to be done. What the host wrote is kept twice: in registers for the machine, and for the
host in a memory, which is cleared after reset before anything is answered.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from rtl.choose import choose
from rtl.counters import ROUND
from simulator.arch import Accelerator
from simulator.encoding import COMMAND_BITS, VERSION
from simulator.register_map import COUNTERS, REGISTERS

__all__ = ["LITE_PORTS", "Registers", "lite_ports"]


ADDRESS_BITS = max(register.address + register.bits // 8 - 1 for register in REGISTERS.values()).bit_length()
OKAY, SLAVE_ERROR = 0, 2

LITE_PORTS = {
    "awaddr": In(ADDRESS_BITS),
    "awvalid": In(1),
    "awready": Out(1),
    "wdata": In(32),
    "wstrb": In(4),
    "wvalid": In(1),
    "wready": Out(1),
    "bresp": Out(2),
    "bvalid": Out(1),
    "bready": In(1),
    "araddr": In(ADDRESS_BITS),
    "arvalid": In(1),
    "arready": Out(1),
    "rdata": Out(32),
    "rresp": Out(2),
    "rvalid": Out(1),
    "rready": In(1),
}


def lite_ports(prefix: str) -> dict[str, wiring.Member]:
    """The slave's ports with a prefix, as in ``s_axi_awaddr``."""
    return {f"{prefix}_{name}": member for name, member in LITE_PORTS.items()}


def _writable() -> data.StructLayout:
    return data.StructLayout({name: register.bits for name, register in REGISTERS.items() if register.access == "write"})


def _shown() -> data.StructLayout:
    fixed = ("digest", "version", "command_bits", *COUNTERS)
    names = {n: r.bits for n, r in REGISTERS.items() if r.access == "read" and n not in fixed}
    return data.StructLayout(names)


WORD_BITS = ADDRESS_BITS - 2  # of a word's number
SHADOW = 16  # words of the memory behind what the host reads of what it wrote
SETTLED = 2 * ROUND  # cycles until a counter's word has been visited after all that it counts has come
_WRITTEN = [
    (register.address // 4 + half) % SHADOW
    for register in REGISTERS.values()
    for half in range(register.bits // 32 if register.access == "write" else 0)
]
assert len(set(_WRITTEN)) == len(_WRITTEN), "each word that the host writes has a place of its own in the memory"


class Registers(wiring.Component):
    """`shown` comes from the machine, `written` goes to it; `start` is high for a cycle. `counted` is the counters' `word`."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.digest = int(accelerator.digest, 16)
        ports = {"shown": In(_shown()), "written": Out(_writable()), "start": Out(1)}
        super().__init__({**LITE_PORTS, **ports, "word": Out(range(ROUND)), "counted": In(32)})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        clearing = Signal(range(SHADOW + 1), init=SHADOW)
        m.d.sync += clearing.eq(clearing - (clearing != 0))
        m.submodules.shadow = shadow = memory.Memory(shape=32, depth=SHADOW, init=[])
        self._writes(m, shadow.write_port(granularity=8), clearing)
        self._reads(m, shadow.read_port(), clearing)
        return m

    def _writes(self, m: Module, port: memory.WritePort, clearing: Value) -> None:
        """Address and data together, taken in one cycle and done in the next."""
        take, word, value, bytes_ = Signal(), Signal(WORD_BITS), Signal(32), Signal(4)
        written, writes, starts = Signal(_writable()), Signal(), Signal()
        m.d.comb += [
            self.written.eq(written),
            take.eq(self.awvalid & self.wvalid & ~self.bvalid & (clearing == 0)),
            self.awready.eq(take),
            self.wready.eq(take),
        ]
        with m.If(take):
            m.d.sync += [word.eq(self.awaddr[2:]), value.eq(self.wdata)]
        m.d.sync += bytes_.eq(self.wstrb & take.replicate(4))
        with m.If(self.bvalid & self.bready):
            m.d.sync += self.bvalid.eq(0)
        m.d.sync += self.start.eq(starts & value[0] & bytes_[0])
        with m.If(take):
            m.d.sync += self.bvalid.eq(1)
            m.d.sync += self.bresp.eq(Mux(self._any(self.awaddr[2:], ("write", "start")), OKAY, SLAVE_ERROR))
        with m.Switch(word):
            for name, register in REGISTERS.items():
                for half in range(register.bits // 32 if register.access != "read" else 0):
                    with m.Case(register.address // 4 + half):
                        if register.access == "start":
                            m.d.comb += starts.eq(1)
                            continue
                        m.d.comb += writes.eq(1)
                        for byte in range(4):
                            with m.If(bytes_[byte]):
                                at = 32 * half + 8 * byte
                                m.d.sync += written[name][at : at + 8].eq(value[8 * byte : 8 * byte + 8])
        m.d.comb += [
            port.en.eq(bytes_ & writes.replicate(4) | (clearing != 0).replicate(4)),
            port.addr.eq(Mux(clearing != 0, clearing, word)[: len(port.addr)]),
            port.data.eq(Mux(clearing != 0, 0, value)),
        ]

    def _any(self, word: Value, kinds: tuple[str, ...]) -> Value:
        """Whether a register of these kinds has this word."""
        found = [
            register.address // 4 + half
            for register in REGISTERS.values()
            for half in range(register.bits // 32)
            if register.access in kinds
        ]
        return word.matches(*found)

    def _reads(self, m: Module, port: memory.ReadPort, clearing: Value) -> None:
        """The word's number is kept while its sources settle; then one of them is taken."""
        shown, first = self.shown, REGISTERS[COUNTERS[0]].address // 4
        word, left, reading = Signal(WORD_BITS), Signal(range(SETTLED + 1)), Signal()
        counter = Signal()
        m.d.comb += [
            self.arready.eq(~self.rvalid & ~reading & (clearing == 0)),
            port.addr.eq(word[: len(port.addr)]),
            self.word.eq((word - first)[: len(self.word)]),
            counter.eq(self.araddr[2:] >= first),
        ]
        with m.If(self.rvalid & self.rready):
            m.d.sync += self.rvalid.eq(0)
        m.d.sync += left.eq(left - (left != 0))
        with m.If(self.arvalid & self.arready):
            m.d.sync += [word.eq(self.araddr[2:]), left.eq(Mux(counter, SETTLED, 1)), reading.eq(1)]
        with m.Elif(reading & (left == 0)):
            m.d.sync += [reading.eq(0), self.rvalid.eq(1)]
        read_only = [
            *(Const(self.digest, 64).word_select(half, 32) for half in range(2)),
            Const(VERSION, 32),
            Const(COMMAND_BITS, 32),
            Const(0, 32),
            shown.status,
            shown.fault,
            shown.fault_command,
        ]
        cycles = REGISTERS["cycles"].address // 4
        value = Mux(
            word < len(read_only),
            choose(m, "read_only", read_only, word[:3]),
            Mux(
                word >= first,
                self.counted,
                Mux(word.matches(cycles, cycles + 1), shown.cycles.word_select(word[0], 32), port.data),
            ),
        )
        known = self._any(word, ("read", "write"))
        with m.If(reading & (left == 0)):
            m.d.sync += [self.rdata.eq(Mux(known, value, 0)), self.rresp.eq(Mux(known, OKAY, SLAVE_ERROR))]
