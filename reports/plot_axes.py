"""How much each axis of the sweep moves the first objective: one small strip plot per axis, the strongest first."""

# pyright: basic
import math
from dataclasses import dataclass
from html import escape

import pandas as pd

from reports.effects import changed_alone, median_factor
from reports.inputs import ReportInputs, setting_columns
from reports.palette import INK, method_style, natural
from reports.style import Plot, base, is_wide_range, missing
from reports.values import axis_title, label_of, label_within, quantity, ratio, setting, short_name

__all__ = ["axis_plots"]

_MOST_VALUES = 24


def _ordered(axis: str, values: pd.Series) -> list[str]:
    """Values as shown, in numeric order where they are numbers; dense first among methods."""
    known: dict[str, tuple] = {}
    for value in values:
        shown = setting(axis, value)
        numeric = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        known[shown] = (0, float(value)) if numeric else (1, natural(shown))
    return sorted(known, key=lambda shown: known[shown])


@dataclass(frozen=True, slots=True)
class _Axis:
    """An axis among the points that ran: its values as shown, in order, and what it does to the objective."""

    column: str
    groups: pd.Series
    order: list[str]
    best: str
    worst: str
    factor: float  # between medians
    alone: float  # from worst to best, all other settings equal
    pairs: int

    @property
    def strength(self) -> float:
        factor = self.alone if self.pairs else self.factor
        return max(factor, 1 / factor) if factor > 0 else 1.0


def _studied(column: str, rows: pd.DataFrame, values: pd.Series, direction: str) -> _Axis:
    groups = rows[column].map(lambda value: setting(column, value))
    medians = values.groupby(groups).median()
    least, most = str(medians.idxmin()), str(medians.idxmax())
    best, worst = (least, most) if direction == "min" else (most, least)
    others = [name for name in setting_columns(rows) if name != column]
    alone, pairs = changed_alone(rows, values, groups, (worst, best), others)
    return _Axis(column, groups, _ordered(column, rows[column]), best, worst, median_factor(values, groups), alone, pairs)


def _sentence(axis: _Axis) -> str:
    if axis.best == axis.worst:
        return "Medians do not differ."
    text = f"Best median at {axis.best}, worst at {axis.worst}, {ratio(axis.factor)} apart. "
    if not axis.pairs:
        return text + "No two points differ in this axis alone between them."
    pairs = f"{axis.pairs} pair{'' if axis.pairs == 1 else 's'}"
    return text + f"Changed alone from {axis.worst} to {axis.best}: {ratio(axis.alone)} (median of {pairs})."


def axis_plots(inputs: ReportInputs) -> tuple[str, list[Plot]]:
    """A sentence over all axes, and the plots."""
    column, direction = inputs.objectives[0]
    rows = inputs.ok
    if column not in rows.columns or rows[column].dropna().empty:
        return f"No point has a value for {label_within(column)}, so there are no effects to show.", []
    rows = rows.dropna(subset=[column])
    values, title = rows[column] * quantity(column).scale, axis_title(column)
    relative = "workload" in rows.columns and rows["workload"].nunique() > 1
    if relative:
        values = values / values.groupby(rows["workload"]).transform("median")
        title = f"{label_of(column)} / network median"
    several = [name for name in inputs.axes if len({setting(name, value) for value in rows[name]}) > 1]
    axes = [_studied(name, rows, values, direction) for name in several if not (relative and name == "workload")]
    if not axes:
        return "No axis takes more than one value among the points that ran.", []
    axes.sort(key=lambda axis: -axis.strength)
    wide = is_wide_range(values)
    top, bottom = float(values.max()), float(values.min())
    limits = [math.log10(bottom) - 0.05, math.log10(top) + 0.05] if wide else [min(0.0, bottom), top * 1.06]
    plots = [
        _strip(
            inputs, axis, values, {"title": {"text": title}, "range": limits} | ({"type": "log", "dtick": 1} if wide else {}), i
        )
        for i, axis in enumerate(axes)
    ]
    ranked = [f"{short_name(axis.column)} {ratio(axis.strength)}" for axis in axes]
    text = (
        f"How far each axis moves the {label_within(column)} when it alone changes from its worst to its best value, "
        f"strongest first: {', '.join(ranked)}."
    )
    if any(not axis.pairs for axis in axes):
        text += " Where the sweep has no such pairs, the factor is between medians."
    if relative:
        text += " Networks differ in their work, so that each point is shown relative to its network."
    return text, plots


def _strip(inputs: ReportInputs, axis: _Axis, values: pd.Series, y_axis: dict, i: int) -> Plot:
    name = short_name(axis.column)
    if len(axis.order) > _MOST_VALUES:
        return missing(
            f"axis-{i}", name, f"{name} takes {len(axis.order)} values, too many for a strip plot. {_sentence(axis)}"
        )
    styles = method_style(inputs.frame["method"].dropna().astype(str)) if axis.column == "method" else {}
    height = 300
    figure = base(height, showlegend=False)
    for value in axis.order:
        part = values[axis.groups == value]
        figure.add_box(
            y=part.tolist(),
            x=[escape(value)] * len(part),
            boxpoints="all",
            jitter=0.6,
            pointpos=0,
            marker={"color": styles.get(value, ("#0072B2", ""))[0], "size": 4, "opacity": 0.5},
            line={"color": INK, "width": 1},
            fillcolor="rgba(0,0,0,0.04)",
            hoverinfo="y",
            width=0.6,
        )
    x_axis = {"title": {"text": escape(name)}, "type": "category", "categoryorder": "array", "showgrid": False}
    figure.update_layout(xaxis=x_axis | {"categoryarray": [escape(value) for value in axis.order]}, yaxis=y_axis)
    return Plot(name=f"axis-{i}", title=name, caption=_sentence(axis), figure=figure, height=height)
