"""The study as a person reads it: two figures, one page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from reports.studies.fpga.points import GROUPS
from simulator.cost.devices import DEVICES

__all__ = ["quote", "write_figure", "write_readme"]

_PAGE = """# Sparse arrays on an FPGA: what fits, how fast, and what sparsity costs

Made by `python -m reports.studies.fpga` (extras `rtl`, `fpga`, `studies`) with Yosys and nextpnr from PyPI; no number in the
tables was typed in. The chip is the ULX3S board's: Lattice LFE5U-85F, speed grade 6 (83,640 LUT4, 156 multipliers of 18x18,
208 block memories of 18 kbit). `arrays.csv` has every run, with the digest of the array and of the RTL's sources.

**Answer.** {quote}

{largest}

![cost of sparsity](sparsity.svg)

## Arrays

Placed and routed between registers, without pins. One lane per PE, OS unless said otherwise. GOPS: two operations for each
multiplication of the dense workload, of a GEMM of 256 x 256 x 256 in the cycles of `simulator.timing`, at the highest clock;
sparse: with weights of that pattern.

{table}

## The same array with groups of 1 to 16

{sparsity}

## Predicted and built

{built}

## SAT on the XCVU9P

{sat}

## Limits of this study

* One seed of the placement unless the table says otherwise; another seed moves the clock: {seeds}.
* Arrays are placed without the input that stops them, which neither the machine nor the array on a board uses.
* Arrays alone: buffers, memory port and engines come on top (`dse build`, table above).
* nextpnr-ecp5 has no 9x9 multipliers: an INT8 product takes an 18x18 block of its own.
* A chip with all but a few multipliers in use is routed or not, by the luck of its placement. Of three placements of the
  12 x 12 array from the same Verilog one was routed, by router1 in 14 minutes: that of the table. router1 was stopped at
  another after 54 minutes with 161 of 138,105 connections left, router2 at the third after 59 rounds with 27 wires in
  conflict. They differ in the names of cells only, which came from the name of a folder; since then they don't, but most
  rows are from before.
* What limits the 12 x 12 array is the way from a row's control to its first PE, 5.5 of 11.0 ns in one wire, and not the PE.

Tools: {versions}.
"""


_BY_GROUP = ("group", "lut", "ff", "pe_lut", "pe_ff", "fmax_mhz", "gops_dense", "pattern", "gops_sparse")


def _markdown(frame: pd.DataFrame) -> str:
    rows = ["| " + " | ".join(map(str, frame.columns)) + " |", "|" + "---|" * len(frame.columns)]
    rows += ["| " + " | ".join("" if pd.isna(v) else str(v) for v in row) + " |" for row in frame.itertuples(index=False)]
    return "\n".join(rows)


def by_group(runs: pd.DataFrame) -> pd.DataFrame:
    """The 4x4 int8 OS array, a row for each group."""
    chosen = runs[(runs["format"] == "int8") & (runs["rows"] == 4) & (runs["cols"] == 4) & (runs["dataflows"] == "os")]
    return chosen[chosen["seed"] == 1].drop_duplicates("group", keep="last").set_index("group").loc[list(GROUPS)].reset_index()


def quote(runs: pd.DataFrame) -> str:
    """What an architect would repeat."""
    groups: dict[int, dict[Any, Any]] = {int(row["group"]): dict(row) for row in by_group(runs).to_dict("records")}
    dense, sparse = groups[1], groups[8]
    more = sparse["lut"] / dense["lut"]
    gain = sparse["gops_sparse"] / dense["gops_dense"]
    return (
        f"A group-of-8 selector makes a 4x4 INT8 array {more:.2f} times as large in look-up tables ({int(dense['lut']):,} to "
        f"{int(sparse['lut']):,}; {int(dense['pe_lut'])} to {int(sparse['pe_lut'])} per PE) at {sparse['fmax_mhz']:.0f} "
        f"instead of {dense['fmax_mhz']:.0f} MHz, and at 2:8 does {gain:.2f} times the work of the dense array at its clock: "
        f"{gain / more:.2f} times as much per look-up table, with the same multipliers."
    )


def write_figure(path: Path, runs: pd.DataFrame) -> None:
    """Look-up tables, and the clock, against the group."""
    mpl.rcParams["svg.hashsalt"] = "nmdse"  # the same data give the same file
    groups = by_group(runs)
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    at = range(len(groups))
    pes = groups["pe_lut"] * groups["rows"] * groups["cols"]
    left.bar(at, pes, color="#4477aa", label="PEs")
    left.bar(at, groups["lut"] - pes, bottom=pes, color="#ccbb44", label="around them")
    left.set(ylabel="LUT4 of a 4x4 INT8 array", xlabel="group M of N:M (1: dense only)")
    right.plot(at, groups["fmax_mhz"], "o-", color="#ee6677")
    right.set(ylabel="highest clock, MHz", xlabel="group M of N:M (1: dense only)", ylim=(0, None))
    for axes in (left, right):
        axes.set_xticks(list(at), [str(group) for group in groups["group"]])
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def write_readme(
    path: Path, runs: pd.DataFrame, built: Mapping[str, Any], sat: Mapping[str, Any], versions: Mapping[str, str]
) -> None:
    """The page. `built` and `sat`: a `text` and `rows` of a table each, or nothing where they were not run."""
    limit = DEVICES["ecp5-85k"].limits
    table = runs.sort_values(["format", "rows", "group", "dataflows", "seed"])
    shown = table[
        ["name", "dataflows", "seed", "lut", "ff", "dsp", "bram", "fmax_mhz", "gops_dense", "pattern", "gops_sparse"]
    ].rename(columns={"gops_dense": "GOPS dense", "gops_sparse": "GOPS sparse", "fmax_mhz": "MHz"})
    several = runs.groupby("digest")["fmax_mhz"].agg(["count", "min", "max"])
    spread = several[several["count"] > 1]
    seeds = ", ".join(
        f"{row['min']:.0f} to {row['max']:.0f} MHz over {int(row['count'])} seeds" for _, row in spread.iterrows()
    )
    path.write_text(
        _PAGE.format(
            quote=quote(runs),
            largest="\n\n".join(_largest(runs, form, limit.dsp, limit.lut) for form in ("int8", "fp16")),
            table=_markdown(shown),
            sparsity=_markdown(by_group(runs)[[*_BY_GROUP]]),
            built=_section(built),
            sat=_section(sat),
            seeds=seeds or "not measured",
            versions=", ".join(f"{name} {number}" for name, number in versions.items()),
        ),
        encoding="utf-8",
    )


def _largest(runs: pd.DataFrame, form: str, dsp: int, lut: int) -> str:
    best = runs[runs["format"] == form].sort_values(["dsp", "fmax_mhz"]).iloc[-1]
    name = {"int8": "INT8", "fp16": "FP16 (FP32 sums)"}[form]
    return (
        f"The largest {name} array here, {int(best['rows'])} x {int(best['cols'])} of group {int(best['group'])}, takes "
        f"{int(best['dsp'])} of {dsp} multipliers ({best['dsp'] / dsp:.0%}) and {best['lut'] / lut:.0%} of the look-up tables, "
        f"and runs at {best['fmax_mhz']:.1f} MHz: {best['gops_dense']:.1f} GOPS dense, {best['gops_sparse']:.1f} at "
        f"{best['pattern']}."
    )


def _section(found: Mapping[str, Any]) -> str:
    return f"{found['text']}\n\n{_markdown(pd.DataFrame(found['rows']))}" if found else "Not run yet."
