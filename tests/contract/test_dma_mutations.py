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
    "no limit in flight": ("room.eq(in_flight != self.limit)", "room.eq(1)"),
    "one less in flight": ("in_flight != self.limit", "in_flight != self.limit - 1"),
    "every burst ends a row": (
        "Mux(place.ends_row, (place.left - 1)[: self._burst_bits], self.burst - 1)",
        "(place.left - 1)[: self._burst_bits]",
    ),
    "no mask": ("Cat(~final | ", "Cat(1 | "),
    "asks for data beyond the row": ("(valid | ~holds)", "valid"),
    "writes beyond the row": ("Mux(holds, chosen, 0)", "chosen"),
    "every beat is the first": ("head.first & first", "head.first"),
    "every row is the end": ("head.end & final", "head.last & final"),
    "done with every burst": ("complete & mine & answered.end", "complete & mine"),
    "the last beat is full": ("Mux(final, head.last_byte[: self._byte_bits] + 1, self.bus)", "Mux(final, self.bus, self.bus)"),
    "shows all beats": ("comes & mine & holds", "comes & mine"),
    "errors are forgotten": ("error | seen", "seen"),
    "the hold goes on in reset": ("held = Signal()", "held = Signal(reset_less=True)"),
    "beats stay counted in reset": ('name=f"{name}_beat")', 'name=f"{name}_beat", reset_less=True)'),
    "bursts stay counted in reset": ("Signal(range(self.limit + 1))", "Signal(range(self.limit + 1), reset_less=True)"),
}
WALK_FAULTS = {
    "a fraction is due late": ("due >= slot.denominator", "due > slot.denominator"),
    "a hold is a cycle too long": ("(due > slot.denominator)", "(due >= slot.denominator)"),
    "a hold is a cycle too short": ("due.any() + (due", "(due"),
    "counts a request twice": ("asks & ~now.asked", "asks"),
    "a request goes away": ("(now.asked | room)", "room"),
    "rows follow each other": ("(place.next + place.pitch)", "(place.address + place.pitch)"),
    "the second row is the first": ("(address + pitch)", "(address)"),
    "one row only": ("later.last_row.eq(place.rows == 2)", "later.last_row.eq(1)"),
    "a row too many": ("command.rows == 1", "command.rows == 0"),
    "short rows are long": ("command.row_bytes <= 1 << burst_bits", "command.row_bytes < 1 << burst_bits"),
    "rows of two bursts": ("later.ends_row.eq(place.left <= 2 << burst_bits)", "later.ends_row.eq(1)"),
    "no second short row": ("later.ends_row.eq(place.short)", "later.ends_row.eq(0)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS | WALK_FAULTS)
def test_fault_is_found(fault: str, tmp_path: Path):
    file, (right, wrong) = ("rtl/dma.py", FAULTS[fault]) if fault in FAULTS else ("rtl/dma_walk.py", WALK_FAULTS[fault])
    planted_copy(tmp_path, file, right, wrong, once=False)
    program = RUN.format(path=[str(tmp_path), str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "contract")])
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    found = done.returncode and ("AssertionError" in done.stderr or "StopIteration" in done.stderr)
    assert bool(found) == (fault != "none"), done.stderr[-2000:]
