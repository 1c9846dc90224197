"""The first screen in words and numbers: what to build and why, the candidates side by side, and the table of the front."""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import pandas as pd

from reports.inputs import Detail, ReportInputs
from reports.palette import cause_phrase
from reports.speedup import paired_speedups
from reports.stacks import by_cause
from reports.values import axis_title, label_of, label_within, ratio, setting, short_name, show

__all__ = ["Card", "FrontTable", "cards", "front_table", "headline", "point_counts", "shared_settings", "split_axes"]

_SHORT = {"utilization": "Utilization"}
_ON_CARDS = ("latency_ms", "images_per_second", "multipliers", "storage_bits", "dram_bytes_per_image", "utilization")


@dataclass(frozen=True, slots=True)
class Card:
    """A candidate: its names, the settings in which candidates differ, its numbers, and its gain over dense."""

    name: str
    key: str
    recommended: bool
    settings: tuple[tuple[str, str], ...]
    numbers: tuple[tuple[str, str], ...]
    note: str


@dataclass(frozen=True, slots=True)
class FrontTable:
    """Headings, and rows of (shown, sort value) cells; `numeric` says which columns are numbers."""

    headings: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[tuple[str, str], ...], ...]


def point_counts(frame: pd.DataFrame) -> dict[str, int]:
    """Points by status; the ones that ran first."""
    counts = frame["status"].value_counts()
    return {status: int(counts.get(status, 0)) for status in ("ok", "unsupported", "failed")}


def _row(inputs: ReportInputs, key: str) -> dict[Hashable, object] | None:
    rows = inputs.rows((key,))
    return rows.iloc[0].to_dict() if len(rows) else None


def _number(row: Mapping[Hashable, object], column: str) -> float:
    try:
        return float(row.get(column, math.nan))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def _against(inputs: ReportInputs, row: Mapping[Hashable, object], other: Mapping[Hashable, object]) -> str:
    """The objectives of a point as factors of another's."""
    words: list[str] = []
    for column, _ in inputs.objectives:
        mine, theirs = _number(row, column), _number(other, column)
        if theirs and math.isfinite(mine) and math.isfinite(theirs):
            words.append(f"{ratio(mine / theirs)} the {label_within(column)}")
    return " and ".join(words) if len(words) < 3 else f"{', '.join(words[:-1])} and {words[-1]}"


def _speedups(inputs: ReportInputs) -> dict[str, float]:
    pairs = paired_speedups(inputs.frame).dropna(subset=["speedup"])
    return {str(key): float(value) for key, value in zip(pairs["key"], pairs["speedup"], strict=True)}


def cards(inputs: ReportInputs) -> list[Card]:
    """One per candidate point; a point that is several candidates is shown once, under all its names."""
    names: dict[str, list[str]] = {}
    for name, key in inputs.candidates.items():
        names.setdefault(key, []).append(name)
    faster, (differing, _) = _speedups(inputs), split_axes(inputs)
    chosen = inputs.candidates.get(_chosen(inputs))
    found: list[Card] = []
    for key, titles in names.items():
        row = _row(inputs, key)
        if row is None:
            continue
        notes = [f"{ratio(faster[key])} over dense on the same machine"] if key in faster else []
        if notes and math.isfinite(bound := _number(row, "mac_bound_speedup")):
            notes.append(f"MAC bound {ratio(bound)}")
        columns = dict.fromkeys([*_ON_CARDS, *(column for column, _ in inputs.objectives)])
        found.append(
            Card(
                name=" and ".join(titles),
                key=key,
                recommended=key == chosen,
                settings=tuple((short_name(axis), setting(axis, row[axis])) for axis in differing),
                numbers=tuple(
                    (_SHORT.get(column, label_of(column)), show(column, row[column])) for column in columns if column in row
                ),
                note=", ".join(notes),
            )
        )
    return found


def split_axes(inputs: ReportInputs) -> tuple[list[str], list[str]]:
    """Axes in which the candidates differ, and axes in which they agree; one candidate alone differs in all."""
    rows = inputs.rows(tuple(inputs.candidates.values()))
    if len(rows) < 2:
        return list(inputs.axes), []
    differing = [axis for axis in inputs.axes if len({setting(axis, value) for value in rows[axis]}) > 1]
    return differing, [axis for axis in inputs.axes if axis not in differing]


def shared_settings(inputs: ReportInputs) -> list[tuple[str, str]]:
    """What all candidates agree in, of what the sweep varies."""
    rows = inputs.rows(tuple(inputs.candidates.values()))
    return [(short_name(axis), setting(axis, rows[axis].iloc[0])) for axis in split_axes(inputs)[1]]


def _chosen(inputs: ReportInputs) -> str:
    return next((name for name in ("knee", *inputs.candidates) if name in inputs.candidates), "")


def _bottleneck(detail: Detail) -> str:
    split = by_cause(detail)
    losses = {cause: cycles for cause, cycles in split.items() if cause != "compute"}
    if not losses:
        return ""
    worst = max(losses, key=lambda cause: losses[cause])
    total = sum(split.values())
    return (
        f"Its array computes {split.get('compute', 0) / total:.0%} of the time; most of the rest goes to "
        f"{cause_phrase(worst)} ({losses[worst] / total:.0%})."
    )


def headline(inputs: ReportInputs) -> tuple[str, list[str]]:
    """What to build, and sentences that say why. The knee is recommended; without one, the first candidate."""
    counts = inputs.statuses
    if not counts["ok"]:
        return "No point of this sweep ran.", [f"{sum(counts.values())} points were tried; the reasons stand below."]
    chosen = _chosen(inputs)
    row = _row(inputs, inputs.candidates[chosen]) if chosen else None
    if row is None:
        return "No candidate was named.", [f"{counts['ok']} points ran; the front and the plots below compare them."]
    settings = ", ".join(
        setting(axis, row[axis])
        if axis in ("method", "workload", "accelerator")
        else f"{short_name(axis)} {setting(axis, row[axis])}"
        for axis in inputs.axes
        if axis in split_axes(inputs)[0] or axis in ("workload", "method")
    )
    key = inputs.candidates[chosen]
    title = f"Build the {chosen} point: {settings}" if settings else f"Build the {chosen} point"
    reasons = [", ".join(f"{show(column, row.get(column))} {label_within(column)}" for column, _ in inputs.objectives) + "."]
    for other, other_key in inputs.candidates.items():
        peer = _row(inputs, other_key)
        if other_key != key and peer is not None and (words := _against(inputs, row, peer)):
            reasons.append(f"Against the {other} point: {words}.")
    if (gain := _speedups(inputs).get(key)) is not None:
        bound = _number(row, "mac_bound_speedup")
        limit = f", of {ratio(bound)} that its MACs would allow" if math.isfinite(bound) else ""
        reasons.append(f"Sparsity makes it {ratio(gain)} as fast as dense training on the same machine{limit}.")
    reasons += [text for detail in inputs.details if detail.key == key and (text := _bottleneck(detail))][:1]
    return title, reasons


def front_table(inputs: ReportInputs) -> FrontTable:
    """The front's points with the sweep's axes, the objectives, and what else a decision needs; best first objective first.

    Where the frame has a column `point`, its numbers are there as ``dse run FOLDER#N`` takes them.
    """
    rows = inputs.rows(inputs.front)
    column, direction = inputs.objectives[0]
    if column in rows.columns:
        rows = rows.sort_values(column, ascending=direction == "min", kind="stable")
    columns = [c for c in dict.fromkeys([*(c for c, _ in inputs.objectives), *_ON_CARDS]) if c in rows.columns]
    names: dict[str, str] = {}
    numbered = "point" in rows.columns
    for name, key in inputs.candidates.items():
        names[key] = f"{names[key]}, {name}" if key in names else name
    body: list[tuple[tuple[str, str], ...]] = []
    for row in rows.to_dict("records"):
        cells = [(names.get(row["key"], ""), names.get(row["key"], ""))]
        cells += [(f"#{row['point']}", str(row["point"]))] if numbered else []
        cells += [(setting(axis, row[axis]), str(row[axis])) for axis in inputs.axes]
        cells += [(show(c, row[c], unit=False), repr(_number(row, c))) for c in columns]
        body.append((*cells, (str(row["key"]), str(row["key"]))))
    point = ("point",) if numbered else ()
    headings = ("candidate", *point, *map(short_name, inputs.axes), *map(axis_title, columns), "key")
    numeric = (
        False,
        *(True for _ in point),
        *(pd.api.types.is_numeric_dtype(rows[axis]) for axis in inputs.axes),
        *(True for _ in columns),
        False,
    )
    return FrontTable(headings, numeric, tuple(body))
