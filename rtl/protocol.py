"""The bytes between a host and the machine on a board (docs/board.md): requests, answers, addresses and the checksum.

    request   opcode, tag, last, address (4 bytes), checksum; a WRITE goes on: data (4 bytes a word), checksum
    answer    status, tag; a READ that succeeds goes on: data; checksum

`last` is bits 9 to 2 of the last word's address: a request never leaves the page of 1024 bytes in which it begins. All numbers
are little endian but the checksum, whose high byte comes first: CRC-16/CCITT-FALSE of all bytes since the checksum before it,
or since the beginning.
"""

import binascii
import struct
from enum import IntEnum

__all__ = [
    "BAUD",
    "BURST_WORDS",
    "CHECKSUM_BYTES",
    "CHECKSUM_START",
    "MAGIC",
    "MEMORY_PAGE",
    "REQUEST_BYTES",
    "WORD_BYTES",
    "Info",
    "Opcode",
    "Space",
    "Status",
    "checksum",
    "with_checksum",
    "request",
]

BAUD = 1_000_000
"""Bits a second on the line unless a build says otherwise; the FTDI chips of boards do up to 3 million."""
WORD_BYTES = 4
BURST_WORDS = 256  # most words of a request
MEMORY_PAGE = WORD_BYTES * BURST_WORDS  # a request stays within one
MAGIC = 0x314D4E  # the first information word: "NM1", protocol version 1
CHECKSUM_START = 0xFFFF
CHECKSUM_BYTES = 2
REQUEST_BYTES = 9


class Opcode(IntEnum):
    """A request's first byte."""

    READ = 0x52  # "R"
    WRITE = 0x57  # "W"


class Space(IntEnum):
    """Bits 31 and 30 of an address."""

    TENSORS = 0
    PROGRAM = 1
    REGISTERS = 2  # the machine's, one word per request
    INFO = 3  # what the system is: one `Info` word per request

    @property
    def base(self) -> int:
        return self << 30


class Info(IntEnum):
    """Words of the information space, by number."""

    MAGIC = 0
    MEMORY_BYTES = 1
    PROGRAM_BYTES = 2
    BUS_BYTES = 3  # of a word of the tensor memory
    CLOCK_HZ = 4
    IDLE_CYCLES = 5  # of silence, after which a request that was begun is forgotten
    DIVISOR = 6  # clock cycles of a bit
    CONTROL = 7  # read: bit 0: busy, bit 1: changes with each write to the register space; write 1: reset the machine


class Status(IntEnum):
    """An answer's first byte."""

    OK = 0
    CHECKSUM = 1  # bytes were changed or lost; all that comes until the line was silent for IDLE_CYCLES is ignored
    OPCODE = 2  # no such request; ignores what comes as after CHECKSUM
    ADDRESS = 3  # outside of the memory, not a word's, or several words of registers
    REFUSED = 4  # a register that doesn't exist, or can't be read or can't be written


def checksum(data: bytes) -> int:
    """CRC-16/CCITT-FALSE. Of bytes and their checksum behind them it is 0."""
    return binascii.crc_hqx(data, CHECKSUM_START)


def with_checksum(data: bytes) -> bytes:
    return data + struct.pack(">H", checksum(data))


def request(opcode: int, tag: int, address: int, words: int, data: bytes = b"") -> bytes:
    """The bytes of a request; `data` of a WRITE only."""
    head = with_checksum(struct.pack("<BBBI", opcode, tag, (address // WORD_BYTES + words - 1) % BURST_WORDS, address))
    return head + with_checksum(data) if data else head
