"""Sipeed Tang Nano 9K with a Gowin GW1NR-9C: 8,640 look-up tables, 20 multipliers of 18x18, 52 KiB of block memory."""

# pyright: basic

from amaranth_boards.tang_nano_9k import TangNano9kPlatform

from rtl.fpga.place import Chip
from rtl.platforms.board import Board

__all__ = ["BOARD"]

_PART = TangNano9kPlatform.part
_DIE = TangNano9kPlatform.family.replace("R-", "-")  # with memory chips beside it in the package it is called GW1NR

BOARD = Board(
    name="tang-nano-9k",
    about="Sipeed Tang Nano 9K, Gowin GW1NR-9C speed grade C6/I5, 27 MHz oscillator",
    device="gw1nr-9c",
    platform=TangNano9kPlatform,
    chip=Chip(
        family="gw1n",
        options=("--device", _PART, "--vopt", f"family={_DIE}"),
        packing=("-d", _DIE),
        clocking=("-d", _PART),
    ),
    clock="clk27",
    clock_hz=27_000_000,
    lights=(("led", 0, "o"), ("led", 1, "o"), ("led", 2, "o")),
    program="openFPGALoader -b tangnano9k {}",
    memory_bytes=16 * 2**10,
    program_bytes=8 * 2**10,
    wide_program=False,
    part="array",
)
