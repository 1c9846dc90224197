"""What a sweep wants less or more of: result columns, or arithmetic over them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dse.config import ConfigError
from dse.evaluate import METRICS, is_metric
from dse.expressions import close_to, parse_expression

__all__ = ["DEFAULT_OBJECTIVES", "Objective", "check_column", "read_objectives"]

DEFAULT_OBJECTIVES = {"minimize": ["latency_ms", "multipliers", "storage_bits"]}


@dataclass(frozen=True, slots=True)
class Objective:
    """A result column, or arithmetic over result columns, and whether less of it is better."""

    column: str
    minimize: bool


def read_objectives(table: Mapping[str, Any], source: str) -> tuple[Objective, ...]:
    """The section [objectives] of a space. Raises ConfigError."""
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


def check_column(text: str, settings: Iterable[str], extra: Collection[str], thing: str) -> None:
    """Raise ConfigError unless an expression names only settings of a space, columns that runs have, and `extra` ones."""
    known = {*settings, *extra}
    for name in parse_expression(text, thing).names:
        if name in known or is_metric(name):
            continue
        if name.startswith(("accelerator.", "mapping.")):
            raise ConfigError(f"{thing} must name settings of this space: give {name!r} a value in [base], or an axis")
        every = [*METRICS, *extra, *(s for s in sorted(known) if "." in s)]
        raise ConfigError(f"{thing} must be a column of the results{close_to(name, every)}")
