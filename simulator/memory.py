"""The memory port: one command at a time, in order of request; of those that ask in one cycle, the lower rank first."""

from heapq import heappop, heappush

import simpy

__all__ = ["MemoryPort"]

_END_OF_CYCLE = 2  # SimPy runs lower priorities first within a cycle; its own timeouts have 1


class MemoryPort:
    """Grants the port to DMA channels; a grant lasts for the cycles asked for."""

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._waiting: list[tuple[int, int, int, simpy.Event]] = []
        self._free_at = 0
        self._deciding = False
        self.busy_cycles = 0

    def request(self, rank: int, cycles: int) -> simpy.Event:
        """An event that happens when the port is granted. Ranks are unique and each has one request at a time."""
        granted = self._env.event()
        heappush(self._waiting, (int(self._env.now), rank, cycles, granted))
        self._decide_at(max(self._free_at, int(self._env.now)))
        return granted

    def _decide_at(self, time: int) -> None:
        if self._deciding:
            return
        self._deciding = True
        decision = simpy.Event(self._env)
        decision._ok, decision._value = True, None  # pyright: ignore[reportPrivateUsage]
        assert decision.callbacks is not None
        decision.callbacks.append(self._decide)
        self._env.schedule(decision, priority=_END_OF_CYCLE, delay=time - self._env.now)  # pyright: ignore[reportArgumentType]

    def _decide(self, _: simpy.Event) -> None:
        self._deciding = False
        _requested, _rank, cycles, granted = heappop(self._waiting)
        self._free_at = int(self._env.now) + cycles
        self.busy_cycles += cycles
        granted.succeed()
        if self._waiting:
            self._decide_at(self._free_at)
