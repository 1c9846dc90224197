# amaranth: UnusedElaboratable=no
"""Do the array's and the PE's tests find planted faults?"""

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
from array_model import Surroundings
from test_array import MACHINES, Bench, jobs_of
name = {name!r}
surroundings = Surroundings(MACHINES[name], jobs_of(MACHINES[name], 24, seed=1, largest=9))
Bench(MACHINES[name]).run(surroundings)
surroundings.check()
"""

# name: (machine, file, right text, wrong text)
FAULTS = {
    "none": ("int8-2x2", "pe.py", "self.copy", "self.copy"),
    "sums are not fed back at once": (
        "int8-3x5-two-lanes",
        "pe_sums.py",
        "Mux(done_beat & (done_slot == slot), add.sum, held)",
        "held",
    ),
    "a late arrival is missed": ("int8-3x5-two-lanes", "pe_sums.py", "Mux(arrives, last.sum, waiting)", "waiting"),
    "absent lanes add a product": (
        "int8-3x5-two-lanes",
        "pe.py",
        "gates = [present] if nothing_from_zero else []",
        "gates = []",
    ),
    "one bank of registers": ("int8-2x2", "array_control.py", "Mux(head, bank, ~bank)", "Mux(head, bank, bank)"),
    "OS waits no shift": (
        "int8-2x2",
        "array_control.py",
        "slot & beats.ended & shifted",
        "slot & beats.ended & (shifted | ~resident)",
    ),
    "WS and IS wait no shift": (
        "int8-2x2",
        "array_control.py",
        "slot & beats.ended & shifted",
        "slot & beats.ended & (shifted | resident)",
    ),
    "the head lasts a cycle less": ("int8-2x2", "array_control.py", "terms.shift - 2)", "terms.shift - 3)"),
    "rows not behind": ("int8-2x2", "array_folds.py", "(hop - 1)[: len(hop)], rows - 1)", "(hop - 1)[: len(hop)], rows - 2)"),
    "a partial sum is read early": ("fp16-2x2", "array_folds.py", "product_cycles(pe) + 1)", "product_cycles(pe))"),
    "interleaves along the other side": ("int8-2x2", "array_folds.py", "command.n > scaled(", "command.n <= scaled("),
    "earlier sums a cycle early": ("int8-2x2", "array_control.py", "m.d.sync += waited", "m.d.comb += waited"),
    "rows beyond the reduction add": ("int8-3x5-two-lanes", "array.py", "later.left - later.depth, 0", "later.left, 0"),
    "words a row a cycle": (
        "int8-2x2",
        "array.py",
        "line.back.eq(pointers.back),\n                        line.value.eq(each.word)",
        "line.back.eq(pointers.at - 1),\n                        line.value.eq(each.word)",
    ),
    "steps of as many entries as beats": (
        "int8-3x5-two-lanes",
        "array_folds.py",
        'column_entries = net("column_entries", Mux(kept, command.keep, depth))',
        'column_entries = net("column_entries", Mux(kept, beats, depth))',
    ),
    "words of another step": ("int8-2x2", "array_fetch.py", "Mux(row_end, below, x + 1)", "Mux(row_end, here, x + 1)"),
    "the column's fold does not turn its places": (
        "int8-2x2",
        "array_walk.py",
        "self.low(low + fold)",
        "low",
    ),
    "the next part's entries are the first's": (
        "int8-2x2",
        "array_folds.py",
        '"row_x": (0, part_on, terms.row_entries)',
        '"row_x": (0, part_on, 0)',
    ),
    "no carry from places to words": ("int8-3x5-two-lanes", "array_walk.py", "Mux(carry, more, rise)", "rise"),
    "a sum leaves for the line above": ("int8-3x5-two-lanes", "array_walk.py", "below = words.moved(*here, 1)", "below = here"),
    "folds before their terms": (
        "int8-4x4-one-sum",
        "array_folds.py",
        'delayed(m, started, 2, "settled"',
        'delayed(m, started, 0, "settled"',
    ),
    "a slot ends a cycle late": ("int8-4x4-one-sum", "array_control.py", "(to_shift <= 1)", "(to_shift == 0)"),
    "the last beat is not foreseen": ("int8-4x4-one-sum", "array_stream.py", "self.beat + 2 >=", "self.beat + 1 >="),
    "the next step is never the last": ("int8-6x2-streams", "array_stream.py", "(terms.beats == 1) & last_step_next", "0"),
    "the last fold along a side is seen late": (
        "int8-6x2-streams",
        "array_folds.py",
        "terms.wide[side] << 1",
        "terms.wide[side]",
    ),
    "a lone fold is not the last": ("int8-6x2-streams", "array_folds.py", "end <= wide[side]", "end < wide[side]"),
    "a remainder as large as its divisor": ("int8-3x5-two-lanes", "array_folds.py", "all(), 0, digits", "all(), 3, digits"),
    "done a cycle early": ("int8-2x2", "array.py", "delayed(m, results, skew + 1", "delayed(m, results, skew"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found(fault: str, tmp_path: Path):
    name, file, right, wrong = FAULTS[fault]
    planted_copy(tmp_path, f"rtl/{file}", right, wrong)
    path = [str(tmp_path), str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "contract")]
    program = RUN.format(path=path, name=name)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    found = done.returncode and ("AssertionError" in done.stderr or "KeyError" in done.stderr)
    assert bool(found) == (fault != "none"), done.stderr[-2000:]
