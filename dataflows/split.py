"""One placed program as two that run one after the other, where a host works between them on what is in memory."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace

from simulator.encoding import END, Word
from simulator.schedule import Engine

__all__ = ["split"]


def split(words: Iterable[Word], first: Collection[int]) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    """The commands of the operations in `first`, then the others: two programs, each with its END.

    A token counts its engine's commands from the program's beginning. The first program has come to its end before the
    second begins, so the second's tokens count less by what the engines did in the first, and are left out at 0.

    Raises ValueError for words that don't end with one END, and where a command of `first` comes after one of the others:
    reordering would change the program.
    """
    given = tuple(words)
    body = given[:-1]
    if given[-1:] != (END,) or END in body:
        raise ValueError(f"Program of {len(given)} commands must have one END, its last command, to be split")
    at = sum(word.op in first for word in body)
    for number, word in enumerate(body):
        if (word.op in first) != (number < at):
            late = next(i for i in range(number + 1, len(body)) if body[i].op in first)
            raise ValueError(
                f"Command {late} of operation {body[late].op} must precede the second part, not follow command {number} of "
                f"operation {word.op}"
            )
    done = Counter(word.opcode.engine for word in body[:at])
    return (*body[:at], END), (*(_after(word, done) for word in body[at:]), END)


def _after(word: Word, done: Counter[Engine]) -> Word:
    left = {engine: count - done[engine] for engine, count in word.waits.items()}
    return replace(word, waits={engine: count for engine, count in left.items() if count > 0})
