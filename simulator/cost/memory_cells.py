"""Which cells a memory becomes: the mapping rules of Yosys for each technology, as measured on memories of many shapes.

Entries of a word may be written one by one. Block memories hold whole entries where that is so, in steps of the bits that the
block writes one by one; distributed memories are look-up tables with a column of choices behind them, deeper ones more. Yosys
takes what its cost tables say is cheaper.
"""

from dataclasses import dataclass
from functools import cache

from simulator.arch import ceil_div

__all__ = ["Cells", "memory_cells", "register_file"]


@dataclass(frozen=True, slots=True)
class Cells:
    """Block memories or look-up tables that serve as memory; bits of a word, and from how many rows of cells they come."""

    bits: int
    rows: int
    blocks: float = 0
    tables: int = 0


@dataclass(frozen=True, slots=True)
class _Rules:
    """`shapes`: width and words of a block in each of its shapes; it writes `step` bits one by one, in shapes at least so wide;
    it is `share` of the block that is counted. `tables`: width, words, look-up tables and price of the distributed memories.
    `prices`, in the tool's units: of a block, and of a bit to choose from behind tables; `turns`: the same where nobody reads a
    word that is being written (`rtl.block_ram`)."""

    shapes: tuple[tuple[int, int], ...]
    step: int
    share: float = 1
    tables: tuple[tuple[int, int, int, float], ...] = ()
    prices: tuple[float, float] = (0, 0)
    turns: tuple[float, float] = (0, 0)


_18_KBIT = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))
_RULES = {
    "ecp5": _Rules(_18_KBIT, step=9, tables=((4, 16, 4, 4.0),), prices=(128, 0.385), turns=(131, 0.6)),
    "xcup": _Rules(
        _18_KBIT, step=9, share=0.5, tables=((14, 32, 8, 8.0), (7, 64, 8, 8.0)), prices=(85, 0.385), turns=(85, 0.385)
    ),
    "ice40": _Rules(((16, 256), (8, 512), (4, 1024), (2, 2048)), step=1),
}


@cache
def memory_cells(technology: str, entry_bits: int, entries: int, words: int, *, turns: bool = False) -> Cells:
    """Of a memory with one read port in a register and one write port; `entries` of a word are written one by one. `turns`:
    nobody reads a word in the cycle in which it is written."""
    word, rules = entries * entry_bits, _RULES[technology]
    blocks, rows = min(_blocks(rules, entry_bits, entries, words, *shape) for shape in rules.shapes)
    chosen = Cells(bits=word, rows=rows, blocks=blocks * rules.share)
    block, choice = rules.turns if turns else rules.prices
    price = blocks * block
    for width, depth, tables, each in rules.tables:
        columns, rows = entries * ceil_div(entry_bits, width), ceil_div(words, depth)
        of_tables = rows * columns * each + (rows - 1) * word * choice
        if of_tables <= price:
            chosen, price = Cells(bits=word, rows=rows, tables=rows * columns * tables), of_tables
    return chosen


def _blocks(rules: _Rules, entry_bits: int, entries: int, words: int, width: int, depth: int) -> tuple[int, int]:
    """Blocks of one shape that it takes, and their rows."""
    step = min(width, rules.step) if entries > 1 else 1
    rows = ceil_div(words, depth)
    return ceil_div(entries * ceil_div(entry_bits, step) * step, width) * rows, rows


@cache
def register_file(technology: str, bits: int, words: int) -> Cells:
    """Of a memory that is read within the cycle: look-up tables at any size, or where a technology has none, flip-flops."""
    tables = _RULES[technology].tables
    if not tables:
        return Cells(bits=bits, rows=words)
    return min(
        (
            Cells(bits=bits, rows=ceil_div(words, depth), tables=ceil_div(words, depth) * ceil_div(bits, width) * each)
            for width, depth, each, _ in tables
        ),
        key=lambda cells: cells.tables,
    )
