"""Is a program that is cut for a host the same work in the same order, with tokens that count what each part runs?"""

import pytest

from dataflows.split import split
from simulator.encoding import END, FIELDS, Opcode, Word
from simulator.schedule import Engine


def word(opcode, op, **waits):
    return Word(
        opcode=opcode,
        op=op,
        waits={Engine(name): count for name, count in waits.items()},
        fields=dict.fromkeys(FIELDS[opcode], 0),
    )


WORDS = (
    word(Opcode.LOAD_A, 0),
    word(Opcode.LOAD_A, 2),
    word(Opcode.ARRAY, 0, load_a=1),
    word(Opcode.STORE_C, 2, array=1),
    word(Opcode.LOAD_A, 1, array=1, store_c=1),
    word(Opcode.ARRAY, 1, load_a=3, array=1),
    word(Opcode.STORE_C, 3, array=2, load_a=2),
    END,
)


def test_tokens_count_from_the_second_parts_beginning():
    """What waits for the first part's commands alone waits no more."""
    first, second = split(WORDS, {0, 2})
    assert first == (*WORDS[:4], END)
    assert second == (word(Opcode.LOAD_A, 1), word(Opcode.ARRAY, 1, load_a=1), word(Opcode.STORE_C, 3, array=1), END)


def test_all_or_nothing():
    assert split(WORDS, {0, 1, 2, 3}) == (WORDS, (END,))
    assert split(WORDS, ()) == ((END,), WORDS)


def test_a_command_that_comes_too_late():
    with pytest.raises(
        ValueError, match="Command 2 of operation 0 must precede the second part, not follow command 1 of operation 2"
    ):
        split(WORDS, {0})


@pytest.mark.parametrize("words", [(), WORDS[:-1], (END, *WORDS), (*WORDS, WORDS[0])])
def test_no_program(words):
    with pytest.raises(ValueError, match="must have one END"):
        split(words, {0})
