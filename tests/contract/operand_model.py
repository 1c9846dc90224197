"""Random operand tiles as they lie in memory, and what every bank must then hold, written from docs/machine.md."""

from dataclasses import dataclass

import numpy as np

from simulator.arch import Accelerator
from simulator.layout import Banking, bus_bytes, bus_elements, operand_words, word_elements

__all__ = ["Tile", "line_stride", "random_tile"]


@dataclass
class Tile:
    """Fields of its load, its memory rows, and (bank, P) of every entry with its value and index."""

    fields: dict
    rows: list[bytes]
    held: dict[tuple[int, int], tuple[int, int]]
    reads: list[tuple[int, int, int]]  # bank, first entry, entries that matter

    def beats(self, bus: int) -> list[dict]:
        """As the DMA shows them; bytes beyond a row are whatever memory holds."""
        beats = []
        for number, row in enumerate(self.rows):
            for at in range(0, len(row), bus):
                part, end = row[at : at + bus], at + bus >= len(row)
                beats.append(
                    {
                        "valid": 1,
                        "data": int.from_bytes(part.ljust(bus, b"\xa5"), "little"),
                        "bytes": len(part),
                        "first": int(at == 0),
                        "last": int(end),
                        "end": int(end and number + 1 == len(self.rows)),
                    }
                )
        return beats


def line_stride(accelerator: Accelerator, how: Banking, entries: int, unit: int, across: bool) -> int:
    """Entries from a line to the next of its bank: at least its own, and so that the lines of a beat meet in no place."""
    banks = accelerator.array.cols if how is Banking.LINE_COLS else accelerator.array.rows
    if how is Banking.STEP_ROWS or not across or bus_elements(accelerator) <= banks:
        return entries
    units, modulus = -(-entries // unit), 2 if unit & (unit - 1) == 0 else word_elements(accelerator)
    return unit * (units + (1 - units) % modulus)


def random_tile(accelerator: Accelerator, rng, how: Banking, kept: bool, across: bool, largest: int = 13) -> Tile:
    """Any pattern, edges in lines and k, a stride at least as large as needed."""
    pe, array = accelerator.pe, accelerator.array
    bits, banks = pe.number.operand_bits, array.cols if how is Banking.LINE_COLS else array.rows
    group = int(rng.choice([g for g in (1, 2, 4, 8, 16) if g <= pe.group])) if kept or rng.integers(2) else 0
    keep = int(rng.integers(1, group + 1)) if group else 0
    depth = group or pe.lanes
    while True:
        lines, k = int(rng.integers(1, largest)), int(rng.integers(1, 8 * largest // 2))
        k = -(-k // group) * group if group else k
        steps, per_step = -(-k // depth), keep if kept else depth
        per_line = (-(-steps // array.rows) if how is Banking.STEP_ROWS else steps) * per_step
        stride = line_stride(accelerator, how, per_line, per_step if kept else 1, across)
        if not across:
            whole = not kept and bus_elements(accelerator) <= min(array.rows, array.cols)  # strides are whole steps
            stride += int(rng.integers(0, 3)) * (per_step if whole else 1)
        in_bank = lines if how is Banking.STEP_ROWS else -(-lines // banks)
        if in_bank * stride <= operand_words(accelerator, "a") * word_elements(accelerator):
            break
    index_bits = (group - 1).bit_length() if kept else 0
    entries = steps * keep if kept else k
    values = rng.integers(0, 1 << bits, (lines, entries))
    index = rng.integers(0, max(group, 1), (lines, entries)) if kept else np.zeros_like(values)

    def place(line, step, j):
        if how is Banking.STEP_ROWS:
            return step % array.rows, line * stride + step // array.rows * per_step + j
        return line % banks, line // banks * stride + step * per_step + j

    held = {}
    for line in range(lines):
        for x in range(entries):
            at = place(line, *divmod(x, per_step))
            assert at not in held
            held[at] = int(values[line, x]), int(index[line, x])

    if kept and across:
        order = [[(line, step * keep + j) for line in range(lines) for j in range(keep)] for step in range(steps)]
    elif across:
        order = [[(line, x) for line in range(lines)] for x in range(k)]
    else:
        order = [[(line, x) for x in range(entries)] for line in range(lines)]
    wide, rows = bits + index_bits, []
    for row in order:
        total = sum((int(values[at]) | int(index[at]) << bits) << i * wide for i, at in enumerate(row))
        rows.append(total.to_bytes(-(-len(row) * wide // 8), "little"))

    reads = []
    for line in range(lines):
        for step in range(steps):
            if kept:
                starts = [(j, min(pe.lanes, keep - j)) for j in range(0, keep, pe.lanes)]
            else:
                starts = [(0, min(depth, k - step * depth))]
            reads += [(*place(line, step, j), count) for j, count in starts]
            words = keep if kept else min(depth, k - step * depth)
            reads += [(*place(line, step, j), 1) for j in range(words) if how is Banking.LINE_COLS]
    fields = {
        "kept": int(kept),
        "across": int(across),
        "banking": int(how),
        "keep": keep if kept else int(rng.integers(0, 16)),  # says nothing of a dense operand
        "group": group,
        "stride": stride,
    }
    assert all(len(row) <= 1 << 20 for row in rows)
    assert bus_bytes(accelerator) * 8 >= wide
    return Tile(fields, rows, held, reads)
