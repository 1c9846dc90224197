"""The study as a person reads it: one figure, one page."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from reports.studies.sat_speedup.assumptions import NETWORKS, PAPER_AVERAGE

__all__ = ["write_figure", "write_readme"]

_RATIOS = ("2:4", "2:8", "2:16")


def write_figure(path: Path, ranked: pd.DataFrame, joint: pd.DataFrame, paper: float) -> None:
    """How far each assumption alone moves the average speed-up at 2:8, and the band of all of them together."""
    mpl.rcParams["svg.hashsalt"] = "nmdse"  # the same data give the same file
    rows = ranked.iloc[::-1]
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(rows)), rows["swing"], left=rows["low"], color="#4477aa", height=0.55)
    band = joint.groupby("value")["speedup"].mean()
    axes.barh([-1.2], [band.max() - band.min()], left=[band.min()], color="#ccbb44", height=0.55)
    axes.plot(band, [-1.2] * len(band), "|", color="#333333", markersize=11)
    axes.set_yticks([*range(len(rows)), -1.2], [*rows["assumption"], f"all at random ({len(band)} draws)"], fontsize=8)
    axes.axvline(paper, color="#ee6677", linestyle="--", label=f"paper's average, {paper}")
    axes.set_xlabel("speed-up of BDWP 2:8 over dense training, average over " + ", ".join(NETWORKS), fontsize=8)
    axes.set_xlim(left=band.min() - 0.03)
    axes.legend(loc="upper left", fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


def write_readme(path: Path, single: pd.DataFrame, joint: pd.DataFrame, ranked: pd.DataFrame, versions: dict[str, str]) -> None:
    """The page: answer first, then the tables that it rests on."""
    base = single[single["assumption"] == "base"]
    average = base.groupby("ratio")["speedup"].mean()
    band = joint.groupby("value")["speedup"].mean()
    first = ranked.iloc[0]
    second = ranked.iloc[1]
    lines = [
        "# BDWP over dense on SAT: what 1.75x depends on",
        "",
        "Made by `python -m reports.studies.sat_speedup` (`make studies`); nothing here was typed in or tuned. The paper",
        f"(arXiv:2309.13015) reports an average of {PAPER_AVERAGE}x at 2:8; its networks, batch, buffers, memory channels",
        "and pipeline depths were not available, so the preset `sat-vcu1525` assumes them and this study moves each in turn.",
        "",
        f"**Answer.** With the preset's assumptions the average over four networks at 2:8 is **{average['2:8']:.2f}x** "
        f"(MAC bound {base[base['ratio'] == '2:8']['bound'].mean():.2f}x).",
        f"Over {len(band)} random combinations of the assumptions it lies between **{band.min():.2f}x and {band.max():.2f}x** "
        f"(median {band.median():.2f}x). The paper's figure is {_place(PAPER_AVERAGE, band)}.",
        f"**What matters most:** {_plain(first['assumption'])}, which alone moves the average from {first['low']:.2f}x to "
        f"{first['high']:.2f}x; then {_plain(second['assumption'])} ({second['low']:.2f}x to {second['high']:.2f}x).",
        "",
        "![swings](swings.svg)",
        "",
        "## Base: speed-up over dense (and the MAC bound)",
        "",
        "| network | " + " | ".join(_RATIOS) + " |",
        "|---|" + "---|" * len(_RATIOS),
    ]
    for network in NETWORKS:
        rows = base[base["workload"] == network].set_index("ratio")
        cells = [f"{rows.loc[r, 'speedup']:.3f} ({rows.loc[r, 'bound']:.3f})" for r in _RATIOS]
        lines.append(f"| {network} | " + " | ".join(cells) + " |")
    lines.append("| **average** | " + " | ".join(f"**{average[r]:.3f}**" for r in _RATIOS) + " |")
    lines += [
        "",
        "## One assumption at a time: average speed-up",
        "",
        "| assumption | value | 2:4 | 2:8 | 2:16 | by network at 2:8 |",
    ]
    lines.append("|---|---|---|---|---|---|")
    for assumption in ranked["assumption"]:
        group = single[single["assumption"] == assumption]
        for value in group["value"].unique():
            rows = group[group["value"] == value]
            mean = rows.groupby("ratio")["speedup"].mean()
            each = rows[rows["ratio"] == "2:8"].set_index("workload")["speedup"]
            cells = " | ".join(f"{mean[r]:.3f}" for r in _RATIOS)
            lines.append(f"| {assumption} | {value} | {cells} | " + ", ".join(f"{each[n]:.2f}" for n in NETWORKS) + " |")
    lines += [
        "",
        "All numbers, the random combinations included: `speedups.csv`. Batches are of images; VGG-19 at 32x32, the others at",
        "224x224. BDWP keeps the first and the last layer dense unless a row says otherwise; attention products are dense.",
        "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def _plain(assumption: str) -> str:
    return assumption.partition(" (base")[0]


def _place(value: float, band: "pd.Series[float]") -> str:
    if value < band.min():
        return "below all of them"
    if value > band.max():
        return "above all of them"
    return f"inside that band, above {(band < value).mean():.0%} of the combinations"
