"""The engine timeline: the whole run, and the window in which the array waits longest."""

# pyright: basic
from html import escape

import plotly.graph_objects as go

from reports.inputs import Detail
from reports.palette import ENGINES, STAGES, stage_colour
from reports.stacks import cycles_of
from reports.style import Plot, base, legend_of, missing
from reports.timeline import Thinned, thin, window_of
from reports.values import compact

__all__ = ["timeline_plots"]

_ROW = 0.84  # of the distance between rows
_HEIGHT = 350


def _gantt(thinned: Thinned, window: tuple[int, int]) -> go.Figure:
    bars = thinned.bars
    present = set(bars["engine"])
    rows = [e for e in ENGINES if e in present] + sorted(present - set(ENGINES))
    place = {engine: len(rows) - 1 - i for i, engine in enumerate(rows)}
    figure = base(_HEIGHT, barmode="overlay", bargap=0)
    share = bars["busy"] / (bars["end"] - bars["start"])
    bottom = bars["engine"].map(place) - _ROW / 2 + _ROW * bars["below"]
    for stage in [*STAGES, *sorted(set(bars["stage"]) - set(STAGES))]:
        part = bars[bars["stage"] == stage]
        if part.empty:
            continue
        tall = _ROW * share[part.index]
        figure.add_bar(
            orientation="h",
            base=part["start"].tolist(),
            x=(part["end"] - part["start"]).tolist(),
            y=(bottom[part.index] + tall / 2).tolist(),
            width=tall.tolist(),
            name=STAGES[stage][1] if stage in STAGES else stage,
            marker={"color": stage_colour(stage), "line": {"width": 0}},
            text=[
                f"<b>{escape(str(row['label']))}</b> on {row['engine']}<br>cycles {row['start']:,} to {row['end']:,}<br>"
                f"{row['commands']:,} commands, busy {row['busy'] / (row['end'] - row['start']):.0%}"
                for row in part.to_dict("records")
            ],
            textposition="none",
            hovertemplate="%{text}<extra></extra>",
        )
    figure.update_layout(
        xaxis={"title": {"text": "cycle of the run"}, "range": list(window), "exponentformat": "SI"},
        yaxis={
            "tickmode": "array",
            "tickvals": [place[engine] for engine in rows],
            "ticktext": rows,
            "range": [-0.6, len(rows) - 0.4],
            "ticks": "",
            "showgrid": False,
            "title": {"text": "engine"},
        },
    )
    return figure


def timeline_plots(detail: Detail) -> list[Plot]:
    """Overview and zoom, or one sentence where no events were recorded."""
    title = f"Engine timeline: {detail.name}"
    if detail.timeline.empty or not {"op", "stage"} <= set(detail.table.columns):
        why = f"No events were recorded for {detail.name}, so there is no timeline."
        return [missing("timeline", title, why)]
    stages = dict(zip(detail.table["op"].astype(str), detail.table["stage"].astype(str), strict=True))
    span = (0, max(int(detail.timeline["end"].max()), cycles_of(detail)))
    whole = thin(detail.timeline, stages, window=span)
    low, high, op = window_of(detail.timeline, detail.table)
    part = thin(detail.timeline, stages, window=(low, high))
    busy = whole.bars.groupby("engine")["busy"].sum()
    note = "A bar's height is the share of its time in which the engine was busy, so that areas add up to busy cycles."
    overview = (
        f"{busy.idxmax()} is busiest, {busy.max() / span[1]:.0%} of {compact(span[1])} cycles. "
        f"{len(detail.timeline):,} commands, {len(whole.bars):,} bars: {whole.rule}. {note}"
    )
    waited = detail.table.loc[detail.table["op"] == op]
    waits = {
        str(name).removeprefix("stall_"): int(waited[name].sum()) for name in waited.columns if str(name).startswith("stall_")
    }
    cause = max(waits, key=lambda name: waits[name]) if waits else ""
    why = (
        f"The array waits longest before the commands of {op}: {compact(sum(waits.values()))} cycles, "
        f"most for {cause} ({compact(waits[cause])})."
        if any(waits.values())
        else f"The window shows {op}."
    )
    zoomed = f"{why} Cycles {low:,} to {high:,}, {int(part.bars['commands'].sum()):,} commands; {part.rule}."
    return [
        _plot("timeline", f"{title}, whole run", overview, _gantt(whole, span)),
        _plot("timeline-zoom", f"{title}, around {op}", zoomed, _gantt(part, (low, high))),
    ]


def _plot(name: str, title: str, caption: str, figure: go.Figure) -> Plot:
    return Plot(name=name, title=title, caption=caption, figure=figure, height=_HEIGHT, legend=legend_of(figure))
