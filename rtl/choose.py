"""One of several values by its number, as a tree of two-way choices: what lookup tables and their free multiplexers do best.

An `Array` becomes a case for each number, that is a decoder and a sum of products, which costs about twice as much on an FPGA.
"""

# pyright: basic

from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Signal, Value

from rtl.pipeline import wire

__all__ = ["choose"]


def choose(m: Module, name: str, values: Sequence[Value], number: Value) -> Signal:
    """`values[number]` as bits, of the width of the widest; one of them if there is none of that number."""
    row, level = [Value.cast(value) for value in values], 0
    width = max(len(value) for value in row)
    while len(row) > 1:
        pairs = [row[i : i + 2] for i in range(0, len(row), 2)]
        row = [
            wire(m, f"{name}_{level}_{i}", Mux(number[level], pair[1], pair[0])) if len(pair) == 2 else pair[0]
            for i, pair in enumerate(pairs)
        ]
        level += 1
    return wire(m, name, row[0][:width])
