# amaranth: UnusedElaboratable=no
"""Do the buffers' tests find planted faults?"""

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
import test_operand_buffer, test_result_buffer
if {name!r} in test_operand_buffer.MACHINES:
    test_operand_buffer.test_every_kind_of_tile({name!r}, "a")
else:
    test_result_buffer.test_beats_that_wait({name!r})
    test_result_buffer.test_a_beat_a_cycle({name!r})
"""
OPERAND, SCATTER, UNPACK = "operand_buffer.py", "operand_scatter.py", "operand_unpack.py"
RESULT = "result_buffer.py"

# name: (machine, file, right text, wrong text)
FAULTS = {
    "none": ("int8-2x2-bus4", OPERAND, "rise", "rise"),
    "a unit that began in the beat before is lost": ("int8-2x2-bus4", SCATTER, "Const(0, 1) if e else offset", "Const(0, 1)"),
    "two rounds rise as one": ("int8-2x2-bus4", SCATTER, "point.base + load.rise * r)", "point.base + load.rise * (r > 0))"),
    "rows are a unit apart": ("int8-2x2-bus4", SCATTER, "Mux(fields.across, came.unit, fields.stride)", "came.unit"),
    "an entry is counted later": ("int8-2x2-bus4", SCATTER, "Mux(point.more, whole + 1, whole)", "whole"),
    "a load overtakes others": ("int8-2x2-bus4", SCATTER, "Mux(queue.r_rdy, layout(queue.r_data), came)", "came"),
    "no word after the first": ("int8-2x2-bus4", OPERAND, "Mux(behind, following, word)", "word"),
    "no half after the first": ("int8-4x5-bus4", OPERAND, "(word + half)", "word"),
    "dense entries turn like kept ones": ("int8-4x5-bus4", OPERAND, "turned[low:])", "turned)"),
    "a slot for all": ("int8-2x2-bus4", OPERAND, "beat.slot)", "0)"),
    "the other side's requests": ("int8-2x2-bus4", OPERAND, '"b" else ~request.operand_b', '"b" else 1'),
    "a cut entry is dropped": ("int8-2x2-bus4", UNPACK, "before.eq(beat.data[-self.kept :])", "before.eq(0)"),
    "a row's last element": ("int8-2x2-bus4", UNPACK, "beat.bytes >= least", "beat.bytes > least"),
    "a sum is shown late": ("int8-5-bus8", RESULT, "else (write,)", "else ()"),
    "folds do not turn": ("int8-5-bus8", RESULT, "(Mux(fields.swapped, 0, row) + fold)", "(Mux(fields.swapped, 0, row))"),
    "all places read one fold": ("int8-5-bus8", RESULT, "base + fold + later", "base + fold"),
    "the last beat's rest": ("int8-5-bus8", RESULT, "rounded.left > i", "rounded.left >= i"),
    "a beat is lost while it waits": ("int8-5-bus8", RESULT, "wanted | (stores & ask.moves)", "wanted | stores"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found(fault: str, tmp_path: Path):
    name, file, right, wrong = FAULTS[fault]
    planted_copy(tmp_path, f"rtl/{file}", right, wrong, once=False)
    path = [str(tmp_path), str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "contract")]
    program = RUN.format(path=path, name=name)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert bool(done.returncode and "AssertionError" in done.stderr) == (fault != "none"), done.stderr[-2000:]
