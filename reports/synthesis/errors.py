"""Errors of the estimate on runs that the fit did not see, as tables: on the console and in `README.md`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from reports.synthesis.designs import Design
from reports.synthesis.fit import LEAST, MOST, errors
from reports.synthesis.store import HERE, path_of, runs_of

__all__ = ["held_out", "show", "summary", "write_readme"]

_HEAD = """# Synthesis runs

Made by `python -m reports.synthesis` (see [docs/cost.md](../../docs/cost.md)); do not edit.

Errors are relative, of runs that the fit did not see: of each part every third machine, and whole machines, which are
synthesised in one piece and estimated as the sum of their parts. Sizes below {least} count as
so large. The whole machines that are marked as seen are not among these errors: they were looked at while the drivers were
written, and set the one factor of what a machine in one piece takes less than its parts.
"""


def held_out(technology: str, factors: Mapping[str, Any], known: Mapping[tuple[str, int], Design]) -> pd.DataFrame:
    """`reports.synthesis.fit.errors` of the stored runs that were held out."""
    return _unseen(errors(runs_of(technology), factors, known, technology))


def _unseen(table: pd.DataFrame) -> pd.DataFrame:
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
        runs = runs_of(technology)
        everything = errors(runs, factors, known, technology)
        found[technology] = table = summary(_unseen(everything))
        text.append(f"## {technology}\n")
        seconds = runs["seconds"]
        text.append(f"{len(seconds)} runs, {seconds.sum():.0f} s.\n")
        if absent := factors.get("unmeasured"):
            text.append(f"Without any run, from the {MOST}'s factors and the other parts' runs: {', '.join(absent)}.\n")
        text.append("| part | resource | runs | median | worst |\n|---|---|---|---|---|")
        for row in table.to_dict("records"):
            text.append(f"| {row['part']} | {row['resource']} | {row['runs']} | {row['median']:.1%} | {row['worst']:.1%} |")
        machines = everything[everything["part"] == "machine"]
        if len(machines):
            text += _of_machines(machines)
        text.append("")
    (HERE / "README.md").write_text("\n".join(text), encoding="utf-8")
    return found


def _of_machines(machines: pd.DataFrame) -> list[str]:
    """Lines on whole machines, the seen ones among them."""
    head = "| machine | format | lut | | ff | dsp | bram | |\n|---|---|---|---|---|---|---|---|"
    lines = ["\nWhole machines: measured, estimated.\n", head]
    for number, rows in machines.groupby("number"):
        cells = {row["resource"]: f"{row['measured']}, {row['estimated']}" for row in rows.to_dict("records")}
        off = rows[rows["resource"] == "lut"]["error"].iloc[0]
        form, seen = rows["format"].iloc[0], "" if rows["held_out"].iloc[0] else "seen"
        shown = (cells["lut"], f"{off:+.1%}", cells["ff"], cells["dsp"], cells["bram"], seen)
        lines.append(f"| {number} | {form} | {' | '.join(shown)} |")
    seen = machines[~machines["held_out"].astype(bool)]
    off = [row for row in (summary(seen).to_dict("records") if len(seen) else []) if row["resource"] == "lut"]
    lines += [f"\nThe seen ones, look-up tables: median {row['median']:.1%}, worst {row['worst']:.1%}." for row in off]
    return lines
