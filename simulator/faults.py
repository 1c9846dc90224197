"""What makes a command malformed: the checks of the machine's decoder, comparisons with constants and masks only.

Checks come in the order of `Fault`; the first that fails names the fault. Powers of two make them cheap: "k a multiple of the
group" is ``k & (group - 1) == 0``. What needs a multiplication is not checked: that a tile's lines times its stride, or a work
transfer's rows times their bytes, stay within a slot, and that a kept row's bytes fit its pattern.
"""

from collections.abc import Mapping
from typing import Literal

from simulator.arch import OPTIMIZERS, Accelerator, Buffer, Dataflow
from simulator.encoding import COMMAND_BYTES, DATAFLOWS, FIELDS, HEADER, Fault, Opcode, layout_of
from simulator.layout import banking, operand_words, plane_bytes, result_words, word_elements
from simulator.schedule import Engine
from simulator.vector_operations import VectorOperation

__all__ = ["NOT_ZERO", "buffers_of", "fault", "known_bankings", "limits_of", "opcodes_of", "optimizers_of"]

_SIDES: tuple[Literal["a", "b"], ...] = ("a", "b")

NOT_ZERO: dict[Opcode, tuple[str, ...]] = {
    Opcode.LOAD_A: ("rows", "row_bytes", "lines", "k", "stride"),
    Opcode.LOAD_B: ("rows", "row_bytes", "lines", "k", "stride"),
    Opcode.LOAD_WORK: ("rows", "row_bytes"),
    Opcode.ARRAY: ("m", "n", "k", "a_stride", "b_stride", "c_stride"),
    Opcode.PRUNE: ("row_elements", "elements"),
    Opcode.UPDATE: ("elements",),
    Opcode.VECTOR: ("elements",),
    Opcode.STORE_C: ("rows", "row_bytes", "columns", "stride"),
    Opcode.STORE_WORK: ("rows", "row_bytes"),
    Opcode.END: (),
}


def fault(data: bytes, accelerator: Accelerator, dispatched: Mapping[Engine, int]) -> Fault:
    """What is wrong with one command's bytes, before which each engine was given `dispatched` commands; or NONE.

    Raises ValueError where `data` is not one command.
    """
    if len(data) != COMMAND_BYTES:
        raise ValueError(f"Command must be {COMMAND_BYTES} bytes, not {len(data)}")
    bits = int.from_bytes(data, "little")
    code = bits & (1 << HEADER["opcode"]) - 1
    if code not in set(Opcode):
        return Fault.OPCODE
    opcode, get = Opcode(code), dict[str, int]()
    for key, width in layout_of(opcode).items():
        get[key] = bits & (1 << width) - 1
        bits >>= width
    if bits or opcode not in opcodes_of(accelerator):
        return Fault.OPCODE
    if opcode is Opcode.VECTOR and get["operation"] >= len(VectorOperation):
        return Fault.OPCODE
    if opcode is Opcode.UPDATE and get["adam"] not in optimizers_of(accelerator):
        return Fault.OPCODE
    if _size(opcode, get):
        return Fault.SIZE
    if _slot(opcode, get, accelerator):
        return Fault.SLOT
    if _pattern(opcode, get, accelerator):
        return Fault.PATTERN
    if _dataflow(opcode, get, accelerator):
        return Fault.DATAFLOW
    burst = accelerator.dram.burst_bytes
    if "address" in FIELDS[opcode] and (get["address"] % burst or get["pitch"] % burst):
        return Fault.ALIGNMENT
    if _capacity(opcode, get, accelerator):
        return Fault.CAPACITY
    if any(get[f"wait_{engine.value}"] > dispatched.get(engine, 0) for engine in Engine):
        return Fault.TOKEN
    return Fault.NONE


def opcodes_of(accelerator: Accelerator) -> set[Opcode]:
    """The machine's opcodes: those of the engines that it has. Where operands are integers there is no optimizer."""
    lanes = {
        Opcode.PRUNE: accelerator.pruner.lanes,
        Opcode.UPDATE: accelerator.updater.lanes if accelerator.pe.format != "int8" else 0,
        Opcode.VECTOR: accelerator.vector.lanes,
    }
    missing = {opcode for opcode, count in lanes.items() if not count}
    if len(missing) == len(lanes):  # nobody works on the work buffer
        missing |= {Opcode.LOAD_WORK, Opcode.STORE_WORK}
    return set(Opcode) - missing


def optimizers_of(accelerator: Accelerator) -> set[int]:
    """The values of UPDATE's field `adam` that the machine's updater can do."""
    return {OPTIMIZERS.index(name) for name in accelerator.updater.optimizers}


def _size(opcode: Opcode, get: dict[str, int]) -> bool:
    if opcode is Opcode.STORE_WORK and get["kept"] and not get["entries"]:
        return True
    return any(not get[key] for key in NOT_ZERO[opcode])


def buffers_of(opcode: Opcode, accelerator: Accelerator) -> dict[str, Buffer]:
    """The buffer that each of a command's slot fields is of."""
    match opcode:
        case Opcode.LOAD_A:
            return {"slot": accelerator.a_buffer}
        case Opcode.LOAD_B:
            return {"slot": accelerator.b_buffer}
        case Opcode.STORE_C:
            return {"slot": accelerator.c_buffer}
        case Opcode.ARRAY:
            return {"a_slot": accelerator.a_buffer, "b_slot": accelerator.b_buffer, "c_slot": accelerator.c_buffer}
        case Opcode.END:
            return {}
        case _:
            return {"slot": accelerator.work_buffer}


def _slot(opcode: Opcode, get: dict[str, int], accelerator: Accelerator) -> bool:
    return any(get[key] >= buffer.slots for key, buffer in buffers_of(opcode, accelerator).items())


def _pattern(opcode: Opcode, get: dict[str, int], accelerator: Accelerator) -> bool:
    """The group is a power of two within the PE's, N is within the group, groups divide what is grouped, registers suffice."""
    if "group" not in FIELDS[opcode]:
        return False
    pe, group = accelerator.pe, get["group"]
    needed = {Opcode.ARRAY: group > 0, Opcode.PRUNE: True, Opcode.STORE_WORK: bool(get.get("kept"))}.get(
        opcode, bool(get.get("kept")) or group > 0
    )
    if not needed:
        return False
    if not 1 <= group <= pe.group or group & (group - 1):
        return True
    packs = opcode in (Opcode.ARRAY, Opcode.PRUNE) or (opcode in (Opcode.LOAD_A, Opcode.LOAD_B) and get["kept"])
    if packs and not 1 <= get["keep"] <= group:
        return True
    grouped = get.get("elements") if opcode is Opcode.PRUNE else get.get("k")
    if grouped is not None and grouped & (group - 1):
        return True
    return opcode is Opcode.ARRAY and _registers(get, accelerator)


def _registers(get: dict[str, int], accelerator: Accelerator) -> bool:
    """Whether a step of the stationary operand is too much: N of a kept one, in whole beats, else the group."""
    stationary_b = {DATAFLOWS.index(Dataflow.WS): 1, DATAFLOWS.index(Dataflow.IS): 0}.get(get["dataflow"])
    if stationary_b is None:
        return False
    pe = accelerator.pe
    if stationary_b == get["sparse_b"]:
        return get["keep"] > pe.registers // pe.lanes * pe.lanes
    return get["group"] > pe.registers


def known_bankings(side: Literal["a", "b"], accelerator: Accelerator) -> set[int]:
    """How the array's dataflows want the operand to lie."""
    return {int(banking(dataflow, side)) for dataflow in accelerator.array.dataflows}


def _dataflow(opcode: Opcode, get: dict[str, int], accelerator: Accelerator) -> bool:
    dataflows = accelerator.array.dataflows
    match opcode:
        case Opcode.LOAD_A | Opcode.LOAD_B:
            known = known_bankings("a" if opcode is Opcode.LOAD_A else "b", accelerator)
            return get["banking"] not in known or (get["banking"] == 2 and get["across"] == 1)
        case Opcode.ARRAY:
            return get["dataflow"] not in {DATAFLOWS.index(dataflow) for dataflow in dataflows}
        case Opcode.STORE_C:
            return get["swapped"] == 1 and Dataflow.IS not in dataflows
        case _:
            return False


def limits_of(opcode: Opcode, accelerator: Accelerator) -> dict[str, int]:
    """The most that a slot or plane takes, by field."""
    number, plane = accelerator.pe.number, plane_bytes(accelerator)
    a, b = (operand_words(accelerator, side) * word_elements(accelerator) for side in _SIDES)
    elements = plane // (number.operand_bits // 8)
    match opcode:
        case Opcode.LOAD_A:
            return {"stride": a}
        case Opcode.LOAD_B:
            return {"stride": b}
        case Opcode.LOAD_WORK:
            return {"row_bytes": plane}
        case Opcode.STORE_WORK:
            return {"row_bytes": plane, "entries": elements}
        case Opcode.STORE_C:
            return {"stride": result_words(accelerator)}
        case Opcode.ARRAY:
            return {"a_stride": a, "b_stride": b, "c_stride": result_words(accelerator)}
        case Opcode.PRUNE:
            return {"elements": elements, "row_elements": elements}
        case Opcode.UPDATE:
            return {"elements": plane // 4}
        case Opcode.VECTOR:
            return {"elements": plane // (number.result_bits // 8)}
        case Opcode.END:
            return {}


def _capacity(opcode: Opcode, get: dict[str, int], accelerator: Accelerator) -> bool:
    limits = limits_of(opcode, accelerator)
    if opcode is Opcode.STORE_WORK and not get["kept"]:
        del limits["entries"]
    if "pitch" in FIELDS[opcode] and get["row_bytes"] > get["pitch"]:
        return True
    return any(get[key] > limit for key, limit in limits.items())
