"""`dse sweep`, `dse pareto`, `dse report`: evaluate a space, and look at what came out."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dse.commands.options import err, out, status
from dse.folder import SweepFolder, command_line
from dse.pareto import candidates, front_of
from dse.render import print_front
from dse.space import GRID_LIMIT, Objective, Space, read_space
from dse.store import Store
from dse.sweep import Progress as SweepProgress
from dse.sweep import run_sweep, sweep_frame

__all__ = ["pareto_command", "report_command", "sweep_command"]


def sweep_command(
    space: Annotated[str, typer.Argument(help="A .toml file, or a shipped space (`dse list`).")],
    folder: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for store, tables and report [out/NAME].")] = None,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=0, help="Worker processes; 0: one per core.")] = 0,
    points: Annotated[int | None, typer.Option(help="Sample so many points at random instead of the grid.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the sample.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Points that a grid may have.")] = GRID_LIMIT,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress bar.")] = False,
    report: Annotated[bool, typer.Option(help="Write the HTML report.")] = True,
) -> None:
    """Evaluate a space of design points; print the Pareto front; write tables and a report.

    Stop it whenever you like: the same command continues where it stopped. Example: `dse sweep resnet18 -o out/resnet18`
    """
    swept = read_space(space, samples=points, seed=seed, limit=limit)
    target = SweepFolder(folder or Path("out") / Path(space).stem)
    target.create()
    target.save_space(swept, command_line())
    workers = jobs or os.cpu_count() or 1
    out.print(f"[bold]{swept.title}[/]: {len(swept):,} points, {workers} workers, results in {target.path}", highlight=False)
    done = 0
    with Store(target.store) as store:
        try:
            for done in _watch(swept, store, workers, quiet=quiet):
                pass
            _summary(target, swept, store, command_line(), report=report)
        except KeyboardInterrupt:
            _say(f"\nstopped; {done:,} of {len(swept):,} points are safe in {target.store}")
            _say(f"continue with: {command_line()}")
            raise
    objective = space.objectives[0]
    best: list[float] = []
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("{task.fields[best]}"),
    )
    with Progress(*columns, console=err, disable=quiet or not err.is_terminal) as bar:
        task = bar.add_task("points", total=len(space), rate="", best="")

        def report(state: SweepProgress) -> None:
            value = (state.row or {}).get(objective.column)
            if isinstance(value, int | float):
                best[:] = [min([*best, value]) if objective.minimize else max([*best, value])]
            elapsed = bar.tasks[task].elapsed or 0.0
            rate = f"{state.evaluated / elapsed:.1f}/s" if elapsed > 0 and state.evaluated else ""
            text = f"best {objective.column} {best[0]:,.4g}" if best else ""
            bar.update(task, completed=state.found + state.evaluated, rate=rate, best=text)
            if not quiet and not err.is_terminal and state.evaluated % 50 == 0:
                err.print(f"{state.found + state.evaluated}/{state.total} points", highlight=False)

        run_sweep(space, store, jobs=workers, report=report)


def _summary(target: SweepFolder, space: Space, store: Store, command: str, *, report: bool) -> None:
    """Tables, report, front and what went wrong."""
    frame = sweep_frame(space, store)
    target.write_tables(frame)
    if report:
        with status("writing the report"):
            target.write_report(space, frame, command)
    _print_pareto(space, frame)
    if report:
        out.print(f"report: {target.report}", highlight=False, soft_wrap=True)
    out.print(f"tables: {target.parquet}, {target.csv}", highlight=False, soft_wrap=True)


def _print_pareto(space: Space, frame: pd.DataFrame) -> None:
    good = frame[frame["status"] == "ok"] if len(frame) else frame
    if len(good):
        front = front_of(good, space.objectives)
        print_front(out, front, space.objectives, space.varied, candidates(front, space.objectives))
    else:
        out.print("no point ran, so there is no front")
    counts = frame["status"].value_counts().to_dict() if len(frame) else {}
    out.print(
        (", ".join(f"{count:,} {kind}" for kind, count in counts.items()) or "none evaluated yet")
        + f" of {len(space):,} points",
        highlight=False,
    )
    for kind, column in (("unsupported", "constraint"), ("invalid", "error"), ("failed", "error")):
        if counts.get(kind):
            for reason, count in frame.loc[frame["status"] == kind, column].value_counts().head(5).items():
                out.print(f"  {kind}: {count} x {reason}", highlight=False, markup=False)


def pareto_command(
    folder: Annotated[Path, typer.Argument(help="Folder of a sweep.")],
    minimize: Annotated[
        list[str] | None, typer.Option(help="Result column to minimize instead of the space's own. Repeatable.")
    ] = None,
    maximize: Annotated[list[str] | None, typer.Option(help="Result column to maximize. Repeatable.")] = None,
) -> None:
    """Print the Pareto front of a sweep, whole or under way, for its own or other objectives.

    Example: `dse pareto out/resnet18 --maximize images_per_second --minimize dram_bytes_per_image`
    """
    target = SweepFolder(folder)
    space, _ = target.load_space()
    if minimize or maximize:
        chosen = [Objective(c, True) for c in minimize or ()] + [Objective(c, False) for c in maximize or ()]
        space = replace(space, objectives=tuple(chosen))
    with Store(target.store) as store:
        _print_pareto(space, sweep_frame(space, store))


def report_command(folder: Annotated[Path, typer.Argument(help="Folder of a sweep.")]) -> None:
    """Write a sweep's tables and HTML report again, whole or under way. Example: `dse report out/resnet18`"""
    target = SweepFolder(folder)
    space, command = target.load_space()
    with Store(target.store) as store:
        _summary(target, space, store, command, report=True)
