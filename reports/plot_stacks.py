"""Stacked bars of where the cycles of the detail points went: by stage, by what the array did, and by engine."""

# pyright: basic
from collections.abc import Callable, Iterable
from html import escape

import plotly.graph_objects as go

from reports.inputs import Detail, ReportInputs
from reports.palette import CAUSES, ENGINES, STAGES, cause_colour, cause_name, cause_phrase, stage_colour, text_on
from reports.stacks import by_cause, by_stage, cycles_of, engine_rows
from reports.style import Plot, base, legend_of, missing
from reports.values import compact

__all__ = ["cause_plot", "engine_plot", "stage_plot"]

_BUSY = "#0072B2"


def _stacked(
    bars: dict[str, dict[str, int]],
    names: Iterable[str],
    colour: Callable[[str], str],
    called: Callable[[str], str],
    height: int,
) -> go.Figure:
    """Horizontal stacks, the first bar on top; `bars` gives the cycles of each part by bar, `names` the order of parts."""
    parts = list(dict.fromkeys(part for bar in bars.values() for part in bar))
    order = list(dict.fromkeys(["busy", *names]))
    parts.sort(key=lambda part: order.index(part) if part in order else len(order))
    figure = base(height, barmode="stack", bargap=0.35)
    for part in parts:
        shares = [100 * bar.get(part, 0) / max(1, sum(bar.values())) for bar in bars.values()]
        figure.add_bar(
            orientation="h",
            y=[escape(name) for name in bars],
            x=[bar.get(part, 0) for bar in bars.values()],
            name=called(part),
            marker={"color": colour(part), "line": {"color": "white", "width": 0.7}},
            text=[f"{share:.0f}%" if share >= 4 else "" for share in shares],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"color": text_on(colour(part)), "size": 11},
            customdata=[[share] for share in shares],
            hovertemplate="%{y}<br>" + called(part) + ": %{x:,} cycles, %{customdata[0]:.1f}%<extra></extra>",
        )
    figure.update_layout(
        xaxis={"title": {"text": "cycles per training step"}},
        yaxis={"autorange": "reversed", "showgrid": False, "ticks": ""},
    )
    return figure


def _stage_name(stage: str) -> str:
    return STAGES[stage][1] if stage in STAGES else stage


def stage_plot(inputs: ReportInputs) -> Plot:
    title = "Cycles by stage of the training step"
    bars = {detail.name: split for detail in inputs.details if (split := by_stage(detail))}
    if not bars:
        return missing("stages", title, "No point was looked at in detail, so its cycles can't be split by stage.")
    largest = {name: max(split, key=lambda stage: split[stage]) for name, split in bars.items()}
    words = [f"{name} {stage} {bars[name][stage] / sum(bars[name].values()):.0%}" for name, stage in largest.items()]
    caption = (
        f"Largest share of the step: {'; '.join(words)}. "
        "A stage counts the cycles by which it moved the end of the run, so that stages add up to the total ("
    )
    caption += ", ".join(f"{name} {sum(split.values()):,}" for name, split in bars.items()) + " cycles)."
    height = 90 + 52 * len(bars)
    figure = _stacked(bars, STAGES, stage_colour, _stage_name, height)
    return Plot(name="stages", title=title, caption=caption, figure=figure, height=height, legend=legend_of(figure))


def cause_plot(inputs: ReportInputs) -> Plot:
    title = "What the multiplier array did with every cycle"
    bars = {detail.name: split for detail in inputs.details if (split := by_cause(detail))}
    if not bars:
        return missing("causes", title, "No point was looked at in detail, so the array's cycles can't be split by cause.")
    words: list[str] = []
    for name, split in bars.items():
        total = sum(split.values())
        losses = {cause: cycles for cause, cycles in split.items() if cause != "compute"}
        text = f"{name} computes {split.get('compute', 0) / total:.0%} of the time"
        if losses:
            worst = max(losses, key=lambda cause: losses[cause])
            text += f", loses most to {cause_phrase(worst)} ({losses[worst] / total:.0%})"
        words.append(text)
    height = 90 + 52 * len(bars)
    figure = _stacked(bars, CAUSES, cause_colour, cause_name, height)
    caption = "; ".join(words) + ". Causes add up to the run's cycles."
    return Plot(name="causes", title=title, caption=caption, figure=figure, height=height, legend=legend_of(figure))


def engine_plot(detail: Detail) -> Plot:
    title = f"Each engine's cycles by cause: {detail.name}"
    found = engine_rows(detail.engines) if "busy" in detail.engines.columns else {}
    if not found:
        return missing("engines", title, f"{detail.name} came without an account of its engines.")
    bars = {engine: found[engine] for engine in (*ENGINES, *(e for e in found if e not in ENGINES)) if engine in found}
    busiest = max(bars, key=lambda engine: bars[engine]["busy"])
    total = max(1, cycles_of(detail) or sum(bars[busiest].values()))
    caption = (
        f"Busiest: {busiest}, {bars[busiest]['busy'] / total:.0%} of {compact(total)} cycles. "
        "An engine is busy or waits, for the engine named or for the memory port, a command, "
        "or because no work is left; each bar adds up to the run."
    )
    height = 90 + 28 * len(bars)
    figure = _stacked(
        bars,
        CAUSES,
        lambda part: _BUSY if part == "busy" else cause_colour(part),
        lambda part: "busy" if part == "busy" else cause_name(part),
        height,
    )
    return Plot(name="engines", title=title, caption=caption, figure=figure, height=height, legend=legend_of(figure))
