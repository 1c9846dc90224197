"""Which regions of memory a program's tensors need: a matrix each, whose panels suit every tile that is taken from it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from dataflows.regions import Region, Span
from simulator.image import Element
from simulator.schedule import Unsupported, UnsupportedError
from workloads.sparsity import NM

__all__ = ["Use", "kept_name", "regions_of", "span_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One operation's view of a region: the matrix that it takes it for, and the columns at which its transfers begin."""

    region: str
    rows: int
    row_elements: int
    element: Element
    starts: frozenset[int]
    pattern: NM | None = None
    across: bool = False  # of a kept region: groups lie down the rows
    flat: bool = False  # all elements in one row: also of another's matrix, if its rows have no padding

    @property
    def matrix(self) -> tuple[int, int, Element, NM | None, bool]:
        return self.rows, self.row_elements, self.element, self.pattern, self.across


def kept_name(tensor: str, pattern: NM, *, across: bool) -> str:
    """The region of a tensor's compressed copy; `across` where groups lie down the rows."""
    return f"{tensor} {pattern} {'across' if across else 'along'}"


def regions_of(uses: Iterable[Use], burst_bytes: int, base: int) -> dict[str, Region]:
    """A region for each name, one after the other from `base` on.

    Raises UnsupportedError where two operations take a tensor for different matrices, or no panel suits all their tiles.
    """
    by_name: dict[str, list[Use]] = defaultdict(list)
    for use in uses:
        by_name[use.region].append(use)
    regions: dict[str, Region] = {}
    for name, uses_of in by_name.items():
        same = [use for use in uses_of if not use.flat] or uses_of
        if len({use.matrix for use in same}) > 1:
            shapes = ", ".join(sorted({f"{use.rows}x{use.row_elements} {use.element.value}" for use in same}))
            raise UnsupportedError(Unsupported(f"matrices for tensor {name!r} ({shapes})", len({u.matrix for u in same}), 1))
        rows, row_elements, element, pattern, across = same[0].matrix
        regions[name] = region = Region(
            address=base,
            rows=rows,
            row_elements=row_elements,
            element=element,
            burst_bytes=burst_bytes,
            panel=_panel(name, same, burst_bytes),
            pattern=pattern,
            across=across,
        )
        for use in uses_of:
            if use.flat:
                _check_flat(name, region, use)
        base += region.size_bytes
    return regions


def span_of(name: str, region: Region, rows: range, columns: range) -> Span:
    """The region's span. Raises UnsupportedError where no one transfer has it."""
    try:
        return region.span(rows, columns)
    except ValueError as error:
        raise UnsupportedError(Unsupported(f"transfers for a part of tensor {name!r} ({error})", 2, 1)) from error


def _check_flat(name: str, region: Region, use: Use) -> None:
    elements = region.rows * region.row_elements
    if (use.row_elements, use.element) != (elements, region.element):
        shapes = f"{elements} of {region.element.value}, {use.row_elements} of {use.element.value}"
        raise UnsupportedError(Unsupported(f"sizes or formats of tensor {name!r} ({shapes})", 2, 1))
    padding = region.pitch - region.row_bytes(region.row_elements) if region.panel == region.row_elements else region.pitch
    if region.rows > 1 and padding:
        what = f"bytes between the rows of tensor {name!r}, which work between GEMMs takes as one row"
        raise UnsupportedError(Unsupported(what, padding, 0))


def _panel(name: str, uses: list[Use], burst_bytes: int) -> int:
    """Columns of a panel: all, where every transfer then begins at a burst; else those of the tiles."""
    starts = {start for use in uses for start in use.starts}
    width, kept = uses[0].row_elements, uses[0].pattern is not None
    if starts == {0} or (not kept and all(start * uses[0].element.bits % (8 * burst_bytes) == 0 for start in starts)):
        return width
    panels = {min(use.starts - {0}, default=width) for use in uses}
    panel = min(panels)
    if len(panels) > 1 or any(start % panel for start in starts):
        what = f"widths of tiles that share tensor {name!r} (not at bursts of {burst_bytes} bytes)"
        raise UnsupportedError(Unsupported(what, len(panels), 1))
    return panel
