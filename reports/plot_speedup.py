"""Bars of each method's speed-up over dense training on the same machine, with the MAC bound as a tick."""

# pyright: basic
import math
from html import escape

from reports.inputs import ReportInputs
from reports.palette import INK, method_style, text_on
from reports.speedup import paired_speedups, speedup_summary
from reports.style import Plot, base, missing
from reports.values import ratio

__all__ = ["speedup_plot"]

_TITLE = "Speed-up over dense training on the same machine"


def speedup_plot(inputs: ReportInputs) -> Plot:
    pairs = paired_speedups(inputs.frame)
    if pairs.empty:
        return missing("speedup", _TITLE, "No sparse method ran in this sweep, so there is no speed-up to show.")
    summary = speedup_summary(pairs)
    lonely = int(pairs["speedup"].isna().sum())
    if summary.empty:
        why = (
            f"None of the {lonely} points with a sparse method has a dense partner with the same other settings. "
            "Add dense to the methods of the sweep."
        )
        return missing("speedup", _TITLE, why)
    networks = sorted(set(summary["workload"]))
    several = len(networks) > 1
    styles = method_style(inputs.frame["method"].dropna().astype(str))
    names = [escape(str(name)) for name in summary["method"]]
    x = [[escape(str(name)) for name in summary["workload"]], names] if several else names
    height = 380
    figure = base(height)
    figure.add_bar(
        x=x,
        y=list(summary["median"]),
        marker={"color": [styles[name][0] for name in summary["method"]]},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": list(summary["greatest"] - summary["median"]),
            "arrayminus": list(summary["median"] - summary["least"]),
            "color": INK,
            "thickness": 1.2,
            "width": 5,
        },
        text=[ratio(value) for value in summary["median"]],
        textposition="inside",
        insidetextanchor="start",
        textangle=0,
        textfont={"color": [text_on(styles[name][0]) for name in summary["method"]], "size": 12},
        constraintext="none",
        customdata=summary[["least", "greatest", "pairs", "bound"]].to_numpy().tolist(),
        hovertemplate="%{x}<br>median %{y:.2f}x, %{customdata[0]:.2f}x to %{customdata[1]:.2f}x over %{customdata[2]} pairs<br>"
        "MAC bound %{customdata[3]:.2f}x<extra></extra>",
        name="median, least to greatest",
        showlegend=False,
    )
    bounded = [value if value == value else None for value in summary["bound"]]
    figure.add_scatter(
        x=x,
        y=bounded,
        mode="markers",
        marker={"symbol": "line-ew", "size": 46 if len(summary) <= 12 else 18, "line": {"width": 3, "color": "#D55E00"}},
        name="MAC bound (dense MACs / effective MACs)",
        hovertemplate="MAC bound %{y:.2f}x<extra></extra>",
    )
    figure.add_hline(y=1, line={"color": "#777777", "width": 1, "dash": "dot"})
    top = max([*summary["greatest"], *[value for value in bounded if value]])
    figure.update_layout(
        xaxis={"title": {"text": "network and method" if several else f"method, {escape(networks[0])}"}, "showgrid": False},
        yaxis={"title": {"text": "speed-up over dense (x, cycles / cycles)"}, "range": [0, top * 1.08]},
        bargap=0.45,
    )
    best = summary.sort_values("median").iloc[-1]
    caption = f"Best: {best['method']}"
    caption += f" on {best['workload']}" if several else ""
    caption += f", {ratio(best['median'])} in the median of {best['pairs']} pair{'' if best['pairs'] == 1 else 's'} "
    caption += f"({ratio(best['least'])} to {ratio(best['greatest'])})"
    if not math.isnan(best["bound"]):
        caption += f", against a bound of {ratio(best['bound'])} by counting MACs alone"
    caption += (
        ". Bars are medians, whiskers least to greatest over the sweep's other axes; each pair differs in the method only."
    )
    if lonely:
        caption += f" {lonely} points have no dense partner and are left out."
    return Plot(name="speedup", title=_TITLE, caption=caption, figure=figure, height=height)
