"""`dse sweep`: evaluate the points of a space, all of them, a sample, or those that a search chooses."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from dse.commands.options import Fit, natural, positive
from dse.commands.pareto import say, show_folder, summary
from dse.commands.progress import watch
from dse.commands.searching import check_closed_form, closed_form, event_runs, print_baseline, random_beside, search
from dse.config import ConfigError
from dse.figures import counted
from dse.folder import SweepFolder, command_line
from dse.point import check_fit
from dse.rtl_extra import need_rtl
from dse.search import Baseline
from dse.searchers import check_search
from dse.space import GRID_LIMIT, KINDS, Space, read_space
from dse.store import Store
from dse.sweep import Progress, run_sweep
from dse.workers import workers

__all__ = ["sweep_command"]

_CLOSED_LIMIT = 10_000_000  # points of a grid by the closed form: an hour or so of one core
_MOST_JOBS = 1000  # processes of one machine, each of some hundred megabytes
_BASELINES = {True: 5, False: 1}  # random searches beside a search, by the closed form and by event runs


def sweep_command(
    space: Annotated[str, typer.Argument(help="A .toml file, or a shipped space (`dse list`).")],
    folder: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FOLDER", help="Folder for store, tables and report [out/NAME].")
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            "-j", "--jobs", parser=natural, metavar="N", help="Worker processes; 0: one per core; 1: none but this process."
        ),
    ] = 0,
    scheduler: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Evaluate on the workers of a Dask cluster: `tcp://host:8786`.")
    ] = "",
    points: Annotated[
        int | None, typer.Option(parser=positive, metavar="N", help="So many points, at random or by --search.")
    ] = None,
    kind: Annotated[str, typer.Option("--search", metavar="KIND", help=f"How points are chosen: {', '.join(KINDS)}.")] = "",
    population: Annotated[
        int | None, typer.Option(parser=positive, metavar="N", help="Points that a search asks for at a time.")
    ] = None,
    baselines: Annotated[
        int | None,
        typer.Option(parser=natural, metavar="N", help="Random searches of as many points beside a search [1; analytic: 5]."),
    ] = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LIMIT", help="A limit that points must keep, as in `ecp5_lut <= 80000`; on top of the space's. Repeatable."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(parser=natural, metavar="N", help="Seed of the sample or the search.")] = None,
    fidelity: Annotated[
        str,
        typer.Option(
            metavar="KIND", help="event: each point on the event machine; analytic: closed form, thousands a second and core."
        ),
    ] = "event",
    confirm: Annotated[
        str,
        typer.Option(
            metavar="KIND", help="How an analytic sweep's best points are confirmed: none, event, or rtl (after event)."
        ),
    ] = "event",
    limit: Annotated[
        int | None,
        typer.Option(parser=positive, metavar="N", help="Points that a grid may have [100,000; analytic: 10 million]."),
    ] = None,
    fit: Fit = "",
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress bar.")] = False,
    report: Annotated[bool, typer.Option(help="Write the HTML report.")] = True,
) -> None:
    """Evaluate a space of design points; print the Pareto front; write tables and a report.

    Stop it whenever you like: the same command continues where it stopped. Example: `dse sweep resnet18 -o out/resnet18`
    """
    for name, value, choices in (("fidelity", fidelity, ("event", "analytic")), ("confirm", confirm, ("none", "event", "rtl"))):
        if value not in choices:
            raise ConfigError(f"Option '--{name}' must be {', '.join(choices[:-1])} or {choices[-1]}, not {value!r}")
    if jobs > _MOST_JOBS:
        raise ConfigError(f"Option '--jobs' must be at most {_MOST_JOBS:,}, not {jobs:,}: more are for a cluster (--scheduler)")
    closed = fidelity == "analytic"
    swept = read_space(
        space,
        samples=points,
        seed=seed,
        limit=limit or (_CLOSED_LIMIT if closed else GRID_LIMIT),
        kind=kind,
        population=population,
        constraints=constraint or (),
    )
    if fit:
        check_fit(fit, "Option '--fit'")
        swept = replace(swept, base=swept.base | {"fit": fit})
    if confirm == "rtl":
        if not closed:
            raise ConfigError("Option '--confirm rtl' must go with --fidelity analytic; `dse check` runs one machine's RTL")
        need_rtl("dse sweep --confirm rtl", simulation=True)  # now, not after the sweep
    check_search(swept)
    if closed:
        check_closed_form(swept)
    target = SweepFolder(folder or Path("out") / Path(space).stem)
    target.create()
    target.save_space(swept, command_line())
    size = jobs or os.cpu_count() or 1
    total = swept.samples or len(swept)
    on = f"the cluster at {scheduler}" if scheduler else counted(size, "worker")
    by = f" by {swept.search}, seed {swept.seed}" if swept.search else ""
    say(f"{swept.title}: {counted(total, 'point')}{by}{', closed form' if closed else ''}, {on}, results in {target.path}")
    done = 0

    def count(state: Progress) -> None:
        nonlocal done
        done = state.found + state.evaluated

    with Store(target.store) as store:
        beside: Baseline | None = None
        keys: list[str] = []
        most = 0
        try:
            with workers(size, scheduler) as crew:  # they end before the report, which needs the room
                if swept.search:
                    using = closed_form(swept) if closed else event_runs(swept, store, crew, count=count)
                    swept, found = search(swept, target, using, command_line(), quiet=quiet)
                    seeds = range(swept.seed + 1, swept.seed + 1 + (_BASELINES[closed] if baselines is None else baselines))
                    beside = random_beside(swept, found, using, seeds, quiet=quiet)
                if closed:
                    from dse.bulk_sweep import MOST  # loads what a sweep of event runs does without
                    from dse.commands.closed import closed_sweep

                    most = 0 if confirm == "none" else MOST
                    closed_sweep(swept, target, crew, most=most, quiet=quiet)
                else:
                    with watch(swept, total, quiet=quiet) as shown:

                        def seen(state: Progress) -> None:
                            count(state)
                            shown.seen(state)

                        # After a search, its points that failed: they are tried again, as in any sweep.
                        keys = run_sweep(swept, store, jobs=size, crew=crew, report=seen)
            good = True
            if closed:
                good = _closed(swept, target, store, most, by_rtl=confirm == "rtl", report=report)
            else:
                summary(target, swept, store, command_line(), report=report, keys=keys)
            if beside is not None:
                print_baseline(swept, beside, target.path / "search.csv")
            if not good:
                raise typer.Exit(1)
        except KeyboardInterrupt:
            what = (
                f"points are safe in {target.chunks}" if closed else f"{done:,} of {total:,} points are safe in {target.store}"
            )
            say(f"\nstopped; {what}")
            if done or closed:
                _what_is_there(target, report=report)
            say(f"continue with: {command_line()}")
            raise


def _closed(swept: Space, target: SweepFolder, store: Store, most: int, *, by_rtl: bool, report: bool) -> bool:
    """What came out; False where the RTL of a candidate differs."""
    from dse.commands.closed import closed_summary, confirm_by_rtl

    outcome = closed_summary(target, swept, store, command_line(), most=most, report=report)
    return not by_rtl or confirm_by_rtl(swept, outcome)


def _what_is_there(target: SweepFolder, *, report: bool) -> None:
    """Front, tables and report of a sweep that was stopped; Ctrl-C once more leaves them out."""
    try:
        show_folder(target, report=report)
    except KeyboardInterrupt:
        say(f"no report; later: dse report {target.path}")
