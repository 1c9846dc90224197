"""Errors of the estimate on runs that the fit did not see, as tables: on the console and in `README.md`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from reports.synthesis.designs import Design
from reports.synthesis.fit import LEAST, errors
from reports.synthesis.store import HERE, path_of, runs_of

__all__ = ["held_out", "show", "summary", "write_readme"]

_HEAD = """# Synthesis runs

Made by `python -m reports.synthesis` (see [docs/cost.md](../../docs/cost.md)); do not edit.

Errors are relative, of runs that the fit did not see: of each part every third machine, and all whole machines, which are
synthesised in one piece and estimated as the sum of their parts. Sizes below {least} count as so large.
"""


def held_out(technology: str, factors: Mapping[str, Any], known: Mapping[tuple[str, int], Design]) -> pd.DataFrame:
    """`reports.synthesis.fit.errors` of the stored runs that were held out."""
    table = errors(runs_of(technology), factors, known, technology)
    return table[table["held_out"].astype(bool)]


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """By part and resource: runs, the median and the worst error without its sign. What a part never has is left out."""
    rows: list[dict[str, Any]] = []
    for (part, resource), group in table.groupby(["part", "resource"], sort=False):
        if group[["measured", "estimated"]].to_numpy().any():
            off = group["error"].abs().to_numpy(dtype=np.float64)
            rows.append(
                {
                    "part": part,
                    "resource": resource,
                    "runs": len(group),
                    "median": float(np.median(off)),
                    "worst": float(off.max()),
                }
            )
    return pd.DataFrame(rows)


def show(technology: str, table: pd.DataFrame, console: Console) -> None:
    """A technology's summary."""
    shown = Table("part", "resource", "runs", "median", "worst", title=f"{technology}: errors on held-out runs", box=None)
    for row in table.to_dict("records"):
        shown.add_row(row["part"], row["resource"], str(row["runs"]), f"{row['median']:.1%}", f"{row['worst']:.1%}")
    console.print(shown)


def write_readme(stored: Mapping[str, Any], known: Mapping[tuple[str, int], Design]) -> dict[str, pd.DataFrame]:
    """`README.md` of all calibrated technologies; returns their summaries."""
    least = f"{LEAST['lut']} look-up tables or flip-flops"
    text, found = [_HEAD.format(least=least)], {}
    for technology, factors in stored.items():
        if not path_of(technology).exists():
            continue
        runs, held = runs_of(technology), held_out(technology, factors, known)
        found[technology] = table = summary(held)
        text.append(f"## {technology}\n")
        seconds = runs["seconds"]
        text.append(f"{len(seconds)} runs, {seconds.sum():.0f} s.\n")
        text.append("| part | resource | runs | median | worst |\n|---|---|---|---|---|")
        for row in table.to_dict("records"):
            text.append(f"| {row['part']} | {row['resource']} | {row['runs']} | {row['median']:.1%} | {row['worst']:.1%} |")
        machines = held[held["part"] == "machine"]
        if len(machines):
            text.append("\nWhole machines: measured, estimated.\n")
            text.append("| machine | format | lut | ff | dsp | bram |\n|---|---|---|---|---|---|")
            for number, rows in machines.groupby("number"):
                cells = {row["resource"]: f"{row['measured']}, {row['estimated']}" for row in rows.to_dict("records")}
                form = rows["format"].iloc[0]
                text.append(f"| {number} | {form} | {cells['lut']} | {cells['ff']} | {cells['dsp']} | {cells['bram']} |")
        text.append("")
    (HERE / "README.md").write_text("\n".join(text), encoding="utf-8")
    return found
