"""Bounded channels and tokens: the only ways in which engines meet."""

from heapq import heappop, heappush
from typing import Generic, TypeVar

import simpy
from simpy.events import ProcessGenerator

__all__ = ["Channel", "Progress"]

T = TypeVar("T")


class Channel(Generic[T]):
    """A FIFO whose items become visible `latency` cycles after they are put.

    The latency is the receiver-side register, so it is never zero, and no engine counts it again.
    """

    def __init__(self, env: simpy.Environment, *, capacity: int, latency: int) -> None:
        if latency < 1:
            raise ValueError(f"Channel field 'latency' must be at least 1, not {latency!r}")
        self._env, self._latency = env, latency
        self._store = simpy.Store(env, capacity)

    def put(self, item: T) -> simpy.Event:
        """An event that happens when there is room and the item is in."""
        return self._store.put((self._env.now + self._latency, item))

    def get(self) -> ProcessGenerator:
        """Wait for the next visible item, and return it."""
        arrival, item = yield self._store.get()
        if (wait := arrival - self._env.now) > 0:
            yield self._env.timeout(wait)
        return item


class Progress:
    """The token counter of one engine: how many of its commands are finished, as the others see it."""

    def __init__(self, env: simpy.Environment, *, latency: int) -> None:
        self._env, self._latency = env, latency
        self.visible = 0
        self._waiting: list[tuple[int, int, simpy.Event]] = []
        self._order = 0

    def finish(self, delay: int) -> None:
        """Count one more command `delay` cycles from now, visible a token latency after that."""
        done = self._env.timeout(delay + self._latency)
        assert done.callbacks is not None
        done.callbacks.append(self._advance)

    def reached(self, count: int) -> simpy.Event:
        """An event that happens when `count` commands are visibly finished."""
        event = self._env.event()
        self._order += 1
        heappush(self._waiting, (count, self._order, event))
        return event

    def _advance(self, _: simpy.Event) -> None:
        self.visible += 1
        while self._waiting and self._waiting[0][0] <= self.visible:
            heappop(self._waiting)[2].succeed()
