"""Sizes that grow with the batch: ``slope*b + constant``, written in traces as ``"12544*b"`` or ``"64"``."""

import re
from dataclasses import dataclass
from typing import Self

__all__ = ["Affine"]

_TEXT = re.compile(r"(\d+)\*b(?:\+(\d+))?|(\d+)")


@dataclass(frozen=True, slots=True)
class Affine:
    """A size as a function of the batch."""

    constant: int
    slope: int = 0

    @classmethod
    def fit(cls, first: tuple[int, int], second: tuple[int, int]) -> Self:
        """Through two observations (batch, size). Raises ValueError where no non-negative integers fit."""
        (b0, v0), (b1, v1) = first, second
        slope, rest = divmod(v1 - v0, b1 - b0)
        constant = v0 - slope * b0
        if rest or slope < 0 or constant < 0:
            raise ValueError(f"Size must grow linearly with the batch, not {v0} at {b0} and {v1} at {b1}")
        return cls(constant, slope)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` writes. Raises ValueError otherwise."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"Size {text!r} must be written as in '64', '3*b' or '3*b+64'")
        return cls(int(match[3] or match[2] or 0), int(match[1] or 0))

    def at(self, batch: int) -> int:
        return self.slope * batch + self.constant

    def __str__(self) -> str:
        if not self.slope:
            return str(self.constant)
        return f"{self.slope}*b" + (f"+{self.constant}" if self.constant else "")
