"""What a person sees while points are evaluated: how many, how fast, how long still, how good the front is so far."""

from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dse.commands.options import err
from dse.figures import number
from dse.hypervolume import Scale, scale_of
from dse.running_front import RunningFront, part_of
from dse.space import Space
from dse.sweep import Progress as SweepProgress

__all__ = ["Watch", "watch"]

_LINE = 50  # evaluated points between two lines where there is no terminal
_FIRST = 20  # points that ran, from which the live hypervolume's reference is taken


class Watch:
    """A progress bar on a terminal, a line now and then elsewhere, nothing if `quiet`."""

    def __init__(self, space: Space, bar: Progress, task: TaskID, *, quiet: bool) -> None:
        self._space, self._bar, self._task, self._quiet = space, bar, task, quiet
        self._front = RunningFront.of(space)
        self._first: list[NDArray[np.float64]] = []
        self._scale: Scale | None = None
        self._known = ""

    def seen(self, state: SweepProgress) -> None:
        """So many points are there: `state.found` in the store, `state.evaluated` since, and the last one's row."""
        done = state.found + state.evaluated
        if state.row is not None and not self._bar.disable:
            self._add(pd.DataFrame([state.row | {"point": done}]))
        if not state.evaluated:
            self._bar.reset(self._task, total=state.total, completed=done)  # what was found says nothing of the rate
        elapsed = self._bar.tasks[self._task].elapsed or 0.0
        rate = f"{state.evaluated / elapsed:,.1f}/s" if elapsed > 0 and state.evaluated else ""
        self._bar.update(self._task, total=state.total, completed=done, rate=rate, best=self._known)
        if not self._quiet and not err.is_terminal and (state.evaluated % _LINE == 0 or done == state.total):
            err.print(f"{done:,}/{state.total:,} points", highlight=False)

    def front_is(self, points: int, volume: float | None) -> None:
        """What is known of the front: so many points, and its hypervolume as a share of what was measured at first."""
        said = f"front {points:,}" + (f", hypervolume {volume:.4f}" if volume is not None else "")
        self._known = said if points else ""

    def _add(self, row: pd.DataFrame) -> None:
        part = part_of(row, self._space)
        self._front.add(part)
        values = self._front.front.values
        if self._scale is None and len(part.values):
            self._first.append(part.values)
            self._scale = scale_of(*self._first) if len(self._first) == _FIRST else None
        self.front_is(len(values), self._scale.volume(values) if self._scale else None)
        if len(self._space.objectives) == 1 and len(values):
            objective = self._space.objectives[0]
            best = float(values.min())
            self._known += f", best {objective.column} {number(best if objective.minimize else -best)}"


@contextmanager
def watch(space: Space, total: int, *, quiet: bool, title: str = "points") -> Generator[Watch, None, None]:
    """Show how far `total` points are while the block runs."""
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
        task = bar.add_task(title, total=total, rate="", best="")
        yield Watch(space, bar, task, quiet=quiet)
