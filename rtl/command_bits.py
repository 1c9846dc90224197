"""Which bits of a command can be set once the decoder has let it pass: what queues and units need not keep."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false

from amaranth.hdl import Cat, Const, Value
from amaranth.lib import data

from simulator.arch import Accelerator
from simulator.encoding import COMMAND_BITS, HEADER, Opcode, layout_of
from simulator.faults import buffers_of, limits_of, opcodes_of
from simulator.schedule import Engine

__all__ = ["kept_bits", "narrowed", "possible_bits", "restored", "stored_layout", "whole_word"]


def possible_bits(opcode: Opcode, accelerator: Accelerator) -> dict[str, range]:
    """By field, the bits that can be 1 (`simulator.faults`); fields that are not here can hold anything.

    A limit that only binds some commands, as that of a dense GEMM's `keep`, is none.
    """
    found = {name: range(limit.bit_length()) for name, limit in limits_of(opcode, accelerator).items()}
    found |= {name: range((buffer.slots - 1).bit_length()) for name, buffer in buffers_of(opcode, accelerator).items()}
    group = range(accelerator.pe.group.bit_length())
    if opcode in (Opcode.LOAD_A, Opcode.LOAD_B, Opcode.ARRAY, Opcode.PRUNE):
        found["group"] = group
    if opcode is Opcode.PRUNE:
        found["keep"] = group
    if opcode is Opcode.STORE_WORK:
        del found["entries"]
    aligned = (accelerator.dram.burst_bytes - 1).bit_length()
    found["address"] = found["pitch"] = range(aligned, COMMAND_BITS)
    return found


def _kept(opcode: Opcode, accelerator: Accelerator, layout: data.StructLayout) -> dict[str, range]:
    """By field of the layout, the bits to be kept."""
    possible = possible_bits(opcode, accelerator)
    return {name: range(field.width)[_span(possible.get(name))] for name, field in layout}


def _span(bits: range | None) -> slice:
    return slice(None) if bits is None else slice(bits.start, bits.stop)


def stored_layout(opcode: Opcode, accelerator: Accelerator, layout: data.StructLayout) -> data.StructLayout:
    """The layout of a command without the bits that can't be set."""
    return data.StructLayout({name: len(bits) for name, bits in _kept(opcode, accelerator, layout).items()})


def narrowed(opcode: Opcode, accelerator: Accelerator, command: data.View) -> Value:
    """A command without them."""
    kept = _kept(opcode, accelerator, command.shape())
    return Cat(Value.cast(command[name])[bits.start : bits.stop] for name, bits in kept.items())


def restored(opcode: Opcode, accelerator: Accelerator, layout: data.StructLayout, stored: data.View) -> Value:
    """The command again."""
    fields: list[Value] = []
    for name, bits in _kept(opcode, accelerator, layout).items():
        below, above = bits.start, layout[name].width - bits.stop
        fields += [Const(0, below), Value.cast(stored[name]), Const(0, above)]
    return Cat(fields)


def kept_bits(accelerator: Accelerator) -> list[int]:
    """Positions in a command's word that some command has set which the decoder lets pass."""
    found: set[int] = set()
    opcodes = opcodes_of(accelerator)
    for opcode in opcodes:
        possible, at = possible_bits(opcode, accelerator), 0
        for name, width in layout_of(opcode).items():
            found |= {at + bit for bit in range(width)[_span(possible.get(name))]}
            at += width
    known, at = {opcode.engine for opcode in opcodes if opcode is not Opcode.END}, 0
    for name, width in HEADER.items():
        if name.startswith("wait_") and Engine(name.removeprefix("wait_")) not in known:
            found -= {*range(at, at + width)}
        at += width
    return sorted(found)


def whole_word(kept: list[int], bits: Value) -> Value:
    """A command's word from the bits that are kept of it."""
    places = {bit: place for place, bit in enumerate(kept)}
    return Cat(bits[places[bit]] if bit in places else Const(0) for bit in range(COMMAND_BITS))
