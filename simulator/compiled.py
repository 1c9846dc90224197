"""Loops over arrays as machine code: written in plain Python, compiled when they are first called, kept on disk."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["compiled"]

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function, compiled for the types that it is called with. What it calls must be compiled too.

    Takes the time of numba's import; modules that use it are imported only where many machines are evaluated at once.
    """
    from numba import njit  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

    return njit(cache=True, nogil=True, error_model="numpy")(function)  # pyright: ignore[reportUnknownVariableType]
