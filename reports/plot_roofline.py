"""A roofline per detail point: each GEMM a dot under the memory port's and the multipliers' roofs."""

# pyright: basic
from html import escape
from math import log10

from reports.inputs import Detail
from reports.palette import INK, stage_colour
from reports.roofline import gemm_dots, roof_of
from reports.style import Plot, base, missing
from reports.values import compact, number

__all__ = ["roofline_plot"]


def _sparse_peaks(patterns: list[str]) -> list[tuple[str, float]]:
    """Dense MACs per multiplication done, by N:M pattern."""
    found: dict[str, float] = {}
    for pattern in patterns:
        keep, colon, group = pattern.partition(":")
        if colon and keep.isdecimal() and group.isdecimal() and int(keep):
            found[pattern] = int(group) / int(keep)
    return sorted(found.items(), key=lambda item: item[1])


def roofline_plot(detail: Detail, number_of_plot: int = 0) -> Plot:
    name, title = f"roofline-{number_of_plot}", f"Roofline: {detail.name}"
    roof, dots = roof_of(detail), gemm_dots(detail)
    if roof is None or dots.empty:
        return missing(name, title, f"{detail.name} came without the machine's peak rates or without GEMMs that use memory.")
    low, high = dots["intensity"].min(), dots["intensity"].max()
    left, right = min(low / 1.5, roof.ridge / 10), max(high, roof.ridge) * 3
    height = 400
    figure = base(height)
    xs = [left, roof.ridge, right]
    figure.add_scatter(
        x=xs,
        y=[roof.at(x) for x in xs],
        mode="lines",
        line={"color": INK, "width": 2},
        name="roof",
        hoverinfo="skip",
        showlegend=False,
    )
    for stage in ("ff", "bp", "wu", "aa"):
        part = dots[dots["stage"] == stage]
        if part.empty:
            continue
        figure.add_scatter(
            x=list(part["intensity"]),
            y=list(part["gops"]),
            mode="markers",
            name=stage,
            marker={"color": stage_colour(stage), "size": 8, "opacity": 0.8, "line": {"color": "white", "width": 0.5}},
            text=[
                f"<b>{escape(str(row['op']))}</b> {escape(str(row['dataflow']))} {escape(str(row['pattern']))}<br>"
                f"{number(row['gops'])} GOPS effective = {number(row['dense_gops'])} GOPS dense-equivalent<br>"
                f"{number(row['intensity'])} effective MACs per DRAM byte<br>{row['cycles']:,} cycles under way"
                for row in dots.loc[part.index].to_dict("records")
            ],
            hovertemplate="%{text}<extra></extra>",
        )
    equals = [
        f"= {number(roof.peak_gops * gain)} dense-equivalent at {pattern}"
        for pattern, gain in _sparse_peaks(sorted(set(dots["pattern"])))
    ]
    notes = [
        (log10(right), roof.peak_gops, "<br>".join([f"peak {number(roof.peak_gops)} GOPS", *equals]), "right", "bottom"),
        (log10(left), roof.peak_gops, f"{number(roof.gigabytes_per_second)} GB/s", "left", "top"),
    ]
    bottom = min(dots["gops"].min(), roof.at(left)) / 2
    figure.update_layout(
        xaxis={
            "type": "log",
            "title": {"text": "effective MACs per DRAM byte"},
            "range": [log10(left), log10(right)],
            "dtick": 1,
        },
        yaxis={
            "type": "log",
            "title": {"text": "effective GOPS (2 x MACs / s)"},
            "range": [log10(bottom), log10(roof.peak_gops) + 0.2 + 0.12 * len(notes) + 0.1 * len(equals)],
            "dtick": 1,
        },
        annotations=[
            {
                "x": x,
                "y": log10(y),
                "text": text,
                "xanchor": anchor,
                "yanchor": base_,
                "align": anchor,
                "showarrow": False,
                "yshift": 3 if base_ == "bottom" else 0,
                "font": {"size": 11},
            }
            for x, y, text, anchor, base_ in notes
        ],
    )
    memory = int((dots["intensity"] < roof.ridge).sum())
    share = (dots["gops"] / dots["intensity"].map(roof.at)).median()
    caption = (
        f"{memory} of {len(dots)} GEMMs lie left of the ridge ({number(roof.ridge)} MACs/byte), where memory binds; "
        f"the median GEMM reaches {share:.0%} of its roof. A dot's time runs from its first to its last cycle on any engine "
        f"({compact(dots['cycles'].median())} cycles in the median) and overlaps its neighbours'."
    )
    return Plot(name=name, title=title, caption=caption, figure=figure, height=height)
