"""What a person reads of a comparison of two stores in the terminal: what changed in one line, then all that did."""

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dse.diff import Diff
from dse.figures import number
from dse.point import MODEL
from dse.sides import Side

__all__ = ["print_diff"]

_WIDE = 120  # columns from which the worst point is told with its settings
_PROVENANCE = ("key", "digest")  # columns that say where results come from, and are no results


def print_diff(console: Console, found: Diff, *, top: int) -> None:
    """`top`: rows of each list; 0: all."""
    _Page(console, found, top).print()


class _Page:
    """The parts of the page, each printed by a method."""

    def __init__(self, console: Console, found: Diff, top: int) -> None:
        self.console, self.found, self.top = console, found, top

    def print(self) -> None:
        self.say(f"[bold]{escape(headline(self.found))}[/]\n")
        self.sides()
        for title, names, labels in (
            ("only in OLD", self.found.only_old, self.found.old.labels),
            ("only in NEW", self.found.only_new, self.found.new.labels),
        ):
            self.listed(f"{title}: {_points(len(names))}", [f"{name}  {labels[name]}" for name in names])
        for title, side in (("OLD", self.found.old), ("NEW", self.found.new)):
            self.listed(f"left out, as {title} has several rows of their settings", list(side.ambiguous))
        self.statuses()
        self.provenance()
        self.columns()
        self.fronts()
        for note in self.found.notes:
            self.say(f"[yellow]note[/] {escape(note)}")

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False)

    def listed(self, title: str, items: Sequence[str]) -> None:
        if items:
            self.say(f"[bold]{title}[/]")
            for item in items[: self.top or None]:
                self.say(f"  {escape(item)}")
            self.more(len(items))
            self.console.print()

    def more(self, count: int) -> None:
        if self.top and count > self.top:
            self.say(f"[dim]  ... and {count - self.top} more; --all shows them[/]")

    def sides(self) -> None:
        table = _table("", "store", "points", right=())
        for title, side in (("OLD", self.found.old), ("NEW", self.found.new)):
            table.add_row(title, escape(str(side.path)), _told(side))
        self.console.print(table)
        self.console.print()

    def statuses(self) -> None:
        if changes := self.found.statuses:
            table = _table("status changed", "OLD", "NEW", "why not", right=())
            for change in changes[: self.top or None]:
                table.add_row(change.point, change.old, change.new, escape(change.reason))
            self.console.print(table)
            self.more(len(changes))
            self.console.print()

    def provenance(self) -> None:
        changes = {change.column: change for change in self.found.columns if change.column in _PROVENANCE}
        machine, key = changes.get("digest"), changes.get("key")
        if machine is not None:
            self.say(
                f"[bold]digests[/]  {_of(machine.points, machine.compared)}: the same settings make another machine "
                f"(a preset, a default, or the description changed), as in {machine.point}: {machine.old} to {machine.new}"
            )
        if key is not None:
            why = f"another release, energy or area table{', trace or machine' if machine else ', or trace'}"
            self.say(f"[bold]keys[/]     {_of(key.points, key.compared)}: {why}")
        if changes:
            self.console.print()

    def columns(self) -> None:
        changes = [change for change in self.found.columns if change.column not in _PROVENANCE]
        if changes:
            wide = self.console.width >= _WIDE
            parts = ("points", "median", "worst", "at", "OLD", "NEW")
            table = _table(
                "column", *parts, *(("which is",) if wide else ()), right=("points", "median", "worst", "OLD", "NEW")
            )
            for change in changes[: self.top or None]:
                row = [change.column, str(change.points), _percent(change.median), _percent(change.worst), change.point]
                row += [escape(_value(change.old)), escape(_value(change.new))]
                table.add_row(*row, *([escape(self.found.new.labels[change.point])] if wide else []))
            self.console.print(table)
            self.more(len(changes))
            self.say(
                "[dim]points: whose value changed; median: of their changes, relative to OLD; at: the point of the worst[/]"
            )
            self.console.print()
        for title, names in (("OLD", self.found.columns_only_old), ("NEW", self.found.columns_only_new)):
            if names:
                self.say(f"[bold]columns only in {title}[/]  {escape(', '.join(names))}\n")

    def fronts(self) -> None:
        found = self.found
        if not found.objectives:
            return
        first = found.objectives[0].column
        if found.constraints:
            told = ", ".join(found.constraints)
            self.say(f"[bold]limits[/] {escape(told)}: kept by {_points(found.kept[0])}, now {found.kept[1]:,}")
            for change in found.limits[: self.top or None]:
                now = f"now breaks {change.new}" if change.new else "now keeps all"
                was = f"broke {change.old}, " if change.old else ""
                self.say(f"  {escape(change.point)}: {escape(was + now)}")
            self.more(len(found.limits))
        if found.furthest is not None:
            name, old, new = found.furthest
            self.say(
                f"[bold]ranks[/]  by {first}, {_of(found.moved, found.ranked)} moved; furthest {name}, from {old} to {new}"
            )
        else:
            self.say(f"[bold]ranks[/]  by {first} as they were, of {_points(found.ranked)}")
        what = ", ".join(f"{'less' if o.minimize else 'more'} {o.column}" for o in found.objectives)
        same = not found.left and not found.entered
        now = f"the same {_points(found.front[0])}" if same else f"{_points(found.front[0])}, now {found.front[1]:,}"
        self.say(f"[bold]front[/]  of {escape(what)}: {now}")
        for title, changes in (("left", found.left), ("entered", found.entered)):
            for change in changes[: self.top or None]:
                self.say(f"  [bold]{title:<7}[/] {escape(change.point)}: {escape(change.reason)}")
            self.more(len(changes))
        self.console.print()


def headline(found: Diff) -> str:
    """What changed, in a line."""
    if not found.changed:
        return f"Nothing changed: {_points(found.pairs)}, {found.compared} columns."
    results = [change for change in found.columns if change.column not in _PROVENANCE]
    origins = [f"{change.column}s" for change in found.columns if change.column in _PROVENANCE]
    parts = [
        (len(found.only_old), "only in OLD"),
        (len(found.only_new), "only in NEW"),
        (len(found.statuses), "with another status or reason"),
    ]
    said = [f"{_points(count)} {what}" for count, what in parts if count]
    if results:
        said.append(f"{len(results)} of {found.compared} columns")
    said += origins
    if names := (*found.columns_only_old, *found.columns_only_new):
        said.append(f"{len(names)} column{'' if len(names) == 1 else 's'} in one store only")
    if found.limits:
        said.append(f"{_points(len(found.limits))} that {'breaks' if len(found.limits) == 1 else 'break'} other limits")
    if found.left or found.entered:
        said.append(f"the front ({len(found.left)} left, {len(found.entered)} entered)")
    if ambiguous := len(found.old.ambiguous) + len(found.new.ambiguous):
        said.append(f"{_points(ambiguous)} that can't be told apart")
    return f"Changed: {', '.join(said)}; {_points(found.pairs)} compared."


def _table(first: str, *columns: str, right: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, overflow="fold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=name in right, overflow="fold")
    return table


def _told(side: Side) -> str:
    parts = [f"{count:,} {status}" for status, count in side.counts.items()]
    parts += [f"{side.missing:,} not evaluated"] if side.missing else []
    text = ", ".join(parts) or "none"
    if side.current is None:
        return text
    return f"{text}; {side.current:,} with the keys of this release ({MODEL})"


def _points(count: int) -> str:
    return f"{count:,} point{'' if count == 1 else 's'}"


def _of(count: int, whole: int) -> str:
    return f"{count:,} of {_points(whole)}"


def _percent(change: float | None) -> str:
    if change is None:
        return ""
    if math.isinf(change) or math.isnan(change):
        return "from 0"
    return f"{100 * change:+.3g}%" if abs(change) < 10 else f"{100 * change:+,.0f}%"


def _value(value: Any) -> str:
    if value is None:
        return "-"
    return number(value) if isinstance(value, int | float) else str(value)
