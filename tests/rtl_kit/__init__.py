"""Runs emitted Verilog inside ordinary tests: under cocotb, and as a native model driven by numpy arrays."""

from rtl.native.model import NativeModel
from rtl_kit.cocotb_run import run_cocotb

__all__ = ["NativeModel", "run_cocotb"]
