"""Whether tokens order every access to a slot, a plane or a byte of memory behind those that it depends on.

What is known to be finished when a command starts: what was known when the one before it on its engine started, what it waits
for, and whatever was known when those started (an engine finishes in order). A reader must know that every writer is finished;
a writer, that every reader and writer of other engines is: its own engine reads and writes in order.
"""

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from simulator.schedule import Engine

__all__ = ["HazardError", "Hazards"]

_READERS = (Engine.LOAD_A, Engine.LOAD_B, Engine.LOAD_WORK)
_WRITERS = (Engine.STORE_C, Engine.STORE_WORK)


class HazardError(RuntimeError):
    """A command may start before one that it depends on is finished."""


class Hazards:
    """Accesses of a program's commands so far. Call `start` for each, then say what it reads, then what it writes."""

    def __init__(self, memory_bytes: int) -> None:
        self._known: dict[Engine, list[dict[Engine, int]]] = {engine: [dict.fromkeys(Engine, 0)] for engine in Engine}
        self._written: dict[Hashable, dict[Engine, int]] = {}  # by resource and engine: its last command that wrote it
        self._read: dict[Hashable, dict[Engine, int]] = {}
        # By byte, the same. Earlier accesses need not be forgotten: those that came between know them finished.
        self._memory: dict[Engine, NDArray[np.int32]] = {e: np.zeros(memory_bytes, np.int32) for e in (*_READERS, *_WRITERS)}
        self._engine, self._finished = Engine.LOAD_A, dict.fromkeys(Engine, 0)

    def start(self, engine: Engine, waits: dict[Engine, int]) -> None:
        known = dict(self._known[engine][-1])
        for awaited, count in waits.items():
            if count >= len(self._known[awaited]):
                raise HazardError(f"Wait for command {count} of {awaited.value!r} must name one before it, not a later one")
            for other, finished in self._known[awaited][count].items():
                known[other] = max(known[other], finished)
            known[awaited] = max(known[awaited], count)
        self._known[engine].append(known)
        self._engine, self._finished = engine, known

    @property
    def _count(self) -> int:
        return len(self._known[self._engine]) - 1

    def read(self, resource: Hashable) -> None:
        self._check(resource, self._written.get(resource, {}), own=True)
        self._read.setdefault(resource, {})[self._engine] = self._count

    def write(self, resource: Hashable) -> None:
        for earlier in (self._read, self._written):
            self._check(resource, earlier.get(resource, {}), own=False)
        self._written.setdefault(resource, {})[self._engine] = self._count

    def read_memory(self, start: int, stop: int) -> None:
        self._memory_access(start, stop, _WRITERS)

    def write_memory(self, start: int, stop: int) -> None:
        self._memory_access(start, stop, (*_READERS, *_WRITERS))

    def _memory_access(self, start: int, stop: int, engines: tuple[Engine, ...]) -> None:
        last = {engine: int(self._memory[engine][start:stop].max(initial=0)) for engine in engines}
        self._check(f"bytes {start:#x} to {stop:#x}", last, own=False)
        self._memory[self._engine][start:stop] = self._count

    def _check(self, resource: Hashable, last: dict[Engine, int], *, own: bool) -> None:
        for engine, count in last.items():
            if count > self._finished[engine] and (own or engine is not self._engine):
                raise HazardError(
                    f"Command {self._count} of {self._engine.value!r} must know command {count} of {engine.value!r} finished, "
                    f"which used {resource}, not only {self._finished[engine]} of its commands"
                )
