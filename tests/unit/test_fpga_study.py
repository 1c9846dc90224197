"""The study of arrays on an FPGA: its page says what its tables say, and its rates are the simulator's."""

import json
from pathlib import Path

import pandas as pd
import pytest

from reports.studies.fpga.points import POINTS, rates
from reports.studies.fpga.write import write_readme
from reports.synthesis.store import read_runs

_FOLDER = Path(__file__).parents[2] / "reports" / "studies" / "fpga"
_RUNS = read_runs(_FOLDER / "arrays.csv")
_POINTS = {point.digest: point for point in POINTS}


def _stored(name: str) -> dict[str, object]:
    path = _FOLDER / name
    return json.loads(path.read_text()) if path.exists() else {}


def test_the_page_is_what_is_stored(tmp_path):
    page = tmp_path / "README.md"
    runs = _RUNS[_RUNS["digest"].isin(_POINTS)]
    write_readme(page, runs, _stored("built.json"), _stored("sat.json"), {})
    mine, theirs = page.read_text().splitlines(), (_FOLDER / "README.md").read_text().splitlines()
    assert mine[:-1] == theirs[:-1]  # the last line has the tools' versions


@pytest.mark.parametrize("row", _RUNS.to_dict("records"), ids=lambda row: f"{row['name']}-{row['dataflows']}-{row['seed']}")
def test_a_rate_is_the_simulators_at_the_clock_that_was_reached(row):
    found = rates(_POINTS[row["digest"]], row["fmax_mhz"] * 1e6)
    assert {name: None if pd.isna(row[name]) else row[name] for name in found} == found


def test_there_are_a_dozen_arrays_of_a_multiplier_for_each_pe():
    """And up to three more: five rows are divided by with a product."""
    assert len(_RUNS) >= 12
    assert (_RUNS["dsp"] - _RUNS["rows"] * _RUNS["cols"]).between(0, 3).all()
