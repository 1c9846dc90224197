"""Moved to rtl.native.toolchain."""

from rtl.native.toolchain import *  # noqa: F403
