"""The binary form of a program: 512-bit commands, their fields, and what makes one malformed.

A command is a little-endian 512-bit word: the header, then the body of its opcode, each field from the least significant bit up
in the order of the tables here; all bits beyond must be 0. A program ends with one `END` command. The RTL builds its layouts
from the same tables.
"""

from enum import IntEnum

from simulator.schedule import Engine

__all__ = ["COMMAND_BITS", "COMMAND_BYTES", "ENGINES", "FIELDS", "HEADER", "PLANES", "VERSION", "Fault", "Opcode"]

VERSION = 1
COMMAND_BITS = 512
COMMAND_BYTES = COMMAND_BITS // 8
PLANES = 8  # parts of a work slot, one for each tensor that an operation touches
WAIT_BITS = 24

ENGINES = tuple(Engine)


class Opcode(IntEnum):
    """One per engine, in the order of `Engine`, and the program's end."""

    LOAD_A = 1
    LOAD_B = 2
    LOAD_WORK = 3
    ARRAY = 4
    PRUNE = 5
    UPDATE = 6
    VECTOR = 7
    STORE_C = 8
    STORE_WORK = 9
    END = 15

    @property
    def engine(self) -> Engine:
        return ENGINES[self - 1]


class Fault(IntEnum):
    """Why the machine stopped: the codes of its error register."""

    NONE = 0
    OPCODE = 1  # no such opcode, or a reserved bit is set
    SIZE = 2  # a count or a size is 0 where it must not be
    SLOT = 3  # a slot or plane that the buffer doesn't have
    PATTERN = 4  # a pattern that the PEs can't take, or that doesn't divide the reduction
    DATAFLOW = 5  # a dataflow that the array doesn't have
    ALIGNMENT = 6  # an address or pitch that doesn't begin at a burst
    CAPACITY = 7  # more than a slot holds
    TOKEN = 8  # waits for a command that was not dispatched before it
    MEMORY_READ = 9  # the memory answered a read with an error
    MEMORY_WRITE = 10
    PROGRAM_READ = 11
    LENGTH = 12  # the program ran beyond its length without an END, or END came before it


HEADER: dict[str, int] = {"opcode": 4, "op": 12} | {f"wait_{engine.value}": WAIT_BITS for engine in Engine}

_TRANSFER = {"address": 40, "slot": 4, "rows": 20, "row_bytes": 24, "pitch": 24}
_OPERAND = _TRANSFER | {
    "kept": 1,  # values and indices of an N:M operand; else dense elements
    "across": 1,  # 0: a memory row is a line (the reduction is fastest); 1: it is a step, lines follow each other in it
    "banking": 2,  # 0: by line modulo rows; 1: by line modulo cols; 2: by step modulo rows
    "lines": 16,
    "k": 16,  # elements of the reduction, dropped ones included
    "keep": 9,
    "group": 9,  # elements of a step; 0: the PE's lanes
    "stride": 24,  # entries from a line to the next line of the same bank
}

FIELDS: dict[Opcode, dict[str, int]] = {
    Opcode.LOAD_A: _OPERAND,
    Opcode.LOAD_B: _OPERAND,
    Opcode.LOAD_WORK: _TRANSFER | {"plane": 3},
    Opcode.ARRAY: {
        "dataflow": 2,
        "m": 16,
        "n": 16,
        "k": 16,
        "keep": 9,
        "group": 9,  # 0: dense
        "sparse_b": 1,
        "accumulate": 1,
        "a_slot": 4,
        "b_slot": 4,
        "c_slot": 4,
        "a_stride": 24,  # `stride` of the loads that filled the slots
        "b_stride": 24,
        "c_stride": 16,  # column folds of C: ceil(v / cols)
    },
    Opcode.PRUNE: {
        "slot": 4,
        "source": 3,  # planes
        "values": 3,
        "indices": 3,
        "across": 1,  # 0: groups of consecutive elements; 1: groups down the rows
        "row_elements": 24,
        "elements": 32,
        "keep": 9,
        "group": 9,
    },
    Opcode.UPDATE: {
        "slot": 4,
        "weight": 3,
        "velocity": 3,
        "gradient": 3,
        "copy": 3,
        "mask": 3,
        "masked": 1,
        "elements": 32,
    },
    Opcode.VECTOR: {"slot": 4, "operation": 4, "x": 3, "y": 3, "out": 3, "elements": 32, "scalar": 32},
    Opcode.STORE_C: _TRANSFER | {"swapped": 1, "columns": 16, "stride": 16},
    Opcode.STORE_WORK: _TRANSFER | {"plane": 3, "kept": 1, "indices": 3, "group": 9, "entries": 24},
    Opcode.END: {},
}
