"""What happened when: one event per command, named alike in the simulator and the RTL."""

from typing import NamedTuple

from simulator.schedule import Engine

__all__ = ["Event"]


class Event(NamedTuple):
    """An engine worked on a command of an operation in cycles ``start <= t < end``."""

    engine: Engine
    op: int
    start: int
    end: int
