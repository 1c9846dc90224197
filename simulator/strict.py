"""How plain values are taken from a file: of exactly the type that a field has, with no conversion."""

from typing import Any

__all__ = ["exactly"]


def exactly(expected: type, words: str) -> Any:
    """A structure hook for cattrs that raises ValueError, naming the type in `words`, for a value of any other."""

    def hook(value: Any, _: Any) -> Any:
        if type(value) is not expected:
            raise ValueError(f"must be {words}, not {value!r}")
        return value

    return hook
