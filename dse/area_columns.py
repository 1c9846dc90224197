"""Area and clock of many machines: `simulator.cost.area`, asked once for each distinct set of what a part depends on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataflows.analytic.machines import Machines, combined
from dse.positions import Ints
from simulator.arch import Accelerator
from simulator.cost.area import RESOURCES, calibration, part_cells, routed_hz
from simulator.cost.components import COMPONENTS
from simulator.cost.devices import DEVICES
from simulator.cost.sizes import bits_below
from simulator.cost.work_drivers import has_engines
from simulator.layout import (
    bus_bytes,
    operand_banks,
    operand_words,
    plane_bytes,
    plane_word_bytes,
    result_places,
    result_words,
    word_elements,
)

__all__ = ["AreaColumns", "Misfit", "area_columns", "misfits"]

Floats = NDArray[np.float64]

_DERIVED: dict[str, tuple[tuple[str, ...], Callable[[Accelerator], Any]]] = {
    "banks": (("array.rows", "array.cols"), operand_banks),
    "bus": (("clock_hz", "dram.bytes_per_second"), bus_bytes),
    "element": (("pe.group", "pe.lanes", "pe.format", "bus"), word_elements),
    "a words": (("banks", "element", "pe.format", "a_buffer"), lambda a: operand_words(a, "a")),
    "b words": (("banks", "element", "pe.format", "b_buffer"), lambda a: operand_words(a, "b")),
    "operand address": (("a words", "b words"), lambda a: max(bits_below(operand_words(a, side)) for side in ("a", "b"))),
    "places": (("pe.format", "bus"), result_places),
    "c words": (("array.cols", "places", "pe.format", "c_buffer"), result_words),
    "result address": (("c words",), lambda a: bits_below(result_words(a))),
    "plane word": (("pe.format", "bus", "updater.lanes", "vector.lanes", "pruner.lanes"), plane_word_bytes),
    "plane": (("plane word", "work_buffer"), plane_bytes),
    "engines": (("pe.format", "updater.lanes", "vector.lanes", "pruner.lanes"), has_engines),
}
"""By name: what it is worked out from (parts, their fields, or others of these), and how."""

_LANES = ("updater.lanes", "vector.lanes", "pruner.lanes")
_SOURCES: dict[str, tuple[str, ...]] = {
    "pe": ("pe", "array.dataflows"),
    "array": ("pe", "array", "bus", "operand address", "result address"),
    "a_buffer": ("pe", "array", "bus", "a_buffer.slots", "a words"),
    "b_buffer": ("pe", "array", "bus", "b_buffer.slots", "b words"),
    "c_buffer": ("pe", "array.cols", "bus", "c_buffer.slots", "c words"),
    "work_buffer": (
        *("pe.format", "pe.group", "bus", "work_buffer.slots", "plane word", "plane"),
        *("updater.optimizers", *_LANES),
    ),
    "prune": ("pe.format", "pe.group", "pruner"),
    "update": ("pe.format", "updater"),
    "vector": ("pe.format", "vector"),
    "control": ("pe", "array", "bus", "engines", "updater.lanes", "updater.optimizers", "sequencer.queue_depth"),
}
"""By component of `simulator.cost.components`, what its drivers read."""


class AreaColumns(NamedTuple):
    """Of one technology, by machine."""

    cells: dict[str, Ints]  # by resource
    extrapolated: Ints  # settings outside what was calibrated
    fmax_hz: Floats  # 0 where nothing was routed


@dataclass(frozen=True, slots=True)
class _Column:
    """Distinct values, and which of them each machine has."""

    values: list[Any]
    which: Ints


@cache
def _known() -> dict[tuple[Any, ...], Any]:
    """What was worked out before, by what it is and all that it was worked out from."""
    return {}


class _Table:
    """Columns over machines, each value worked out once."""

    def __init__(self, machines: Machines) -> None:
        self._machines = machines
        self._columns: dict[str, _Column] = {}

    def column(self, name: str) -> _Column:
        """A part, a field of one ("pe.group"), or one of `_DERIVED`."""
        if name not in self._columns:
            self._columns[name] = self.each(name, *_DERIVED[name]) if name in _DERIVED else self._given(name)
        return self._columns[name]

    def _given(self, name: str) -> _Column:
        field, _, leaf = name.partition(".")
        parts, which = self._machines.parts[field], self._machines.index[field]
        return _column([getattr(part, leaf) if leaf else part for part in parts], which)

    def each(self, name: str, sources: Sequence[str], work: Callable[[Accelerator], Any]) -> _Column:
        """What `work` says of a machine, which depends on no more than the sources."""
        columns, known = [self.column(source) for source in sources], _known()
        first, which = combined(*(column.which for column in columns))
        found: list[Any] = []
        for at in first.tolist():
            key = (name, *(column.values[column.which[at]] for column in columns))
            if key not in known:
                known[key] = work(self._machines[at])
            found.append(known[key])
        return _column(found, which)

    def numbers(self, column: _Column) -> NDArray[Any]:
        """By machine: a column of numbers, or of as many numbers each."""
        return np.array(column.values)[column.which]


def _column(values: list[Any], which: Ints) -> _Column:
    number = {value: i for i, value in enumerate(dict.fromkeys(values))}
    return _Column(list(number), np.array([number[value] for value in values], np.int64)[which])


def area_columns(machines: Machines) -> dict[str, AreaColumns]:
    """By technology: what `simulator.cost.area.area` says of each machine."""
    table = _Table(machines)
    pes = table.numbers(table.column("array.rows")) * table.numbers(table.column("array.cols"))
    return {technology: _area(table, technology, pes) for technology in calibration()}


def _area(table: _Table, technology: str, pes: Ints) -> AreaColumns:
    known = calibration()[technology]
    total = np.zeros((len(pes), len(RESOURCES)), np.int64)
    absent: dict[str, NDArray[np.bool_]] = {}
    for name in COMPONENTS:

        def cells(machine: Accelerator, name: str = name) -> tuple[float, ...]:
            found = part_cells(machine, name, technology, known)
            return tuple(float(found.get(resource, 0)) for resource in RESOURCES)

        each = table.numbers(table.each(f"{technology} {name}", _SOURCES[name], cells))
        part = np.rint(each * (pes[:, None] if name == "pe" else 1)).astype(np.int64)
        absent[name] = part[:, RESOURCES.index("lut")] == 0
        total += part
    return AreaColumns(
        cells={resource: total[:, i] for i, resource in enumerate(RESOURCES)},
        extrapolated=_outside(table, known["ranges"], len(pes)),
        fmax_hz=_fmax(table, technology, known, absent),
    )


def _outside(table: _Table, ranges: dict[str, tuple[int, int]], machines: int) -> Ints:
    found = np.zeros(machines, np.int64)
    for name, (low, high) in ranges.items():
        values = table.numbers(table.column("bus" if name == "bus bytes" else name))
        found += (values < low) | (values > high)
    return found


def _fmax(table: _Table, technology: str, known: Any, absent: dict[str, NDArray[np.bool_]]) -> Floats:
    """Once for each set of parts that machines lack."""
    mask = np.array(list(absent.values()))
    sets, which = np.unique(mask, axis=1, return_inverse=True)
    found = np.zeros(mask.shape[1])
    for number in range(sets.shape[1]):
        lacks = frozenset(name for name, lacking in zip(absent, sets[:, number], strict=True) if lacking)

        def hz(machine: Accelerator, lacks: frozenset[str] = lacks) -> float:
            return routed_hz(machine, known, lacks)[0]

        name = f"{technology} clock without {', '.join(sorted(lacks))}"
        each = table.numbers(table.each(name, ("pe.format", "pe.group", "array.rows", "array.cols"), hz))
        found = np.where(which.reshape(-1) == number, each, found)
    return found


class Misfit(NamedTuple):
    """By machine: whether it exceeds a device, in which resource most (as `Device.shortage` says it), by how much."""

    exceeds: NDArray[np.bool_]
    constraint: NDArray[np.object_]
    demand: Ints
    limit: Ints


def misfits(areas: dict[str, AreaColumns], device: str) -> Misfit:
    """What of a device the machines exceed."""
    chip = DEVICES[device]
    cells = areas[chip.technology].cells
    limits = chip.limits.as_dict()
    demand, limit = np.array([cells[name] for name in limits]), np.array([*limits.values()])
    over = np.where(demand > limit[:, None], demand / np.maximum(1, limit)[:, None], 0.0)
    worst = over.argmax(axis=0)
    names = np.array([f"{name} of {chip.name}" for name in limits], np.object_)
    return Misfit(over.max(axis=0) > 0, names[worst], demand[worst, np.arange(demand.shape[1])], limit[worst])
