"""`dse sweep --fidelity analytic`: all points by the closed form, the best of them again by the event machine or the RTL."""

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dse.bulk_outcome import BulkOutcome, bulk_outcome
from dse.bulk_sweep import BulkProgress, bulk_sweep, chunks_of
from dse.bulk_text import outcome_text
from dse.commands.options import err, out, status
from dse.commands.pareto import EMPTY, NOTHING, print_limits, say, say_reason
from dse.confirm_rtl import check_rtl
from dse.folder import SweepFolder
from dse.pareto import candidates
from dse.point import make_point
from dse.render import print_front
from dse.space import Space
from dse.store import Store
from dse.workers import Workers

__all__ = ["closed_summary", "closed_sweep", "confirm_by_rtl"]

_REASONS = 5  # of why points did not run, those that most have


def closed_sweep(space: Space, target: SweepFolder, crew: Workers, *, most: int, quiet: bool) -> None:
    """Evaluate what the folder does not hold yet, and confirm at most `most` points; show how far it is."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[front]}"),
    )
    with Progress(*columns, console=err, disable=quiet or not err.is_terminal, expand=True) as bar:
        task = bar.add_task("closed form", total=len(space), rate="", front="")
        confirm = bar.add_task("confirm", total=None, visible=False, rate="", front="")

        def report(state: BulkProgress) -> None:
            if not state.evaluated and not state.to_confirm:
                bar.reset(task, total=state.total, completed=state.found)
            elapsed = bar.tasks[task].elapsed or 0.0
            rate = f"{state.evaluated / elapsed:,.0f}/s" if elapsed > 0 and state.evaluated and not state.to_confirm else ""
            front = f"front {state.front:,}, hypervolume {state.hypervolume:.4g}" if state.front else ""
            bar.update(task, completed=state.found + state.evaluated, rate=rate, front=front)
            if state.to_confirm:
                bar.update(confirm, visible=True, total=state.to_confirm, completed=state.confirmed)
            if not quiet and not err.is_terminal:
                done = f"{state.found + state.evaluated:,}/{state.total:,} points"
                err.print(
                    f"{done}, confirmed {state.confirmed}/{state.to_confirm}" if state.to_confirm else done, highlight=False
                )

        bulk_sweep(space, target, crew=crew, most=most, report=report)


def closed_summary(
    target: SweepFolder, space: Space, store: Store, command: str, *, most: int, report: bool, tables: bool = True
) -> BulkOutcome:
    """Tables, report, front and what went wrong, of what the folder holds."""
    outcome = bulk_outcome(space, chunks_of(space, target), store, most)
    if not len(space):
        say(NOTHING)
        return outcome
    if tables:
        target.write_tables(outcome.shown)
    if report and not outcome.shown.empty:
        with status("writing the report"):
            target.write_bulk_report(space, outcome, command)
    if len(outcome.front):
        print_front(out, outcome.front, space.objectives, space.varied, candidates(outcome.front, space.objectives))
    else:
        say(EMPTY if outcome.statuses.get("ok") else "no point ran, so there is no front")
    for text in outcome_text(outcome):
        say(text)
    for reason in outcome.reasons[:_REASONS]:
        say_reason(reason.status, reason.reason, reason.points)
    print_limits(space, outcome.shown)
    if report and not outcome.shown.empty:
        say(f"report: {target.report}")
    if tables:
        say(f"tables: {target.parquet}, {target.csv}; all points: {target.chunks}")
    return outcome


def confirm_by_rtl(space: Space, outcome: BulkOutcome) -> bool:
    """Run `dse check` on the machines of the candidates; say what it found. False where something differs."""
    names = candidates(outcome.front, space.objectives) if len(outcome.front) else {}
    points = dict(zip(outcome.front["key"].astype(str), outcome.front["point"].astype(int), strict=True)) if names else {}
    done: set[str] = set()
    good = True
    for name, key in names.items():
        machine = make_point(space.point_settings(points[key])).accelerator
        if machine.digest in done:
            continue
        done.add(machine.digest)
        with status(f"RTL of #{points[key]} ({name})"):
            found = check_rtl(machine)
        good &= found.equal
        said = f"equal in {found.runs} programs, {found.cycles:,} cycles" if found.equal else ""
        say(f"rtl: #{points[key]} ({name}), {machine.digest}: {said or found.error or '; '.join(found.differences[:3])}")
    return good
