"""How much each axis of the sweep moves the first objective: one small strip plot per axis, the strongest first."""

# pyright: basic
import math
from html import escape

import pandas as pd

from reports.inputs import ReportInputs
from reports.palette import INK, method_style
from reports.style import Plot, base, is_wide_range, missing
from reports.values import axis_title, label_of, quantity, ratio, setting, short_name

__all__ = ["axis_effect", "axis_plots"]

_MOST_VALUES = 24


def _ordered(axis: str, values: pd.Series) -> list[str]:
    """Values as shown, in numeric order where they are numbers; dense first among methods."""
    known: dict[str, tuple] = {}
    for value in values:
        shown = setting(axis, value)
        numeric = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        known[shown] = (0, float(value), "") if numeric else (1, 0.0 if shown == "dense" else 1.0, shown)
    return sorted(known, key=lambda shown: known[shown])


def axis_effect(values: pd.Series, shown: pd.Series) -> float:
    """The greatest median over the least, by value of an axis; NaN where there are not two groups."""
    medians = values.groupby(shown).median().dropna()
    return float(medians.max() / medians.min()) if len(medians) > 1 and medians.min() > 0 else math.nan


def axis_plots(inputs: ReportInputs) -> tuple[str, list[Plot]]:
    """A sentence over all axes, and the plots."""
    column, direction = inputs.objectives[0]
    rows = inputs.ok
    if column not in rows.columns or rows[column].dropna().empty:
        return f"No point has a value for {label_of(column).lower()}, so there are no effects to show.", []
    rows = rows.dropna(subset=[column])
    values, title = rows[column] * quantity(column).scale, axis_title(column)
    relative = "workload" in rows.columns and rows["workload"].nunique() > 1
    if relative:
        values = values / values.groupby(rows["workload"]).transform("median")
        title = f"{label_of(column)} / its network's median"
    axes = [axis for axis in inputs.axes if rows[axis].map(lambda v, a=axis: setting(a, v)).nunique() > 1 and not (relative and axis == "workload")]
    if not axes:
        return "No axis takes more than one value among the points that ran.", []
    effects = {axis: axis_effect(values, rows[axis].map(lambda v, a=axis: setting(a, v))) for axis in axes}
    axes.sort(key=lambda axis: -effects[axis] if effects[axis] == effects[axis] else 0)
    wide = is_wide_range(values)
    top, bottom = float(values.max()), float(values.min())
    limits = [math.log10(bottom) - 0.05, math.log10(top) + 0.05] if wide else [min(0.0, bottom), top * 1.06]
    plots = [_strip(inputs, axis, rows, values, title, limits, wide, direction, i) for i, axis in enumerate(axes)]
    ranked = [f"{short_name(axis)} {ratio(effects[axis])}" for axis in axes if effects[axis] == effects[axis]]
    text = f"Medians of {title} from one end of an axis to the other, over all other settings: {', '.join(ranked)}."
    if relative:
        text += " Networks differ in their work, so that each point is shown relative to its network."
    return text, plots


def _strip(
    inputs: ReportInputs, axis: str, rows: pd.DataFrame, values: pd.Series, title: str, limits: list[float], wide: bool, direction: str, i: int
) -> Plot:
    name = short_name(axis)
    shown = rows[axis].map(lambda value: setting(axis, value))
    order = _ordered(axis, rows[axis])
    if len(order) > _MOST_VALUES:
        return missing(f"axis-{i}", name, f"{name} takes {len(order)} values, too many for a strip plot.")
    styles = method_style(inputs.frame["method"].dropna().astype(str)) if axis == "method" else {}
    height = 300
    figure = base(height, showlegend=False)
    for value in order:
        part = values[shown == value]
        colour = styles.get(value, ("#0072B2", ""))[0]
        figure.add_box(
            y=part.tolist(),
            x=[escape(value)] * len(part),
            boxpoints="all",
            jitter=0.6,
            pointpos=0,
            marker={"color": colour, "size": 4, "opacity": 0.5},
            line={"color": INK, "width": 1},
            fillcolor="rgba(0,0,0,0.04)",
            hoverinfo="y",
            width=0.6,
        )
    figure.update_layout(
        xaxis={"title": {"text": escape(name)}, "type": "category", "categoryorder": "array", "categoryarray": [escape(v) for v in order], "showgrid": False},
        yaxis={"title": {"text": title}, "range": limits} | ({"type": "log", "dtick": 1} if wide else {}),
    )
    medians = values.groupby(shown).median()
    best, worst = (medians.idxmin(), medians.idxmax()) if direction == "min" else (medians.idxmax(), medians.idxmin())
    factor = ratio(max(medians.max(), 0) / medians.min()) if medians.min() > 0 else "–"
    caption = f"Best median at {best}, worst at {worst}: a factor of {factor}." if best != worst else "Medians do not differ."
    return Plot(name=f"axis-{i}", title=f"{name}", caption=caption, figure=figure, height=height)
