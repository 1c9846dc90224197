"""Lattice's iCE40HX8K breakout board: 7,680 look-up tables, no multipliers, 16 KiB of block memory."""

# pyright: basic

from amaranth_boards.ice40_hx8k_b_evn import ICE40HX8KBEVNPlatform

from rtl.fpga.place import Chip
from rtl.platforms.board import Board

__all__ = ["BOARD"]

BOARD = Board(
    name="hx8k-evn",
    about="Lattice iCE40HX8K breakout board, 12 MHz oscillator",
    device="ice40-hx8k",
    platform=ICE40HX8KBEVNPlatform,
    chip=Chip(family="ice40", options=("--hx8k", "--package", "ct256")),
    clock="clk12",
    clock_hz=12_000_000,
    lights=(("led", 0, "o"), ("led", 1, "o"), ("led", 2, "o")),
    program="iceprog {}",
    memory_bytes=4 * 2**10,
    program_bytes=2 * 2**10,
    wide_program=False,
    part="array",
)
