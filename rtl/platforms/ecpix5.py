"""LambdaConcept ECPIX-5 with an ECP5-5G-85F: the same fabric in its fastest speed grade."""

# pyright: basic

from amaranth_boards.ecpix5 import ECPIX585Platform

from rtl.fpga.place import Chip
from rtl.platforms.board import Board

__all__ = ["BOARD"]

BOARD = Board(
    name="ecpix5-85f",
    about="LambdaConcept ECPIX-5, Lattice LFE5UM5G-85F speed grade 8, 100 MHz oscillator",
    device="ecp5-85k",
    platform=ECPIX585Platform,
    chip=Chip(family="ecp5", options=("--um5g-85k", "--package", "CABGA554", "--speed", "8")),
    clock="clk100",
    clock_hz=100_000_000,
    lights=(("rgb_led", 0, "b"), ("rgb_led", 0, "r"), ("rgb_led", 0, "g")),
    program="openFPGALoader -b ecpix5 {}",
    memory_bytes=64 * 2**10,
    program_bytes=32 * 2**10,
    wide_program=True,
)
