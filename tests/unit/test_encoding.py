"""Are a command's bits where the tables say, and does decoding give back what was encoded?"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.arch import Dataflow
from simulator.binary import command, program_of
from simulator.encoding import COMMAND_BITS, COMMAND_BYTES, END, FIELDS, HEADER, Opcode, Word, decode, encode, layout_of
from simulator.schedule import Engine, Load, Multiply, Prune, Store, Tile, Update, Vector, Wait
from workloads.sparsity import DENSE, NM


@st.composite
def words(draw):
    opcode = draw(st.sampled_from(Opcode))
    fields = {name: draw(st.integers(0, (1 << width) - 1)) for name, width in FIELDS[opcode].items()}
    waits = draw(st.dictionaries(st.sampled_from(Engine), st.integers(1, (1 << 24) - 1)))
    return Word(opcode=opcode, op=draw(st.integers(0, 4095)), waits=waits, fields=fields)


def filled(opcode, **fields):
    """A word whose other fields are 1."""
    return Word(opcode=opcode, op=3, waits={Engine.ARRAY: 2}, fields=dict.fromkeys(FIELDS[opcode], 1) | fields)


@given(st.lists(words(), max_size=4))
def test_decoding_gives_back_the_words(listed):
    data = encode(listed)
    assert len(data) == 64 * len(listed)
    assert decode(data) == listed


def test_an_engine_for_each_opcode_but_the_end():
    assert [opcode.engine for opcode in Opcode if opcode is not Opcode.END] == list(Engine)
    assert [int(opcode) for opcode in Opcode] == [*range(1, 10), 15]


def test_every_command_fits():
    assert all(sum(layout_of(opcode).values()) <= COMMAND_BITS for opcode in Opcode)


def test_bits_of_a_work_load():
    """Header: opcode 4 bits, op 12, nine tokens of 24; then address 40, slot 4, rows 20, row_bytes 24, pitch 24, plane 3."""
    fields = {"address": 0x12_3456_7890, "slot": 0xA, "rows": 0x54321, "row_bytes": 0xABCDE, "pitch": 0xF0F0F0, "plane": 5}
    word = Word(opcode=Opcode.LOAD_WORK, op=0xABC, waits={Engine.LOAD_A: 7, Engine.STORE_WORK: 9}, fields=fields)
    bits = int.from_bytes(encode([word]), "little")
    expected = 3 | 0xABC << 4 | 7 << 16 | 9 << 16 + 8 * 24
    for value, at in ((0x12_3456_7890, 232), (0xA, 272), (0x54321, 276), (0xABCDE, 296), (0xF0F0F0, 320), (5, 344)):
        expected |= value << at
    assert bits == expected


def test_end_is_its_opcode_alone():
    assert encode([END]) == bytes([15]) + bytes(63)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (filled(Opcode.LOAD_A, lines=1 << 16), "Field 'lines' of command 'LOAD_A' must fit 16 bits, not 65536"),
        (filled(Opcode.ARRAY, k=-1), "Field 'k' of command 'ARRAY' must fit 16 bits, not -1"),
        (Word(opcode=Opcode.END, op=4096), "Field 'op' of command 'END' must fit 12 bits, not 4096"),
        (Word(opcode=Opcode.END, waits={Engine.ARRAY: 1 << 24}), "Field 'wait_array' of command 'END' must fit 24 bits"),
        (filled(Opcode.UPDATE, colour=1), "must have the fields slot, weight, velocity.*not others: colour"),
        (Word(opcode=Opcode.VECTOR, fields={"slot": 0}), "not others: elements, operation, out, scalar, x, y"),
    ],
)
def test_what_does_not_fit_is_refused(word, message):
    with pytest.raises(ValueError, match=message):
        encode([word])


def test_pieces_wrong_opcodes_and_reserved_bits_are_refused():
    with pytest.raises(ValueError, match="whole commands of 64 bytes, not 65"):
        decode(encode([END]) + b"\0")
    with pytest.raises(
        ValueError, match=re.escape("Command 1 must have one of the opcodes 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, not 10")
    ):
        decode(encode([END]) + bytes([10]) + bytes(63))
    used = sum(HEADER.values()) + sum(FIELDS[Opcode.UPDATE].values())
    bits = int.from_bytes(encode([filled(Opcode.UPDATE)]), "little")
    decode((bits | 1 << used - 1).to_bytes(COMMAND_BYTES, "little"))
    for reserved in (used, COMMAND_BITS - 1):
        with pytest.raises(ValueError, match=re.escape("Command 0 (UPDATE) must have no reserved bit set")):
            decode((bits | 1 << reserved).to_bytes(COMMAND_BYTES, "little"))


def test_a_program_ends_once():
    update = filled(Opcode.UPDATE)
    assert [type(each) for each in program_of(encode([update, update, END]))] == [Update, Update]
    for listed in ([], [update], [END, END], [END, update]):
        with pytest.raises(ValueError, match="must have one END, its last command"):
            program_of(encode(listed))


def test_tags_reach_the_last_operation():
    assert program_of(encode([filled(Opcode.UPDATE), END])).tags == 4
    assert program_of(encode([END])).tags == 0


def test_commands_of_words():
    common = {"op": 3, "waits": (Wait(Engine.ARRAY, 2),)}
    for opcode in (Opcode.LOAD_A, Opcode.LOAD_B, Opcode.LOAD_WORK):
        got = command(filled(opcode, rows=5, row_bytes=6, slot=2))
        assert isinstance(got, Load)
        assert (got.engine, got.slot, got.runs, got.run_bytes, got.op, got.waits) == (
            opcode.engine,
            2,
            5,
            6,
            3,
            common["waits"],
        )
    for opcode in (Opcode.STORE_C, Opcode.STORE_WORK):
        got = command(filled(opcode, rows=5, row_bytes=6, slot=2))
        assert isinstance(got, Store)
        assert (got.engine, got.slot, got.runs, got.run_bytes, got.op, got.waits) == (
            opcode.engine,
            2,
            5,
            6,
            3,
            common["waits"],
        )
    sizes = {"m": 5, "n": 6, "k": 8, "a_slot": 2, "b_slot": 3, "c_slot": 4}
    got = command(filled(Opcode.ARRAY, **sizes, dataflow=2, group=4, keep=3, sparse_b=0))
    tile = Tile(range(1), range(5), range(6), range(8))
    slots = {"a_slot": 2, "b_slot": 3, "c_slot": 4}
    plain = {"tile": tile, "accumulate": True, **slots, **common}
    assert got == Multiply(dataflow=Dataflow.IS, pattern=NM(3, 4), sparse="a", **plain)
    got = command(filled(Opcode.ARRAY, **sizes, dataflow=1, group=0))
    assert got == Multiply(dataflow=Dataflow.WS, pattern=DENSE, sparse="b", **plain)
    planes = {"source": 5, "values": 6, "indices": 7}
    got = command(filled(Opcode.PRUNE, slot=2, row_elements=16, elements=64, keep=2, group=8, **planes))
    plain = {"buffer": "work", "slot": 2, "elements": 64, "pattern": NM(2, 8), "row_elements": 16, **planes, **common}
    assert got == Prune(across=True, **plain)
    assert command(filled(Opcode.PRUNE, slot=2, row_elements=16, elements=64, keep=2, group=8, across=0, **planes)) == Prune(
        **plain
    )
    planes = {"weight": 3, "velocity": 4, "gradient": 5, "copy": 6, "mask": 7, "second": 2}
    for adam, masked in ((0, 1), (1, 0)):
        got = command(filled(Opcode.UPDATE, slot=2, elements=65, masked=masked, adam=adam, **planes))
        assert got == Update(slot=2, elements=65, masked=bool(masked), adam=bool(adam), **planes, **common)
    got = command(filled(Opcode.VECTOR, slot=2, elements=65, operation=2, x=5, y=6, out=7))
    assert got == Vector(slot=2, work=65, operation="relu_gradient", x=5, y=6, out=7, **common)
    with pytest.raises(ValueError, match="END"):
        command(END)
