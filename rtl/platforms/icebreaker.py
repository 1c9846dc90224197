"""1BitSquared iCEBreaker with an iCE40UP5K: 5,280 look-up tables, eight multipliers, 128 KiB of single-port memory."""

# pyright: basic

from amaranth_boards.icebreaker import ICEBreakerPlatform

from rtl.fpga.place import Chip
from rtl.platforms.board import Board

__all__ = ["BOARD"]

BOARD = Board(
    name="icebreaker",
    about="1BitSquared iCEBreaker, Lattice iCE40UP5K, 12 MHz oscillator",
    device="ice40-up5k",
    platform=ICEBreakerPlatform,
    chip=Chip(family="ice40", options=("--up5k", "--package", "sg48")),
    clock="clk12",
    clock_hz=12_000_000,
    lights=(("led_g", 0, "o"), ("led_r", 0, "o")),
    program="openFPGALoader -b ice40_generic {}",
    memory_bytes=64 * 2**10,
    program_bytes=8 * 2**10,
    wide_program=False,
    part="array",
)
