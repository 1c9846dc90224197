"""What a plot of the report is, and the look that all plots share."""

# pyright: basic
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio

from reports.palette import INK

__all__ = ["Plot", "base", "figure_json", "is_wide_range", "legend_of", "missing", "value_axis"]

_GRID = "#E6E6E6"
_FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A figure with its title and the sentence to take away; without a figure, the sentence says why there is none."""

    name: str
    title: str
    caption: str
    figure: go.Figure | None = None
    height: int = 400
    legend: tuple[tuple[str, str], ...] = ()  # (colour, label): wraps on narrow screens, which the plot's own does not


def missing(name: str, title: str, why: str) -> Plot:
    return Plot(name=name, title=title, caption=why)


def legend_of(figure: go.Figure) -> tuple[tuple[str, str], ...]:
    """The figure's bars as a legend of its own, in place of the one that the plot would draw."""
    figure.update_layout(showlegend=False)
    traces: list[Any] = list(figure.select_traces({"type": "bar"}))
    return tuple((str(trace.marker.color), str(trace.name)) for trace in traces)


def base(height: int, **layout: Any) -> go.Figure:
    """An empty figure in the common style; `layout` wins over it."""
    axis = {
        "gridcolor": _GRID,
        "linecolor": "#999999",
        "showline": True,
        "ticks": "outside",
        "tickcolor": "#999999",
        "zeroline": False,
        "automargin": True,
        "title": {"standoff": 10},
    }
    common = {
        "template": "none",
        "height": height,
        "margin": {"l": 60, "r": 36, "t": 16, "b": 50},  # the tools stand on the right, above nothing
        "modebar": {"orientation": "v", "color": "#BBBBBB", "activecolor": "#555555", "bgcolor": "rgba(0,0,0,0)"},
        "font": {"family": _FONT, "size": 12, "color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "xaxis": axis,
        "yaxis": axis,
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        "hoverlabel": {"align": "left", "font": {"family": _FONT, "size": 12}},
        "hovermode": "closest",
        "bargap": 0.25,
    }
    figure = go.Figure(layout=common)
    figure.update_layout(layout)
    return figure


def is_wide_range(values: Any, factor: float = 20) -> bool:
    """Whether positive values spread so far that a logarithmic axis shows them better."""
    finite = [float(v) for v in values if v == v and v not in (float("inf"), float("-inf"))]
    return bool(finite) and min(finite) > 0 and max(finite) / min(finite) > factor


def value_axis(title: str, values: Any) -> dict[str, Any]:
    """An axis over values: logarithmic where they spread widely, with a tick at each where they are few and apart."""
    finite = sorted({float(v) for v in values if v == v})
    axis: dict[str, Any] = {"title": {"text": title}}
    if is_wide_range(finite):
        return axis | {"type": "log", "dtick": "D2" if finite[-1] / finite[0] < 200 else 1}
    if 2 <= len(finite) <= 6:
        span = finite[-1] - finite[0]
        if min(b - a for a, b in pairwise(finite)) > 0.08 * span:
            axis |= {
                "tickmode": "array",
                "tickvals": finite,
                "ticktext": [f"{v:,.4g}" if v < 1e4 else f"{v:,.0f}" for v in finite],
            }
    return axis


def figure_json(figure: go.Figure) -> str:
    """The figure as JSON that is safe within a script element."""
    text = pio.to_json(figure, validate=False, engine="json")
    return str(text).replace("<", "\\u003c")
