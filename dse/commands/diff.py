"""`dse diff`: what changed between two stores."""

import json
from pathlib import Path
from typing import Annotated

import typer

from dse.accuracy import ACCURACY
from dse.commands.options import out, positive, status
from dse.config import ConfigError
from dse.constraints import parse_constraint
from dse.diff import diff
from dse.objectives import check_column
from dse.render_diff import print_diff
from dse.sides import is_setting, read_side
from dse.space import Objective

__all__ = ["diff_command"]

_CHANGED = 1


def diff_command(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="Folder of a sweep, or a store file (`store.sqlite` in one).")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Likewise: what to compare it with.")],
    columns: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMNS", help="Compare these result columns only: names with commas between them. Repeatable."),
    ] = None,
    minimize: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Result column for ranks and front instead of the sweep's own. Repeatable."),
    ] = None,
    maximize: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Result column to maximize. Repeatable.")] = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LIMIT", help="A limit on top of the sweep's own, for ranks and fronts: `ecp5_lut <= 80000`. Repeatable."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON on standard output.")] = False,
    top: Annotated[int, typer.Option(parser=positive, metavar="N", help="Rows of each list.")] = 20,
    everything: Annotated[bool, typer.Option("--all", help="All rows of each list.")] = False,
) -> None:
    """Say what changed between two sweeps, or two releases' results of one: points, status, values, limits, ranks, the front.

    Points are matched by their settings and values compared exactly. Exit code 0 if nothing changed, 1 if something did.
    Example: `dse diff out/before out/resnet18`
    """
    named = [name.strip() for text in columns or () for name in text.split(",")]
    if "" in named:
        raise ConfigError(f"Option '--columns' must be names with commas between them, not {', '.join(columns or ())!r}")
    objectives = (*(Objective(c, True) for c in minimize or ()), *(Objective(c, False) for c in maximize or ()))
    limits = tuple(parse_constraint(text, "Option '--constraint'") for text in constraint or ())
    with status("reading the stores"):
        sides = read_side(old), read_side(new)
        settings = {str(name) for side in sides for name in side.frame.columns if is_setting(str(name))}
        extra = (ACCURACY,) if any(side.accuracies for side in sides) else ()
        for limit in limits:
            for side in (limit.left, limit.right):
                check_column(side.text, settings, extra, f"Option '--constraint' {limit.text!r}")
        found = diff(*sides, columns=named, objectives=objectives, constraints=limits)
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=1))
    else:
        print_diff(out, found, top=0 if everything else top)
    if found.changed:
        raise typer.Exit(_CHANGED)
