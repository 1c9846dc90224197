"""A timeline thinned to what a screen can show, without losing a busy cycle of any engine."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["Thinned", "thin", "window_of"]

_COLUMNS = ["engine", "stage", "label", "commands", "start", "end", "busy", "below"]


@dataclass(frozen=True, slots=True)
class Thinned:
    """Bars to draw: engine, stage, label, commands, start, end, busy (cycles), below (share of the row under the bar).

    A bar's height is the share busy / (end - start), so that its area is the time in which the engine worked.
    """

    bars: pd.DataFrame
    rule: str


def _merged(events: pd.DataFrame, by: str, gap: int) -> pd.DataFrame:
    """Neighbours on an engine with the same `by` that are less than `gap` cycles apart, as one bar."""
    change = (events["engine"] != events["engine"].shift()) | (events[by] != events[by].shift())
    change |= events["start"] - events["end"].shift(fill_value=0) >= gap
    bars = events.groupby(change.cumsum().to_numpy(), sort=False).agg(
        unit=("engine", "first"),  # "engine" is a keyword of pandas here
        stage=("stage", "first"),
        label=("op", "first"),
        ops=("op", "nunique"),
        commands=("busy", "size"),
        start=("start", "min"),
        end=("end", "max"),
        busy=("busy", "sum"),
    )
    bars["label"] = bars["label"].where(bars["ops"] == 1, bars["ops"].astype(str) + " operations")
    return bars.rename(columns={"unit": "engine"}).assign(below=0.0)[_COLUMNS].reset_index(drop=True)


def _binned(events: pd.DataFrame, edges: np.ndarray) -> pd.DataFrame:
    """Busy cycles by engine, bin and stage; a bin's stages stand on each other."""
    first = np.searchsorted(edges, events["start"].to_numpy(), side="right") - 1
    last = np.searchsorted(edges, events["end"].to_numpy(), side="left") - 1
    times = last - first + 1
    row = np.repeat(np.arange(len(events)), times)
    place = np.arange(len(row)) - np.repeat(np.cumsum(times) - times, times) + first[row]
    start = np.maximum(events["start"].to_numpy()[row], edges[place])
    end = np.minimum(events["end"].to_numpy()[row], edges[place + 1])
    parts = pd.DataFrame(
        {
            "engine": events["engine"].to_numpy()[row],
            "stage": events["stage"].to_numpy()[row],
            "bin": place,
            "busy": end - start,
        }
    )
    bars = (
        parts.groupby(["engine", "bin", "stage"], sort=True).agg(busy=("busy", "sum"), commands=("busy", "size")).reset_index()
    )
    bars["start"], bars["end"] = edges[bars["bin"]], edges[bars["bin"] + 1]
    share = bars["busy"] / (bars["end"] - bars["start"])
    bars["below"] = share.groupby([bars["engine"], bars["bin"]]).cumsum() - share
    bars["label"] = bars["stage"]
    return bars[_COLUMNS]


def thin(
    timeline: pd.DataFrame, stages: dict[str, str], *, window: tuple[int, int], pixels: int = 1000, limit: int = 3000
) -> Thinned:
    """Bars of a window of the timeline, at most `limit` of them for any sensible limit: merged by operation, else by
    stage, else binned.

    `stages` gives an operation's stage. Busy cycles of every engine within the window are kept exactly.
    """
    low, high = window
    events = timeline[(timeline["end"] > low) & (timeline["start"] < high)]
    events = events.assign(
        start=events["start"].clip(lower=low),
        end=events["end"].clip(upper=high),
        stage=events["op"].map(stages).fillna("other"),
    ).sort_values(["engine", "start"], kind="stable")
    events = events.assign(busy=events["end"] - events["start"])
    if events.empty:
        return Thinned(pd.DataFrame(columns=_COLUMNS), "no command ran in this window")
    gap = max(1, (high - low) // pixels)
    for by, words in (("op", "of one operation"), ("stage", "of one stage")):
        bars = _merged(events, by, gap)
        if len(bars) <= limit:
            merged = len(events) - len(bars)
            rule = f"neighbouring commands {words} less than {gap:,} cycles apart (one pixel) are drawn as one bar"
            return Thinned(bars, rule if merged else "every command is drawn")
    count = max(1, min(pixels // 4, limit // len(events[["engine", "stage"]].drop_duplicates()), high - low))
    edges = np.linspace(low, high, count + 1).astype(np.int64)
    return Thinned(_binned(events, edges), f"each bar gathers {(high - low) // count:,} cycles of an engine, by stage")


def window_of(timeline: pd.DataFrame, table: pd.DataFrame, commands: int = 240) -> tuple[int, int, str]:
    """The start of the GEMM before which the array waited longest, and the operation's name.

    Where the table tells of no waits, the operation with most cycles is taken.
    """
    waits = [name for name in table.columns if name.startswith("stall_")]
    score = table[waits].sum(axis=1) if waits else pd.Series(0, index=table.index)
    if not score.any() and "cycles" in table.columns:
        score = table["cycles"]
    present = table["op"].isin(set(timeline["op"]))
    events = timeline.sort_values("start", kind="stable").reset_index(drop=True)
    op = str(table["op"][present].iloc[int(score[present].to_numpy().argmax())] if present.any() else events["op"].iloc[0])
    first = int(np.argmax((events["op"] == op).to_numpy()))
    shown = events.iloc[max(0, first - commands // 8) : first + commands]
    return int(shown["start"].min()), int(shown["end"].max()), op
