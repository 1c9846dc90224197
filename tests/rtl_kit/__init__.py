"""Runs emitted Verilog inside ordinary tests: under cocotb, and as a native model driven by numpy arrays."""

from rtl_kit.cocotb_run import run_cocotb
from rtl_kit.native import NativeModel

__all__ = ["NativeModel", "run_cocotb"]
