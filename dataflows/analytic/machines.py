"""Many machines as a table: the distinct values of each part of the description, and which of them each machine has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from simulator.arch import Accelerator

__all__ = ["Machines"]

Ints = NDArray[np.int64]
_FIELDS = tuple(item.name for item in fields(Accelerator) if item.name != "name")


@dataclass(frozen=True, kw_only=True)
class Machines:
    """`parts` has by field of `Accelerator` its distinct values; `index` by field, for each machine, which of them it has."""

    name: str
    parts: Mapping[str, tuple[Any, ...]]
    index: Mapping[str, Ints]

    def __len__(self) -> int:
        return len(self.index["clock_hz"])

    def __getitem__(self, machine: int) -> Accelerator:
        return Accelerator(name=self.name, **{field: self.parts[field][self.index[field][machine]] for field in _FIELDS})

    @classmethod
    def of(cls, accelerators: Sequence[Accelerator]) -> Self:
        """These machines, in this order."""
        parts: dict[str, tuple[Any, ...]] = {}
        index: dict[str, Ints] = {}
        for field in _FIELDS:
            values = [getattr(accelerator, field) for accelerator in accelerators]
            number = {value: i for i, value in enumerate(dict.fromkeys(values))}
            parts[field], index[field] = tuple(number), np.array([number[value] for value in values], np.int64)
        return cls(name="machines", parts=parts, index=index)

    @classmethod
    def grid(cls, base: Accelerator, axes: Mapping[str, Sequence[Any]]) -> Self:
        """All combinations of the axes' values around a base, the last axis changing fastest. An axis is a field by its dotted
        path, as in ``"array.rows"``. A part that several axes change is made once for each of their combinations."""
        places = np.indices([len(values) for values in axes.values()]).reshape(len(axes), -1)
        place = dict(zip(axes, places, strict=True))
        parts: dict[str, tuple[Any, ...]] = {}
        index: dict[str, Ints] = {}
        for field in _FIELDS:
            own = [axis for axis in axes if axis.partition(".")[0] == field]
            spec = getattr(base, field)
            if own == [field]:
                made = list(axes[field])
            else:
                names = [axis.partition(".")[2] for axis in own]
                rows = product(*(axes[axis] for axis in own))
                made = [replace(spec, **dict(zip(names, row, strict=True))) if own else spec for row in rows]
            at = np.zeros(places.shape[1], np.int64)
            for axis in own:
                at = at * len(axes[axis]) + place[axis]
            parts[field], index[field] = tuple(made), at
        return cls(name=base.name, parts=parts, index=index)

    def take(self, which: Ints) -> "Machines":
        """Some of them."""
        return replace(self, index={field: at[which] for field, at in self.index.items()})

    def distinct(self, names: Sequence[str]) -> tuple["Machines", Ints]:
        """Machines that differ in the named fields, one for each combination that occurs, and for each machine which it is."""
        code = np.zeros(len(self), np.int64)
        for name in names:
            code = code * len(self.parts[name]) + self.index[name]
        _, first, which = np.unique(code, return_index=True, return_inverse=True)
        return self.take(first), which

    def values(self, name: str, leaf: str) -> Ints:
        """By machine: a property of one part, asked once for each distinct one."""
        return np.array([getattr(value, leaf) for value in self.parts[name]], np.int64)[self.index[name]]
