"""A block memory between two units that take turns: nobody reads a word in the cycle in which another writes it.

FPGA block memories with two ports show something else than the old word then. Without the promise synthesis keeps to Verilog's
meaning by comparators and a copy of the written word for each memory. `tests/machine/test_collisions.py` holds the users to it.
"""

# pyright: basic, reportArgumentType=false, reportCallIssue=false

from amaranth.hdl import ShapeLike
from amaranth.lib import memory

__all__ = ["block_ram"]


def block_ram(shape: ShapeLike, depth: int) -> memory.Memory:
    """`depth` words without initial contents. What is read of a word that is being written is anything."""
    return memory.Memory(shape=shape, depth=depth, init=[], attrs={"no_rw_check": 1})
