"""The difference between two runs, split so that the parts add up to all of it.

Nothing is estimated: each part is a difference of counters of the two results (docs/explain.md says which). Cycles are those
of a step, or where the batches differ of an image. Where the clocks differ, a part's cycles are worth the mean of both clocks'
periods, and the rest is a part of its own, the clock: the mean of both counts of cycles times the difference of the periods.
So the parts add up, and are the same with the other sign when B comes first.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

from dse.evaluate import Run
from dse.point import Point
from simulator.arch import leaf_fields
from simulator.bounds import LowerBound, lower_bound
from simulator.cost.energy import energy
from simulator.cost.technology import tables
from simulator.schedule import Engine, Load, Store
from workloads.gemm import Gemm, Stage
from workloads.ops import Update
from workloads.stages import STAGES, stage_of

__all__ = ["CLOCK", "GEMM_STAGES", "RESOURCES", "Attribution", "Change", "Path", "Work", "within"]

Path = tuple[str, ...]
"""What a part is of: ``("wu",)``, ``("wu", "layer4.0.conv1")``, ``("compute",)``, ``("waits for load_b",)``, or `CLOCK`."""

CLOCK: Path = ("clock",)
GEMM_STAGES = tuple(stage.value for stage in Stage)
RESOURCES = {"array": "compute", "memory": "memory", "vector": "vector", "update": "update", "prune": "prune"}
"""Units that a run may be bound by, as `dse run` calls them, and the lower bound of each."""

_UNITS = {Engine.ARRAY: "array", Engine.PRUNE: "prune", Engine.UPDATE: "update", Engine.VECTOR: "vector"}  # others: memory
_ROLES = {"weight": "weights read", "activation": "activations read", "gradient": "gradients read"}


class Change(NamedTuple):
    """One part of the difference."""

    path: Path
    a: Fraction  # A's cycles, of a step or an image
    b: Fraction
    seconds: Fraction  # B less A

    @property
    def cycles(self) -> Fraction:
        """B less A: each of its own clock's."""
        return self.b - self.a


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Some operations of one run, together."""

    cycles: int  # by how much they moved the end of the program
    busy: Mapping[str, int]  # of each resource, in cycles
    array: Mapping[str, int]  # what the array did for them, and what it waited for before it could
    least: LowerBound  # of these operations alone
    dataflows: tuple[str, ...]
    dram_bytes: int

    @property
    def bound_by(self) -> str:
        """The resource that was busiest; empty where there are no operations."""
        return max(self.busy, key=lambda name: self.busy[name]) if any(self.busy.values()) else ""


class Attribution:
    """Two runs, and the parts of the difference between them."""

    def __init__(self, a: Run, b: Run) -> None:
        self.a, self.b = a, b
        self.per_image = a.point.batch != b.point.batch
        self._paths = tuple(
            [(stage_of(op), op.parameter if isinstance(op, Update) else op.layer) for op in run.workload.ops] for run in (a, b)
        )

    @property
    def per(self) -> str:
        return "image" if self.per_image else "step"

    def count(self, run: Run, cycles: int) -> Fraction:
        """A run's cycles, of a step or an image."""
        return Fraction(cycles, run.point.batch if self.per_image else 1)

    def seconds(self, run: Run) -> Fraction:
        """A step's time, or an image's."""
        return self.count(run, run.result.cycles) / run.result.clock_hz

    @property
    def change(self) -> Fraction:
        """The whole difference in seconds, B less A: what each list of parts adds up to."""
        return self.seconds(self.b) - self.seconds(self.a)

    @property
    def one_clock(self) -> bool:
        return self.a.result.clock_hz == self.b.result.clock_hz

    @property
    def settings(self) -> dict[str, tuple[Any, Any]]:
        """Settings that differ: A's value and B's."""
        a, b = _settings(self.a.point), _settings(self.b.point)
        return {name: (a[name], b[name]) for name in a if a[name] != b[name]}

    def _parts(self, a: Mapping[Path, int], b: Mapping[Path, int]) -> tuple[Change, ...]:
        """A part for each path of either, in order of appearance, and the clock's where the clocks differ."""
        own, other = (Fraction(1, run.result.clock_hz) for run in (self.a, self.b))
        parts: list[Change] = []
        for path in dict.fromkeys((*a, *b)):
            before, after = self.count(self.a, a.get(path, 0)), self.count(self.b, b.get(path, 0))
            parts.append(Change(path, before, after, (after - before) * (own + other) / 2))
        if not self.one_clock:
            cycles = (self.count(run, run.result.cycles) for run in (self.a, self.b))
            parts.append(Change(CLOCK, Fraction(0), Fraction(0), (other - own) * sum(cycles) / 2))
        return tuple(parts)

    @cached_property
    def stages(self) -> tuple[Change, ...]:
        """By stage: how far its operations moved the end of the program."""
        found = [Counter[Path](), Counter[Path]()]
        for counts, run, paths in zip(found, (self.a, self.b), self._paths, strict=True):
            for (stage, _), use in zip(paths, run.result.ops, strict=True):
                counts[stage,] += use.cycles
        used = [(stage,) for stage in STAGES if any((stage,) in counts for counts in found)]
        return self._parts(*({path: counts[path] for path in used} for counts in found))

    @cached_property
    def layers(self) -> tuple[Change, ...]:
        """By stage and layer, likewise, in program order."""
        found = [Counter[Path](), Counter[Path]()]
        for counts, run, paths in zip(found, (self.a, self.b), self._paths, strict=True):
            for path, use in zip(paths, run.result.ops, strict=True):
                counts[path] += use.cycles
        return self._parts(*found)

    @cached_property
    def array(self) -> tuple[Change, ...]:
        """By what the array did: computing and waiting; these are all of its cycles, and so the step's."""
        return self._parts(*(_account(run) for run in (self.a, self.b)))

    def work(self, path: Path) -> tuple[Work, Work]:
        """What A and B did for a stage, or for the layers of a stage whose names begin with a layer's (whole components)."""
        own, other = (self._work(run, paths, path) for run, paths in zip((self.a, self.b), self._paths, strict=True))
        return own, other

    def _work(self, run: Run, paths: list[tuple[str, str]], path: Path) -> Work:
        stage, layer = path if len(path) == 2 else (path[0], "")
        chosen = [i for i, found in enumerate(paths) if found[0] == stage and within(found[1], layer)]
        busy = Counter[str]()
        array = Counter[str]()
        for i in chosen:
            use = run.result.ops[i]
            for engine, cycles in use.busy.items():
                busy[_UNITS.get(engine, "memory")] += cycles
            array.update(use.array.as_dict())
            array.update({_wait(cause): cycles for cause, cycles in use.array_stalls.items()})
        mapping = run.point.mapping
        return Work(
            cycles=sum(run.result.ops[i].cycles for i in chosen),
            busy=dict(busy),
            array={cause: cycles for cause, cycles in array.items() if cycles},
            least=lower_bound(
                run.workload.with_ops(tuple(run.workload.ops[i] for i in chosen)),
                run.point.accelerator,
                pregenerate=mapping.pregenerate,
                vector_on_chip=mapping.vector == "chip",
            ),
            dataflows=tuple(dict.fromkeys(c for c in (run.program.choices[i] for i in chosen) if c)),
            dram_bytes=sum(run.result.ops[i].dram_bytes for i in chosen),
        )

    def array_changes(self, path: Path) -> dict[str, Fraction]:
        """B's cycles less A's by what the array did for a stage or layer, and waited for before it could."""
        a, b = self.work(path)
        causes = dict.fromkeys((*a.array, *b.array))
        return {c: self.count(self.b, b.array.get(c, 0)) - self.count(self.a, a.array.get(c, 0)) for c in causes}

    def busy(self, run: Run) -> dict[str, int]:
        """Cycles in which each resource of a run was busy; the memory's are those of its port, whoever used it."""
        engines = {name: run.result.engines[engine].busy for engine, name in _UNITS.items()}
        return {name: engines.get(name, run.result.port_busy_cycles) for name in RESOURCES}

    @cached_property
    def traffic(self) -> dict[str, tuple[int, int]]:
        """Bytes of a step between memory and machine, by what they are: A's and B's. They add up to the counters'."""
        return _both(_traffic(self.a), _traffic(self.b), 0)

    @cached_property
    def energy(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Joules of a step by technology and part: A's and B's; what has no price is not in them (docs/energy.md)."""
        found: dict[str, dict[str, tuple[float, float]]] = {}
        for technology in tables().technologies:
            spent = [energy(r.actions, r.result.cycles, r.point.accelerator, technology) for r in (self.a, self.b)]
            own, other = ({name: 1e-12 * pj for name, pj in e.pj.items()} | {"static": e.static_j} for e in spent)
            found[technology] = {name: both for name, both in _both(own, other, 0.0).items() if any(both)}
        return found


def within(layer: str, above: str) -> bool:
    """Whether a layer is another or inside it, by the dotted names of modules; all are inside the one without a name."""
    return not above or layer == above or layer.startswith(above + ".")


def _settings(point: Point) -> dict[str, Any]:
    own = {"workload": point.workload, "batch": point.batch, "method": point.method, "fit": point.fit}
    machine = {path: value for path, value in leaf_fields(point.accelerator).items() if path != "name"}
    return own | machine | {f"mapping.{name}": value for name, value in asdict(point.mapping).items()}


def _wait(cause: str) -> str:
    names = {"command": "waits for dispatch", "array": "waits for its own results", "drained": "has no more work"}
    return names.get(cause, f"waits for {cause}")


def _account(run: Run) -> dict[Path, int]:
    """The array's cycles by cause. Raises ValueError where they aren't the step's."""
    found = Counter[str]()
    for use in run.result.ops:
        found.update(use.array.as_dict())
    found.update({_wait(cause): cycles for cause, cycles in run.result.engines[Engine.ARRAY].stalls.items()})
    if sum(found.values()) != run.result.cycles:
        raise ValueError(f"Array's account must add up to {run.result.cycles} cycles, not {sum(found.values())}")
    return {(cause,): cycles for cause, cycles in found.items() if cycles}


def _traffic(run: Run) -> dict[str, int]:
    """By kind, from the program's transfers: its commands are the only ones that know what a transfer carries."""
    kinds = [_kinds(run, i) for i in range(len(run.workload.ops))]
    found = Counter[str]()
    for command in run.program:
        if isinstance(command, Load | Store):
            found[kinds[command.op](command.engine)] += command.runs * command.run_bytes
    return dict(found)


def _kinds(run: Run, index: int) -> Callable[[Engine], str]:
    op = run.workload.ops[index]
    stage = stage_of(op)
    if isinstance(op, Gemm):
        names = {Engine.LOAD_A: _ROLES[op.a.role], Engine.LOAD_B: _ROLES[op.b.role], Engine.STORE_C: "results written"}
    else:
        names = {Engine.LOAD_WORK: f"{stage} read", Engine.STORE_WORK: f"{stage} written"}
    return lambda engine: names.get(engine, f"{stage} {engine.value}")


def _both(a: Mapping[str, Any], b: Mapping[str, Any], none: Any) -> dict[str, tuple[Any, Any]]:
    return {name: (a.get(name, none), b.get(name, none)) for name in dict.fromkeys((*a, *b))}
