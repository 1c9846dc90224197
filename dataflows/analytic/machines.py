"""Many machines as a table: the distinct values of each part of the description, and which of them each machine has."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from simulator.arch import Accelerator

__all__ = ["Machines", "combined"]

Ints = NDArray[np.int64]
_FIELDS = tuple(item.name for item in fields(Accelerator) if item.name != "name")


@dataclass(frozen=True, kw_only=True)
class Machines:
    """`parts` has by field of `Accelerator` its distinct values; `index` by field, for each machine, which of them it has.

    `refusal` has by machine why the description itself can't be, as a position in `refusals`; 0 where it can. Parts of
    machines that can't be are those of some other machine: nothing that is worked out for them means anything.
    """

    name: str
    parts: Mapping[str, tuple[Any, ...]]
    index: Mapping[str, Ints]
    refusal: Ints
    refusals: tuple[str, ...] = field(default=("",))

    def __len__(self) -> int:
        return len(self.refusal)

    def __getitem__(self, machine: int) -> Accelerator:
        return Accelerator(name=self.name, **{field: self.parts[field][self.index[field][machine]] for field in _FIELDS})

    @classmethod
    def of(cls, accelerators: Sequence[Accelerator]) -> Self:
        """These machines, in this order."""
        parts: dict[str, tuple[Any, ...]] = {}
        index: dict[str, Ints] = {}
        for name in _FIELDS:
            values = [getattr(accelerator, name) for accelerator in accelerators]
            number = {value: i for i, value in enumerate(dict.fromkeys(values))}
            parts[name], index[name] = tuple(number), np.array([number[value] for value in values], np.int64)
        return cls(name="machines", parts=parts, index=index, refusal=np.zeros(len(accelerators), np.int64))

    @classmethod
    def grid(cls, base: Accelerator, axes: Mapping[str, Sequence[Any]]) -> Self:
        """All combinations of the axes' values around a base, the last axis changing fastest."""
        places = np.indices([len(values) for values in axes.values()]).reshape(len(axes), -1)
        return cls.from_columns(base, axes, dict(zip(axes, places, strict=True)))

    @classmethod
    def from_columns(cls, base: Accelerator, axes: Mapping[str, Sequence[Any]], index: Mapping[str, Ints]) -> Self:
        """Machines around a base. An axis is a field by its dotted path, as in ``"array.rows"``; `index` has by axis, for each
        machine, which of the axis' values it has.

        A part that several axes change is made once for each combination that occurs. Values are the fields' own (as a
        `Dataflow`, not its text); what `Accelerator` and its parts refuse is a machine's `refusal`.
        """
        count = len(next(iter(index.values()))) if index else 1
        messages: dict[str, int] = {"": 0}
        refusal = np.zeros(count, np.int64)
        parts: dict[str, tuple[Any, ...]] = {}
        places: dict[str, Ints] = {}
        for name in _FIELDS:
            own = [axis for axis in axes if axis.partition(".")[0] == name]
            part = getattr(base, name)
            if not own:
                parts[name], places[name] = (part,), np.zeros(count, np.int64)
                continue
            first, which = combined(*(np.asarray(index[axis], np.int64) for axis in own))
            made: list[Any] = []
            refused: list[int] = []
            for machine in first:
                values = {axis.partition(".")[2]: axes[axis][int(index[axis][machine])] for axis in own}
                try:
                    value = values[""] if "" in values else replace(part, **values)
                    replace(base, **{name: value})
                    refused.append(0)
                except ValueError as error:
                    value = part
                    refused.append(messages.setdefault(str(error), len(messages)))
                made.append(value)
            number = {value: i for i, value in enumerate(dict.fromkeys(made))}
            parts[name], places[name] = tuple(number), np.array([number[value] for value in made], np.int64)[which]
            refusal = np.where(refusal > 0, refusal, np.array(refused, np.int64)[which])
        return cls(name=base.name, parts=parts, index=places, refusal=refusal, refusals=tuple(messages))

    def take(self, which: Ints) -> "Machines":
        """Some of them."""
        return replace(self, index={name: at[which] for name, at in self.index.items()}, refusal=self.refusal[which])

    def key(self, name: str, of: Callable[[Any], Hashable] | None = None) -> Ints:
        """By machine: a number for each distinct value of a part, or of what `of` makes of it."""
        if of is None:
            return self.index[name]
        number: dict[Hashable, int] = {}
        return np.array([number.setdefault(of(part), len(number)) for part in self.parts[name]], np.int64)[self.index[name]]

    def distinct(self, *keys: str | Ints) -> tuple["Machines", Ints]:
        """Machines that differ in the fields or numbers given, one for each combination that occurs, and for each machine
        which it is."""
        first, which = combined(*(self.index[key] if isinstance(key, str) else key for key in keys))
        return self.take(first), which

    @property
    def clock_hz(self) -> Ints:
        """By machine."""
        return np.array(self.parts["clock_hz"], np.int64)[self.index["clock_hz"]]

    def values(self, name: str, leaf: str) -> Ints:
        """By machine: a property of one part, asked once for each distinct one."""
        return np.array([getattr(value, leaf) for value in self.parts[name]], np.int64)[self.index[name]]


def combined(*keys: Ints) -> tuple[Ints, Ints]:
    """Where each combination of the keys' numbers (none below 0) comes first, and by position which combination it has."""
    code = np.zeros(len(keys[0]), np.int64)
    for key in keys:
        span = int(key.max(initial=0)) + 1
        if int(code.max(initial=0)) >= 2**62 // span:
            code = np.unique(code, return_inverse=True)[1]
        code = code * span + key
    _, first, which = np.unique(code, return_index=True, return_inverse=True)
    return first, which
