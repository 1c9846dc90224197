"""The machines of many points at once: each part of a description is made once for each combination of settings in it."""

import json
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflows.analytic.machines import Machines
from dse.config import ConfigError, accelerator_from
from dse.point import make_point
from dse.positions import Ints, Points
from simulator.arch import Accelerator

__all__ = ["MachineColumns", "machine_columns"]

_FIELDS = tuple(item.name for item in fields(Accelerator) if item.name != "name")


@dataclass(frozen=True, kw_only=True)
class MachineColumns:
    """By point, its machine; and where its settings make none, why (else ""): there any part, or None, stands in the table."""

    machines: Machines
    error: NDArray[np.object_]


def machine_columns(points: Points) -> MachineColumns:
    """The points' machines. Raises ConfigError for a setting that no machine has."""
    grid = points.grid
    if any(_field(name) not in ("", "name", *_FIELDS) for name in points.settings(0)):
        raise ConfigError(_reason(points, 0))
    parts: dict[str, tuple[Any, ...]] = {}
    index: dict[str, Ints] = {}
    wrong: list[Ints] = []  # by field: of points that it makes invalid the code of its settings, else -1
    for field in _FIELDS:
        axes = [number for number, axis in enumerate(grid.axes) if any(_of(name, field) for name in axis[0])]
        code = points.code(axes)
        _, first, which = np.unique(code, return_index=True, return_inverse=True)
        found = [_made(points.settings(int(at)), field) for at in first]
        number = {value: i for i, value in enumerate(dict.fromkeys(value for value in found if value is not None))}
        parts[field] = tuple(number) or (None,)
        index[field] = np.array([number.get(value, 0) for value in found], np.int64)[which]
        bad = np.array([value is None for value in found])[which]
        wrong.append(np.where(bad, code, -1))
    error = np.full(len(points), "", np.object_)
    bad = np.flatnonzero(np.max(wrong, axis=0) >= 0)
    if bad.size:
        _, first, which = np.unique(np.array(wrong)[:, bad], axis=1, return_index=True, return_inverse=True)
        error[bad] = np.array([_reason(points, int(bad[at])) for at in first], np.object_)[which.reshape(-1)]
    nothing = np.zeros(len(points), np.int64)  # said in `error`, in the words of `make_point`
    return MachineColumns(machines=Machines(name="machines", parts=parts, index=index, refusal=nothing), error=error)


def _field(name: str) -> str:
    """The field of the description that a setting is in, or none."""
    return name.split(".")[1] if name.startswith("accelerator.") else ""


def _of(name: str, field: str) -> bool:
    """Whether a setting has a say in a field of the description."""
    return name == "accelerator" or _field(name) == field


def _made(settings: dict[str, Any], field: str) -> Any:
    changes = {name.removeprefix("accelerator."): value for name, value in settings.items() if _of(name, field)}
    return _part(str(changes.pop("accelerator")), field, json.dumps(changes, sort_keys=True, default=str))


@lru_cache(maxsize=65536)
def _part(source: str, field: str, changes: str) -> Any:
    """A field of a description, or None where that can't be."""
    try:
        return getattr(accelerator_from(source, json.loads(changes)), field)
    except ConfigError:
        return None


def _reason(points: Points, at: int) -> str:
    try:
        make_point(points.settings(at))
    except ConfigError as error:
        return str(error)
    raise AssertionError(f"point {int(points.numbers[at])} must be invalid")  # its part is, alone
