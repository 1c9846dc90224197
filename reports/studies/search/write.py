"""The study as a person reads it: one figure, one page."""

from importlib.metadata import version
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.studies.search.study import BUDGET, RANDOM, RUN, SEEDS, SHARE, Truth

__all__ = ["write_figure", "write_readme"]

_COLOURS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#bbbbbb")


def write_figure(path: Path, shares: dict[str, NDArray[np.float64]], at: list[int], budget: int) -> None:
    """Median over the seeds, and the band from the worst to the best."""
    mpl.rcParams["svg.hashsalt"] = "nmdse"  # the same data give the same file
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.subplots()
    for (name, found), colour in zip(shares.items(), _COLOURS, strict=True):
        axes.fill_between(at, found.min(axis=0), found.max(axis=0), color=colour, alpha=0.2, linewidth=0)
        axes.plot(at, np.median(found, axis=0), color=colour, label=name)
    axes.axhline(SHARE, color="#333333", linestyle="--", linewidth=0.8)
    axes.axvline(budget, color="#ee6677", linestyle="--", linewidth=0.8, label=f"{BUDGET:.0%} of the space")
    axes.set_xlim(at[0], 1.2 * budget)
    axes.set_xscale("log")
    axes.set_ylim(0.8, 1.003)
    axes.set_xlabel("evaluations", fontsize=9)
    axes.set_ylabel("hypervolume, share of the true front's", fontsize=9)
    axes.legend(loc="lower right", fontsize=8)
    axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


def write_readme(
    path: Path,
    truth: Truth,
    table: pd.DataFrame,
    shares: dict[str, NDArray[np.float64]],
    at: list[int],
    versions: dict[str, str],
) -> None:
    """The page: answer first, then the tables that it rests on."""
    size, space = truth.space.size, truth.space
    budget = int(BUDGET * size)
    by_name = {str(name): group.set_index("seed")["evaluations"] for name, group in table.groupby("searcher", sort=False)}
    best = min((name for name in by_name if name != "random"), key=lambda name: _median(by_name[name]))
    reached = int((by_name[best] <= budget).fillna(False).sum())
    wins = int((by_name[best].fillna(size) < by_name["random"].fillna(size)).sum())
    worst, middle, chance = by_name[best].max(), _median(by_name[best]), _median(by_name["random"])
    text = [f"{name}: {', '.join(str(v) for v in _values(truth, name))}" for name in space.varied]
    lines = [
        "# Search against random search, on a space whose front is known",
        "",
        f"Made by `python -m reports.studies.search` (`make studies`). All {size:,} points of `space.toml`, "
        f"{len(space.axes)} axes around {space.base['accelerator']} training {space.base['workload']} at batch "
        f"{space.base['batch']}, were evaluated by the closed form; {truth.front:,} are on the true Pareto front of "
        + ", ".join(objective.column for objective in space.objectives)
        + ".",
        "",
        f"**Answer.** {best} reaches {SHARE:.0%} of the true front's hypervolume within {BUDGET:.0%} of the evaluations "
        f"({budget:,}) for **{reached} of {len(SEEDS)} seeds**: after a median of **{_number(middle)} evaluations "
        f"({middle / size:.2%} of the space)**, at worst {_number(worst)} ({worst / size:.2%}). Random search needs a "
        f"median of {_number(chance)} ({chance / size:.2%}), {chance / middle:.1f} times as many; the search needed fewer "
        f"for {wins} of {len(SEEDS)} seeds.",
        "",
        "![hypervolume](hypervolume.svg)",
        "",
        f"Lines are medians over {len(SEEDS)} seeds, bands reach from the worst seed to the best.",
        "",
        f"## Evaluations to {SHARE:.0%}",
        "",
        "| searcher | median | min | max | " + " | ".join(f"seed {seed}" for seed in SEEDS) + " |",
        "|---" * (4 + len(SEEDS)) + "|",
    ]
    for name, found in by_name.items():
        cells = [_number(_median(found)), _number(found.min()), _number(found.max() if not found.isna().any() else pd.NA)]
        lines.append(f"| {name} | " + " | ".join([*cells, *(_number(found[seed]) for seed in SEEDS)]) + " |")
    lines += [
        "",
        f"A dash: not within the {int(RUN * size):,} evaluations that a search was given here, or the {int(RANDOM * size):,} "
        "of random search.",
        "",
        "## Share of the true hypervolume after a number of evaluations: median (least)",
        "",
        "| evaluations | " + " | ".join(shares) + " |",
        "|---" * (1 + len(shares)) + "|",
    ]
    for step in range(0, len(at), 6):
        cells = [f"{np.median(found[:, step]):.4f} ({found[:, step].min():.4f})" for found in shares.values()]
        lines.append(f"| {at[step]:,} | " + " | ".join(cells) + " |")
    corner = ", ".join(
        f"{objective.column} {value:.4g}" for objective, value in zip(space.objectives, truth.scale.reference, strict=True)
    )
    lines += [
        "",
        "## How it was done",
        "",
        f"Hypervolume is measured from {corner}:",
        "a tenth of each objective's span beyond its worst value in the space. Objectives are logarithms, so that a factor",
        "of two weighs the same wherever it stands; on plain scales the slowest and largest machines fill most of the volume,",
        "and random search looks better than it is. The algorithms are pymoo's: uniform crossover, polynomial mutation of the",
        "index on an ordered axis (eta 3), a random choice on the others, one axis of each child on average; no point is asked",
        "for twice. These are the settings of `dse sweep --search`. Only the population was tried out on this space: what the",
        "table has, and 100 for nsga3 (slower on the three seeds tried).",
        "",
        "Axes: " + "; ".join(text) + ".",
        "",
        "Seeds and evaluations: `evaluations.csv`; all curves: `curves.csv`. Versions: "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + f", pymoo {version('pymoo')}, moocore {version('moocore')}.",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def _median(values: "pd.Series[int]") -> float:
    """Runs that did not get there count as having needed more than any that did."""
    return float(values.astype("float64").fillna(np.inf).median())


def _number(value: object) -> str:
    return "-" if value is pd.NA or value == np.inf else f"{float(str(value)):,.0f}"


def _values(truth: Truth, name: str) -> list[object]:
    return next([choice[name] for choice in axis] for axis in truth.space.axes if name in axis[0])
