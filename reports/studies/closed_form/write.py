"""The study as a person reads it: two figures, one page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports.studies.closed_form.points import CHOICES, LINKED, LONGEST, NETWORKS

__all__ = ["MEDIAN", "WORST", "page", "write_cost_figure", "write_errors_figure"]

MEDIAN, WORST = 0.005, 0.03
"""Goals: relative errors of a step's cycles."""

_BLUE, _RED, _GREY = "#4477aa", "#ee6677", "#bbbbbb"
_Test: TypeAlias = "Callable[[pd.DataFrame], pd.Series[bool]]"
_KINDS: dict[str, _Test] = {
    "streams never meet on the port": lambda steps: steps["turns"] == 0,
    "streams take fewer than 500 turns": lambda steps: (steps["turns"] > 0) & (steps["turns"] < 500),
    "streams take 500 turns or more": lambda steps: steps["turns"] >= 500,
    "no work between GEMMs (host)": lambda steps: steps["mapping.vector"] == "host",
    "updates at the end": lambda steps: steps["mapping.update"] == "end",
    "updates beside the GEMMs": lambda steps: steps["mapping.update"] == "overlapped",
    "queues of 8": lambda steps: steps["sequencer.queue_depth"] == 8,
    "queues of 64": lambda steps: steps["sequencer.queue_depth"] == 64,
    "array single buffered": lambda steps: ~steps["array.double_buffered"],
    **{
        f"{name}, batch {batch}": lambda steps, name=name, batch=batch: (steps["workload"] == name) & (steps["batch"] == batch)
        for name, batch in NETWORKS
    },
}


def write_errors_figure(path: Path, steps: pd.DataFrame) -> None:
    """Predicted against simulated cycles, and how the errors are spread."""
    mpl.rcParams["svg.hashsalt"] = "nmdse"  # the same data give the same file
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    ends = steps["event_cycles"].min() / 1.3, steps["event_cycles"].max() * 1.3
    left.plot(ends, ends, color=_GREY, linewidth=0.8)
    left.loglog(steps["event_cycles"], steps["closed_cycles"], ".", color=_BLUE, markersize=4, alpha=0.6)
    left.set_xlabel("cycles, event-driven machine", fontsize=9)
    left.set_ylabel("cycles, closed form", fontsize=9)
    percent = 100 * steps["error"]
    bins = np.arange(np.floor(4 * percent.min()) / 4, np.ceil(4 * percent.max()) / 4 + 0.26, 0.25)
    right.hist(percent, bins=bins.tolist(), color=_BLUE)
    for goal in (-100 * WORST, 100 * WORST):
        right.axvline(goal, color=_RED, linestyle="--", linewidth=0.8)
    right.set_yscale("log")
    right.set_xlabel(f"error of the closed form, % (dashed: goal, {WORST:.0%})", fontsize=9)
    right.set_ylabel("steps", fontsize=9)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


def write_cost_figure(path: Path, cost: pd.DataFrame) -> None:
    """CPU time per point against points."""
    mpl.rcParams["svg.hashsalt"] = "nmdse"
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    points, each = cost["points"], 1e6 / cost["points"]
    axes.loglog(points, cost["sweep_cpu_s"] * each, "o-", color=_BLUE, label="evaluation, files, front")
    axes.loglog(points, _beyond_start(cost) * each, "^:", color=_RED, label="without what a process needs once")
    whole = cost["sweep_cpu_s"] + cost["report_cpu_s"]
    axes.loglog(points, whole * each, "s--", color=_GREY, label="with the report")
    axes.set_xlabel("points", fontsize=9)
    axes.set_ylabel("CPU time per point, us", fontsize=9)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


def _beyond_start(cost: pd.DataFrame) -> "pd.Series[float]":
    return cost["sweep_cpu_s"] - cost["start_cpu_s"]


def page(steps: pd.DataFrame, operations: pd.DataFrame, cost: pd.DataFrame | None) -> str:
    """README.md, from the tables as they are read from their files. Without `cost`, that section is left out."""
    error, count = steps["error"].abs(), len(steps)
    median, worst = error.median(), error.max()
    exact = int((steps["closed_cycles"] == steps["event_cycles"]).sum())
    below = int((steps["closed_cycles"] < steps["bound_cycles"]).sum())
    over = int((error > WORST).sum())
    free = operations[operations["port_wait"] == 0]
    equal = operations["closed_cycles"] == operations["event_cycles"]
    equal_free = int((free["closed_cycles"] == free["event_cycles"]).sum())
    lines = [
        "# The closed form against the event-driven machine",
        "",
        "Made by `python -m reports.studies.closed_form` (`make studies`); nothing here was typed in. The closed form "
        "(`dataflows.analytic.points.step_cycles`) says what a training step costs without running it; here both are asked "
        f"about {count} random steps.",
        "",
        f"**Answer.** The median error is **{median:.2%}** (goal {MEDIAN:.1%}: {_met(median <= MEDIAN)}), the 95th percentile "
        f"{error.quantile(0.95):.2%}, the worst **{worst:.2%}** (goal {WORST:.0%}: {_met(worst <= WORST)}"
        + (f"; {over} of {count} steps are beyond it" if over else "")
        + f"). The closed form is below the event-driven machine for {int((steps['error'] < 0).sum())} steps, above it for "
        f"{int((steps['error'] > 0).sum())}, equal to the cycle for {exact}; on average {steps['error'].mean():+.2%}. It is "
        + ("**never below the bound** that no run can beat." if not below else f"below the bound for {below} steps."),
        "",
        f"**Without contention it is equal to the cycle:** {equal_free:,} of {len(free):,} operations that run alone and "
        "whose transfers never wait for the port. With contention within the operation (its own loads and stores), "
        f"{int(equal.sum()) - equal_free:,} of {len(operations) - len(free):,} are equal too.",
        "",
        "![errors](errors.svg)",
        "",
        "## Where the error comes from",
        "",
        f"One operation at a time the closed form is all but exact. Of the first {operations['number'].nunique()} steps each "
        "distinct operation was run alone on its machine:",
        "",
        "| operations | count | equal to the cycle | median error | worst error |",
        "|---|---|---|---|---|",
    ]
    for kind, some in operations.groupby("kind"):
        off = some["error"].abs()
        share = (some["closed_cycles"] == some["event_cycles"]).mean()
        lines.append(f"| {kind} | {len(some):,} | {share:.1%} | {off.median():.2%} | {off.max():.2%} |")
    lines += [
        "",
        "What is off in a step comes from putting operations together: two streams (GEMMs; the work between them, with the",
        "updates) on one memory port, which the closed form divides by the lengths of their transfers, though it serves them",
        "one by one: chunks of the work fall into another rhythm in their slots when a GEMM's transfers come between them.",
        "*Turns* count how often a transfer of one stream began in the very cycle in which one of the other's left",
        "the port.",
        "",
        "| steps | count | median | 95th percentile | worst | mean, signed |",
        "|---|---|---|---|---|---|",
    ]
    for name, which in _KINDS.items():
        some = steps.loc[which(steps), "error"]
        if len(some):
            off = some.abs()
            spread = f"{off.median():.2%} | {off.quantile(0.95):.2%} | {off.max():.2%} | {some.mean():+.2%}"
            lines.append(f"| {name} | {len(some)} | {spread} |")
    lines += [
        "",
        "The five steps that are furthest off:",
        "",
        "| number | error | cycles | network | method | updates | vector work | turns |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in steps.loc[error.sort_values(ascending=False).index[:5]].to_dict("records"):
        lines.append(
            f"| {row['number']} | {row['error']:+.2%} | {row['event_cycles']:,} | {row['workload']}, batch {row['batch']} | "
            f"{row['method']} | {row['mapping.update']} | {row['mapping.vector']} | {row['turns']:,} |"
        )
    lines += _cost_lines(cost) if cost is not None else []
    lines += [
        "",
        "## How it was done",
        "",
        "Each step is drawn by itself (`points.py`); tests run some of them, and all of them, again. Networks and batches: "
        + ", ".join(f"{name} {batch}" for name, batch in NETWORKS)
        + f". Steps that the machine can't run are passed over, and programs of more than {LONGEST:,} commands, so that an "
        "event run takes about a second; those left out have more and smaller tiles. A value that stands twice is drawn twice "
        "as often. All settings and cycles: `steps.csv`; operations: `operations.csv`.",
        "",
        "Array (rows x cols): "
        + ", ".join(f"{c['accelerator.array.rows']} x {c['accelerator.array.cols']}" for c in LINKED["array"])
        + ". "
        + "; ".join(
            f"{name.removeprefix('accelerator.')}: {', '.join(' '.join(v) if isinstance(v, tuple) else str(v) for v in values)}"
            for name, values in CHOICES.items()
        )
        + ".",
        "",
    ]
    return "\n".join(lines)


def _met(goal: bool) -> str:
    return "met" if goal else "**missed**"


def _cost_lines(cost: pd.DataFrame) -> list[str]:
    first, last = cost.iloc[0], cost.iloc[-1]
    lines = [
        "",
        "## What a million points cost",
        "",
        f"`python -m benchmarks.bulk_sweep --jobs {last['jobs']} --csv cost.csv`: points drawn from the shipped space "
        f"`{last['space']}`, each size from nothing to the report in a fresh process and folder. {last['points']:,} points "
        f"take **{last['wall_s']:.0f} s by the clock** on {last['jobs']} workers, {last['sweep_cpu_s']:.0f} CPU seconds and at "
        f"most {last['rss_mb']:,.0f} MB. Cost per point is not flat: {_micro(first['sweep_cpu_s'], first):,.0f} us at "
        f"{first['points']:,} points, {_micro(last['sweep_cpu_s'], last):,.0f} us at {last['points']:,}. Of the "
        f"{first['sweep_cpu_s']:.1f} s of the first line, {first['start_cpu_s']:.1f} s are what {first['jobs']} fresh workers "
        "need before their first point (imports, compiled loops from the disk); most of the rest are tables of tilings, made "
        "once for each array, network and method: few points share them, a million do.",
        "",
        "![cost](cost.svg)",
        "",
        "| points | CPU s | of it, start | us/point | us/further point | clock s | report, CPU s | folder, MB | peak MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    before: dict[str, float] = {"points": 0, "sweep_cpu_s": 0.0}
    for row in cost.to_dict("records"):
        further = 1e6 * (row["sweep_cpu_s"] - before["sweep_cpu_s"]) / (row["points"] - before["points"])
        cells = [f"{row['points']:,}", *(f"{row[name]:.1f}" for name in ("sweep_cpu_s", "start_cpu_s"))]
        cells += [f"{_micro(row['sweep_cpu_s'], row):,.0f}", f"{further:,.0f}", f"{row['wall_s']:.0f}"]
        cells += [f"{row['report_cpu_s']:.1f}", f"{row['folder_mb']:.0f}", f"{row['rss_mb']:,.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
        before = {"points": row["points"], "sweep_cpu_s": row["sweep_cpu_s"]}
    lines += [
        "",
        f"Measured with {last['cores']} cores under a load, with the benchmark's own, of {first['load']:.1f} at first and "
        f"{last['load']:.1f} at last; Python {last['python']}, numba {last['numba']}, numpy {last['numpy']}.",
    ]
    return lines


def _micro(seconds: float, row: Any) -> float:
    return 1e6 * seconds / row["points"]
