"""A space of design points: a base, axes over any of its settings, and how to walk it."""

import difflib
import math
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dse.config import ConfigError, read_toml
from dse.evaluate import METRICS, is_metric
from dse.point import make_point

__all__ = ["GRID_LIMIT", "Objective", "Space", "read_space", "shipped_spaces"]

GRID_LIMIT = 100_000
"""Points that a grid may have: at a few per second and core, more is not what the user meant."""

_SHIPPED = Path(__file__).parent / "spaces"
_SECTIONS = ("title", "base", "axes", "linked", "search", "objectives")
_DEFAULT_OBJECTIVES = {"minimize": ["latency_ms", "multipliers", "storage_bits"]}

Choice = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Objective:
    """A result column, and whether less of it is better."""

    column: str
    minimize: bool


@dataclass(frozen=True, kw_only=True)
class Space:
    """Axes over a base. Point i is row i of the grid, or the i-th sample of a seeded random walk without repetition."""

    title: str
    base: Choice
    axes: tuple[tuple[Choice, ...], ...]
    objectives: tuple[Objective, ...]
    samples: int = 0  # 0: the whole grid
    seed: int = 0

    @property
    def size(self) -> int:
        """Points of the grid."""
        return math.prod(len(axis) for axis in self.axes)

    def __len__(self) -> int:
        return self.samples or self.size

    @property
    def varied(self) -> list[str]:
        """Settings that differ between points."""
        return [name for axis in self.axes for name in axis[0] if len({repr(choice[name]) for choice in axis}) > 1]

    def settings(self, index: int) -> Choice:
        """The settings of grid point `index`: the last axis changes fastest."""
        chosen = dict(self.base)
        for axis in reversed(self.axes):
            index, position = divmod(index, len(axis))
            chosen |= axis[position]
        return chosen

    def __iter__(self) -> Iterator[Choice]:
        if not self.samples:
            return (self.settings(index) for index in range(self.size))
        walk = random.Random(self.seed).sample(range(self.size), self.samples)
        return (self.settings(index) for index in walk)

    def point_settings(self, number: int) -> Choice:
        """The settings of the number-th point of the sweep. Raises ConfigError past its end."""
        if not 0 <= number < len(self):
            raise ConfigError(f"Point must be one of 0 to {len(self) - 1} of space {self.title!r}, not {number}")
        return next(settings for i, settings in enumerate(self) if i == number)


def shipped_spaces() -> dict[str, Path]:
    """Spaces that come with the tool, by name."""
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.toml"))}


def read_space(source: str, *, samples: int | None = None, seed: int | None = None, limit: int = GRID_LIMIT) -> Space:
    """A space from a TOML file or a shipped name. `samples` and `seed` override the file's.

    Raises ConfigError for anything in it that can't be, for each axis value on its own, and for a grid above `limit`.
    """
    path = shipped_spaces().get(source, Path(source))
    if path.suffix != ".toml":
        raise ConfigError(f"Space {source!r} must be a .toml file or one of: {', '.join(shipped_spaces())}")
    data = read_toml(path)
    for name in data:
        if name not in _SECTIONS:
            raise ConfigError(f"Space {source!r} has no section {name!r}; it must be one of: {', '.join(_SECTIONS)}")
    base = _flat(_table(data, "base", source))
    axes = [tuple({name: value} for value in _values(name, values)) for name, values in _axes(data, source).items()]
    axes += [_linked(group, source) for group in _groups(data, source)]
    names = [name for axis in axes for name in axis[0]]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"Space {source!r} must have one axis for {twice[0]!r}, in [axes] or in one [[linked]]")
    search = _table(data, "search", source)
    if unknown := set(search) - {"kind", "points", "seed"}:
        raise ConfigError(f"Space {source!r} section 'search' has no field {min(unknown)!r}; it must be kind, points or seed")
    kind = search.get("kind", "grid")
    if kind not in ("grid", "random"):
        raise ConfigError(f"Space {source!r} field 'search.kind' must be grid or random, not {kind!r}")
    wanted = samples if samples is not None else (search.get("points", 0) if kind == "random" else 0)
    space = Space(
        title=str(data.get("title", path.stem)),
        base=base,
        axes=tuple(axes),
        objectives=_objectives(_table(data, "objectives", source) or _DEFAULT_OBJECTIVES, source),
        samples=_count(source, "points", wanted, zero=samples is None and kind == "grid"),
        seed=_count(source, "seed", search.get("seed", 0) if seed is None else seed, zero=True),
    )
    if space.size > sys.maxsize:
        raise ConfigError(f"Space {source!r} must have at most {sys.maxsize:,} points, not {space.size:,}")
    if space.samples > space.size:
        raise ConfigError(f"Space {source!r}: points must be at most its {space.size:,} grid points, not {space.samples:,}")
    if not space.samples and space.size > limit:
        raise ConfigError(
            f"Space {source!r}: a grid must have at most {limit:,} points, not {space.size:,}; drop values from its axes, "
            "sample it (--points N, or [search] kind = 'random'), or raise --limit"
        )
    _check_values(space)
    settings = {"workload", "method", "batch", *space.base, *names}
    for objective in space.objectives:
        if objective.column not in settings and not is_metric(objective.column):
            close = difflib.get_close_matches(objective.column, METRICS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f", one of: {', '.join(METRICS)}"
            raise ConfigError(f"Space {source!r}: objective {objective.column!r} must be a column of the results{hint}")
    return space


def _groups(data: Mapping[str, Any], source: str) -> list[dict[str, Any]]:
    groups = data.get("linked", [])
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        raise ConfigError(f"Space {source!r} section 'linked' must be tables, written [[linked]], not {groups!r}")
    return groups


def _table(data: Mapping[str, Any], name: str, source: str) -> dict[str, Any]:
    table = data.get(name, {})
    if not isinstance(table, dict):
        raise ConfigError(f"Space {source!r} section {name!r} must be a table, not {table!r}")
    return table


def _flat(data: Mapping[str, Any], prefix: str = "") -> Choice:
    flat: Choice = {}
    for key, value in data.items():
        if isinstance(value, dict) and not {"start", "stop"} <= value.keys():
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _axes(data: Mapping[str, Any], source: str) -> Choice:
    axes = _flat(_table(data, "axes", source))
    if not axes and not data.get("linked"):
        raise ConfigError(f"Space {source!r} must have at least one axis, in [axes] or [[linked]]")
    return axes


def _values(name: str, values: Any) -> list[Any]:
    """An axis's values: a list, or ``{start, stop, step}`` or ``{start, stop, factor}``, both ends included."""
    if isinstance(values, dict):
        table: dict[str, Any] = values
        start, stop, step, factor = (table.get(key) for key in ("start", "stop", "step", "factor"))
        if set(values) - {"start", "stop", "step", "factor"} or (step is None) == (factor is None):
            raise ConfigError(f"Axis {name!r} must be a list, or start and stop with either step or factor, not {values!r}")
        for key, value, least in (("start", start, 1), ("stop", stop, 1), ("step", step, 1), ("factor", factor, 2)):
            if value is not None and (type(value) is not int or value < least):
                raise ConfigError(f"Axis {name!r}: {key} must be an integer of at least {least}, not {value!r}")
        assert start is not None
        assert stop is not None
        if step is not None:
            if (count := (stop - start) // step + 1) > 10**6:
                raise ConfigError(f"Axis {name!r} must have at most 1,000,000 values, not {count:,}")
            values = list(range(start, stop + 1, step))
        else:
            values = [start]
            while values[-1] * factor <= stop:
                values.append(values[-1] * factor)
    if not isinstance(values, list) or not values:
        raise ConfigError(f"Axis {name!r} must be a list with at least one value, not {values!r}")
    if len({repr(value) for value in values}) < len(values):
        raise ConfigError(f"Axis {name!r} must name each value once, not {values!r}")
    return values


def _linked(group: Mapping[str, Any], source: str) -> tuple[Choice, ...]:
    columns = {name: _values(name, values) if isinstance(values, dict) else values for name, values in _flat(group).items()}
    lengths = {name: len(values) if isinstance(values, list) else 0 for name, values in columns.items()}
    if not columns or len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ConfigError(f"Space {source!r}: linked axes must be lists of one length, not {lengths}")
    return tuple(dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))


def _objectives(table: Mapping[str, Any], source: str) -> tuple[Objective, ...]:
    if set(table) - {"minimize", "maximize"}:
        raise ConfigError(f"Space {source!r} section 'objectives' must hold minimize and maximize, not {sorted(table)}")
    found: list[Objective] = []
    for name in ("minimize", "maximize"):
        columns = table.get(name, [])
        if not isinstance(columns, list) or not all(isinstance(column, str) for column in columns):
            raise ConfigError(f"Space {source!r} field 'objectives.{name}' must be a list of result columns, not {columns!r}")
        found += [Objective(column, name == "minimize") for column in columns]
    if not found:
        raise ConfigError(f"Space {source!r} must have at least one objective")
    columns = [objective.column for objective in found]
    if len(set(columns)) < len(columns):
        raise ConfigError(f"Space {source!r} must name each objective once, not {columns!r}")
    return tuple(found)


def _count(source: str, name: str, value: Any, *, zero: bool) -> int:
    least = 0 if zero else 1
    if type(value) is not int or value < least:
        raise ConfigError(f"Space {source!r} field 'search.{name}' must be an integer of at least {least}, not {value!r}")
    return value


def _check_values(space: Space) -> None:
    """Each value of each axis, with the others at their first: a typing error is found before anything runs."""
    first = space.settings(0)
    make_point(first)
    for axis in space.axes:
        for choice in axis[:1000]:
            make_point(first | choice)
