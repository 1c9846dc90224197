"""Synthesise the calibration's machines, fit the cost model, say how good it is: `python -m reports.synthesis`.

Runs are kept as they are done, in ``<technology>.csv``; those of the same RTL and tools that are there are not repeated.
"""

import argparse
import hashlib
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

import rtl
from reports.synthesis.designs import Design, designs
from reports.synthesis.fit import errors, fit
from reports.synthesis.measure import measure
from rtl.yosys_shim import YosysError
from simulator.cost.devices import TECHNOLOGIES

HERE = Path(__file__).parent
COEFFICIENTS = Path(rtl.__file__).parents[1] / "simulator" / "cost" / "coefficients.json"


def rtl_digest() -> str:
    """Identity of the RTL's sources and of the tools that map them."""
    digest = hashlib.sha256(version("pyosys").encode() + version("amaranth").encode())
    for path in sorted(Path(rtl.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def runs_of(technology: str) -> pd.DataFrame:
    """The stored runs."""
    return pd.read_csv(HERE / f"{technology}.csv")


def synthesise(technology: str, todo: list[Design], console: Console) -> None:
    """Do the runs that are missing."""
    path, now = HERE / f"{technology}.csv", rtl_digest()
    rows = runs_of(technology).to_dict("records") if path.exists() else []
    done = {(row["design"], row["number"]) for row in rows if row["rtl"] == now}
    rows = [row for row in rows if row["rtl"] == now]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(technology, total=len(todo))
        for design in todo:
            progress.update(task, advance=1, description=f"{technology} {design.part} {design.number}")
            if (design.part, design.number) in done:
                continue
            began = time.process_time()
            try:
                found = measure(design.accelerator, design.part, technology)
            except (ValueError, YosysError) as error:
                console.print(f"{technology} {design.part} {design.number}: {str(error)[:300]}")
                continue
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
                        "rtl": now,
                        "seconds": round(time.process_time() - began, 1),
                    }
                )
            pd.DataFrame(rows).to_csv(path, index=False)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m reports.synthesis", description=__doc__)
    parser.add_argument("--technology", choices=TECHNOLOGIES, action="append", help="only this one; may be repeated")
    parser.add_argument("--part", action="append", help="only designs for this part; may be repeated")
    parser.add_argument("--fit-only", action="store_true", help="synthesise nothing: fit the stored runs")
    options = parser.parse_args()
    console = Console()
    all_designs = list(designs())
    known = {(design.part, design.number): design for design in all_designs}
    todo = [design for design in all_designs if not options.part or design.part in options.part]
    stored = json.loads(COEFFICIENTS.read_text()) if COEFFICIENTS.exists() else {}
    for technology in options.technology or TECHNOLOGIES:
        if not options.fit_only:
            synthesise(technology, todo, console)
        runs = runs_of(technology)
        factors = fit(runs, known)
        stored[technology] = {**stored.get(technology, {}), **factors, "rtl": str(runs["rtl"].iloc[-1])}
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
