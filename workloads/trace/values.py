# pyright: basic
"""What is known of every storage while a step is traced: its current name, what it derives from, and who wrote it."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import torch

from workloads.ops import Op, Tensor

__all__ = ["Ledger", "Lineage", "Value", "elements"]


class Lineage(IntEnum):
    """What a tensor's content derives from. An operation's result takes the highest of its operands."""

    CONSTANT = 0  # buffers, literals, random numbers
    WEIGHT = 1  # parameters only: the parameter, its casts, its masked copies
    ACTIVATION = 2  # the step's inputs
    GRADIENT = 3  # the gradient of the loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """The content of one storage since its last write."""

    name: str
    lineage: Lineage
    parameters: tuple[str, ...]  # those that a WEIGHT derives from
    layer: str  # that wrote it


def elements(tensor: torch.Tensor) -> int:
    """Elements of a view, an expanded (stride 0) dimension counted once."""
    return math.prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride or size == 0)


def _storage_elements(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().nbytes() // tensor.element_size()


class Ledger:
    """Names in single-assignment form for tensors that alias and change in place, and the operations recorded so far.

    A view is its storage: it carries the storage's current name, and costs nothing. An in-place operation gives the
    storage a new name.
    """

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.parameter_elements: dict[str, int] = {}
        self._values: dict[int, Value] = {}
        self._storages: list[torch.UntypedStorage] = []  # kept alive, or their identities would be used again
        self._names: Counter[str] = Counter()

    def unique(self, name: str) -> str:
        """The name, with ``#2`` and so on where it was given before."""
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}#{self._names[name]}"

    def known(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self._values

    def value(self, tensor: torch.Tensor) -> Value:
        """What the tensor holds now; a storage never seen before is a constant of the model."""
        if not self.known(tensor):
            self.declare(tensor, self.unique("constant"), Lineage.CONSTANT)
        return self._values[tensor.untyped_storage()._cdata]

    def declare(
        self,
        tensor: torch.Tensor,
        name: str,
        lineage: Lineage,
        *,
        parameters: tuple[str, ...] = (),
        layer: str = "",
    ) -> None:
        """Give the tensor's storage a name from here on."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._values:
            self._storages.append(storage)
        self._values[storage._cdata] = Value(name=name, lineage=lineage, parameters=parameters, layer=layer)

    def declare_parameter(self, tensor: torch.Tensor, name: str) -> None:
        self.parameter_elements[name] = tensor.numel()
        self.declare(tensor, name, Lineage.WEIGHT, parameters=(name,))

    def derived(self, tensors: Iterable[torch.Tensor]) -> tuple[Lineage, tuple[str, ...]]:
        """Lineage of what is computed from these tensors, and the parameters where it is a weight."""
        values = [self.value(tensor) for tensor in tensors]
        lineage = max((value.lineage for value in values), default=Lineage.CONSTANT)
        if lineage is not Lineage.WEIGHT:
            return lineage, ()
        return lineage, tuple(dict.fromkeys(name for value in values for name in value.parameters))

    def parameter(self, tensor: torch.Tensor) -> str:
        """The parameter that a weight is: of those it derives from, the first of its size, else the largest."""
        names = self.value(tensor).parameters
        sizes = self.parameter_elements
        return max(names, key=lambda name: (sizes[name] == tensor.numel(), sizes[name]), default="")

    def reads(self, tensors: Iterable[tuple[torch.Tensor, int]]) -> tuple[Tensor, ...]:
        """The tensors with the elements read of each; distinct views of one storage add up, to its size at most."""
        counts: dict[str, int] = {}
        seen: set[tuple[object, ...]] = set()
        for tensor, count in tensors:
            name = self.value(tensor).name
            view = (name, tensor.storage_offset(), tensor.shape, tensor.stride())
            if view in seen:
                continue
            seen.add(view)
            before = counts.get(name)
            counts[name] = count if before is None else min(before + count, _storage_elements(tensor))
        return tuple(Tensor(name, count) for name, count in counts.items())
