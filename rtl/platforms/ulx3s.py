"""Radiona ULX3S with an ECP5-85F: the main board; its USB socket carries the serial line and programs it."""

# pyright: basic

from amaranth_boards.ulx3s import ULX3S_85F_Platform

from rtl.fpga.place import Chip
from rtl.platforms.board import Board

__all__ = ["BOARD"]

BOARD = Board(
    name="ulx3s-85f",
    about="Radiona ULX3S, Lattice LFE5U-85F speed grade 6, 25 MHz oscillator",
    device="ecp5-85k",
    platform=ULX3S_85F_Platform,
    chip=Chip(family="ecp5", options=("--85k", "--package", "CABGA381", "--speed", "6")),
    clock="clk25",
    clock_hz=25_000_000,
    lights=(("led", 0, "o"), ("led", 1, "o"), ("led", 2, "o")),
    program="openFPGALoader -b ulx3s {}",
    memory_bytes=64 * 2**10,
    program_bytes=32 * 2**10,
    wide_program=True,
)
