"""The Pareto plot: every point that ran, the front, and the named candidates, one plot per network or pair of objectives."""

# pyright: basic
from collections.abc import Hashable, Mapping
from html import escape
from math import log10

import pandas as pd
import plotly.graph_objects as go

from reports.inputs import ReportInputs
from reports.palette import INK, method_style, natural
from reports.style import Plot, base, missing, value_axis
from reports.values import axis_title, label_within, quantity, setting, short_name, show

__all__ = ["front_order", "pareto_plots"]

_TITLE = "Pareto front"
_MOST_NETWORKS = 6
_SMALL = 420  # height of all plots but the first


def front_order(rows: pd.DataFrame, x: str, x_direction: str) -> pd.DataFrame:
    """Points of a front from the best to the worst `x`, so that a horizontal-then-vertical line bounds what they reach."""
    return rows.sort_values(x, ascending=x_direction == "min", kind="stable")


def _hover(row: Mapping[Hashable, object], inputs: ReportInputs) -> str:
    lines = [f"<b>{escape(setting(axis, row[axis]))}</b> {escape(short_name(axis))}" for axis in inputs.axes]
    columns = dict.fromkeys([column for column, _ in inputs.objectives] + ["latency_ms", "images_per_second", "utilization"])
    lines += [f"{quantity(column).label}: {show(column, row[column])}" for column in columns if column in row]
    return "<br>".join([*lines, f"key {escape(str(row['key']))}"])


def _scaled(rows: pd.DataFrame, column: str) -> list[float]:
    return [float(value) * quantity(column).scale for value in rows[column]]


def _ends(values: list[float]) -> tuple[float, float]:
    return min(values), max(values)


def _labels(inputs: ReportInputs, rows: pd.DataFrame, x: str, y: str, log: tuple[bool, bool]) -> list[dict]:
    """An arrow per candidate, away from the middle of the plot and from each other."""
    names: dict[str, list[str]] = {}
    for name, key in inputs.candidates.items():
        names.setdefault(key, []).append(name)
    shown = rows[rows["key"].isin(names)].drop_duplicates("key")
    xs, ys = _scaled(shown, x), _scaled(shown, y)
    low, high = _ends(_scaled(rows, x))
    middle = (low * high) ** 0.5 if log[0] else (low + high) / 2
    notes = []
    order = sorted(range(len(xs)), key=lambda i: (ys[i], xs[i]))
    for rank, i in enumerate(order):
        left = xs[i] > middle
        notes.append(
            {
                "x": log10(xs[i]) if log[0] else xs[i],
                "y": log10(ys[i]) if log[1] else ys[i],
                "text": f"<b>{escape(' = '.join(names[shown['key'].iloc[i]]))}</b>",
                "ax": -46 if left else 46,
                "ay": 28 if rank == 0 else -12 - 18 * rank,
                "arrowhead": 2,
                "arrowsize": 0.8,
                "arrowwidth": 1.2,
                "standoff": 6,
                "bgcolor": "rgba(255,255,255,0.85)",
                "font": {"size": 13},
            }
        )
    return notes


def _padded(values: list[float], log: bool) -> list[float]:
    low, high = (log10(min(values)), log10(max(values))) if log else (min(values), max(values))
    pad = 0.09 * (high - low) or 0.1 * abs(high) or 1
    return [low - 1.3 * pad, high + 1.4 * pad]


def _draw(inputs: ReportInputs, rows: pd.DataFrame, x: str, y: str, height: int) -> go.Figure:
    figure = base(height)
    directions = dict(inputs.objectives)
    front = rows[rows["key"].isin(inputs.front)]
    if len(inputs.objectives) == 2 and len(front) > 1:
        line = front_order(front, x, directions[x])
        figure.add_scatter(
            x=_scaled(line, x),
            y=_scaled(line, y),
            mode="lines",
            line={"shape": "hv", "color": INK, "width": 1.5, "dash": "dot"},
            name="Pareto front",
            hoverinfo="skip",
        )
    methods = rows["method"].astype(str) if "method" in rows.columns else pd.Series("points", index=rows.index)
    everything = inputs.frame["method"].dropna().astype(str) if "method" in inputs.frame.columns else methods
    styles = method_style(everything)
    for method in sorted(set(methods), key=natural):
        part = rows[methods == method]
        on_front = part["key"].isin(inputs.front)
        colour, symbol = styles.get(method, (INK, "circle"))
        figure.add_scatter(
            x=_scaled(part, x),
            y=_scaled(part, y),
            mode="markers",
            name=escape(method),
            marker={
                "color": colour,
                "symbol": symbol,
                "size": [12 if inside else 8 for inside in on_front],
                "opacity": [1.0 if inside else 0.45 for inside in on_front],
                "line": {"color": "white", "width": 0.5},
            },
            text=[_hover(row, inputs) for row in part.to_dict("records")],
            hovertemplate="%{text}<extra></extra>",
        )
    axes = [
        value_axis(f"{axis_title(c)}, {'less' if directions[c] == 'min' else 'more'} is better", _scaled(rows, c))
        for c in (x, y)
    ]
    log = (axes[0].get("type") == "log", axes[1].get("type") == "log")
    axes[0]["range"], axes[1]["range"] = _padded(_scaled(rows, x), log[0]), _padded(_scaled(rows, y), log[1])
    figure.update_layout(xaxis=axes[0], yaxis=axes[1], annotations=_labels(inputs, rows, x, y, log))
    return figure


def _caption(inputs: ReportInputs, rows: pd.DataFrame, x: str, y: str) -> str:
    counts = inputs.statuses
    front = rows[rows["key"].isin(inputs.front)]
    if front.empty:
        text = "No point of the front is among these."
    else:
        ends = [f"{show(c, front[c].min())} to {show(c, front[c].max())}" for c in (y, x)]
        text = (
            f"{len(front)} of {len(rows)} points are on the front (large markers), over {ends[0]} ({label_within(y)}) "
            f"and {ends[1]} ({label_within(x)})."
        )
    if len(inputs.objectives) == 3:
        text += " The front is over three objectives; in this projection its points need not form a line."
    if inputs.counts:
        text += f" Drawn: {len(inputs.ok):,} of the {counts['ok']:,} points that ran."
    stopped = {status: counts[status] for status in ("unsupported", "invalid", "failed")}
    if any(stopped.values()):
        text += " Not drawn: " + " and ".join(f"{count} {status}" for status, count in stopped.items() if count) + "."
    return text


def pareto_plots(inputs: ReportInputs, height: int = 560) -> list[Plot]:
    """The first belongs on the report's first screen; more follow where there are several networks or a third objective."""
    columns = [column for column, _ in inputs.objectives]
    if absent := [column for column in columns if column not in inputs.frame.columns]:
        return [missing("pareto", _TITLE, f"No point has a value for {', '.join(absent)}, so there is nothing to compare.")]
    rows = inputs.ok.dropna(subset=columns)
    if rows.empty:
        return [missing("pareto", _TITLE, "No point of this sweep ran, so there is no front; see why below.")]
    networks = rows["workload"].astype(str) if "workload" in rows.columns else pd.Series("", index=rows.index)
    on_front = networks[rows["key"].isin(inputs.front)]
    names = sorted(set(networks), key=lambda name: (-int((on_front == name).sum()), -int((networks == name).sum()), name))
    plots: list[Plot] = []
    for network in names[:_MOST_NETWORKS]:
        part = rows[networks == network]
        for x in columns[1:]:
            title = _TITLE if len(names) == 1 else f"{_TITLE}, {network}"
            title = f"{title}: {label_within(columns[0])} against {label_within(x)}"
            figure = _draw(inputs, part, x, columns[0], height if not plots else _SMALL)
            caption = _caption(inputs, part, x, columns[0])
            if len(names) > _MOST_NETWORKS and not plots:
                caption += f" Drawn for the {_MOST_NETWORKS} networks with most points on the front, of {len(names)}."
            plots.append(
                Plot(
                    name=f"pareto-{len(plots)}",
                    title=title,
                    caption=caption,
                    figure=figure,
                    height=height if len(plots) == 0 else _SMALL,
                )
            )
    return plots
