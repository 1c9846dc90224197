"""What parts' sizes are made of: by resource, named amounts (drivers) that each take a fitted number of cells."""

from collections.abc import Mapping
from typing import TypeAlias

from simulator.cost.memory_cells import Cells

__all__ = ["EXACT", "Sizes", "bits_below", "memory_sizes"]

Sizes: TypeAlias = Mapping[str, Mapping[str, float]]
"""Amounts by resource (lut, ff, dsp, bram) and driver."""

EXACT = frozenset({"tables", "blocks", "multipliers", "drained_choices"})
"""Drivers that are cells: they are counted, not fitted. `drained_choices` have registers or PEs at either end: a table each in
any technology, of which the arrays that are synthesised, being small, have too few to tell."""


def bits_below(count: int) -> int:
    """Bits of the numbers below `count`."""
    return (count - 1).bit_length()


def memory_sizes(cells: Cells, count: int, writes: int, address: int, *, turns: bool) -> dict[str, dict[str, float]]:
    """Of `count` memories with a read register, addressed by `address` bits; their write ports have `writes` different bits.

    Unless their users take turns (`rtl.block_ram`), what is read in the cycle in which it is written is the old word: beside a
    block memory that takes a choice and a register for every bit, and a register for each bit of the write ports.
    """
    kept = float(cells.blocks > 0 and not turns)
    return {
        "lut": {
            "tables": count * cells.tables,
            "rows": count * cells.bits * (cells.rows - 1),
            "old": kept * count * cells.bits,
            "compared": kept * count * address,
        },
        "ff": {
            "read": count * cells.bits * float(cells.tables > 0),
            "shown": kept * count * (cells.bits + 1),
            "late": kept * writes,
        },
        "bram": {"blocks": count * cells.blocks},
    }
