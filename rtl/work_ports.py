"""Who reads and writes the planes of the work buffer, and what they ask for: aligned sub-words, each user's of one width.

A request says `valid`, the slot, the plane, and `at`, the number of the sub-word in the plane. A read is answered in the next
cycle. A write is done at the end of its cycle, for the bytes that `enable` names: a read that is asked for in the next cycle
sees it. A plane has one read port and one write port: the program's tokens see to it that no two users take the same port in
one cycle (two equal reads are one).
"""

# pyright: basic

from amaranth.lib import data

from simulator.arch import Accelerator
from simulator.encoding import FIELDS, Opcode
from simulator.layout import bus_bytes, bus_elements, plane_bytes

__all__ = ["check_lanes", "fields_layout", "log2", "read_layout", "readers", "write_layout", "writers"]


def log2(size: int) -> int:
    """The exponent of a power of two."""
    return size.bit_length() - 1


def check_lanes(accelerator: Accelerator) -> None:
    """Raise ValueError unless the lanes and the widest group are powers of two, as sub-words are; no lanes are none."""
    checked = [("Pe", "group", accelerator.pe.group), ("Pruner", "lanes", accelerator.pruner.lanes)]
    checked += [("VectorUnit", "lanes", accelerator.vector.lanes)]
    if _updates(accelerator):
        checked += [("Updater", "lanes", accelerator.updater.lanes)]
    for thing, name, value in checked:
        if value == 0:
            raise ValueError(f"{thing} field {name!r} must be above 0 for the RTL where it has another of these engines, not 0")
        if value & (value - 1):
            raise ValueError(f"{thing} field {name!r} must be a power of two for the RTL, not {value!r}")


def readers(accelerator: Accelerator) -> dict[str, int]:
    """Width in bytes of each reader's sub-words: values and indices of stores, the pruner's source, operands of the others."""
    number, pruner, vector = accelerator.pe.number, accelerator.pruner.lanes, accelerator.vector.lanes
    result = number.result_bits // 8
    widths = {"store_values": bus_bytes(accelerator), "store_indices": bus_elements(accelerator)}
    widths |= {"source": pruner * number.operand_bits // 8, "x": vector * result, "y": vector * result}
    if _updates(accelerator):
        lanes = accelerator.updater.lanes
        widths |= {"weight": 4 * lanes, "velocity": 4 * lanes, "gradient": lanes * result, "mask": max(1, lanes // 8)}
        widths |= {"second": 4 * lanes} if _adam(accelerator) else {}
    return widths


def writers(accelerator: Accelerator) -> dict[str, int]:
    """Width in bytes of each writer's sub-words: loads, the pruner's values and indices, results of the others."""
    number, pruner, vector = accelerator.pe.number, accelerator.pruner.lanes, accelerator.vector.lanes
    widths = {"load": bus_bytes(accelerator), "values": pruner * number.operand_bits // 8, "indices": pruner}
    widths |= {"out": vector * number.result_bits // 8}
    if _updates(accelerator):
        lanes = accelerator.updater.lanes
        widths |= {"weight": 4 * lanes, "velocity": 4 * lanes, "copy": lanes * number.operand_bits // 8}
        widths |= {"second": 4 * lanes} if _adam(accelerator) else {}
    return widths


def read_layout(accelerator: Accelerator, width: int) -> data.StructLayout:
    """A request for `width` bytes."""
    fields = FIELDS[Opcode.LOAD_WORK]
    at = max(1, (plane_bytes(accelerator) // width - 1).bit_length())
    return data.StructLayout({"valid": 1, "slot": fields["slot"], "plane": fields["plane"], "at": at})


def write_layout(accelerator: Accelerator, width: int) -> data.StructLayout:
    """A request to write those of `width` bytes that `enable` names."""
    return data.StructLayout({**read_layout(accelerator, width).members, "data": 8 * width, "enable": width})


def fields_layout(opcode: Opcode) -> data.StructLayout:
    """The body of a command."""
    return data.StructLayout(FIELDS[opcode])


def _updates(accelerator: Accelerator) -> bool:
    """Gradients of int8 machines have no FP32 update."""
    return accelerator.pe.format != "int8"


def _adam(accelerator: Accelerator) -> bool:
    """Only Adam has a second moment."""
    return "adam" in accelerator.updater.optimizers
