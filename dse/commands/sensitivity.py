"""`dse sensitivity`: which parameters of a space matter."""

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from dse.accuracy import ACCURACY
from dse.commands.options import AsJson, natural, out, positive, status
from dse.commands.pareto import say
from dse.commands.searching import check_closed_form, closed_form
from dse.config import ConfigError
from dse.folder import SweepFolder
from dse.objectives import Objective, check_column
from dse.sensitivity import Sensitivity, importances, sentence, sobol
from dse.space import Space, read_space
from dse.store import Store
from dse.sweep import sweep_frame

__all__ = ["sensitivity_command"]

_BAR = 30  # characters for all of the variance


def sensitivity_command(
    space: Annotated[str, typer.Argument(help="A .toml file, a shipped space (`dse list`), or the folder of a sweep.")],
    objective: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Result column, or arithmetic over columns, instead of the space's own objectives. Repeatable.",
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option(parser=positive, metavar="N", help="A power of two; times axes + 2: evaluations by the closed form.")
    ] = 512,
    seed: Annotated[int, typer.Option(parser=natural, metavar="N", help="Seed of the sample.")] = 0,
    rows: Annotated[bool, typer.Option("--rows", help="Of a folder: use the points that it holds, evaluate none.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say which parameters matter: how much of a result's variance comes from each axis, alone and with the others.

    Points are drawn from the whole space and evaluated by the closed form. Example: `dse sensitivity resnet18`
    """
    folder = SweepFolder(Path(space))
    whole = folder.load_space()[0] if Path(space).is_dir() else read_space(space, limit=10**18)
    if rows and not Path(space).is_dir():
        raise ConfigError(f"Option '--rows' must go with the folder of a sweep, not {space!r}")
    columns = objective or [o.column for o in whole.objectives]
    extra = (ACCURACY,) if whole.accuracies else ()
    for column in columns:
        check_column(column, whole.names, extra, f"Option '--objective' {column!r}")
    found = [_of(whole, folder, column, samples=samples, seed=seed, rows=rows) for column in columns]
    if as_json:
        out.print_json(data=[_plain(asdict(each)) for each in found])
        return
    for each in found:
        _print(each)


def _of(space: Space, folder: SweepFolder, column: str, *, samples: int, seed: int, rows: bool) -> Sensitivity:
    if rows:
        with Store(folder.store) as store:
            frame = sweep_frame(space, store)
        if frame.empty:
            raise ConfigError(f"Folder {str(folder.path)!r} must hold event runs for --rows, but it holds none")
        return importances(space, frame, column, seed=seed)
    space = replace(space, search="", samples=0, chosen=None, constraints=())
    check_closed_form(replace(space, objectives=(Objective(column, True),)))
    with status(f"{column}: evaluating"):
        return sobol(space, closed_form(space)(0, lambda _: None), column, samples=samples, seed=seed)


def _print(found: Sensitivity) -> None:
    table = Table(title=f"{found.column}: share of the variance", title_justify="left", box=None, pad_edge=False)
    table.add_column("axis", overflow="fold")
    table.add_column("alone", justify="right")
    whole = any(not math.isnan(each.total) for each in found.influences)
    if whole:
        table.add_column("with interactions", justify="right")
    table.add_column("")
    for each in found.influences:
        value = each.total if whole else each.first
        cells = [_interval(each.first, each.first_half_width)] + (
            [_interval(each.total, each.total_half_width)] if whole else []
        )
        table.add_row(each.axis, *cells, "█" * round(_BAR * min(1.0, max(0.0, value))))
    out.print(table)
    say(sentence(found))
    distinct = f", {found.distinct:,} of them different" if found.distinct < found.evaluations else ""
    lost = f"; {found.missing:,} without a number count as the mean of the others" if found.missing else ""
    say(f"{found.method} of {found.evaluations:,} evaluations{distinct}{lost}; seed {found.seed}")
    out.print()


def _interval(value: float, half_width: float) -> str:
    """A share and its 95 % confidence interval's half-width."""
    return f"{value:.1%}" + ("" if math.isnan(half_width) else f" ± {half_width:.1%}")


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    """NaN as JSON has it: null."""
    data["influences"] = [
        {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in each.items()}
        for each in data["influences"]
    ]
    return data
