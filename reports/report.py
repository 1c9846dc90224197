"""The report: one HTML file that needs no network, its first screen for the decision and the rest for questions."""

from dataclasses import dataclass, replace
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from reports.assumptions import counts, field_rows
from reports.infeasible import reasons
from reports.inputs import Detail, ReportInputs
from reports.plot_axes import axis_plots
from reports.plot_layers import layer_plot
from reports.plot_pareto import pareto_plots
from reports.plot_roofline import roofline_plot
from reports.plot_speedup import speedup_plot
from reports.plot_stacks import cause_plot, engine_plot, stage_plot
from reports.plot_timeline import timeline_plots
from reports.style import Plot, figure_json
from reports.summary import cards, front_table, headline, shared_settings
from reports.values import label_within, number

__all__ = ["render", "write_report"]

_TEMPLATES = Path(__file__).parent / "templates"
_SLOWEST = 15


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with a sentence, plots beside or under each other, and an anchor to link to."""

    anchor: str
    title: str
    text: str
    plots: list[Plot]
    wide: bool = True  # one plot per line; else as many as fit


def slowest(detail: Detail, most: int = _SLOWEST) -> list[dict[str, str]]:
    """The operations that took most of the run, as rows of a table."""
    needed = ["op", "stage", "dataflow", "pattern", "cycles", "utilization", "bound_by"]
    if not set(needed) <= set(detail.table.columns) or detail.table.empty:
        return []
    total = max(1, int(detail.table["cycles"].sum()))
    top = detail.table.nlargest(most, "cycles")
    return [
        {
            "operation": str(row["op"]),
            "stage": str(row["stage"]),
            "dataflow": str(row["dataflow"]),
            "pattern": str(row["pattern"]),
            "cycles": f"{row['cycles']:,}",
            "of the run (%)": number(100 * row["cycles"] / total),
            "array utilization (%)": number(100 * row["utilization"]) if row["utilization"] else "",
            "bound by": str(row["bound_by"]),
        }
        for row in top.to_dict("records")
    ]


def _distinct(details: tuple[Detail, ...]) -> tuple[Detail, ...]:
    """Each point once, under all its names: a point may be the fastest and the knee."""
    named: dict[str, list[Detail]] = {}
    for detail in details:
        named.setdefault(detail.key, []).append(detail)
    return tuple(replace(same[0], name=" and ".join(dict.fromkeys(d.name for d in same))) for same in named.values())


def _sections(inputs: ReportInputs, pareto: list[Plot]) -> list[Section]:
    found: list[Section] = []
    if len(pareto) > 1:
        found.append(Section("fronts", "More fronts", "", pareto[1:], wide=len(pareto) == 2))
    found.append(Section("methods", "What sparsity buys", "", [speedup_plot(inputs)]))
    found.append(Section("cycles", "Where the cycles go", "", [stage_plot(inputs), cause_plot(inputs)]))
    if inputs.details:
        first = inputs.details[0]
        rooflines = [roofline_plot(detail, i) for i, detail in enumerate(inputs.details)]
        recorded = next((detail for detail in inputs.details if not detail.timeline.empty), first)
        found.append(Section("layers", "Layer by layer", "", [layer_plot(first)]))
        found.append(Section("roofline", "What bounds each GEMM", "", rooflines, wide=len(rooflines) == 1))
        found.append(Section("timeline", "The engines over time", "", [*timeline_plots(recorded), engine_plot(recorded)]))
    else:
        why = "No point was looked at in detail, so there is no utilization by layer, no roofline and no timeline."
        found.append(Section("layers", "Layer by layer", why, []))
    text, plots = axis_plots(inputs)
    found.append(Section("axes", "What each axis does", text, plots, wide=False))
    return found


def render(inputs: ReportInputs) -> str:
    """The report's HTML."""
    inputs = replace(inputs, details=_distinct(inputs.details))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    pareto = pareto_plots(inputs)
    sections = _sections(inputs, pareto)
    plots = [pareto[0], *(plot for section in sections for plot in section.plots)]
    fields = field_rows(inputs.details)
    title, why = headline(inputs)
    notices = dict.fromkeys([*inputs.notices, *(f"{d.name}: {notice}" for d in inputs.details for notice in d.notices)])
    if "workload" in inputs.ok.columns and inputs.ok["workload"].nunique() > 1:
        notices["Points of different networks share one sweep: compare times and rates within a network only."] = None
    return environment.get_template("report.html").render(
        inputs=inputs,
        headline=title,
        why=why,
        cards=cards(inputs),
        shared=shared_settings(inputs),
        objectives=[
            (label_within(column), "less" if direction == "min" else "more") for column, direction in inputs.objectives
        ],
        counts=inputs.statuses,
        total=f"{sum(inputs.statuses.values()):,}",
        pareto=pareto[0],
        front=front_table(inputs),
        sections=sections,
        slowest=slowest(inputs.details[0]) if inputs.details else [],
        reasons=reasons(inputs),
        fields=fields,
        field_counts=counts(fields),
        notices=list(notices),
        machines=_machines(inputs.frame),
        figures={plot.name: Markup(figure_json(plot.figure)) for plot in plots if plot.figure is not None},
        plotly_js=Markup(get_plotlyjs()),
    )


def _breakable(name: str) -> Markup:
    """A dotted name that may be broken over lines after its separators."""
    return Markup(escape(name).replace(".", Markup(".<wbr>")).replace("_", Markup("_<wbr>")))


def _machines(frame: pd.DataFrame) -> int:
    return int(frame["digest"].nunique()) if "digest" in frame.columns else 0


def write_report(inputs: ReportInputs, path: Path) -> None:
    """Write the report to `path`, whose folder is made where it lacks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(inputs), encoding="utf-8")
