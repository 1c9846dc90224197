"""Tables that machines share, by what they depend on: the latest so many."""

from collections.abc import Callable, Hashable
from typing import TypeVar

__all__ = ["Tables"]

_T = TypeVar("_T")


class Tables(dict[Hashable, _T]):
    """At most `kept` of a kind; the oldest goes first."""

    def __init__(self, kept: int) -> None:
        super().__init__()
        self._kept = kept

    def made(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """The table of a key, made where it isn't there."""
        if key not in self:
            if len(self) >= self._kept:
                del self[next(iter(self))]
            self[key] = make()
        return self[key]
