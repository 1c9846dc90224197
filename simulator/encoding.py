"""The binary form of a program: 512-bit commands, their fields, and what makes one malformed.

A command is a little-endian 512-bit word: the header, then the body of its opcode, each field from the least significant bit up
in the order of the tables here; all bits beyond must be 0. A program ends with one `END` command. The RTL builds its layouts
from the same tables.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from simulator.arch import Dataflow
from simulator.schedule import Engine

__all__ = [
    "COMMAND_BITS",
    "COMMAND_BYTES",
    "COMMANDS",
    "DATAFLOWS",
    "END",
    "ENGINES",
    "FIELDS",
    "HEADER",
    "PLANES",
    "VERSION",
    "Fault",
    "Opcode",
    "Word",
    "decode",
    "encode",
    "layout_of",
    "program_words",
]

VERSION = 1
COMMAND_BITS = 512
COMMAND_BYTES = COMMAND_BITS // 8
PLANES = 8  # parts of a work slot, one for each tensor that an operation touches
WAIT_BITS = 24

ENGINES = tuple(Engine)
DATAFLOWS = tuple(Dataflow)  # the position is the code in a command


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


COMMANDS = tuple(opcode for opcode in Opcode if opcode is not Opcode.END)  # by position: one per engine


class Fault(IntEnum):
    """Why the machine stopped: the codes of its error register."""

    NONE = 0
    OPCODE = 1  # no such opcode, operation or optimizer, or a reserved bit is set
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
        "second": 3,  # Adam's second moment
        "adam": 1,  # position in `arch.OPTIMIZERS`
    },
    Opcode.VECTOR: {"slot": 4, "operation": 4, "x": 3, "y": 3, "out": 3, "elements": 32, "scalar": 32},
    Opcode.STORE_C: _TRANSFER | {"swapped": 1, "columns": 16, "stride": 16},
    Opcode.STORE_WORK: _TRANSFER | {"plane": 3, "kept": 1, "indices": 3, "group": 9, "entries": 24},
    Opcode.END: {},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One command: its opcode, the operation's tag, the tokens it waits for, and exactly the fields of its opcode."""

    opcode: Opcode
    op: int = 0
    waits: Mapping[Engine, int] = field(default_factory=dict[Engine, int])  # by engine, how many of its commands; none: 0
    fields: Mapping[str, int] = field(default_factory=dict[str, int])


END = Word(opcode=Opcode.END)


def encode(words: Iterable[Word]) -> bytes:
    """The words one after the other, as the machine reads them; append `END` for a whole program.

    Raises ValueError where a field is missing, unknown or doesn't fit.
    """
    return b"".join(map(_encode, words))


def decode(data: bytes) -> list[Word]:
    """The inverse of `encode`. Raises ValueError for a piece of a command, no opcode or a reserved bit that is set.

    Anything else that is wrong with a command is for `simulator.faults` to say.
    """
    if len(data) % COMMAND_BYTES:
        raise ValueError(f"Program must be whole commands of {COMMAND_BYTES} bytes, not {len(data)} bytes")
    return [_decode(data[at : at + COMMAND_BYTES], at // COMMAND_BYTES) for at in range(0, len(data), COMMAND_BYTES)]


def layout_of(opcode: Opcode) -> dict[str, int]:
    """Widths of all of a command's fields, from the least significant bit up."""
    return HEADER | FIELDS[opcode]


def program_words(data: bytes) -> list[Word]:
    """A whole program's words without the `END`. Raises ValueError unless it ends with one, and only there."""
    words = decode(data)
    ends = [i for i, word in enumerate(words) if word.opcode is Opcode.END]
    if ends != [len(words) - 1]:
        raise ValueError(f"Program of {len(words)} commands must have one END, its last command, not END at {ends}")
    return words[:-1]


def _encode(word: Word) -> bytes:
    expected, name = FIELDS[word.opcode], word.opcode.name
    if word.fields.keys() != expected.keys():
        wrong = sorted(word.fields.keys() ^ expected.keys())
        raise ValueError(f"Command {name!r} must have the fields {', '.join(expected)}, not others: {', '.join(wrong)}")
    waits = {f"wait_{engine.value}": word.waits.get(engine, 0) for engine in Engine}
    values = {"opcode": int(word.opcode), "op": word.op} | waits | dict(word.fields)
    bits, at = 0, 0
    for key, width in layout_of(word.opcode).items():
        value = values[key]
        if not 0 <= value < 1 << width:
            raise ValueError(f"Field {key!r} of command {name!r} must fit {width} bits, not {value!r}")
        bits |= value << at
        at += width
    return bits.to_bytes(COMMAND_BYTES, "little")


def _decode(data: bytes, number: int) -> Word:
    bits = int.from_bytes(data, "little")
    code = bits & (1 << HEADER["opcode"]) - 1
    if code not in set(Opcode):
        raise ValueError(f"Command {number} must have one of the opcodes {', '.join(map(str, map(int, Opcode)))}, not {code}")
    opcode, values = Opcode(code), dict[str, int]()
    for key, width in layout_of(opcode).items():
        values[key] = bits & (1 << width) - 1
        bits >>= width
    if bits:
        raise ValueError(f"Command {number} ({opcode.name}) must have no reserved bit set, not {bits:#x} above its fields")
    waits = {engine: values[f"wait_{engine.value}"] for engine in Engine if values[f"wait_{engine.value}"]}
    return Word(opcode=opcode, op=values["op"], waits=waits, fields={key: values[key] for key in FIELDS[opcode]})
