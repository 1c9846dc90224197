"""Per-layer utilization of the multipliers, bars grouped by stage."""

# pyright: basic
from html import escape

import pandas as pd

from reports.inputs import Detail
from reports.palette import STAGES, stage_colour
from reports.style import Plot, base, legend_of, missing

__all__ = ["layer_plot", "layer_utilization"]

_GEMMS = ("ff", "bp", "wu", "aa")
_MOST = 60


def layer_utilization(detail: Detail) -> pd.DataFrame:
    """A row per layer and stage in program order: multiplications done, of those possible while the array was busy."""
    columns = ["layer", "stage", "macs", "array_busy", "utilization"]
    multipliers = detail.metrics.get("multipliers")
    if not {"layer", "stage", "macs", "array_busy"} <= set(detail.table.columns) or not multipliers:
        return pd.DataFrame(columns=columns)
    gemms = detail.table[detail.table["stage"].isin(_GEMMS)]
    sums = gemms.groupby(["layer", "stage"], sort=False)[["macs", "array_busy"]].sum().reset_index()
    sums = sums[sums["array_busy"] > 0]
    return sums.assign(utilization=sums["macs"] / (sums["array_busy"] * float(multipliers)))[columns]  # type: ignore[arg-type]


def layer_plot(detail: Detail) -> Plot:
    title = f"Multiplier utilization by layer: {detail.name}"
    rows = layer_utilization(detail)
    if rows.empty:
        return missing(
            "layers", title, f"{detail.name} came without a table of its GEMMs, so there is no utilization by layer."
        )
    layers = list(dict.fromkeys(rows["layer"]))
    cut = ""
    if len(layers) > _MOST:
        busiest = set(rows.groupby("layer")["array_busy"].sum().nlargest(_MOST).index)
        cut = f" Of {len(layers)} layers, the {_MOST} that keep the array busy longest are drawn."
        layers = [layer for layer in layers if layer in busiest]
    height = 400
    figure = base(height, barmode="group", bargap=0.2)
    for stage in _GEMMS:
        part = rows[(rows["stage"] == stage) & rows["layer"].isin(layers)]
        if part.empty:
            continue
        figure.add_bar(
            x=[escape(str(name)) for name in part["layer"]],
            y=[100 * value for value in part["utilization"]],
            name=STAGES[stage][1],
            marker={"color": stage_colour(stage)},
            customdata=part[["macs", "array_busy"]].to_numpy().tolist(),
            hovertemplate="%{x} "
            + stage
            + "<br>%{y:.1f}%<br>%{customdata[0]:,} effective MACs in %{customdata[1]:,} array cycles<extra></extra>",
        )
    mean = rows["macs"].sum() / (rows["array_busy"].sum() * float(detail.metrics["multipliers"]))  # type: ignore[arg-type]
    figure.add_hline(y=100 * mean, line={"color": "#333333", "width": 1, "dash": "dot"})
    figure.update_layout(
        xaxis={
            "title": {"text": "layer, in program order"},
            "categoryorder": "array",
            "categoryarray": [escape(str(name)) for name in layers],
            "tickangle": -60 if len(layers) > 6 else 0,
            "dtick": 1,
            "showgrid": False,
            "tickfont": {"size": 10},
        },
        yaxis={"title": {"text": "effective MACs / possible MACs (%)"}, "range": [0, 105]},
    )
    # the layer that wastes most multiplier cycles matters more than the one with the lowest ratio
    waste = (rows["array_busy"] * (1 - rows["utilization"])).groupby([rows["layer"], rows["stage"]]).sum()
    layer, stage = waste.idxmax()
    value = rows[(rows["layer"] == layer) & (rows["stage"] == stage)]["utilization"].iloc[0]
    caption = (
        f"While the array is busy, {mean:.1%} of its multipliers do kept work (dotted line). "
        f"{layer} {stage} idles most multiplier cycles: "
        f"{value:.0%} used, {waste.max() / waste.sum():.0%} of all that are lost within GEMMs.{cut}"
    )
    return Plot(name="layers", title=title, caption=caption, figure=figure, height=height, legend=legend_of(figure))
