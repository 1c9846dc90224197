"""`dse pareto` and `dse report`: what came out of a sweep, whole or under way; and how `dse sweep` says it at its end."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from dse.accuracy import ACCURACY
from dse.advice import advised
from dse.commands.options import out, status
from dse.constraints import account, parse_constraint
from dse.derived import with_derived
from dse.figures import counted
from dse.folder import SweepFolder
from dse.objectives import check_column
from dse.pareto import candidates, front_of, objective_values
from dse.render import print_front
from dse.space import Objective, Space
from dse.store import Store
from dse.sweep import sweep_frame

__all__ = [
    "EMPTY",
    "NOTHING",
    "pareto_command",
    "print_limits",
    "print_pareto",
    "report_command",
    "say",
    "say_reason",
    "show_folder",
    "summary",
]

EMPTY = "the Pareto front is empty: no point that ran keeps all constraints and has a number for each objective"
NOTHING = "no point was evaluated: none that the search asked for has settings that keep the constraints"
_REASONS = 5  # of each kind, those that most points have


def say(text: str) -> None:
    """A line as it is: names and paths may hold what a console would take for markup."""
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def say_reason(status: str, reason: str, points: int) -> None:
    """Why so many points did not run, and what to do about it."""
    said = f"{points:,} x {reason}"
    say(f"  {status}: {advised(said, reason) if status == 'unsupported' else said}")


def summary(
    target: SweepFolder, space: Space, store: Store, command: str, *, report: bool, keys: Sequence[str] | None = None
) -> None:
    """Tables, report, front and what went wrong. `keys` as of `sweep_frame`."""
    if not len(space):
        say(NOTHING)
        return
    frame = with_derived(space, sweep_frame(space, store, keys=keys))
    target.write_tables(frame)
    if report:
        with status("writing the report"):
            target.write_report(space, frame, command)
    print_pareto(space, frame)
    if report:
        say(f"report: {target.report}")
    say(f"tables: {target.parquet}, {target.csv}")


def print_pareto(space: Space, frame: pd.DataFrame) -> None:
    """The front of a table of `with_derived`, how many points there are of each kind, and why some are not on any front."""
    good = frame[frame["status"] == "ok"] if len(frame) else frame
    if len(good):
        front = front_of(good, space.objectives)
        if len(front):
            print_front(out, front, space.objectives, space.varied, candidates(front, space.objectives))
        else:
            say(EMPTY)
    else:
        out.print("no point ran, so there is no front")
    counts = frame["status"].value_counts().to_dict() if len(frame) else {}
    said = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    say(f"{said or 'none evaluated yet'}, of {counted(space.samples if space.search else len(space), 'point')}")
    for kind, column in (("unsupported", "constraint"), ("invalid", "error"), ("failed", "error")):
        if counts.get(kind):
            for reason, count in frame.loc[frame["status"] == kind, column].value_counts().head(_REASONS).items():
                say_reason(kind, str(reason), int(count))
    print_limits(space, frame)


def print_limits(space: Space, frame: pd.DataFrame) -> None:
    """Why points of a table of `with_derived` that ran may stand on no front."""
    for line in account(frame, space.constraints):
        say(f"  {line}")
    for line in _without_numbers(space, frame[frame["status"] == "ok"] if len(frame) else frame):
        say(f"  {line}")
    if space.on_settings and not space.search and not space.samples and space.chosen is None:
        say(
            f"  {space.size - len(space):,} of {space.size:,} grid points were not evaluated: their settings break a constraint"
        )


def _without_numbers(space: Space, good: pd.DataFrame) -> list[str]:
    if good.empty:
        return []
    missing = (~np.isfinite(objective_values(good, space.objectives))).sum(axis=0)
    return [
        f"{count:,} of {len(good):,} have no number for objective {objective.column!r}, and can't be on the front"
        for count, objective in zip(missing.tolist(), space.objectives, strict=True)
        if count
    ]


def pareto_command(
    folder: Annotated[Path, typer.Argument(help="Folder of a sweep.")],
    minimize: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Result column, or arithmetic over columns, to minimize instead of the space's own. Repeatable.",
        ),
    ] = None,
    maximize: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Result column to maximize. Repeatable.")] = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option(metavar="LIMIT", help="A limit on top of the space's own: `ecp5_lut <= 80000`. Repeatable."),
    ] = None,
) -> None:
    """Print the Pareto front of a sweep, whole or under way, for its own or other objectives.

    Example: `dse pareto out/resnet18 --maximize images_per_second --minimize dram_bytes_per_image`
    """
    target = SweepFolder(folder)
    space, _ = target.load_space()
    if minimize or maximize:
        chosen = [Objective(c, True) for c in minimize or ()] + [Objective(c, False) for c in maximize or ()]
        space = replace(space, objectives=tuple(chosen))
    if constraint:
        more = tuple(parse_constraint(text, "Option '--constraint'") for text in constraint)
        extra = (ACCURACY,) if space.accuracies else ()
        for limit in more:
            for side in (limit.left, limit.right):
                check_column(side.text, space.names, extra, f"Option '--constraint' {limit.text!r}")
        limits = tuple(dict.fromkeys((*space.constraints, *more)))
        space = replace(space, constraints=limits, chosen=space.indices)  # of the points that were swept
    with Store(target.store) as store:
        if target.chunks.is_dir():
            _closed(target, space, store, "", report=False, tables=False)
            return
        frame = sweep_frame(space, store)
        others = 0 if len(frame) else len(store.keys())
    print_pareto(space, with_derived(space, frame))
    if others:
        say(f"  the store holds {others:,} other points: of another space, release or cost tables")


def report_command(folder: Annotated[Path, typer.Argument(help="Folder of a sweep.")]) -> None:
    """Write a sweep's tables and HTML report again, whole or under way. Example: `dse report out/resnet18`"""
    show_folder(SweepFolder(folder), report=True)


def show_folder(target: SweepFolder, *, report: bool) -> None:
    """Front, tables and, if asked for, the report of a sweep, whole or under way."""
    space, command = target.load_space()
    with Store(target.store) as store:
        if target.chunks.is_dir():
            _closed(target, space, store, command, report=report, tables=True)
        else:
            summary(target, space, store, command, report=report)


def _closed(target: SweepFolder, space: Space, store: Store, command: str, *, report: bool, tables: bool) -> None:
    from dse.bulk_sweep import MOST  # loads what a sweep of event runs does without
    from dse.commands.closed import closed_summary

    closed_summary(target, space, store, command, most=MOST, report=report, tables=tables)
