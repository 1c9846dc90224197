"""The machine's registers as its host sees them: their addresses, widths and meanings."""

from dataclasses import dataclass, fields
from typing import Literal

from simulator.result import Counters

__all__ = ["COUNTERS", "COUNTER_BITS", "REGISTERS", "Register"]

Access = Literal["read", "write", "start"]  # what can be written can be read, too; "start" is written only

COUNTER_BITS = 64
COUNTERS = tuple(field.name for field in fields(Counters))


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """A register of the memory map; 64-bit ones are two 32-bit words, the low one first."""

    address: int  # in bytes
    bits: int
    access: Access
    about: str


def _memory_map() -> dict[str, Register]:
    entries: list[tuple[str, int, Access, str]] = [
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
