"""The study as a person reads it: one figure, one page."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

__all__ = ["write_figure", "write_readme"]

_PAGE = """# A network that trains in the RTL

Made by `python -m reports.studies.rtl_training` (`make studies`; extras `rtl` and `studies`); its numbers were not typed in.
The Verilog of the machine in `machine.py` (3 x 4 PEs, fp16 operands, FP32 sums and weights), simulated cycle by cycle,
trains a perceptron on scikit-learn's digits: {epochs} epochs, {steps} steps of 32 pictures.

**Answer.** It trains, and to the bit as the golden interpreter and a model in plain numpy do: logits, weights and momenta are
equal after every step, all of memory is at the end, and every step takes the simulator's cycles.
Test accuracy after the last epoch: dense **{dense:.1%}**, BDWP 2:8 **{sparse:.1%}** (a run each; one of the {tests}
pictures is {picture:.2%}). Over {seeds} seeds, in numpy alone: dense {mean_dense:.1%} ({range_dense}), 2:8 {mean_sparse:.1%}
({range_sparse}): this small network pays {points:.1f} points on average, and with some seeds more.
A 2:8 step takes {share:.0%} of the dense step's cycles: weight gradients and updates, most of a step here, stay dense.

![curves](curves.svg)

## A training step

| | dense | BDWP 2:8 |
|---|---|---|
{rows}

Cycles of RTL and simulator, and counters of RTL, simulator and interpreter, were compared in every step. Verilator ran the
machine at about {speed:,} cycles per second here (one thread, a shared computer).

## Test accuracy by seed of weights and batches

| | {names} | mean |
|{line}
{by_seed}

By the numpy model; seed 0 is the RTL's run, and asserted to equal it. All seeds have the same 1500 pictures to train on and
297 to test. 2:4 is here for comparison; why it didn't run in the RTL is said below.

## What runs where

* In the RTL: both layers forward, ReLU and its gradient, the data gradient by the backward copy, weight gradients, SGD with
  momentum and weight decay in FP32, pruning of the new weights; and the test pictures' forward passes.
* On the host: choice of the batch, softmax with cross-entropy and its gradient (FP32, rounded to fp16), the rate's register.
* The network has 64 inputs, 32 hidden units, 10 classes. A row must be whole bursts and whole groups, so the second layer has
  16 outputs: weights of the last 6 begin at 0, get gradients of 0 and stay 0. They are in the backward copy's second group of
  8 outputs, of which 2 are kept: always the two real ones. So of 10 classes 4 take part in a hidden unit's gradient, not 2.5.
* Pixel 0, which is 0 in every picture, is set to 1: the first layer's bias. The second layer has none.
* The gradient is that of the batch's summed loss, as fp16 would lose small gradients of the mean; the rate is divided by 32.
* The rate begins at 0.1 and falls linearly to 0; momentum 0.9, weight decay 1e-4. Of 0.02, 0.05 and 0.1 (tried once, by hand,
  in numpy) it had the lowest final training loss, dense and at 2:8. With a constant rate of 0.1 the loss at 2:8 rose again.
* Both layers are pruned; BDWP as published keeps the first and the last layer dense, which here would be all.
* 2:4 is refused on this machine: W1's copy is loaded in two parts of a row, and no one transfer stores both.

Losses of all steps: `losses.csv`. Versions: {versions}.
"""
_COLOURS = {"dense": "#4477aa", "2:8": "#ee6677"}


def write_figure(path: Path, steps: pd.DataFrame, epochs: pd.DataFrame, window: int) -> None:
    """Training loss by step, smoothed over an epoch, and test accuracy by epoch; every curve from RTL and interpreter."""
    mpl.rcParams["svg.hashsalt"] = "nmdse"  # the same data give the same file
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for method, colour in _COLOURS.items():
        one = steps[steps["method"] == method]
        left.plot(one["step"], one["rtl"], color=colour, alpha=0.25, linewidth=0.6)
        mean = one["rtl"].rolling(window).mean()
        left.plot(one["step"], mean, color=colour, label=f"{_name(method)}, RTL (mean of {window} steps)")
        golden = one["golden"].rolling(window).mean()[window - 1 :: window]
        left.plot(one["step"][window - 1 :: window], golden, "o", color=colour, fillstyle="none", label="the same, interpreter")
        two = epochs[epochs["method"] == method]
        right.plot(two["epoch"], 100 * two["rtl"], color=colour, label=f"{_name(method)}, RTL")
        right.plot(two["epoch"], 100 * two["golden"], "o", color=colour, fillstyle="none", label="the same, interpreter")
    left.set(xlabel="training step (batch 32)", ylabel="training loss", yscale="log", ylim=(0.003, 30))
    right.set(xlabel="epoch", ylabel="test accuracy, %", ylim=(0, 100))
    for axes, place in ((left, "upper right"), (right, "lower right")):
        axes.legend(fontsize=7, loc=place)
        axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def write_readme(
    path: Path,
    table: pd.DataFrame,
    seeds: pd.DataFrame,
    *,
    epochs: int,
    steps: int,
    tests: int,
    speed: float,
    versions: dict[str, str],
) -> None:
    """The page: answer first, then what it rests on."""
    dense, sparse = (table.loc[name] for name in _COLOURS)
    mean = seeds.groupby("method")["accuracy"].mean()
    names = sorted(seeds["seed"].unique())
    rows = [f"| {name} | " + " | ".join(_cell(name, value) for value in table[name]) + " |" for name in table.columns]
    by_seed = [
        f"| {_name(str(method))} | "
        + " | ".join(f"{value:.1%}" for value in [*group.sort_values("seed")["accuracy"], mean[str(method)]])
        + " |"
        for method, group in seeds.groupby("method", sort=False)
    ]
    text = _PAGE.format(
        epochs=epochs,
        steps=steps,
        tests=tests,
        picture=1 / tests,
        dense=dense["test accuracy"],
        sparse=sparse["test accuracy"],
        seeds=len(names),
        mean_dense=mean["dense"],
        mean_sparse=mean["2:8"],
        range_dense=_range(seeds, "dense"),
        range_sparse=_range(seeds, "2:8"),
        points=100 * (mean["dense"] - mean["2:8"]),
        share=sparse["rtl cycles"] / dense["rtl cycles"],
        rows="\n".join(rows),
        speed=_rounded(speed),
        names=" | ".join(map(str, names)),
        line="---|" * (len(names) + 2),
        by_seed="\n".join(by_seed),
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
    )
    path.write_text(text, encoding="utf-8")


def _range(seeds: pd.DataFrame, method: str) -> str:
    of = seeds[seeds["method"] == method]["accuracy"]
    return f"{of.min():.1%} to {of.max():.1%}"


def _cell(name: str, value: float) -> str:
    return f"{value:.1%}" if name == "test accuracy" else f"{value:.3f}" if "loss" in name else f"{value:,.0f}"


def _name(method: str) -> str:
    return method if method == "dense" else f"BDWP {method}"


def _rounded(value: float) -> int:
    """To one significant digit: it depends on the computer."""
    digits = len(str(int(value))) - 1
    return round(value / 10**digits) * 10**digits
