"""Where tensors lie in a memory image: regions of rows, cut into panels where tiles need it, and their values."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.arch import ceil_div
from simulator.arithmetic import Packed, Values, compress, decompress
from simulator.formats import FORMATS
from simulator.image import Bytes, Element, bytes_of, entry_bytes, pack_entries, unpack_entries, values_of
from workloads.sparsity import NM

__all__ = ["Region", "Span", "read", "write"]


class Span(NamedTuple):
    """Rows of a region as a transfer names them."""

    address: int
    rows: int
    row_bytes: int
    pitch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A matrix of `rows` x `row_elements` in memory: its first `panel` columns, row after row, then the next `panel`.

    A panel's row begins at a burst. Most tensors are one panel; several serve tiles that end within a burst. With a `pattern`
    only the kept elements are there: groups lie along the row (`across` false: a row is a line of the operand) or down the
    rows (`across`: the rows of a group are one row of memory, with the group's entries of each column in turn).
    """

    address: int
    rows: int
    row_elements: int
    element: Element
    burst_bytes: int
    panel: int
    pattern: NM | None = None
    across: bool = False

    @property
    def memory_rows(self) -> int:
        return self.rows // self.pattern.group if self.pattern and self.across else self.rows

    @property
    def size_bytes(self) -> int:
        return sum(self.memory_rows * self._pitch(start) for start in range(0, self.row_elements, self.panel))

    @property
    def pitch(self) -> int:
        """Bytes from a row to the next in the first panel."""
        return self._pitch(0)

    def row_bytes(self, columns: int) -> int:
        """Bytes of `columns` elements of one row of memory."""
        if self.pattern is None:
            return self.element.row_bytes(columns)
        return entry_bytes(FORMATS[self.element.value], self.pattern, self.entries(columns))

    def span(self, rows: range, columns: range) -> Span:
        """The rows of memory that hold a part of the matrix. Raises ValueError where it is not in one panel, or begins within
        a burst, a group or an entry."""
        first, count = rows.start, len(rows)
        if self.pattern and self.across:
            if rows.start % self.pattern.group or rows.stop % self.pattern.group:
                raise ValueError(f"Rows of a part must be whole groups of {self.pattern}, not {rows}")
            first, count = first // self.pattern.group, count // self.pattern.group
        start = columns.start - columns.start % self.panel
        if columns.stop > start + self.panel:
            raise ValueError(f"Columns of a part must lie in one panel of {self.panel}, not {columns}")
        within = columns.start - start
        offset = self.row_bytes(within)
        if offset % self.burst_bytes or (self.pattern and within):
            raise ValueError(f"Part must begin at a burst of {self.burst_bytes} bytes, not at column {columns.start}")
        pitch = self._pitch(start)
        # A full panel before this one is as wide as the first.
        address = self.address + start // self.panel * self.memory_rows * self.pitch + first * pitch + offset
        return Span(address, count, self.row_bytes(len(columns)), pitch)

    def panels(self) -> list[range]:
        return [range(s, min(s + self.panel, self.row_elements)) for s in range(0, self.row_elements, self.panel)]

    def entries(self, columns: int) -> int:
        """Kept elements of `columns` columns in one row of memory."""
        assert self.pattern is not None
        return columns * self.pattern.keep if self.across else columns // self.pattern.group * self.pattern.keep

    def _pitch(self, start: int) -> int:
        size = self.row_bytes(min(self.panel, self.row_elements - start))
        return ceil_div(size, self.burst_bytes) * self.burst_bytes


def write(image: Bytes, region: Region, matrix: Values) -> None:
    """Put a matrix (rows, row_elements) into its region; of a kept one, dense here, what `compress` keeps.

    Raises ValueError for another shape or type.
    """
    if matrix.shape != (region.rows, region.row_elements):
        raise ValueError(f"Matrix must be of shape {(region.rows, region.row_elements)}, not {matrix.shape}")
    for columns in region.panels():
        part = matrix[:, columns.start : columns.stop]
        if region.pattern is None:
            raw = bytes_of(region.element, part)
        else:
            packed = compress(part, region.pattern, 0 if region.across else 1)
            if region.across:
                packed = Packed(*(_by_step(array, region.pattern.keep) for array in packed))
            raw = pack_entries(FORMATS[region.element.value], region.pattern, packed)
        rows = _rows(image, region, columns)
        rows[:, : raw.shape[1]] = raw
        rows[:, raw.shape[1] :] = 0


def read(image: Bytes, region: Region) -> Values:
    """The matrix (rows, row_elements) in a region; of a kept one, with zeros where elements were dropped."""
    parts: list[Values] = []
    for columns in region.panels():
        rows = _rows(image, region, columns)
        if region.pattern is None:
            parts.append(values_of(region.element, rows, len(columns)))
            continue
        pattern = region.pattern
        entries = region.entries(len(columns))
        packed = unpack_entries(FORMATS[region.element.value], pattern, rows, entries)
        if region.across:
            packed = Packed(*(_by_column(array, pattern.keep) for array in packed))
        parts.append(decompress(packed, pattern, 0 if region.across else 1))
    return np.concatenate(parts, axis=1)


def _rows(image: Bytes, region: Region, columns: range) -> Bytes:
    """A view of a panel's rows, whole bursts."""
    address, _, _, pitch = region.span(range(region.rows), columns)
    return image[address : address + region.memory_rows * pitch].reshape(region.memory_rows, pitch)


def _by_step(array: Values, keep: int) -> Values:
    """(steps * keep, columns) as (steps, columns * keep)."""
    return array.reshape(-1, keep, array.shape[1]).transpose(0, 2, 1).reshape(-1, array.shape[1] * keep)


def _by_column(array: Values, keep: int) -> Values:
    """The inverse of `_by_step`."""
    return array.reshape(len(array), -1, keep).transpose(0, 2, 1).reshape(len(array) * keep, -1)
