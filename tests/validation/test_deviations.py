"""Do the views differ only where tests/validation/deviations.toml says so?"""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

import dse.verify_programs
from dse.verify_programs import Case, cases
from reports.studies.rtl_training.machine import MACHINE
from simulator.arch import ceil_div
from simulator.binary import program_of
from simulator.encoding import Opcode, decode
from simulator.machine import run

ROOT = Path(__file__).resolve().parents[2]
ROWS = {row["topic"]: row for row in tomllib.loads((ROOT / "tests/validation/deviations.toml").read_text())["deviation"]}


def test_the_file():
    assert len(ROWS) <= 3
    for row in ROWS.values():
        assert set(row) == {"topic", "views", "of", "tolerance", "reason", "tests"}
        assert "values" not in row["of"]
        file, _, name = row["tests"].partition("::")
        assert f"def {name}(" in (ROOT / file).read_text()


@pytest.mark.parametrize("number", ["fp16", "int8"])
def test_compiled_and_placed_programs_take_as_long(number: str, monkeypatch):
    """The compiler's commands and the decoded words of the same program: equal results, but for the row of the file."""
    accelerator = replace(MACHINE, pe=replace(MACHINE.pe, format=number))
    programs = []
    compile_workload = dse.verify_programs.compile_workload

    def kept(*arguments):
        programs.append(compile_workload(*arguments))
        return programs[-1]

    monkeypatch.setattr(dse.verify_programs, "compile_workload", kept)
    deviating = 0
    for case in cases(accelerator):
        if not isinstance(case, Case):
            continue
        compiled, placed = run(programs[-1], accelerator), run(program_of(case.data), accelerator)
        if case.name.startswith("online pruning"):
            deviating += 1
            rows = sum(word.fields["rows"] for word in decode(case.data) if word.opcode is Opcode.STORE_WORK)
            burst = ceil_div(accelerator.dram.burst_bytes * accelerator.clock_hz, accelerator.dram.bytes_per_second)
            assert 0 < placed.cycles - compiled.cycles <= rows * burst
            assert (
                0 < placed.counters.dram_write_bytes - compiled.counters.dram_write_bytes <= rows * accelerator.dram.burst_bytes
            )
        else:
            assert placed.cycles == compiled.cycles, case.name
            assert placed.counters == compiled.counters, case.name
    assert deviating == (number == "fp16")
    assert "online pruning along rows" in ROWS
