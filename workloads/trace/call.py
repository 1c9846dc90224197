# pyright: basic
"""One dispatched operation with its place in the step, and the forward products that backward calls refer to."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from workloads.gemm import Phase

__all__ = ["Call", "Product", "tensors"]


def tensors(tree: Any) -> list[torch.Tensor]:
    """All tensors in nested arguments."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


@dataclass(frozen=True, kw_only=True)
class Product:
    """A forward GEMM, remembered until its gradients are computed."""

    layer: str
    suffix: str  # what made its name unique: its gradients get the same
    parameter: str  # of its weight; empty where it has none
    m: int
    n: int
    k: int


@dataclass(frozen=True, kw_only=True)
class Call:
    """An operation as PyTorch dispatched it.

    `forwards` are, in backward, the products of the forward operation that this one differentiates; in forward the
    list to which a product must be added.
    """

    func: Any  # torch._ops.OpOverload
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[torch.Tensor, ...]
    phase: Phase
    layer: str
    forwards: list[Product] = field(default_factory=list)

    @property
    def operation(self) -> str:
        """The operation's name, without namespace for PyTorch's own."""
        name = self.func.overloadpacket.__name__
        return name if self.func.namespace == "aten" else f"{self.func.namespace}.{name}"

    @property
    def inputs(self) -> list[torch.Tensor]:
        return tensors((self.args, self.kwargs))

    def argument(self, name: str) -> Any:
        """An argument by its name in the schema, with its default."""
        for i, argument in enumerate(self.func._schema.arguments):
            if argument.name == name:
                if i < len(self.args) and not argument.kwarg_only:
                    return self.args[i]
                return self.kwargs.get(name, argument.default_value)
        raise KeyError(name)

    def has(self, name: str) -> bool:
        return any(argument.name == name for argument in self.func._schema.arguments)

    def mutated(self) -> Iterator[torch.Tensor]:
        """Arguments that the operation writes."""
        for argument in self.func._schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                yield from tensors(self.argument(argument.name))
