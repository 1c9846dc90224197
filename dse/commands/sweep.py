"""`dse sweep`, `dse pareto`, `dse report`: evaluate a space, and look at what came out."""

import os
from collections.abc import Callable
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

from dse.commands.options import Fit, err, natural, out, positive, status
from dse.config import ConfigError
from dse.folder import SweepFolder, command_line
from dse.pareto import candidates, front_of
from dse.render import number, print_front
from dse.space import GRID_LIMIT, Objective, Space, read_space
from dse.store import Store
from dse.sweep import Progress as SweepProgress
from dse.sweep import run_sweep, sweep_frame
from simulator.cost.devices import DEVICES

__all__ = ["pareto_command", "report_command", "sweep_command"]


def sweep_command(
    space: Annotated[str, typer.Argument(help="A .toml file, or a shipped space (`dse list`).")],
    folder: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for store, tables and report [out/NAME].")] = None,
    jobs: Annotated[
        int, typer.Option("-j", "--jobs", parser=natural, metavar="N", help="Worker processes; 0: one per core.")
    ] = 0,
    points: Annotated[
        int | None, typer.Option(parser=positive, metavar="N", help="Sample so many points at random instead of the grid.")
    ] = None,
    seed: Annotated[int | None, typer.Option(parser=natural, metavar="N", help="Seed of the sample.")] = None,
    limit: Annotated[int, typer.Option(parser=positive, metavar="N", help="Points that a grid may have.")] = GRID_LIMIT,
    fit: Fit = "",
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress bar.")] = False,
    report: Annotated[bool, typer.Option(help="Write the HTML report.")] = True,
) -> None:
    """Evaluate a space of design points; print the Pareto front; write tables and a report.

    Stop it whenever you like: the same command continues where it stopped. Example: `dse sweep resnet18 -o out/resnet18`
    """
    swept = read_space(space, samples=points, seed=seed, limit=limit)
    if fit:
        if fit not in DEVICES:
            raise ConfigError(f"Option '--fit' must be one of {', '.join(DEVICES)}, not {fit!r}")
        swept = replace(swept, base=swept.base | {"fit": fit})
    target = SweepFolder(folder or Path("out") / Path(space).stem)
    target.create()
    target.save_space(swept, command_line())
    workers = jobs or os.cpu_count() or 1
    said = "worker" if workers == 1 else "workers"
    _say(f"{swept.title}: {len(swept):,} points, {workers} {said}, results in {target.path}")
    done = 0

    def count(state: SweepProgress) -> None:
        nonlocal done
        done = state.found + state.evaluated

    with Store(target.store) as store:
        try:
            _watch(swept, store, workers, count, quiet=quiet)
            _summary(target, swept, store, command_line(), report=report)
        except KeyboardInterrupt:
            _say(f"\nstopped; {done:,} of {len(swept):,} points are safe in {target.store}")
            _say(f"continue with: {command_line()}")
            raise


def _say(text: str) -> None:
    """A line as it is: names and paths may hold what a console would take for markup."""
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def _watch(space: Space, store: Store, workers: int, count: Callable[[SweepProgress], None], *, quiet: bool) -> None:
    """Run the sweep with a bar: done, rate, time left, best so far; where there is no terminal, a line now and then."""
    objective = space.objectives[0]
    best: list[float] = []
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("{task.fields[best]}"),
    )
    with Progress(*columns, console=err, disable=quiet or not err.is_terminal, expand=True) as bar:
        task = bar.add_task("points", total=len(space), rate="", best="")

        def report(state: SweepProgress) -> None:
            count(state)
            if state.row is None:
                bar.reset(task, completed=state.found)  # what was found says nothing of the rate
            value = (state.row or {}).get(objective.column)
            if isinstance(value, int | float):
                best[:] = [min([*best, value]) if objective.minimize else max([*best, value])]
            elapsed = bar.tasks[task].elapsed or 0.0
            rate = f"{state.evaluated / elapsed:.1f}/s" if elapsed > 0 and state.evaluated else ""
            text = f"best {objective.column} {number(best[0])}" if best else ""
            bar.update(task, completed=state.found + state.evaluated, rate=rate, best=text)
            done = state.found + state.evaluated
            if not quiet and not err.is_terminal and (state.evaluated % 50 == 0 or done == state.total):
                err.print(f"{done:,}/{state.total:,} points", highlight=False)

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
        _say(f"report: {target.report}")
    _say(f"tables: {target.parquet}, {target.csv}")


def _print_pareto(space: Space, frame: pd.DataFrame) -> None:
    good = frame[frame["status"] == "ok"] if len(frame) else frame
    if len(good):
        front = front_of(good, space.objectives)
        print_front(out, front, space.objectives, space.varied, candidates(front, space.objectives))
    else:
        out.print("no point ran, so there is no front")
    counts = frame["status"].value_counts().to_dict() if len(frame) else {}
    said = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    _say(f"{said or 'none evaluated yet'}, of {len(space):,} points")
    for kind, column in (("unsupported", "constraint"), ("invalid", "error"), ("failed", "error")):
        if counts.get(kind):
            for reason, count in frame.loc[frame["status"] == kind, column].value_counts().head(5).items():
                _say(f"  {kind}: {count} x {reason}")


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
