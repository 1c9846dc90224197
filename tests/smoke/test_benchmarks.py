"""Do the benchmarks that studies rest on come to their end, and say what was measured?"""

import subprocess
import sys

import pandas as pd
import pytest


@pytest.mark.slow
def test_cost_per_point(tmp_path):
    table = tmp_path / "cost.csv"
    command = [sys.executable, "-m", "benchmarks.bulk_sweep", "--jobs", "1", "--most", "1000", "--csv", str(table)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    assert "1,000" in done.stdout
    (row,) = pd.read_csv(table).to_dict("records")
    assert row["points"] == 1000
    assert 0 < row["start_cpu_s"] < row["process_cpu_s"]
