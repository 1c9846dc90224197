"""Do something with many points at once; where that raises, with halves of them, down to the points that make it raise."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["in_halves"]

Ints = NDArray[np.int64]


def in_halves(at: Ints, do: Callable[[Ints], None], fail: Callable[[Ints, str], None]) -> None:
    """`do` some of these positions at a time, so that it raises for those alone that it can't do; `fail` of each such one is
    told why. Of n positions with b bad ones that takes at most some b log2(n) tries more than one."""
    waiting = [at] if len(at) else []
    while waiting:
        some = waiting.pop()
        try:
            do(some)
        except Exception as error:  # as in `dse.sweep.evaluate_settings`: counted, and named at the end
            if len(some) > 1:
                waiting += reversed(np.array_split(some, 2))
            else:
                fail(some, f"{type(error).__name__}: {error}")
