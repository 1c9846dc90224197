"""Synthesise the calibration's machines, fit the cost model, say how good it is: `python -m reports.synthesis`.

Runs are kept as they are done, in ``<technology>.csv``; those whose Verilog and tool are the same are not repeated. The factors
go to `simulator/cost/coefficients.json`, the errors on what the fit did not see to `README.md` here.
"""

import argparse
import json
import sys

from rich.console import Console

from reports.synthesis.designs import designs
from reports.synthesis.errors import show, write_readme
from reports.synthesis.fit import MOST, fit
from reports.synthesis.runs import synthesise
from reports.synthesis.store import COEFFICIENTS, path_of, runs_of
from simulator.cost.devices import TECHNOLOGIES

_ALL = ("ecp5", "xcup")
"""What the whole machine may be put on; of iCE40s an array and its host port fill the largest."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m reports.synthesis", description=__doc__)
    parser.add_argument("--technology", choices=TECHNOLOGIES, action="append", help="only this one; may be repeated")
    parser.add_argument("--part", action="append", help="only designs for this part; may be repeated")
    parser.add_argument("--limit", type=int, default=10**6, help="only the first so many designs for each part")
    parser.add_argument("--fit-only", action="store_true", help="synthesise nothing: fit the stored runs")
    options = parser.parse_args()
    console = Console()
    all_designs = list(designs())
    known = {(design.part, design.number): design for design in all_designs}
    wanted = [design for design in all_designs if not options.part or design.part in options.part]
    stored = json.loads(COEFFICIENTS.read_text()) if COEFFICIENTS.exists() else {}
    for technology in options.technology or _ALL:
        if not options.fit_only:
            synthesise(technology, [design for design in wanted if design.number < options.limit], console)
        if path_of(technology).exists():
            like = None if technology == MOST else stored.get(MOST)
            stored[technology] = {**stored.get(technology, {}), **fit(runs_of(technology), known, technology, like)}
            COEFFICIENTS.write_text(json.dumps(stored, indent=1) + "\n")
    for technology, table in write_readme(stored, known).items():
        show(technology, table, console)


if __name__ == "__main__":
    sys.exit(main())
