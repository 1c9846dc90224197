"""Sparsity patterns of a GEMM operand: a small closed family, N:M first."""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["DENSE", "NM", "Dense", "Pattern", "Producer", "parse_pattern"]


@dataclass(frozen=True, slots=True)
class Dense:
    """Every element is kept."""

    @property
    def density(self) -> Fraction:
        return Fraction(1)

    def __str__(self) -> str:
        return "dense"


@dataclass(frozen=True, slots=True)
class NM:
    """Keep `keep` (N) of every `group` (M) consecutive elements along the GEMM's reduction, written ``2:8``."""

    keep: int
    group: int

    def __post_init__(self) -> None:
        for name, value in (("N", self.keep), ("M", self.group)):
            if type(value) is not int:
                raise ValueError(f"N:M pattern '{self.keep}:{self.group}': {name} must be an integer, not {value!r}")
        if not 1 <= self.keep <= self.group:
            raise ValueError(f"N:M pattern '{self}' must satisfy 1 <= N <= M")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``"2:8"``; raises ValueError naming the text when it is anything else."""
        keep, colon, group = text.partition(":")
        if not (colon and keep.isdecimal() and group.isdecimal()):
            raise ValueError(f"N:M pattern {text!r} must be written N:M, as in 2:8")
        return cls(int(keep), int(group))

    def __str__(self) -> str:
        return f"{self.keep}:{self.group}"

    @property
    def density(self) -> Fraction:
        return Fraction(self.keep, self.group)

    @property
    def index_bits(self) -> int:
        """Bits that locate one kept element inside its group."""
        return (self.group - 1).bit_length()

    def divides(self, reduction: int) -> bool:
        """Whether a reduction of this length splits into whole groups."""
        return reduction % self.group == 0

    def mask(self, values: NDArray[np.generic]) -> NDArray[np.bool_]:
        """Keep-map of the `keep` largest magnitudes in every group of the last axis; ties keep the lower index.

        A NaN counts as larger than every number, as in a magnitude comparison of its bits.
        Raises ValueError when the last axis does not split into whole groups.
        """
        *lead, depth = values.shape
        if not self.divides(depth):
            raise ValueError(f"Axis of {depth} elements must be a multiple of the group {self.group} of {self}")
        wide = values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
        magnitude = np.abs(wide).reshape(*lead, -1, self.group)
        if magnitude.dtype.kind == "f":
            magnitude = np.nan_to_num(magnitude, nan=np.inf, posinf=np.finfo(np.float64).max)
        order = np.argsort(-magnitude, axis=-1, kind="stable")
        mask = np.zeros(magnitude.shape, np.bool_)
        np.put_along_axis(mask, order[..., : self.keep], True, axis=-1)
        return mask.reshape(values.shape)


Pattern: TypeAlias = Dense | NM
"""The closed family. `match` over it ends in `assert_never`, so that a new member is found everywhere by the type checker."""

DENSE = Dense()


class Producer(StrEnum):
    """Who makes an operand's mask, and when."""

    STATIC = "static"  # before training: nothing to do in a step
    UPDATE = "update"  # from the master weights, once per optimizer step (or at each use, if the machine can't pre-generate)
    ONLINE = "online"  # from a tensor that the step itself produces: an activation or a gradient


def parse_pattern(text: str) -> Pattern:
    """Read ``"dense"`` or ``"N:M"``."""
    return DENSE if text == "dense" else NM.parse(text)
