"""Tiled GEMMs as a table: what they are, on which machine, and their tiles' sizes."""

from dataclasses import dataclass, replace

from dataflows.analytic.machines import Ints, Machines

__all__ = ["DIMS", "Rows"]

DIMS = ("batch", "m", "n", "k")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """GEMMs, each on a machine of `groups`."""

    groups: Machines
    group: Ints
    gemm: Ints
    dataflow: Ints  # position in DATAFLOWS
    swapped: Ints  # 1: order "nm"
    sizes: dict[str, Ints]  # of a tile, by dimension,
    last: dict[str, Ints]  # and of the last one

    def __len__(self) -> int:
        return len(self.gemm)

    def take(self, which: Ints) -> "Rows":
        """Some of them."""
        sizes, last = ({dim: column[which] for dim, column in some.items()} for some in (self.sizes, self.last))
        group, gemm, dataflow, swapped = self.group[which], self.gemm[which], self.dataflow[which], self.swapped[which]
        return replace(self, group=group, gemm=gemm, dataflow=dataflow, swapped=swapped, sizes=sizes, last=last)

    def size(self, dim: str, last: bool) -> Ints:
        """Of tiles along a dimension: the last one, or the others."""
        return (self.last if last else self.sizes)[dim]
