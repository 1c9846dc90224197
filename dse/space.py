"""A space of design points as its TOML file says it, and as a sweep's folder keeps it."""

import random
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dse.accuracy import ACCURACY, Accuracy, read_accuracies
from dse.axes import Choice, flat, read_axes, table_of
from dse.config import ConfigError, read_toml
from dse.constraints import parse_constraint, read_constraints
from dse.evaluate import is_metric
from dse.expressions import parse_expression
from dse.grid import Space
from dse.objectives import DEFAULT_OBJECTIVES, Objective, check_column, read_objectives
from dse.point import make_point
from dse.searchers import SEARCHES

__all__ = ["GRID_LIMIT", "KINDS", "Objective", "Space", "read_space", "shipped_spaces", "space_data", "space_from"]

GRID_LIMIT = 100_000
"""Points that a grid may have: at a few per second and core, more is not what the user meant."""

KINDS = ("grid", "random", *SEARCHES)
"""Ways through a space."""

_TRIES = 200  # points that are looked at for one in which a value can be
_SHIPPED = Path(__file__).parent / "spaces"
_SECTIONS = ("title", "base", "axes", "linked", "search", "objectives", "constraints", "accuracy")
_SEARCH = ("kind", "points", "seed", "population")


def shipped_spaces() -> dict[str, Path]:
    """Spaces that come with the tool, by name."""
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.toml"))}


def read_space(
    source: str,
    *,
    samples: int | None = None,
    seed: int | None = None,
    limit: int = GRID_LIMIT,
    kind: str = "",
    population: int | None = None,
    constraints: Sequence[str] = (),
) -> Space:
    """A space from a TOML file or a shipped name. `samples`, `seed`, `kind` and `population` override the file's, and
    `constraints` come on top of the file's.

    Raises ConfigError for anything in it that can't be, for each axis value on its own, and for a grid above `limit`.
    """
    path = shipped_spaces().get(source, Path(source))
    if path.suffix != ".toml":
        raise ConfigError(f"Space {source!r} must be a .toml file or one of: {', '.join(shipped_spaces())}")
    data = read_toml(path)
    for name in data:
        if name not in _SECTIONS:
            raise ConfigError(f"Space {source!r} has no section {name!r}; it must be one of: {', '.join(_SECTIONS)}")
    base = flat(table_of(data, "base", source))
    axes = read_axes(data, source)
    limits = read_constraints(table_of(data, "constraints", source), source)
    more = tuple(parse_constraint(text, "Option '--constraint'") for text in constraints)
    space = Space(
        title=str(data.get("title", path.stem)),
        base=base,
        axes=axes,
        objectives=read_objectives(table_of(data, "objectives", source) or DEFAULT_OBJECTIVES, source),
        constraints=tuple(dict.fromkeys((*limits, *more))),
        accuracies=_accuracies(table_of(data, "accuracy", source), source, path.parent),
        **_search(table_of(data, "search", source), source, samples, seed, kind, population),
    )
    if space.size > sys.maxsize:
        raise ConfigError(f"Space {source!r} must have at most {sys.maxsize:,} points, not {space.size:,}")
    if space.samples > space.size:
        raise ConfigError(f"Space {source!r}: points must be at most its {space.size:,} grid points, not {space.samples:,}")
    if not space.samples and space.size > limit:
        raise ConfigError(
            f"Space {source!r}: a grid must have at most {limit:,} points, not {space.size:,}; drop values from its axes, "
            "sample it (--points N, or [search] kind = 'random'), take the closed form (--fidelity analytic), or raise --limit"
        )
    _check_values(space)
    _check_columns(space, f"Space {source!r}")
    walked = replace(space, search="", samples=0) if space.search and space.size <= GRID_LIMIT else space
    if space.on_settings and not walked.search and not len(walked):  # of a sample: are there as many?
        texts = " and ".join(repr(constraint.text) for constraint in space.on_settings)
        raise ConfigError(f"Space {source!r} must have a point whose settings keep {texts}, but of {space.size:,} none does")
    return space


def _search(
    table: Mapping[str, Any], source: str, samples: int | None, seed: int | None, kind: str, population: int | None
) -> dict[str, Any]:
    """The section [search], overridden: fields of `Space`."""
    if unknown := set(table) - set(_SEARCH):
        fields = f"{', '.join(_SEARCH[:-1])} or {_SEARCH[-1]}"
        raise ConfigError(f"Space {source!r} section 'search' has no field {min(unknown)!r}; it must be {fields}")
    own = table.get("kind", "grid")
    for value, thing in ((kind or own, "Option '--search'" if kind else f"Space {source!r} field 'search.kind'"),):
        if value not in KINDS:
            raise ConfigError(f"{thing} must be {', '.join(KINDS[:-1])} or {KINDS[-1]}, not {value!r}")
    asked = kind or ("random" if own == "grid" and samples is not None else own)
    wanted = samples if samples is not None else (0 if asked == "grid" else table.get("points", 0))
    if asked != "grid" and samples is None and "points" not in table:
        raise ConfigError(f"Space {source!r}: {asked!r} must be told how many points: --points N, or [search] points = N")
    people = table.get("population", 0) if population is None else population
    return {
        "samples": _count(source, "points", wanted, zero=samples is None and asked == "grid"),
        "seed": _count(source, "seed", table.get("seed", 0) if seed is None else seed, zero=True),
        "population": _count(source, "population", people, zero=True),
        "search": asked if asked in SEARCHES else "",
    }


def _accuracies(table: Mapping[str, Any], source: str, folder: Path) -> tuple[Accuracy, ...]:
    if not table:
        return ()
    if set(table) != {"table"} or not isinstance(table["table"], str):
        raise ConfigError(f"Space {source!r} section 'accuracy' must hold table = \"FILE.csv\", not {dict(table)!r}")
    return read_accuracies(table["table"], folder)


def _count(source: str, name: str, value: Any, *, zero: bool) -> int:
    least = 0 if zero else 1
    if type(value) is not int or value < least:
        raise ConfigError(f"Space {source!r} field 'search.{name}' must be an integer of at least {least}, not {value!r}")
    return value


def _check_values(space: Space) -> None:
    """Each value of each axis, with others that make a machine with it: a typing error is found before anything runs, and
    values that only exclude each other are points that can't be, among others that can."""
    good = _possible(space, {}, space.settings(0))
    for axis in space.axes:
        for choice in axis[:1000]:
            _possible(space, choice, good)


def _possible(space: Space, choice: Choice, others: Choice) -> Choice:
    """Settings with this choice that make a point: these others, or any that are drawn at random. Raises what speaks against
    the first of them, where none does."""
    try:
        make_point(others | choice)
    except ConfigError:
        walk = random.Random(0)
        for _ in range(_TRIES):
            drawn = space.settings(walk.randrange(space.size)) | choice
            with suppress(ConfigError):
                make_point(drawn)
                return drawn
        raise
    return others | choice


def _check_columns(space: Space, thing: str) -> None:
    """What objectives and constraints name."""
    settings = {"workload", "method", "batch", *space.names}
    extra = (ACCURACY,) if space.accuracies else ()
    for objective in space.objectives:
        what = f"{thing}: objective {objective.column!r}"
        check_column(objective.column, settings, extra, what)
        for name in parse_expression(objective.column, what).names:
            if name not in extra and not is_metric(name) and not _are_numbers(space, name):
                raise ConfigError(f"{what} must be of numbers, which {name!r} has none of in this space")
    for constraint in space.constraints:
        for side in (constraint.left, constraint.right):
            check_column(side.text, settings, extra, f"{thing}: constraint {constraint.text!r}")


def _are_numbers(space: Space, name: str) -> bool:
    """Whether a setting has a number, or true or false, at every point."""
    given = [choice[name] for axis in space.axes for choice in axis if name in choice] or [space.base.get(name, "")]
    return all(isinstance(value, int | float) for value in given)


def space_data(space: Space) -> dict[str, Any]:
    """The space as JSON keeps it."""
    return {
        "title": space.title,
        "base": space.base,
        "axes": space.axes,
        "objectives": [[o.column, o.minimize] for o in space.objectives],
        "samples": space.samples,
        "seed": space.seed,
        "search": space.search,
        "population": space.population,
        "constraints": [constraint.text for constraint in space.constraints],
        "accuracies": [asdict(row) for row in space.accuracies],
        "chosen": space.chosen,
    }


def space_from(data: Mapping[str, Any]) -> Space:
    """The space of `space_data`. Raises KeyError, TypeError, ValueError or ConfigError where that isn't one."""
    title, chosen = str(data["title"]), data.get("chosen")
    return Space(
        title=title,
        base=data["base"],
        axes=tuple(tuple(axis) for axis in data["axes"]),
        objectives=tuple(Objective(column, minimize) for column, minimize in data["objectives"]),
        samples=data["samples"],
        seed=data["seed"],
        search=data.get("search", ""),
        population=data.get("population", 0),
        constraints=tuple(parse_constraint(text) for text in data.get("constraints", ())),
        accuracies=tuple(Accuracy(**row) for row in data.get("accuracies", ())),
        chosen=None if chosen is None else tuple(chosen),
    )
