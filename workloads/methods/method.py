"""What a method is: a name, a ratio and options, written ``bdwp:2:8,keep_dense=none``, and a rewrite of a workload."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from workloads.gemm import require_positive
from workloads.graph import Workload
from workloads.sparsity import DENSE, NM, Pattern

__all__ = ["GRAMMAR", "KeepDense", "Method", "MethodInfo"]

GRAMMAR = "name[:N:M][,option=value...]"
_EVERY = 40  # optimizer steps between mask searches: arXiv:2404.01847 and the code of arXiv:2102.08124


class KeepDense(StrEnum):
    """Which layers a method leaves alone, as the papers do for accuracy: the first, the last, both or none."""

    FIRST_LAST = "first+last"
    FIRST = "first"
    LAST = "last"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method with its ratio and options; `str` gives the canonical text, which `parse_method` reads back.

    `every` is the number of optimizer steps between mask searches, for the methods that search.
    Raises ValueError for an N:M whose group is 1 and for an `every` below 1.
    """

    name: str
    pattern: Pattern = DENSE
    keep_dense: KeepDense = KeepDense.FIRST_LAST
    every: int = _EVERY

    def __post_init__(self) -> None:
        require_positive(f"Method {self.name!r}", every=self.every)
        if isinstance(self.pattern, NM) and self.pattern.group < 2:
            raise ValueError(f"Method {self.name!r}: N:M must have a group M of at least 2, not {str(self.pattern)!r}")

    def __str__(self) -> str:
        text = f"{self.name}:{self.pattern}" if isinstance(self.pattern, NM) else self.name
        if self.keep_dense is not KeepDense.FIRST_LAST:
            text += f",keep_dense={self.keep_dense}"
        return text + (f",every={self.every}" if self.every != _EVERY else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodInfo:
    """A registered method: one line on what it does, its source, the options it takes, and its rewrite.

    `rewrite` gets a dense workload and returns it with patterns, prune operations and notices; `apply_method` adds the
    method's name.
    """

    name: str
    description: str
    source: str  # arXiv id; "" for dense
    options: tuple[str, ...]  # of keep_dense, every
    rewrite: Callable[[Workload, Method], Workload]
    takes_pattern: bool = True

    @property
    def usage(self) -> str:
        """The text a person writes, as in ``fst:N:M[,keep_dense=...][,every=...]``."""
        ratio = ":N:M" if self.takes_pattern else ""
        return self.name + ratio + "".join(f"[,{option}=...]" for option in self.options)
