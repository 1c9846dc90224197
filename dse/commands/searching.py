"""`dse sweep --search`: run a search, keep what it chose, and set random search beside it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.table import Table

from dse.commands.options import out
from dse.commands.pareto import say
from dse.commands.progress import watch
from dse.config import ConfigError
from dse.evaluate import is_metric
from dse.expressions import parse_expression
from dse.figures import number
from dse.folder import SweepFolder
from dse.hypervolume import scale_of
from dse.search import Baseline, Evaluate, State, baseline, compared, run_search
from dse.space import Space
from dse.store import Store
from dse.sweep import Progress, run_sweep, sweep_frame
from dse.workers import Workers

__all__ = ["Seen", "Using", "check_closed_form", "closed_form", "event_runs", "print_baseline", "random_beside", "search"]

Seen = Callable[[Progress], None]
"""Told of each point that is evaluated, or of each batch."""

Using = Callable[[int, Seen], Evaluate]
"""An evaluator of so many points in all, which tells how far it is."""


def event_runs(space: Space, store: Store, crew: Workers, *, count: Seen) -> Using:
    """Evaluate by the event-driven machine: what the store holds costs nothing. `count` is told as `Seen` is."""

    def using(total: int, seen: Seen) -> Evaluate:
        found = evaluated = 0

        def evaluate(indices: Sequence[int]) -> pd.DataFrame:
            nonlocal found, evaluated
            part = replace(space, search="", samples=0, chosen=tuple(indices))
            last = Progress(total=total, found=0, evaluated=0)

            def report(state: Progress) -> None:
                nonlocal last
                last = state
                so_far = replace(state, total=total, found=found + state.found, evaluated=evaluated + state.evaluated)
                count(so_far)
                seen(so_far)

            keys = run_sweep(part, store, jobs=1, crew=crew, report=report)
            found, evaluated = found + last.found, evaluated + last.evaluated
            return sweep_frame(part, store, keys=keys)

        return evaluate

    return using


def closed_form(space: Space) -> Using:
    """Evaluate by the closed form."""
    from dse.bulk import evaluate_points
    from dse.positions import Points

    grid = replace(space, search="", samples=0, chosen=None)

    def using(total: int, seen: Seen) -> Evaluate:
        evaluated = 0

        def evaluate(indices: Sequence[int]) -> pd.DataFrame:
            nonlocal evaluated
            frame = evaluate_points(Points(grid=grid, numbers=np.arange(len(indices)), index=np.array(indices, np.int64)))
            evaluated += len(indices)
            seen(Progress(total=total, found=0, evaluated=evaluated))
            return frame

        return evaluate

    return using


def check_closed_form(space: Space) -> None:
    """Raise ConfigError for an objective or constraint that needs a column which only an event run has."""
    from dse.bulk import BULK_METRICS

    wanted = [(objective.column, parse_expression(objective.column, "Objective").names) for objective in space.objectives]
    wanted += [(constraint.text, constraint.names) for constraint in space.constraints]
    for text, names in wanted:
        for name in names:
            if is_metric(name) and name not in BULK_METRICS:
                raise ConfigError(
                    f"Fidelity 'analytic' must be asked for columns that the closed form has, not {name!r} (in {text!r}): "
                    f"{', '.join(BULK_METRICS)}; --fidelity event has all"
                )


def search(space: Space, target: SweepFolder, using: Using, command: str, *, quiet: bool) -> tuple[Space, State]:
    """Run the space's search; the folder says after each batch what was chosen. Returns the space of the points chosen."""
    scale = None
    with watch(space, space.samples, quiet=quiet) as shown:

        def report(state: State) -> None:
            nonlocal scale
            target.save_space(replace(space, chosen=state.chosen), command)
            scale = scale or scale_of(state.values)  # of the first batch in which a point may stand on a front
            shown.front_is(state.front, scale.volume(state.values) if scale else None)

        found = run_search(space, using(space.samples, shown.seen), report)
    return replace(space, chosen=found.chosen), found


def random_beside(space: Space, found: State, using: Using, seeds: Sequence[int], *, quiet: bool) -> Baseline | None:
    """Random search with as many evaluations, once for each seed; None where no point may stand on a front."""
    if not found.chosen:
        return None
    values: dict[int, NDArray[np.float64]] = {}
    for seed in seeds:
        with watch(space, len(found.chosen), quiet=quiet, title=f"random search, seed {seed}") as shown:
            values[seed] = baseline(space, using(len(found.chosen), shown.seen), len(found.chosen), seed)
    return compared(found.values, values)


def print_baseline(space: Space, beside: Baseline, path: Path) -> None:
    """Hypervolume against evaluations as a table, and as data for a plot."""
    beside.frame().to_csv(path, index=False)
    table = Table(title="hypervolume, as a share of that of all points", title_justify="left", box=None, pad_edge=False)
    names = ("evaluations", space.search, f"random, mean of {len(beside.seeds)}", "least", "most")
    for name in names if beside.seeds else names[:2]:
        table.add_column(name, justify="right")
    for row, count in enumerate(beside.at):
        cells = [f"{count:,}", f"{beside.search[row]:.2%}"]
        if beside.seeds:
            shares = beside.random[:, row]
            cells += [f"{shares.mean():.2%}", f"{shares.min():.2%}", f"{shares.max():.2%}"]
        table.add_row(*cells)
    out.print(table)
    signs = [1 if objective.minimize else -1 for objective in space.objectives]
    corner = [sign * float(value) for sign, value in zip(signs, beside.scale.reference, strict=True)]
    named = ", ".join(f"{o.column} {number(value)}" for o, value in zip(space.objectives, corner, strict=True))
    say(f"measured from {named} (a tenth of its span beyond the worst of each); seeds {space.seed}; {_list(beside.seeds)}")
    say(f"hypervolume: {path}")


def _list(seeds: Sequence[int]) -> str:
    return f"random {', '.join(map(str, seeds))}" if seeds else "no random search"
