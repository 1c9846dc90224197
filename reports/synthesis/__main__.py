"""Synthesise the calibration's machines, fit the cost model, say how good it is: `python -m reports.synthesis`.

Runs are kept as they are done, in ``<technology>.csv``; those whose Verilog and tool are the same are not repeated.
"""

import argparse
import json
import sys
import time

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from reports.synthesis.designs import Design, designs
from reports.synthesis.fit import errors, fit
from reports.synthesis.measure import measure, source_of
from reports.synthesis.store import COEFFICIENTS, HERE, runs_of, source_digest
from rtl.yosys_shim import YosysError
from simulator.cost.devices import TECHNOLOGIES


def synthesise(technology: str, todo: list[Design], console: Console) -> None:
    """Do the runs that are missing."""
    path = HERE / f"{technology}.csv"
    rows = runs_of(technology).to_dict("records") if path.exists() else []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(technology, total=len(todo))
        for design in todo:
            progress.update(task, advance=1, description=f"{technology} {design.part} {design.number}")
            began = time.monotonic()
            try:
                verilog = source_of(design.accelerator, design.part)
                source, here = source_digest(verilog), (design.part, design.number)
                if any((row["design"], row["number"]) == here and row["source"] == source for row in rows):
                    continue
                found = measure(design.accelerator, design.part, technology, verilog)
            except (ValueError, YosysError) as error:
                console.print(f"{technology} {design.part} {design.number}: {str(error)[:300]}")
                continue
            rows = [row for row in rows if (row["design"], row["number"]) != here]
            for part, resources in found.items():
                rows.append(
                    {
                        "design": design.part,
                        "number": design.number,
                        "part": part,
                        "format": design.accelerator.pe.format,
                        "held_out": design.held_out,
                        **resources.as_dict(),
                        "digest": design.accelerator.digest,
                        "source": source,
                        "seconds": round(time.monotonic() - began, 1),
                    }
                )
            pd.DataFrame(rows).sort_values(["design", "number", "part"]).to_csv(path, index=False)


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
    todo = [design for design in wanted if design.number < options.limit]
    stored = json.loads(COEFFICIENTS.read_text()) if COEFFICIENTS.exists() else {}
    for technology in options.technology or TECHNOLOGIES:
        if not options.fit_only:
            synthesise(technology, todo, console)
        runs = runs_of(technology)
        factors = fit(runs, known)
        stored[technology] = {**stored.get(technology, {}), **factors}
        table = errors(runs, factors, known)
        held = table[table["held_out"]]
        shown = Table("part", "resource", "runs", "median", "worst", title=f"{technology}: errors on held-out runs", box=None)
        for (part, resource), rows in held.groupby(["part", "resource"]):
            shown.add_row(
                str(part), str(resource), str(len(rows)), f"{rows['error'].median():.1%}", f"{rows['error'].max():.1%}"
            )
        console.print(shown)
        luts = held[held["resource"].isin(["lut", "ff"])]["error"]
        console.print(f"{technology}: LUT and FF of held-out parts: median {luts.median():.1%}, worst {luts.max():.1%}")
        COEFFICIENTS.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
