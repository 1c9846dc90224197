"""Libraries that choose the next points of a search, behind one way of asking and telling."""

import warnings
from collections.abc import Callable, Sequence
from math import comb
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from dse.axes import is_ordered
from dse.config import ConfigError
from dse.extras import need_packages
from dse.grid import Space

__all__ = ["POPULATION", "SEARCHES", "Searcher", "check_search", "searcher_of"]

SEARCHES = ("nsga2", "nsga3", "tpe", "gp", "cmaes")
"""Kinds: genetic algorithms of pymoo (nsga2, nsga3), Optuna's models of where good points are dense (tpe) and of the objectives
themselves (gp), and an evolution strategy of one objective (cmaes)."""

POPULATION = 50
"""Points that a genetic algorithm keeps and makes at a time, and that a model is asked for, where nothing else is asked."""

_MATINGS = 20  # tries to fill a batch with points that are new
_BATCH_OF_MODELS = 10  # a model learns from each batch: fewer at a time learn more
_STALE = 3  # generations without a new point, after which an evolution strategy has converged and starts anew
_LEAST = 4  # points that an evolution strategy ranks: the better half moves its mean
_PACKAGES = {
    "tpe": ("search", {"optuna": "optuna"}),
    "gp": ("gp", {"optuna": "optuna", "torch": "torch"}),
    "cmaes": ("search", {"cmaes": "cmaes"}),
}
_PYMOO = ("search", {"pymoo": "pymoo"})


class Searcher(Protocol):
    """Chooses grid points of a space in batches, each from what it was told of those before."""

    def ask(self) -> list[int]:
        """The next batch: none twice, and none that was asked before where the library can tell; empty at its end."""
        ...

    def tell(self, values: NDArray[np.float64], violations: NDArray[np.float64]) -> None:
        """What the batch came to, in its order: points x objectives, less being better, all finite; and points x constraints,
        above 0 where one is broken. Values of points that break one are not looked at."""
        ...


def check_search(space: Space) -> None:
    """Raise ConfigError where a space's search is not one that its searcher can do, or the searcher's library is missing."""
    if not space.search:
        return
    if space.search == "cmaes" and len(space.objectives) != 1:
        named = ", ".join(objective.column for objective in space.objectives)
        raise ConfigError(
            f"Search 'cmaes' must have exactly one objective, not {len(space.objectives)} ({named}): leave one of them and "
            "make limits of the others (--constraint), or take nsga2, nsga3, tpe or gp"
        )
    if space.search == "cmaes" and 0 < space.population < _LEAST:
        raise ConfigError(f"Search 'cmaes' must ask for at least {_LEAST} points at a time, not {space.population}")
    extra, packages = _PACKAGES.get(space.search, _PYMOO)
    need_packages(f"Search {space.search!r}", extra, packages)


def searcher_of(space: Space) -> Searcher:
    """The searcher that a space asks for, seeded. The same seed and answers give the same questions.

    Raises ConfigError as `check_search` does.
    """
    check_search(space)
    kinds: dict[str, Callable[[Space], Searcher]] = {"tpe": _Model, "gp": _Model, "cmaes": _Strategy}
    return kinds.get(space.search, _Genetic)(space)


class _Axes:
    """The axes that have more than one choice: positions in an order in which neighbours resemble each other, where there is
    one."""

    def __init__(self, space: Space) -> None:
        self.numbers = [number for number, axis in enumerate(space.axes) if len(axis) > 1]
        self.lengths = [len(space.axes[number]) for number in self.numbers]
        self.ordered = [is_ordered(space.axes[number]) for number in self.numbers]
        self._places = [
            sorted(range(length), key=lambda at, axis=space.axes[number]: tuple(axis[at].values()))
            if ordered
            else [*range(length)]
            for number, length, ordered in zip(self.numbers, self.lengths, self.ordered, strict=True)
        ]
        strides = np.cumprod([1, *(len(axis) for axis in reversed(space.axes))])[::-1][1:]
        self._strides = [int(strides[number]) for number in self.numbers]

    def index(self, positions: Sequence[int]) -> int:
        """The grid point at these positions."""
        rows = zip(self._places, self._strides, positions, strict=True)
        return sum(places[int(at)] * stride for places, stride, at in rows)


class _Genetic:
    """pymoo's genetic algorithms: integers where an axis has an order, choices elsewhere."""

    def __init__(self, space: Space) -> None:
        from pymoo.core.problem import Problem
        from pymoo.core.variable import Choice, Integer

        self._axes = axes = _Axes(space)
        kinds = zip(axes.lengths, axes.ordered, strict=True)
        variables = {
            f"x{i}": Integer(bounds=(0, n - 1)) if ordered else Choice(options=list(range(n)))
            for i, (n, ordered) in enumerate(kinds)
        }
        self._limits = max(1, len(space.constraints)) + 1
        self._algorithm = _algorithm(space, axes)
        problem = Problem(vars=variables, n_obj=len(space.objectives), n_ieq_constr=self._limits)
        self._algorithm.setup(problem, termination=("n_gen", 10**9), seed=space.seed)
        self._asked: Any = None

    def ask(self) -> list[int]:
        self._asked = self._algorithm.ask()
        if self._asked is None:
            return []
        return [self._axes.index([int(one.X[f"x{i}"]) for i in range(len(self._axes.numbers))]) for one in self._asked]

    def tell(self, values: NDArray[np.float64], violations: NDArray[np.float64]) -> None:
        limits = np.zeros((len(values), self._limits))
        limits[:, : violations.shape[1]] = violations
        self._asked.set("F", values, "G", limits)
        for one in self._asked:
            one.evaluated.update(("F", "G"))
        self._algorithm.tell(infills=self._asked)


def _algorithm(space: Space, axes: _Axes) -> Any:
    from pymoo.algorithms.moo.nsga2 import NSGA2, RankAndCrowding, binary_tournament
    from pymoo.algorithms.moo.nsga3 import NSGA3
    from pymoo.core.duplicate import DuplicateElimination
    from pymoo.core.mixed import MixedVariableMating, MixedVariableSampling
    from pymoo.core.variable import Choice, Integer
    from pymoo.operators.crossover.ux import UX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.mutation.rm import ChoiceRandomMutation
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.selection.tournament import TournamentSelection
    from pymoo.util.ref_dirs import get_reference_directions

    class New(DuplicateElimination):
        """Keeps what was never kept before: a point is never asked for twice."""

        def __init__(self) -> None:
            super().__init__()
            self.known: set[tuple[int, ...]] = set()

        def do(self, pop: Any, *_: Any, **__: Any) -> Any:
            fresh: list[int] = []
            for number, one in enumerate(pop):
                key = tuple(int(one.X[f"x{i}"]) for i in range(len(axes.numbers)))
                if key not in self.known:
                    self.known.add(key)
                    fresh.append(number)
            return pop[fresh]

    size = space.population or POPULATION
    new: Any = New()
    selection: Any = TournamentSelection(func_comp=binary_tournament if space.search == "nsga2" else _least_broken)
    often = 1 / max(1, len(axes.numbers))  # an axis of each child, on average
    mating: Any = MixedVariableMating(
        selection=selection,
        crossover={Integer: UX(), Choice: UX()},
        mutation={
            Integer: PM(eta=3, prob_var=often, vtype=float, repair=RoundingRepair()),
            Choice: ChoiceRandomMutation(prob_var=often),
        },
        eliminate_duplicates=new,
        n_max_iterations=_MATINGS,
    )
    common: dict[str, Any] = {"sampling": MixedVariableSampling(), "mating": mating, "eliminate_duplicates": new}
    if space.search == "nsga2":
        return NSGA2(pop_size=size, survival=RankAndCrowding(), **common)
    count, steps = len(space.objectives), 1
    while comb(steps + count, count - 1) <= size and count > 1:
        steps += 1
    return NSGA3(get_reference_directions("das-dennis", count, n_partitions=steps), pop_size=size, **common)


def _least_broken(pop: Any, pairs: NDArray[np.int64], random_state: np.random.Generator, **_: Any) -> NDArray[np.int64]:
    """The one of each pair that breaks limits less, else either. (pymoo's own tournament of NSGA-III ignores the seed.)"""
    broken = pop.get("CV")[:, 0][pairs]
    second = np.where(broken[:, 0] == broken[:, 1], random_state.random(len(pairs)) < 0.5, broken[:, 1] < broken[:, 0])
    return pairs[np.arange(len(pairs)), second.astype(int)][:, None]


class _Model:
    """Optuna's models: integers where an axis has an order, categories elsewhere. Points of a batch that were asked for before
    are known to the model as under way: it keeps away from them."""

    def __init__(self, space: Space) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._axes = axes = _Axes(space)
        self._size = space.population or _BATCH_OF_MODELS
        self._distributions: dict[str, Any] = {
            f"x{i}": optuna.distributions.IntDistribution(0, n - 1) if ordered
            else optuna.distributions.CategoricalDistribution(list(range(n)))
            for i, (n, ordered) in enumerate(zip(axes.lengths, axes.ordered, strict=True))
        }  # fmt: skip
        sampler = _gaussian(space.seed) if space.search == "gp" else _dense(space.seed)
        least = optuna.study.StudyDirection.MINIMIZE
        self._study = optuna.create_study(sampler=sampler, directions=[least] * len(space.objectives))
        self._asked: list[Any] = []

    def ask(self) -> list[int]:
        self._asked = [self._study.ask(self._distributions) for _ in range(self._size)]
        return [self._axes.index([trial.params[name] for name in self._distributions]) for trial in self._asked]

    def tell(self, values: NDArray[np.float64], violations: NDArray[np.float64]) -> None:
        for trial, row, limits in zip(self._asked, values, violations, strict=True):
            trial.set_constraint("broken", float(limits.sum()))  # one: a model of each would take as long again
            self._study.tell(trial, cast("list[float]", row.tolist()))


def _dense(seed: int) -> Any:
    """Where good points are dense (TPE)."""
    import optuna

    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=POPULATION)


def _gaussian(seed: int) -> Any:
    """What the objectives are, and how sure that is (Gaussian processes); points have no noise."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.GPSampler(seed=seed, deterministic_objective=True)


class _Strategy:
    """CMA-ES with margins (`cmaes`): a normal distribution over axes with an order, a categorical one over the others. Once it
    has converged it starts anew from elsewhere."""

    def __init__(self, space: Space) -> None:
        self._axes, self._seed, self._population = _Axes(space), space.seed, space.population or None
        self._kept = [ordered and n > 2 for n, ordered in zip(self._axes.lengths, self._axes.ordered, strict=True)]
        self._start, self._stale, self._known = 0, 0, set[int]()
        self._asked: list[Any] = []
        self._begin()

    def _begin(self) -> None:
        from cmaes import CatCMAwM

        pairs = list(zip(self._axes.lengths, self._kept, strict=True))
        integers, categories = [n for n, kept in pairs if kept], [n for n, kept in pairs if not kept]
        random = np.random.default_rng((self._seed, self._start))
        # First from the middle, then from anywhere; as wide as the library would have it from the middle.
        mean = np.array([(n - 1) / 2 if not self._start else random.uniform(0, n - 1) for n in integers])
        self._strategy: Any = CatCMAwM(
            z_space=[list(range(n)) for n in integers] or None,
            c_space=categories or None,
            mean=mean if integers else None,
            cov=np.diag([((n - 1) / 10) ** 2 for n in integers]) if integers else None,
            population_size=self._population,
            seed=int(random.integers(2**32)),
        )
        self._start, self._stale = self._start + 1, 0

    def ask(self) -> list[int]:
        if self._stale >= _STALE or (any(self._kept) and self._strategy.should_stop()):
            self._begin()
        self._asked = [self._strategy.ask() for _ in range(self._strategy.population_size)]
        found = [self._axes.index(self._positions(each)) for each in self._asked]
        self._stale = self._stale + 1 if self._known.issuperset(found) else 0
        self._known.update(found)
        return found

    def _positions(self, solution: Any) -> list[int]:
        integers = iter([] if solution.z is None else solution.z.tolist())
        categories = iter([] if solution.c is None else solution.c.argmax(axis=1).tolist())
        return [int(next(integers if kept else categories)) for kept in self._kept]

    def tell(self, values: NDArray[np.float64], violations: NDArray[np.float64]) -> None:
        """It looks only at the order: points that keep all limits by their value, then the others by how much they break."""
        broken = violations.sum(axis=1)
        kept = values[broken == 0, 0]
        ranked = np.where(broken == 0, values[:, 0], broken + (kept.max() if len(kept) else 0.0))
        self._strategy.tell(list(zip(self._asked, ranked.tolist(), strict=True)))
