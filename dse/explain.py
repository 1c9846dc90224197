"""Why one point beats another: the attribution of their difference, what it comes to in a sentence, and all of it as data."""

from collections import defaultdict
from fractions import Fraction
from typing import Any

import pandas as pd

from dse.attribution import CLOCK, GEMM_STAGES, RESOURCES, Attribution, Change, Path, Work, within
from dse.evaluate import Run
from dse.figures import number, si

__all__ = ["Explanation", "explain"]

_MOST = Fraction(3, 4)  # of a stage's change that a module must hold for the verdict to name the module
_NEXT = Fraction(1, 10)  # of the whole change that another stage must hold to be named too
_SAME = 1.01  # ratios below this are said in percent


class Explanation(Attribution):
    """What `dse explain` knows; its repr is the verdict."""

    def __repr__(self) -> str:
        return f"<Explanation: {self.verdict}>"

    @property
    def verdict(self) -> str:
        """Which is faster, in which stage or module most of that lies, and what the machine does differently there."""
        a, b = self.seconds(self.a), self.seconds(self.b)
        per = f"{'an' if self.per_image else 'a'} {self.per}"
        if self.a.point.key == self.b.point.key:
            return f"A and B are the same point: {_milliseconds(a)} {per}."
        if a == b:
            return f"A and B take the same time: {_milliseconds(a)} {per}."
        name, fast, slow = ("B", b, a) if b < a else ("A", a, b)
        ratio = float(slow / fast) if fast else float("inf")
        how = f"{100 * (ratio - 1):.2g}%" if ratio < _SAME else f"{ratio:,.2f}x"
        times = [_milliseconds(time) for time in (fast, slow)]
        if times[0] == times[1]:
            times = [f"{1e3 * float(time):,.6f} ms" for time in (fast, slow)]
        return f"{name} is {how} faster ({times[0]} {per}, not {times[1]}): {self._cause()}."

    def _cause(self) -> str:
        """The stage that holds most of the change, or its module that makes up most of the stage's; then the next stages."""
        first, *others = sorted(self.stages, key=lambda part: part.seconds / self.change, reverse=True)
        if first.path == CLOCK:
            a, b = (run.result.clock_hz / 1e6 for run in (self.a, self.b))
            text = f"{self._share(first)} of that is the clock ({a:g} MHz in A, {b:g} MHz in B)"
        else:
            held = self.focus(first)
            text = f"{self._share(held)} of that is {' of '.join(held.path)}, {self._how(held.path)}"
        more = [f"{part.path[0]} {self._share(part)}" for part in others[:2] if part.seconds / self.change > _NEXT]
        back = [f"{part.path[0]} {self._share(part)}" for part in reversed(others) if part.seconds / self.change < -_NEXT]
        return text + (f"; then {', '.join(more)}" if more else "") + (f"; against it {', '.join(back)}" if back else "")

    def _share(self, part: Change) -> str:
        return f"{float(part.seconds / self.change):.0%}"

    def focus(self, stage: Change) -> Change:
        """The innermost module that holds `_MOST` of a stage's change, or the stage: its change."""
        found = stage
        while True:
            above = found.path[1] if len(found.path) == 2 else ""
            children: defaultdict[str, list[Change]] = defaultdict(list)
            for part in self.layers:
                if part.path[0] == stage.path[0] and part.path[1] != above and within(part.path[1], above):
                    step = part.path[1].removeprefix(f"{above}." if above else "").partition(".")[0]
                    children[f"{above}.{step}" if above else step].append(part)
            held = {name: sum((part.seconds for part in parts), Fraction(0)) for name, parts in children.items()}
            best = max(held, key=lambda name: held[name] / stage.seconds, default="")
            if not best or held[best] / stage.seconds < _MOST:
                return found
            a = sum((part.a for part in children[best]), Fraction(0))
            b = sum((part.b for part in children[best]), Fraction(0))
            found = Change((stage.path[0], best), a, b, held[best])

    def _how(self, path: Path) -> str:
        """What the faster machine's array does less of there; where it has no part in it, which unit is busy for less."""
        (slow, slow_run), (fast, fast_run) = zip(self.work(path), (self.a, self.b), strict=True)
        if self.change > 0:
            slow, slow_run, fast, fast_run = fast, fast_run, slow, slow_run

        def less(of: str) -> dict[str, Fraction]:
            before, after = getattr(slow, of), getattr(fast, of)
            return {name: self.count(slow_run, c) - self.count(fast_run, after.get(name, 0)) for name, c in before.items()}

        array, busy = less("array"), less("busy")
        if path[0] in GEMM_STAGES and array and max(array.values()) > 0:
            name = max(array, key=lambda cause: array[cause])
            cycles = f"{si(int(array[name]))} cycles"
            if name.startswith("waits for "):
                never = name not in fast.array
                return f"where the array {f'never {name} ({cycles} less)' if never else f'{name} {cycles} less'}"
            return f"where the array {'computes' if name == 'compute' else 'loses'} {cycles} less" + (
                "" if name == "compute" else f" to {name}"
            )
        if busy and max(busy.values()) > 0:
            name = max(busy, key=lambda unit: busy[unit])
            return f"where {_UNIT[name]} is busy {si(int(busy[name]))} cycles less"
        return "where no unit is busy for less: it waits less, or more of it is hidden behind other work"

    @property
    def table(self) -> pd.DataFrame:
        """A row per stage and layer, and one for the clock where it differs: cycles, their change, and what bound them."""
        return pd.DataFrame([self._row(part) for part in self.layers])

    def _row(self, part: Change) -> dict[str, Any]:
        row: dict[str, Any] = {"stage": part.path[0], "layer": part.path[1] if len(part.path) == 2 else ""}
        row |= {"a_cycles": _plain(part.a), "b_cycles": _plain(part.b), "change": _plain(part.cycles)}
        row["change_s"] = float(part.seconds)
        row["of_change"] = float(part.seconds / self.change) if self.change else 0.0
        works: tuple[Work | None, ...] = (None, None) if part.path == CLOCK else self.work(part.path)
        for side, work in zip("ab", works, strict=True):
            row |= {f"{side}_bound_by": work.bound_by if work else "", f"{side}_least": work.least.cycles if work else 0}
            row |= {f"{side}_dataflow": " ".join(work.dataflows) if work else ""}
        return row

    def as_json(self) -> dict[str, Any]:
        """All of it, in plain JSON types. Cycles are of a step, or where the batches differ of an image, as `per` says; bytes,
        joules and busy cycles are of a step."""
        sides = (self.a, self.b)
        busy = [self.busy(run) for run in sides]
        stages = [part.path for part in self.stages if part.path != CLOCK]
        return {
            "verdict": self.verdict,
            "per": self.per,
            **{name: _side(run) for name, run in zip("ab", sides, strict=True)},
            "settings": {name: list(values) for name, values in self.settings.items()},
            "change_s": float(self.change),
            "stages": [self._row(part) | self._accounts(part) for part in self.stages],
            "layers": [self._row(part) | self._accounts(part) for part in self.layers],
            "array": [
                {
                    "cause": part.path[0],
                    "a_cycles": _plain(part.a),
                    "b_cycles": _plain(part.b),
                    "change": _plain(part.cycles),
                    "change_s": float(part.seconds),
                }
                for part in self.array
            ],
            "resources": {
                unit: {
                    f"{side}_{what}": value
                    for side, run, own in zip("ab", sides, busy, strict=True)
                    for what, value in (("least", getattr(run.bound, bound)), ("busy", own[unit]))
                }
                for unit, bound in RESOURCES.items()
            },
            "least_by_stage": {path[0]: [work.least._asdict() for work in self.work(path)] for path in stages},
            "dram_bytes": {kind: list(both) for kind, both in self.traffic.items()},
            "energy_j": {name: {part: list(both) for part, both in parts.items()} for name, parts in self.energy.items()},
        }

    def _accounts(self, part: Change) -> dict[str, Any]:
        if part.path == CLOCK:
            return {}
        a, b = self.work(part.path)
        return {"a_array": dict(a.array), "b_array": dict(b.array), "a_busy": dict(a.busy), "b_busy": dict(b.busy)} | {
            "dram_bytes": [a.dram_bytes, b.dram_bytes]
        }


def explain(a: Run, b: Run) -> Explanation:
    """Why B takes more or less time than A; methods, machines, mappings and batches may differ, and so may workloads."""
    return Explanation(a, b)


_UNIT = {
    "array": "the array",
    "memory": "the memory port",
    "vector": "the vector unit",
    "update": "the updater",
    "prune": "the pruner",
}


def _side(run: Run) -> dict[str, Any]:
    point, bound = run.point, run.bound
    return {
        "key": point.key,
        "digest": point.accelerator.digest,
        "accelerator": point.accelerator.name,
        "workload": point.workload,
        "method": point.method,
        "batch": point.batch,
        "cycles": run.result.cycles,
        "clock_hz": run.result.clock_hz,
        "seconds": run.result.seconds,
        "lower_bound": bound._asdict() | {"binding": bound.binding, "of_step": bound.cycles / max(1, run.result.cycles)},
    }


def _plain(cycles: Fraction) -> int | float:
    return cycles.numerator if cycles.denominator == 1 else float(cycles)


def _milliseconds(seconds: Fraction) -> str:
    return f"{number(1e3 * float(seconds))} ms"
