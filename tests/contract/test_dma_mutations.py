# amaranth: UnusedElaboratable=no
"""Do the DMA's tests find planted faults?"""

import subprocess
import sys
from pathlib import Path

import pytest
from rtl_kit.planted import ROOT, planted_copy
from rtl_kit.require import need_rtl

need_rtl()

RUN = """
import sys
sys.path[:0] = {path!r}
import test_dma as tests
tests.test_ties("fraction")
tests.test_values_and_cycles("fraction", 0, 1)
tests.test_values_and_cycles("fraction", 40, 2)
tests.test_values_and_cycles("one-beat", 40, 2)
tests.test_values_and_cycles("narrow", 40, 2)
tests.test_slow_memory("one-in-flight")
tests.test_errors("whole")
tests.test_bursts_in_flight("narrow")
tests.test_reset_in_mid_transfer("fraction")
"""

# name: (right text, wrong text)
FAULTS = {
    "none": ("holder", "holder"),
    "the higher rank first": ("before.eq(1)", "before.eq(~accepted[j])"),
    "the newest first": (
        "earlier[i][j].eq(before), earlier[j][i].eq(~before)",
        "earlier[i][j].eq(~before), earlier[j][i].eq(before)",
    ),
    "ready after the hold": ("(waiting[i] | owner[i]) | channel.ended", "(waiting[i] | owner[i])"),
    "a fraction is due late": ("due >= slot.denominator", "due > slot.denominator"),
    "a hold is a cycle too long": ("(due > slot.denominator)", "(due >= slot.denominator)"),
    "a hold is a cycle too short": ("due.any() + (due", "(due"),
    "counts a request twice": ("asks & ~here.asked", "asks"),
    "a request goes away": ("(here.asked | room)", "room"),
    "no limit in flight": ('burst["room"].eq(in_flight != self.limit)', 'burst["room"].eq(1)'),
    "one less in flight": ("in_flight != self.limit", "in_flight != self.limit - 1"),
    "rows follow each other": ("(here.row + command.pitch)", "(here.address + command.pitch)"),
    "every burst ends a row": ("Mux(ends_row, here.left[:low], self.burst - 1)", "here.left[:low]"),
    "no mask": ("Cat(~final | ", "Cat(1 | "),
    "asks for data beyond the row": ("(valid | ~holds)", "valid"),
    "writes beyond the row": ("Mux(holds, chosen, 0)", "chosen"),
    "every beat is the first": ("head.first & first", "head.first"),
    "every row is the end": ("head.end & final", "head.last & final"),
    "done with every burst": ("complete & mine & answered.end", "complete & mine"),
    "the last beat is full": ("Mux(final, head.last_byte[: self._byte_bits] + 1, self.bus)", "Mux(final, self.bus, self.bus)"),
    "shows all beats": ("comes & mine & holds", "comes & mine"),
    "errors are forgotten": ("error | seen", "seen"),
    "the port stays held in reset": ("owner = Signal(len(CHANNELS))", "owner = Signal(len(CHANNELS), reset_less=True)"),
    "beats stay counted in reset": ('name=f"{name}_beat")', 'name=f"{name}_beat", reset_less=True)'),
    "bursts stay counted in reset": ("Signal(range(self.limit + 1))", "Signal(range(self.limit + 1), reset_less=True)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found(fault: str, tmp_path: Path):
    right, wrong = FAULTS[fault]
    planted_copy(tmp_path, "rtl/dma.py", right, wrong, once=False)
    program = RUN.format(path=[str(tmp_path), str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "contract")])
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    found = done.returncode and ("AssertionError" in done.stderr or "StopIteration" in done.stderr)
    assert bool(found) == (fault != "none"), done.stderr[-2000:]
