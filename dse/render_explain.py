"""What a person reads of an explanation in the terminal: the verdict, then the tables that it rests on."""

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dse.attribution import CLOCK, GEMM_STAGES, RESOURCES, Change
from dse.explain import Explanation
from dse.figures import number, si

__all__ = ["print_explanation"]

_WIDE = 120  # columns that the tables with the array's changes need
_BAR = 16  # of the longest change
_LONG = 10**9  # cycles that a narrow terminal has no room for in full
_DIFFERS = "the array, where it differs most"


def print_explanation(console: Console, found: Explanation, names: tuple[str, str], *, top: int) -> None:
    """The verdict; both points and what differs; then the difference by stage, layer, cause, resource, bytes and joules.

    `top`: rows of the tables of layers and settings; 0: all.
    """
    console.print(f"[bold]{escape(found.verdict)}[/]\n", highlight=False)
    page = _Page(console, found, top)
    page.points(names)
    page.settings()
    page.stages()
    page.layers()
    page.array()
    page.resources()
    page.traffic()
    page.energy()


class _Page:
    """The tables, each printed by a method."""

    def __init__(self, console: Console, found: Explanation, top: int) -> None:
        self.console, self.found, self.top = console, found, top
        self.wide = console.width >= _WIDE
        self.sides = tuple(zip("AB", (found.a, found.b), strict=True))
        self.wholes = [found.count(run, run.result.cycles) for _, run in self.sides]
        self.short = not self.wide and max(self.wholes) >= _LONG
        largest = max((abs(1e3 * float(part.seconds)) for part in found.stages), default=0.0)
        self.decimals = max(0, 3 - math.floor(math.log10(largest))) if largest else 0  # four digits of the largest

    def note(self, text: str) -> None:
        self.console.print(f"[dim]{text}[/]" if text else "", highlight=False)

    def cycles(self, cycles: Fraction, *, sign: bool = False) -> str:
        text = si(float(cycles), 4) if self.short else f"{round(cycles):,}"
        return f"+{text}" if sign and cycles > 0 else text

    def change(self, cycles: Fraction) -> str:
        return _coloured(cycles, self.cycles(cycles, sign=True))

    def difference(self, seconds: Fraction) -> str:
        """In cycles, which are A's and B's, or where those differ in milliseconds."""
        if self.found.one_clock:
            return self.change(seconds * self.found.a.result.clock_hz)
        return _coloured(seconds, f"{1e3 * float(seconds):+,.{self.decimals}f} ms")

    def amounts(self, name: str, part: Change) -> list[str]:
        """Columns of any part: its name, A, B, the change, and that of the whole change."""
        amounts = ["", ""] if part.path == CLOCK else [self.cycles(part.a), self.cycles(part.b)]
        return [name, *amounts, self.difference(part.seconds), _share(part.seconds, self.found.change)]

    def total(self) -> list[str]:
        amounts = [self.cycles(whole) for whole in self.wholes]
        change = self.found.change
        return [f"[bold]{self.found.per}[/]", *amounts, self.difference(change), _share(change, change)]

    def differs(self, part: Change, count: int = 2) -> str:
        """The causes in the array's account of these operations that changed most."""
        changes = self.found.array_changes(part.path) if part.path != CLOCK else {}
        largest = sorted(changes.items(), key=lambda item: -abs(item[1]))[:count]
        return ", ".join(f"{cause} {_signed(round(cycles))}" for cause, cycles in largest if round(cycles))

    def points(self, names: tuple[str, str]) -> None:
        """Both, and how near each is to what its machine could do at best."""
        a, b = self.found.a.point, self.found.b.point
        if (a.workload, a.batch) == (b.workload, b.batch):
            self.console.print(f"[bold]{escape(a.workload)}[/], batch {a.batch}\n", highlight=False)
        time = "time an image" if self.found.per_image else "time a step"
        table = _table("", "point", "accelerator", "method", "cycles", time, "bound", left=("point", "accelerator", "method"))
        for (side, run), source in zip(self.sides, names, strict=True):
            table.add_row(
                side,
                escape(source),
                escape(run.point.accelerator.name),
                run.point.method,
                f"{run.result.cycles:,}",
                f"{number(1e3 * float(self.found.seconds(run)))} ms",
                f"{run.bound.binding} {_share(run.bound.cycles, run.result.cycles)}",
            )
        self.console.print(table)
        self.note("bound: what binds any program for the machine, and the least cycles that it allows, of the step's\n")

    def settings(self) -> None:
        settings = self.found.settings
        if not settings:
            self.console.print("no setting differs\n")
            return
        table = _table("setting", "A", "B", left=("A", "B"))
        shown = list(settings.items())[: self.top or None]
        for name, values in shown:
            table.add_row(name, *(escape(_value(value)) for value in values))
        self.console.print(table)
        if len(shown) < len(settings):
            self.note(f"... and {len(settings) - len(shown)} more settings; --all shows them")
        self.console.print()

    def stages(self) -> None:
        more = ("", "least A", "least B", "bound by", _DIFFERS) if self.wide else ("bound by",)
        table = _table("stage", "A", "B", "change", "of all", *more, left=("", "bound by", _DIFFERS))
        longest = max((abs(part.seconds) for part in self.found.stages), default=Fraction(0))
        for part in self.found.stages:
            works = () if part.path == CLOCK else self.found.work(part.path)
            bound = _to(*(work.bound_by for work in works)) if works else ""
            extra = [bound]
            if self.wide:
                least = [si(work.least.cycles) for work in works] or ["", ""]
                extra = [_bar(part.seconds, longest), *least, bound, self.differs(part)]
            table.add_row(*self.amounts(part.path[0], part), *extra)
        table.add_row(*self.total())
        self.console.print(table)
        self.note("cycles: how far a stage's operations moved the end of the step; bound by: what was busiest with them")
        if self.wide:
            self.note("least: cycles that their own work needs, which may hide behind other work")
        if not self.found.one_clock:
            self.note("change: cycles at the mean of both clocks' periods; clock: the rest, which the clocks alone make")
        self.console.print()

    def layers(self) -> None:
        layers = [part for part in self.found.layers if part.path != CLOCK and part.cycles]
        if not layers:
            return
        shown = sorted(layers, key=lambda part: -abs(part.seconds))[: self.top or None]
        more = ("", _DIFFERS) if self.wide else ()
        table = _table("layer", "stage", "flow", "A", "B", "change", "of all", *more, left=("stage", "flow", "", _DIFFERS))
        room = max(18, self.console.width - (90 if self.wide else 59))
        for part in shown:
            stage, layer = part.path
            name, *amounts = self.amounts(escape(_end(layer or "-", room)), part)
            flow = _to(*("/".join(work.dataflows) for work in self.found.work(part.path)))
            extra = [_bar(part.seconds, abs(shown[0].seconds)), self.differs(part)] if self.wide else []
            table.add_row(name, stage, flow, *amounts, *extra)
        self.console.print(table)
        if len(shown) < len(layers):
            rest = sum((part.seconds for part in layers), Fraction(0)) - sum((part.seconds for part in shown), Fraction(0))
            said = f"{self.difference(rest)}{' cycles' * self.found.one_clock}, {_share(rest, self.found.change)} of all"
            self.note(f"... and {len(layers) - len(shown)} more that differ ({said}); --all shows them")
        self.console.print()

    def array(self) -> None:
        """All cycles of the array; in a wide terminal also in which stages they changed."""
        gemms = [part.path for part in self.found.stages if part.path[0] in GEMM_STAGES] if self.wide else []
        inside = {path: self.found.array_changes(path) for path in gemms}
        parts = ("A", "of A", "B", "of B") if self.wide else ("A", "B")
        table = _table("the array", *parts, "change", "of all", *(f"in {path[0]}" for path in gemms))
        for part in self.found.array:
            name, a, b, *changed = self.amounts(part.path[0], part)
            if self.wide:
                shares = [_share(own, whole) for own, whole in zip((part.a, part.b), self.wholes, strict=True)]
                a_b = ["", "", "", ""] if part.path == CLOCK else [a, shares[0], b, shares[1]]
            else:
                a_b = [a, b]
            there = [changes.get(name, Fraction(0)) for changes in inside.values()]
            table.add_row(name, *a_b, *changed, *(self.change(cycles) if cycles else "" for cycles in there))
        name, a, b, *changed = self.total()
        table.add_row(name, *([a, "100.0%", b, "100.0%"] if self.wide else [a, b]), *changed)
        self.console.print(table)
        if inside:
            self.note("in a stage: cycles during its commands, and before them, waiting for what they need")
        self.console.print()

    def resources(self) -> None:
        bounds, busy = [run.bound for _, run in self.sides], [self.found.busy(run) for _, run in self.sides]
        table = _table("resource", "least A", "busy A", "of A", "least B", "busy B", "of B", "binds", left=("binds",))
        for unit, bound in RESOURCES.items():
            if any(used[unit] for used in busy):
                row: list[str] = []
                for (_, run), least, used in zip(self.sides, bounds, busy, strict=True):
                    row += [si(getattr(least, bound)), si(used[unit]), _share(used[unit], run.result.cycles)]
                binds = " ".join(side for (side, _), least in zip(self.sides, bounds, strict=True) if least.binding == bound)
                table.add_row("DRAM port" if unit == "memory" else unit, *row, f"[bold]{binds}[/]")
        self.console.print(table)
        self.note("cycles of a step. least: what unavoidable work takes; binds: where that is the most of all\n")

    def traffic(self) -> None:
        rows = {kind: both for kind, both in self.found.traffic.items() if any(both)}
        if rows:
            table = _table("DRAM traffic", "A", "B", "change")
            total = (sum(a for a, _ in rows.values()), sum(b for _, b in rows.values()))
            for kind, (a, b) in {**rows, "[bold]a step[/]": total}.items():
                table.add_row(kind, f"{si(a)}B", f"{si(b)}B", _coloured(b - a, f"{_signed(b - a)}B" if b != a else "0"))
            self.console.print(table)
            self.console.print()

    def energy(self) -> None:
        """By technology; how far to trust it is in docs/energy.md."""
        which = "where it differs most"
        table = _table("energy a step (mJ)", "A", "B", "B/A", which, left=(which,))
        for technology, parts in self.found.energy.items():
            a, b = (sum(both[side] for both in parts.values()) for side in (0, 1))
            changes = sorted(((name, both[1] - both[0]) for name, both in parts.items()), key=lambda item: -abs(item[1]))
            largest = [f"{name.replace('_', ' ')} {'+' * (j > 0)}{number(1e3 * j)}" for name, j in changes[:2] if j]
            amounts = [number(1e3 * joules) for joules in (a, b)]
            table.add_row(technology, *amounts, f"{b / a:.2f}" if a else "-", ", ".join(largest))
        if table.row_count:
            self.console.print(table)
            self.note("of what has a price: docs/energy.md")


def _table(first: str, *columns: str, left: Iterable[str] = ()) -> Table:
    """Text columns, those in `left`, give way where the terminal is narrow; numbers don't."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, no_wrap=first != "setting", overflow="fold")
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=name not in left, overflow="fold")
    return table


def _coloured(change: Fraction | float, text: str) -> str:
    """Less is green, more is red."""
    return f"[green]{text}[/]" if change < 0 else f"[red]{text}[/]" if change > 0 else text


def _bar(change: Fraction, longest: Fraction) -> str:
    length = round(_BAR * abs(change) / longest) if longest else 0
    return _coloured(change, "\N{FULL BLOCK}" * length)


def _share(part: Fraction | int, whole: Fraction | int) -> str:
    if not whole:
        return "-"
    text = f"{100 * float(part / whole):.1f}%"
    return "0.0%" if text == "-0.0%" else text


def _signed(value: int) -> str:
    return f"{'+' * (value > 0)}{si(value)}"


def _to(a: str, b: str) -> str:
    return a if a == b else f"{a or '-'} \N{RIGHTWARDS ARROW} {b or '-'}"


def _end(name: str, room: int) -> str:
    """A name's end, which tells layers apart, where all of it has no room."""
    return name if len(name) <= room else "\N{HORIZONTAL ELLIPSIS}" + name[1 - room :]


def _value(value: Any) -> str:
    if isinstance(value, tuple | list):
        return " ".join(str(item) for item in value)
    return f"{value:,}" if type(value) is int else str(value) or "-"
