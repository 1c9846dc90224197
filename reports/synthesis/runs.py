"""Does the synthesis runs that are missing, and keeps each in ``<technology>.csv`` as soon as it is done."""

import time

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from reports.synthesis.designs import Design
from reports.synthesis.measure import measure, source_of
from reports.synthesis.store import path_of, run_digest, runs_of
from rtl.yosys_shim import YosysError

__all__ = ["synthesise"]


def synthesise(technology: str, todo: list[Design], console: Console) -> None:
    """Run what is not stored with the same Verilog and the same tool."""
    path = path_of(technology)
    rows = runs_of(technology).to_dict("records") if path.exists() else []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(technology, total=len(todo))
        for design in todo:
            progress.update(task, advance=1, description=f"{technology} {design.part} {design.number}")
            began = time.monotonic()
            try:
                verilog = source_of(design.accelerator, design.part)
                source, here = run_digest(verilog, technology), (design.part, design.number)
                if any((row["part"], row["number"]) == here and row["source"] == source for row in rows):
                    continue
                found = measure(design.accelerator, design.part, technology, verilog)
            except (ValueError, YosysError) as error:
                console.print(f"{technology} {design.part} {design.number}: {str(error)[:300]}")
                continue
            rows = [row for row in rows if (row["part"], row["number"]) != here]
            rows.append(
                {
                    "part": design.part,
                    "number": design.number,
                    "format": design.accelerator.pe.format,
                    "held_out": design.held_out,
                    **found.as_dict(),
                    "digest": design.accelerator.digest,
                    "source": source,
                    "seconds": round(time.monotonic() - began, 1),
                }
            )
            pd.DataFrame(rows).sort_values(["part", "number"]).to_csv(path, index=False)
