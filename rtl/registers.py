"""The host's view: an AXI4-Lite slave with the machine's registers, 32 bits each, 64-bit ones low word first.

The addresses are `REGISTERS`. A read elsewhere gives 0 and SLVERR; so does a write to a register that the host can't write. One
access of each kind at a time; START is ignored while the machine is busy.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from dataclasses import dataclass
from typing import Literal

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.counters import COUNTER_BITS, COUNTERS
from simulator.arch import Accelerator
from simulator.encoding import COMMAND_BITS, VERSION

__all__ = ["LITE_PORTS", "REGISTERS", "Register", "Registers", "lite_ports"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """A register of the memory map."""

    address: int
    bits: int
    access: Literal["read", "write", "start"]
    about: str


def _memory_map() -> dict[str, Register]:
    entries: list[tuple[str, int, Literal["read", "write", "start"], str]] = [
        ("digest", 64, "read", "identity of the accelerator: its digest's 12 hexadecimal digits"),
        ("version", 32, "read", "version of the command format"),
        ("command_bits", 32, "read", "bits of a command"),
        ("start", 32, "start", "write 1: run the program; the counters begin at 0"),
        ("status", 32, "read", "bit 0: busy; bit 1: done; bit 2: stopped by a fault"),
        ("fault", 32, "read", "cause: simulator.encoding.Fault"),
        ("fault_command", 32, "read", "position of the command that was refused, or that would have been next"),
        ("program_length", 32, "write", "commands, END included"),
        ("program_address", 64, "write", "first byte of the program, in the program memory"),
        ("lr", 32, "write", "learning rate, FP32"),
        ("momentum", 32, "write", "momentum, FP32"),
        ("weight_decay", 32, "write", "weight decay, FP32"),
        ("decay", 32, "write", "SR-STE decay of pruned weights, FP32"),
        ("gain", 32, "write", "Adam: part of the gradient in the first moment, FP32; `momentum` is the old moment's"),
        ("square_momentum", 32, "write", "Adam: part of the old second moment in the new one, FP32"),
        ("square_gain", 32, "write", "Adam: part of the squared gradient in the second moment, FP32"),
        ("eps", 32, "write", "Adam: added to the second moment's root, FP32"),
        ("decoupled_decay", 32, "write", "AdamW: weight decay beside the gradient, FP32"),
        ("cycles", COUNTER_BITS, "read", "from the first dispatch to the last result"),
        *((name, COUNTER_BITS, "read", "as simulator.result.Counters") for name in COUNTERS),
    ]
    found: dict[str, Register] = {}
    address = 0
    for name, bits, access, about in entries:
        address = -(-address // (bits // 8)) * (bits // 8)
        found[name] = Register(address=address, bits=bits, access=access, about=about)
        address += bits // 8
    return found


REGISTERS = _memory_map()
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
    fixed = ("digest", "version", "command_bits")
    names = {n: r.bits for n, r in REGISTERS.items() if r.access == "read" and n not in fixed}
    return data.StructLayout(names)


class Registers(wiring.Component):
    """`shown` comes from the machine, `written` goes to it; `start` is high for a cycle."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.digest = int(accelerator.digest, 16)
        super().__init__({**LITE_PORTS, "shown": In(_shown()), "written": Out(_writable()), "start": Out(1)})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        written = Signal(_writable())
        m.d.comb += self.written.eq(written)

        # Writes: address and data together.
        take = Signal()
        m.d.comb += [
            take.eq(self.awvalid & self.wvalid & ~self.bvalid),
            self.awready.eq(take),
            self.wready.eq(take),
        ]
        mask = Cat(bit.replicate(8) for bit in self.wstrb)
        with m.If(self.bvalid & self.bready):
            m.d.sync += self.bvalid.eq(0)
        m.d.sync += self.start.eq(0)
        with m.If(take):
            m.d.sync += [self.bvalid.eq(1), self.bresp.eq(SLAVE_ERROR)]
            with m.Switch(self.awaddr[2:]):
                for name, register in REGISTERS.items():
                    for word in range(register.bits // 32):
                        if register.access == "read":
                            continue
                        with m.Case(register.address // 4 + word):
                            m.d.sync += self.bresp.eq(OKAY)
                            if register.access == "start":
                                m.d.sync += self.start.eq(self.wdata[0] & self.wstrb[0])
                            else:
                                part = written[name][32 * word : 32 * word + 32]
                                m.d.sync += part.eq((part & ~mask) | (self.wdata & mask))

        # Reads.
        fixed = {
            "digest": Const(self.digest, 64),
            "version": Const(VERSION, 32),
            "command_bits": Const(COMMAND_BITS, 32),
        }
        m.d.comb += self.arready.eq(~self.rvalid)
        with m.If(self.rvalid & self.rready):
            m.d.sync += self.rvalid.eq(0)
        with m.If(self.arvalid & self.arready):
            m.d.sync += [self.rvalid.eq(1), self.rdata.eq(0), self.rresp.eq(SLAVE_ERROR)]
            with m.Switch(self.araddr[2:]):
                for name, register in REGISTERS.items():
                    for word in range(register.bits // 32):
                        if register.access == "start":
                            continue
                        value = (
                            fixed[name] if name in fixed else written[name] if register.access == "write" else self.shown[name]
                        )
                        with m.Case(register.address // 4 + word):
                            m.d.sync += [self.rdata.eq(value[32 * word : 32 * word + 32]), self.rresp.eq(OKAY)]
        return m
