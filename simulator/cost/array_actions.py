"""What one Multiply makes the array and its buffers' ports do, in closed form: folds and beats as in `simulator.timing`.

| what             | OS                                             | WS, IS                                           |
|------------------|------------------------------------------------|--------------------------------------------------|
| beats            | steps * beats * interleaved, of every fold     | positions * beats, of every fold                 |
| rows ask         | beats * rows                                   | beats * rows                                     |
| columns ask      | beats * cols                                   | folds * rows * registers * cols: the next words  |
| sums asked for   | accumulating: folds * rows * interleave * cols | positions * cols of folds that take earlier sums |
| sums written     | m * n                                          | m * n * parts of the reduction                   |

A request of a row or column reads one word of its bank, rows and columns beyond the matrices' edges ask too; only sums that
there are, are written.

Sizes, and whether earlier sums are taken up, may be numpy integer arrays of one shape; the results then are arrays too.
"""

from typing import Any, Literal, TypeAlias

import numpy as np

from simulator.arch import Accelerator, Dataflow, Pe, ceil_div
from simulator.layout import word_elements
from simulator.timing import multiply_time, stationary_registers
from workloads.sparsity import NM, Pattern

__all__ = ["MultiplyShape", "entry_bits", "multiply_actions", "operand_bus_bits", "port_requests"]

MultiplyShape: TypeAlias = tuple[Dataflow, Any, Any, Any, Pattern, Literal["a", "b"], Any]
"""Dataflow, m, n, k, pattern, which operand carries it, whether earlier sums are taken up."""


def _width(pe: Pe) -> int:
    """Elements on an operand's bus (`rtl.pe.width`)."""
    return max(pe.group, pe.lanes)


def _index_bits(pe: Pe) -> int:
    return max(1, (_width(pe) - 1).bit_length())


def entry_bits(pe: Pe) -> int:
    """Of an entry of an operand buffer, and of a stationary register: a value and an index (`rtl.operand_unpack`)."""
    return pe.number.operand_bits + _index_bits(pe)


def operand_bus_bits(pe: Pe) -> int:
    """Of an operand on its way from PE to PE: values of a group, an index for each lane."""
    return _width(pe) * pe.number.operand_bits + pe.lanes * _index_bits(pe)


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    """Numpy's integers as Python's; arrays as they are."""
    return {name: value if isinstance(value, np.ndarray) else int(value) for name, value in found.items()}


def port_requests(accelerator: Accelerator, shape: MultiplyShape) -> dict[str, Any]:
    """Requests at the array's ports: `beats` of the corner, `row`, `column`, `sums`, `results`, and `folds`."""
    dataflow, m, n, k, pattern, sparse, accumulate = shape
    pe, array = accelerator.pe, accelerator.array
    rows, cols = array.rows, array.cols
    beats = multiply_time(accelerator, *shape).compute
    if dataflow is Dataflow.OS:
        row_tiles, col_tiles = ceil_div(m, rows), ceil_div(n, cols)
        folds = np.minimum(row_tiles, col_tiles) * ceil_div(np.maximum(row_tiles, col_tiles), pe.interleave)
        found = {
            "beats": beats,
            "folds": folds,
            "row": beats * rows,
            "column": beats * cols,
            "sums": folds * rows * pe.interleave * cols * accumulate,
            "results": m * n,
        }
        return _plain(found)
    time, columns = (m, n) if dataflow is Dataflow.WS else (n, m)
    parts, column_folds = ceil_div(k, rows * pe.depth(pattern)), ceil_div(columns, cols)
    words = rows * stationary_registers(accelerator, dataflow, pattern, sparse)
    found = {
        "beats": beats,
        "folds": parts * column_folds,
        "row": beats * rows,
        "column": parts * column_folds * words * cols,
        "sums": time * column_folds * (parts - 1 + accumulate) * cols,
        "results": m * n * parts,
    }
    return _plain(found)


def _used_bits(accelerator: Accelerator, shape: MultiplyShape, asked: dict[str, Any]) -> Any:
    """Bits of the requests' answers that have a say in a sum, edges included: a beat's kept entries and the group that they
    select from, lanes of a dense one, a stationary word."""
    dataflow, _, _, _, pattern, sparse, _ = shape
    pe = accelerator.pe
    dense = pe.depth(pattern) * pe.number.operand_bits
    kept = pe.lanes * entry_bits(pe) if isinstance(pattern, NM) else dense
    row_side = "b" if dataflow is Dataflow.IS else "a"
    rows = asked["row"] * (kept if sparse == row_side else dense)
    if dataflow is not Dataflow.OS:
        return rows + asked["column"] * entry_bits(pe)
    return rows + asked["column"] * (dense if sparse == row_side else kept)


def multiply_actions(accelerator: Accelerator, shape: MultiplyShape) -> dict[str, Any]:
    """Fields of `simulator.cost.actions.Actions` for one entry of a batch."""
    dataflow, m, n, k, pattern, _, _ = shape
    pe, rows, cols = accelerator.pe, accelerator.array.rows, accelerator.array.cols
    asked = port_requests(accelerator, shape)
    beats, folds, bits = asked["beats"], asked["folds"], pe.number.accumulator_bits
    macs, rest = divmod(m * n * k * pattern.density.numerator, pattern.density.denominator)
    assert not np.any(rest)
    products = beats * rows * cols * pe.lanes  # and as many additions: lanes - 1 in the tree, one to the accumulator
    word = word_elements(accelerator) * entry_bits(pe)
    row_side, column_side = ("b", "a") if dataflow is Dataflow.IS else ("a", "b")
    found = {
        "multiplications": macs,
        "accumulations": macs,
        "padded_multiplications": products - macs,
        "padded_accumulations": products - macs,
        f"{row_side}_read_bits": asked["row"] * word,
        f"{column_side}_read_bits": asked["column"] * word,
        "operand_used_bits": _used_bits(accelerator, shape, asked),
        "c_read_bits": asked["sums"] * bits,
        "c_write_bits": asked["results"] * bits,
    }
    along_rows = beats * rows * (cols - 1) * operand_bus_bits(pe)
    if dataflow is Dataflow.OS:
        held = folds * rows * cols * pe.interleave  # accumulators, each fold: all are copied, and leave or not
        down = folds * cols * pe.interleave * rows * (rows - 1) // 2  # a sum of row r passes the rows below it
        filled = asked["sums"] * rows  # down the column's rows - 1 registers, and into its PE
        return found | {
            "operand_hop_bits": along_rows + beats * cols * (rows - 1) * operand_bus_bits(pe),
            "accumulator_bits": (beats * rows * cols + held) * bits,
            "sum_hop_bits": (down + filled) * bits,
        }
    positions = folds * (m if dataflow is Dataflow.WS else n)
    return found | {
        "operand_hop_bits": along_rows + asked["column"] * (rows - 1) * entry_bits(pe),
        "stationary_bits": asked["column"] * entry_bits(pe),
        "accumulator_bits": beats * rows * cols * bits,
        "sum_hop_bits": (positions * cols * (rows - 1) + asked["sums"]) * bits,
    }
