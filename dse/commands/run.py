"""`dse run`: one training step on one accelerator."""

import json
from pathlib import Path
from typing import Annotated

import typer

from dse.advice import advised
from dse.commands.options import (
    AcceleratorArg,
    AsJson,
    Batch,
    DataflowOption,
    Fit,
    Method,
    Set,
    WorkloadArg,
    check_writable,
    out,
    positive,
    settings_from,
    typed,
    write_text,
)
from dse.config import ConfigError
from dse.evaluate import Run, evaluate
from dse.export import run_as_json, trace_events
from dse.point import make_point
from dse.render import print_run
from simulator.schedule import Unsupported

__all__ = ["run_command"]


def run_command(
    context: typer.Context,
    accelerator: AcceleratorArg,
    workload: WorkloadArg = "",
    method: Method = "dense",
    batch: Batch = 1,
    dataflow: DataflowOption = "best",
    changes: Set = None,
    fit: Fit = "",
    fidelity: Annotated[str, typer.Option(help="event: every command on the event-driven machine.")] = "event",
    as_json: AsJson = False,
    top: Annotated[int, typer.Option(parser=positive, metavar="N", help="Rows of the operation table.")] = 25,
    everything: Annotated[bool, typer.Option("--all", help="All operations.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write the operation table here.")] = None,
    timeline: Annotated[Path | None, typer.Option(help="Write an event trace here, for chrome://tracing or Perfetto.")] = None,
    baseline: Annotated[bool, typer.Option(help="Also run dense, for the speed-up.")] = True,
) -> None:
    """Run one training step on one accelerator, and say where its time goes.

    Example: `dse run sat-vcu1525 resnet18 --method bdwp:2:8 --batch 16 --set pe.accumulate_latency=6`
    """
    if fidelity != "event":
        raise ConfigError(f"Option '--fidelity' must be event, not {fidelity!r}")
    options = {"workload": workload, "method": method, "batch": batch, "mapping.dataflow": dataflow}
    options |= {"fit": fit} if fit else {}
    settings = settings_from(accelerator, options, changes, typed={n for n in options if typed(context, n.rpartition(".")[2])})
    point = make_point(settings)
    if csv is not None and timeline is not None and csv.resolve() == timeline.resolve():
        raise ConfigError(f"Options '--csv' and '--timeline' must name two files, not {str(csv)!r} both")
    check_writable(csv, timeline)
    done = evaluate(point, record_events=timeline is not None)
    if isinstance(done, Unsupported):
        raise ConfigError(advised(f"Point can't run {point.workload!r}: {done}", done.constraint))
    dense: Run | None = None
    if baseline and point.method != "dense":
        other = evaluate(make_point(settings | {"method": "dense"}))
        dense = other if isinstance(other, Run) else None
    if csv is not None:
        write_text(csv, done.table.to_csv(index=False))
    if timeline is not None:
        write_text(timeline, json.dumps(trace_events(done)))
    if as_json:
        typer.echo(json.dumps(run_as_json(done, dense, settings), indent=1))
        return
    print_run(out, done, dense, top=0 if everything else top)
    written = [str(path) for path in (csv, timeline) if path is not None]
    if written:
        out.print(f"wrote {', '.join(written)}", highlight=False)
