"""LUT per PE and clock of two arrays, commit by commit of the RTL: ``python -m reports.synthesis.history [COMMIT ...]``.

Each commit (the last one that changed `rtl/`, unless told) is measured with its own RTL and its own flow, from a copy of its
files; some minutes each. Rows that are there already are kept. What a change did to area and clock stands in
`reports/synthesis/history.csv`, oldest commit first.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from reports.synthesis.store import HERE

__all__ = ["ARRAYS", "measure_commit"]

ARRAYS = ("int8-4x4-g8", "fp16-2x2-g8")
"""Output stationary arrays of `reports/studies/fpga/points.py`: one without and one with rounding and a deep pipeline."""
_TABLE = HERE / "history.csv"
_COLUMNS = ["commit", "date", "name", "seed", "lut", "ff", "dsp", "pe_lut", "pe_ff", "fmax_mhz", "subject"]
_MEASURE = """
import json, sys
from reports.studies.fpga.place import place_array, source_of
from reports.studies.fpga.points import POINTS
found = next(point for point in POINTS if point.name == sys.argv[1] and len(point.array.dataflows) == 1)
print(json.dumps(place_array(found, 1, source_of(found))))
"""


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=HERE.parents[1], check=True, capture_output=True).stdout


def measure_commit(commit: str, name: str) -> dict[str, Any]:
    """An array's cells and clock, by the RTL and the flow of a commit."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(_git("archive", commit))) as files:
            files.extractall(folder, filter="data")
        environment = os.environ | {"PYTHONPATH": folder}
        command = [sys.executable, "-c", _MEASURE, name]
        done = subprocess.run(command, cwd=Path(folder), env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """The command line."""
    console = Console()
    commits = sys.argv[1:] or [_git("log", "-1", "--format=%h", "--", "rtl").decode().strip()]
    rows: list[dict[Any, Any]] = pd.read_csv(_TABLE, dtype={"commit": str}).to_dict("records") if _TABLE.exists() else []
    for commit in commits:
        short, date, subject = _git("log", "-1", "--format=%h%n%cs%n%s", commit).decode().splitlines()
        for name in ARRAYS:
            if any((row["commit"], row["name"]) == (short, name) for row in rows):
                continue
            with console.status(f"{short}: {name}"):
                found = measure_commit(short, name)
            rows.append({**found, "commit": short, "date": date, "subject": subject})
            console.print(f"{short} {name}: {found['pe_lut']} LUT per PE, {found['lut']} in all, {found['fmax_mhz']} MHz")
            _write(rows)


def _write(rows: list[dict[Any, Any]]) -> None:
    """Oldest commit first; the order of commits is git's."""
    order = {name: at for at, name in enumerate(_git("log", "--reverse", "--format=%h", "--", "rtl").decode().split())}
    frame = pd.DataFrame(rows)[_COLUMNS]
    frame = frame.assign(at=frame["commit"].map(order)).sort_values(["name", "at"], kind="stable").drop(columns="at")
    frame.to_csv(_TABLE, index=False)


if __name__ == "__main__":
    main()
