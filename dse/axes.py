"""Axes of a space as its TOML file writes them: lists, ranges, and settings that are linked."""

from collections.abc import Mapping
from typing import Any

from dse.config import ConfigError

__all__ = ["Choice", "Choices", "flat", "is_ordered", "read_axes", "table_of"]

Choice = dict[str, Any]
"""Settings that are chosen together, by name."""

Choices = tuple[Choice, ...]
"""An axis: its choices, all of the same names."""


def is_ordered(axis: Choices) -> bool:
    """Whether an axis has an order in which neighbours resemble each other: all of its settings are numbers."""
    return all(type(value) in (int, float) for choice in axis for value in choice.values())


def table_of(data: Mapping[str, Any], name: str, source: str) -> dict[str, Any]:
    """A section, empty where the file has none. Raises ConfigError where it is no table."""
    table = data.get(name, {})
    if not isinstance(table, dict):
        raise ConfigError(f"Space {source!r} section {name!r} must be a table, not {table!r}")
    return table


def read_axes(data: Mapping[str, Any], source: str) -> tuple[Choices, ...]:
    """Sections [axes] and [[linked]]. Raises ConfigError for axes that can't be."""
    plain = flat(table_of(data, "axes", source))
    if not plain and not data.get("linked"):
        raise ConfigError(f"Space {source!r} must have at least one axis, in [axes] or [[linked]]")
    axes: list[Choices] = [tuple({name: value} for value in _values(name, values)) for name, values in plain.items()]
    axes += [_linked(group, source) for group in _groups(data, source)]
    names = [name for axis in axes for name in axis[0]]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"Space {source!r} must have one axis for {twice[0]!r}, in [axes] or in one [[linked]]")
    if tables := [name for axis in axes for choice in axis for name, value in choice.items() if isinstance(value, dict)]:
        raise ConfigError(f"Axis {tables[0]!r} must be of values, not tables: an axis is one field, as in '{tables[0]}.FIELD'")
    return tuple(axes)


def flat(data: Mapping[str, Any], prefix: str = "") -> Choice:
    """Nested tables as one, with dotted names; ranges stay."""
    found: Choice = {}
    for key, value in data.items():
        if isinstance(value, dict) and not {"start", "stop"} <= value.keys():
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def _groups(data: Mapping[str, Any], source: str) -> list[dict[str, Any]]:
    groups = data.get("linked", [])
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        raise ConfigError(f"Space {source!r} section 'linked' must be tables, written [[linked]], not {groups!r}")
    return groups


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


def _linked(group: Mapping[str, Any], source: str) -> Choices:
    columns = {name: _values(name, values) if isinstance(values, dict) else values for name, values in flat(group).items()}
    lengths = {name: len(values) if isinstance(values, list) else 0 for name, values in columns.items()}
    if not columns or len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ConfigError(f"Space {source!r}: linked axes must be lists of one length, not {lengths}")
    return tuple(dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
