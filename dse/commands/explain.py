"""`dse explain`: why one point beats another."""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from dse.commands.options import (
    AsJson,
    Batch,
    DataflowOption,
    Fit,
    Method,
    Set,
    WorkloadArg,
    out,
    positive,
    settings_from,
    status,
    typed,
)
from dse.config import ConfigError, parse_value
from dse.evaluate import Run, evaluate
from dse.explain import explain
from dse.point import Point, make_point
from dse.render_explain import print_explanation
from simulator.schedule import Unsupported

__all__ = ["explain_command"]

_OPTIONS = {"workload": "workload", "method": "method", "batch": "batch", "dataflow": "mapping.dataflow", "fit": "fit"}

_ONE = "Change a field of {} alone, as with --set; also `method=`, `batch=`, `workload=`, `dataflow=`, `fit=`. Repeatable."


def explain_command(
    context: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="A preset, a .toml file, or a point of a sweep: `out/sweep#117`.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Likewise: the point to compare with A.")],
    workload: WorkloadArg = "",
    method: Method = "dense",
    batch: Batch = 1,
    dataflow: DataflowOption = "best",
    changes: Set = None,
    changes_a: Annotated[list[str] | None, typer.Option("--set-a", help=_ONE.format("A"))] = None,
    changes_b: Annotated[list[str] | None, typer.Option("--set-b", help=_ONE.format("B"))] = None,
    fit: Fit = "",
    as_json: AsJson = False,
    top: Annotated[int, typer.Option(parser=positive, metavar="N", help="Rows of the tables of layers and settings.")] = 10,
    everything: Annotated[bool, typer.Option("--all", help="All layers and settings.")] = False,
) -> None:
    """Say why one point beats another: stage by stage, layer by layer, and by what the array did; the parts add up exactly.

    Options are for both points. Two methods on one machine: `dse explain sat-vcu1525 sat-vcu1525 resnet18 --set-b
    method=bdwp:2:8`. Example: `dse explain out/resnet18#0 out/resnet18#117`
    """
    options = {"workload": workload, "method": method, "batch": batch, "mapping.dataflow": dataflow}
    options |= {"fit": fit} if fit else {}
    given = {setting for name, setting in _OPTIONS.items() if typed(context, name)}
    points = [
        _point(source, options, [*(changes or ()), *(own or ())], given) for source, own in ((a, changes_a), (b, changes_b))
    ]
    runs: list[Run] = []
    for name, source, point in zip("AB", (a, b), points, strict=True):
        with status(f"running {name}"):
            runs.append(runs[0] if runs and point == points[0] else _run(name, source, point))
    found = explain(*runs)
    if as_json:
        typer.echo(json.dumps({"points": [a, b], **found.as_json()}, indent=1))
        return
    print_explanation(out, found, (a, b), top=0 if everything else top)


def _point(source: str, options: Mapping[str, Any], changes: Iterable[str], given: Iterable[str]) -> Point:
    """A point from its argument, the options for both and its own changes, some of which are options."""
    own: dict[str, Any] = {}
    fields: list[str] = []
    for change in changes:
        name, equals, value = change.partition("=")
        if equals and name in _OPTIONS:
            own[_OPTIONS[name]] = parse_value(value)
        else:
            fields.append(change)
    return make_point(settings_from(source, {**options, **own}, fields, typed={*given, *own}))


def _run(name: str, source: str, point: Point) -> Run:
    done = evaluate(point)
    if isinstance(done, Unsupported):
        raise ConfigError(f"Point {name} ({source!r}) can't run {point.workload!r}: {done}")
    return done
