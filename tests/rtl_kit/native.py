"""Moved to rtl.native.model."""

from rtl.native.model import *  # noqa: F403
