"""The order in which `simulator.analytic` takes a GEMM's commands, and where it leaves out iterations of its loops."""

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np

from simulator.analytic import Skip, Step
from simulator.schedule import Command, Engine, Multiply

__all__ = ["Loop", "arrange"]

_RANK = {engine: rank for rank, engine in enumerate(Engine)}


class Loop(NamedTuple):
    """One of the nested loops of a list of Multiplies, outermost first: its iterations here; and after which of them,
    counted from 0, some are left out (-1: none), measured over how many."""

    iterations: int
    after: int = -1
    window: int = 1
    far: bool = False  # what is left out is longer than queues are deep: no command is dispatched across it


def arrange(
    commands: Sequence[Command],
    cost_of: Callable[[Command], Hashable],
    *,
    queue_depth: int,
    loops: tuple[Loop, ...],
    slots: int,
) -> tuple[Step, ...]:
    """A GEMM's program as steps, in an order in which no port request is made long after a later one is known.

    A transfer comes right behind the command that lets it start: the last in this order of those whose tokens it waits for, of
    its engine's command before, and of those that must leave the queues before the sequencer gets to it.
    `slots`: the most of a buffer.
    """
    by_engine: dict[Engine, list[int]] = {engine: [] for engine in Engine}
    for position, command in enumerate(commands):
        by_engine[command.engine].append(position)
    seen = dict.fromkeys(Engine, 0)
    keys: list[tuple[int, float]] = []
    found: list[tuple[tuple[float, ...], Step]] = []
    multiplies = 0
    for position, command in enumerate(commands):
        engine = command.engine
        waits = tuple(by_engine[token.engine][token.commands - 1] for token in command.waits)
        held = tuple(by_engine[e][at] for e in Engine if (at := seen[e] - queue_depth - 2) >= 0)
        before = by_engine[engine][seen[engine] - 1 : seen[engine]] if seen[engine] else []
        seen[engine] += 1
        if isinstance(command, Multiply):
            key = max([(multiplies, 0.0), *(_behind(keys[at], store=False) for at in (*waits, *held, *before))])
            skips = _skips(multiplies, loops)
            multiplies += 1
        else:
            store, skips = engine is Engine.STORE_C, ()
            kind = 0.5 if store else 1.0
            key = max([(-1, kind), *(_behind(keys[at], store=store) for at in (*waits, *held, *before))])
            key = max(key, _not_across(key, multiplies, loops, slots), (key[0], kind))
        keys.append(key)
        rank = (-1, position) if isinstance(command, Multiply) or key[0] < 0 else (_RANK[engine], position)
        tile = multiplies if engine in (Engine.LOAD_A, Engine.LOAD_B, Engine.PRUNE) else multiplies - 1
        index = np.unravel_index(tile, [loop.iterations for loop in loops])
        stands = tuple(level for level, loop in enumerate(loops) if loop.after == index[level])
        found.append(((*key, *rank), Step(engine, cost_of(command), position, waits, held, skips, stands)))
    return tuple(step for _, step in sorted(found, key=lambda each: each[0]))


def _behind(key: tuple[int, float], *, store: bool) -> tuple[int, float]:
    """Right behind a command: stores first, as the Multiply that they wait for frees operands only for later tiles."""
    return key[0], key[1] + (0.25 if store and key[1] == 0 else 1)


def _inside(loops: tuple[Loop, ...], level: int) -> int:
    """Multiplies in an iteration of a loop."""
    return int(np.prod([loop.iterations for loop in loops[level + 1 :]], dtype=np.int64))


def _skips(multiply: int, loops: tuple[Loop, ...]) -> tuple[Skip, ...]:
    """What is behind a Multiply, inner loops first."""
    index = np.unravel_index(multiply, [loop.iterations for loop in loops])
    skips: list[Skip] = []
    for level in reversed(range(len(loops))):
        loop, at = loops[level], int(index[level])
        if loop.after >= 0 and loop.after - loop.window <= at <= loop.after:
            mark = tuple(int(i) for i in index[: level + 1])
            skips.append(Skip(level, mark, loop.window if at == loop.after else 0))
        if at != loop.iterations - 1:
            break
    return tuple(skips)


def _not_across(key: tuple[int, float], multiplies: int, loops: tuple[Loop, ...], slots: int) -> tuple[int, float]:
    """The key of a command that stands behind `multiplies` Multiplies in the program, and would come before a skip that is
    longer than the queues: right behind the skip. Operands of the next few tiles come before; they stand for those left out."""
    for level, loop in enumerate(loops):
        if not loop.far:
            continue
        per = _inside(loops, level)
        span = per * loop.iterations
        last = multiplies // span * span + (loop.after + 1) * per - 1
        for at in (last, last - span):
            if 0 <= at < multiplies and key[0] < at and multiplies - 1 - key[0] > slots * per:
                return at, key[1]
    return key
