"""Is a malformed command refused for the reason that the contract gives it, the first of several?"""

import pytest
from placed_kit import replace, small_machine

from simulator.arch import Dataflow
from simulator.encoding import END, FIELDS, Fault, Opcode, Word, encode, layout_of
from simulator.faults import fault
from simulator.schedule import Engine

# Slots of 4096 bytes: banks max(3, 4) of words of 8 entries of 2 bytes: 64 words, 512 entries. Results: words of 4 banks of
# 2 sums of 4 bytes: 128. Planes of 512 bytes.
MACHINE = small_machine(burst=16)

OPERAND = {
    "address": 160, "slot": 1, "rows": 3, "row_bytes": 30, "pitch": 32, "kept": 1, "across": 0, "banking": 1, "lines": 3,
    "k": 16, "keep": 2, "group": 4, "stride": 512,
}  # fmt: skip
WORK = {"address": 160, "slot": 1, "rows": 3, "row_bytes": 32, "pitch": 32, "plane": 7}
SOUND = {
    Opcode.LOAD_A: OPERAND,
    Opcode.LOAD_B: OPERAND,
    Opcode.LOAD_WORK: WORK,
    Opcode.ARRAY: {
        "dataflow": 1, "m": 3, "n": 4, "k": 16, "keep": 2, "group": 8, "sparse_b": 1, "accumulate": 1, "a_slot": 1,
        "b_slot": 1, "c_slot": 1, "a_stride": 512, "b_stride": 512, "c_stride": 128,
    },
    Opcode.PRUNE: {
        "slot": 1, "source": 0, "values": 1, "indices": 2, "across": 0, "row_elements": 16, "elements": 256,
        "keep": 8, "group": 8,
    },
    Opcode.UPDATE: {
        "slot": 1, "weight": 0, "velocity": 1, "gradient": 2, "copy": 3, "mask": 4, "masked": 1, "elements": 128,
        "second": 5, "adam": 0,
    },
    Opcode.VECTOR: {"slot": 1, "operation": 5, "x": 0, "y": 1, "out": 2, "elements": 256, "scalar": 2**32 - 1},
    Opcode.STORE_C: {
        "address": 160, "slot": 1, "rows": 3, "row_bytes": 32, "pitch": 32, "swapped": 1, "columns": 16, "stride": 128,
    },
    Opcode.STORE_WORK: WORK | {"kept": 1, "indices": 3, "group": 8, "entries": 256},
    Opcode.END: {},
}  # fmt: skip
OPERANDS = (Opcode.LOAD_A, Opcode.LOAD_B)
TRANSFERS = (*OPERANDS, Opcode.LOAD_WORK, Opcode.STORE_C, Opcode.STORE_WORK)


def raw(opcode, waits=None, **changes):
    return encode([Word(opcode=opcode, op=5, waits=waits or {}, fields=SOUND[opcode] | changes)])


def found(opcode, machine=MACHINE, **changes):
    return fault(raw(opcode, **changes), machine, {})


@pytest.mark.parametrize("opcode", Opcode)
def test_sound_commands_have_no_fault(opcode):
    assert found(opcode) is Fault.NONE


def cases():
    zeros = {
        Opcode.LOAD_A: ("rows", "row_bytes", "lines", "k", "stride"),
        Opcode.LOAD_B: ("rows", "row_bytes", "lines", "k", "stride"),
        Opcode.LOAD_WORK: ("rows", "row_bytes"),
        Opcode.ARRAY: ("m", "n", "k", "a_stride", "b_stride", "c_stride"),
        Opcode.PRUNE: ("elements", "row_elements"),
        Opcode.UPDATE: ("elements",),
        Opcode.VECTOR: ("elements",),
        Opcode.STORE_C: ("rows", "row_bytes", "columns", "stride"),
        Opcode.STORE_WORK: ("rows", "row_bytes", "entries"),
    }
    for opcode, names in zeros.items():
        for name in names:
            yield opcode, {name: 0}, Fault.SIZE
        for name in SOUND[opcode]:
            if name.endswith("slot"):
                yield opcode, {name: 2}, Fault.SLOT
    for opcode in (*OPERANDS, Opcode.ARRAY, Opcode.PRUNE):
        for wrong in ({"keep": 0}, {"keep": 9}, {"group": 6, "keep": 2}, {"group": 16}):
            yield opcode, wrong, Fault.PATTERN
    for opcode in (*OPERANDS, Opcode.ARRAY):
        yield opcode, {"k": 18}, Fault.PATTERN
    yield Opcode.LOAD_A, {"group": 0}, Fault.PATTERN  # kept, without a group
    yield Opcode.LOAD_A, {"kept": 0, "group": 3}, Fault.PATTERN
    yield Opcode.LOAD_A, {"kept": 0, "keep": 0, "k": 18}, Fault.PATTERN
    yield Opcode.LOAD_A, {"kept": 0, "keep": 0, "group": 0, "k": 17}, Fault.NONE
    yield Opcode.ARRAY, {"group": 0, "keep": 0, "k": 17}, Fault.NONE
    yield Opcode.PRUNE, {"elements": 255}, Fault.PATTERN
    yield Opcode.PRUNE, {"group": 0}, Fault.PATTERN
    yield Opcode.STORE_WORK, {"group": 5}, Fault.PATTERN
    yield Opcode.STORE_WORK, {"group": 5, "kept": 0}, Fault.NONE
    yield Opcode.STORE_WORK, {"entries": 0, "kept": 0}, Fault.NONE
    for opcode in OPERANDS:
        yield opcode, {"banking": 3}, Fault.DATAFLOW
    yield Opcode.LOAD_B, {"banking": 0}, Fault.DATAFLOW  # rows take B in no dataflow line by line
    yield Opcode.LOAD_A, {"banking": 2}, Fault.NONE
    yield Opcode.LOAD_A, {"banking": 2, "across": 1}, Fault.DATAFLOW
    yield Opcode.ARRAY, {"dataflow": 3}, Fault.DATAFLOW
    for opcode in TRANSFERS:
        yield opcode, {"address": 168}, Fault.ALIGNMENT
        yield opcode, {"pitch": 40}, Fault.ALIGNMENT
        yield opcode, {"pitch": 16}, Fault.CAPACITY
        yield opcode, {"pitch": 0}, Fault.CAPACITY
    for opcode in OPERANDS:
        yield opcode, {"stride": 513}, Fault.CAPACITY
    for name, most in (("a_stride", 512), ("b_stride", 512), ("c_stride", 128)):
        yield Opcode.ARRAY, {name: most + 1}, Fault.CAPACITY
    yield Opcode.STORE_C, {"stride": 129}, Fault.CAPACITY
    yield Opcode.PRUNE, {"elements": 264}, Fault.CAPACITY
    yield Opcode.UPDATE, {"elements": 129}, Fault.CAPACITY
    yield Opcode.VECTOR, {"elements": 257}, Fault.CAPACITY
    yield Opcode.STORE_WORK, {"entries": 257}, Fault.CAPACITY
    yield Opcode.STORE_WORK, {"entries": 257, "kept": 0}, Fault.NONE
    for opcode in (Opcode.LOAD_WORK, Opcode.STORE_WORK):
        yield opcode, {"row_bytes": 512, "pitch": 1024}, Fault.NONE
        yield opcode, {"row_bytes": 513, "pitch": 1024}, Fault.CAPACITY
    yield Opcode.VECTOR, {"operation": 6}, Fault.OPCODE
    yield Opcode.UPDATE, {"adam": 1}, Fault.OPCODE


@pytest.mark.parametrize(("opcode", "changes", "expected"), list(cases()))
def test_one_thing_wrong(opcode, changes, expected):
    assert found(opcode, **changes) is expected


@pytest.mark.parametrize(
    ("optimizers", "expected"),
    [
        (("sgd-momentum",), [Fault.NONE, Fault.OPCODE]),
        (("adam",), [Fault.OPCODE, Fault.NONE]),
        (("adam", "sgd-momentum"), [Fault.NONE] * 2),
    ],
)
def test_optimizers_that_the_machine_has(optimizers, expected):
    machine = replace(MACHINE, updater=replace(MACHINE.updater, optimizers=optimizers))
    assert [found(Opcode.UPDATE, machine, adam=adam) for adam in (0, 1)] == expected


def test_unknown_opcodes_and_reserved_bits():
    for code in (0, 10, 14):
        assert fault(bytes([code]) + bytes(63), MACHINE, {}) is Fault.OPCODE
    for opcode in Opcode:
        bits, used = int.from_bytes(raw(opcode), "little"), sum(layout_of(opcode).values())
        assert fault((bits | 1 << used).to_bytes(64, "little"), MACHINE, {}) is Fault.OPCODE
        assert fault((bits | 1 << 511).to_bytes(64, "little"), MACHINE, {}) is Fault.OPCODE
    with pytest.raises(ValueError, match="Command must be 64 bytes, not 63"):
        fault(bytes(63), MACHINE, {})


def test_registers_hold_the_stationary_operand():
    """WS holds B: N of a sparse one, rounded up to beats; the whole group of a dense one beside a sparse A. IS holds A."""
    few = replace(MACHINE, pe=replace(MACHINE.pe, registers=5, lanes=2))
    strides = dict.fromkeys(("a_stride", "b_stride", "c_stride"), 1)
    for dataflow, held in ((1, 1), (2, 0)):
        for keep, fits in ((4, True), (5, False)):
            got = found(Opcode.ARRAY, few, dataflow=dataflow, sparse_b=held, keep=keep, **strides)
            assert got is (Fault.NONE if fits else Fault.PATTERN)
        for group, fits in ((4, True), (8, False)):
            got = found(Opcode.ARRAY, few, dataflow=dataflow, sparse_b=1 - held, group=group, **strides)
            assert got is (Fault.NONE if fits else Fault.PATTERN)
    assert found(Opcode.ARRAY, few, dataflow=0, keep=8, **strides) is Fault.NONE


def test_dataflows_of_the_array():
    only = replace(MACHINE, array=replace(MACHINE.array, dataflows=(Dataflow.OS,)))
    assert found(Opcode.ARRAY, only, dataflow=0) is Fault.NONE
    assert found(Opcode.ARRAY, only, dataflow=1) is Fault.DATAFLOW
    assert found(Opcode.LOAD_A, only, banking=0) is Fault.NONE
    assert found(Opcode.LOAD_A, only, banking=2) is Fault.DATAFLOW
    assert found(Opcode.STORE_C, only, swapped=0) is Fault.NONE
    assert found(Opcode.STORE_C, only, swapped=1) is Fault.DATAFLOW


@pytest.mark.parametrize("opcode", Opcode)
def test_tokens_name_commands_before(opcode):
    for engine in Engine:
        data = raw(opcode, {engine: 3})
        assert fault(data, MACHINE, {engine: 3}) is Fault.NONE
        assert fault(data, MACHINE, dict.fromkeys(Engine, 9) | {engine: 2}) is Fault.TOKEN
    assert fault(encode([replace(END, waits={Engine.ARRAY: 1})]), MACHINE, {}) is Fault.TOKEN


def test_the_first_of_several_faults():
    """Every later fault at once; one after the other they are repaired in the order of `Fault`."""
    changes = {"rows": 0, "slot": 9, "group": 3, "banking": 3, "address": 1, "stride": 2**20}
    order = [Fault.SIZE, Fault.SLOT, Fault.PATTERN, Fault.DATAFLOW, Fault.ALIGNMENT, Fault.CAPACITY]
    for name, expected in zip(list(changes), order, strict=True):
        assert fault(raw(Opcode.LOAD_A, {Engine.ARRAY: 1}, **changes), MACHINE, {}) is expected
        del changes[name]
    assert fault(raw(Opcode.LOAD_A, {Engine.ARRAY: 1}), MACHINE, {}) is Fault.TOKEN


def test_every_field_is_covered():
    assert all(SOUND[opcode].keys() == FIELDS[opcode].keys() for opcode in Opcode)
