# pyright: basic
"""A module with example inputs: called from the user's builder, then turned into fake tensors that hold no data."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_map

from workloads.formats.trace_file import TraceError
from workloads.trace.call import tensors

__all__ = ["Example", "build_example", "fake_example", "takes_batch"]

_MAX_RETRY_BYTES = 4 << 30


@dataclass(frozen=True, kw_only=True)
class Example:
    """A module and the arguments of one call of it."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @property
    def batch(self) -> int | None:
        """The leading dimension of the first input; None where there is none."""
        return next((tensor.shape[0] for tensor in tensors((self.args, dict(self.kwargs))) if tensor.dim()), None)

    @property
    def small(self) -> bool:
        """Whether the module can be built with real tensors at little cost."""
        return sum(p.numel() * p.element_size() for p in self.module.parameters() if not is_lazy(p)) < _MAX_RETRY_BYTES


def takes_batch(build: Callable[..., Any]) -> bool:
    """Whether a builder has a parameter `batch`."""
    try:
        return "batch" in inspect.signature(build).parameters
    except (TypeError, ValueError):
        return False


def build_example(
    build: Callable[..., Any], *, name: str, batch: int, input_shape: tuple[int, ...] | None, real: bool
) -> Example:
    """Call the builder, on the meta device unless `real`. Raises TraceError that tells what it returned."""
    arguments = {"batch": batch} if takes_batch(build) else {}
    try:
        with torch.device("cpu" if real else "meta"):
            built = build(**arguments)
    except Exception as error:
        raise TraceError(f"Model {name!r} could not be built: {type(error).__name__}: {error}") from error
    if isinstance(built, nn.Module):
        if input_shape is None:
            raise TraceError(f"Builder of {name!r} must return (module, example inputs), or be given an input shape")
        return Example(module=built, args=(torch.empty(batch, *input_shape),), kwargs={})
    if not (isinstance(built, tuple) and len(built) == 2 and isinstance(built[0], nn.Module)):
        raise TraceError(f"Builder of {name!r} must return (module, example inputs), not {_described(built)}")
    module, inputs = built
    if input_shape is not None:
        inputs = torch.empty(batch, *input_shape)
    if isinstance(inputs, torch.Tensor):
        return Example(module=module, args=(inputs,), kwargs={})
    if isinstance(inputs, tuple | list) and tensors(inputs):
        return Example(module=module, args=tuple(inputs), kwargs={})
    if isinstance(inputs, Mapping) and tensors(dict(inputs)):
        return Example(module=module, args=(), kwargs=dict(inputs))
    raise TraceError(
        f"Example inputs of {name!r} must be a tensor, a tuple of tensors or a dict of keyword arguments, "
        f"not {_described(inputs)}"
    )


def fake_example(example: Example, mode: FakeTensorMode, *, name: str, batch: int | None) -> Example:
    """The example with every tensor replaced by a fake one of the same shape; what was one tensor stays one.

    The module is changed in place. Where `batch` is given, inputs that lead with the example's own batch get that one.
    """
    memo: dict[int, torch.Tensor] = {}
    kept: list[torch.Tensor] = []  # or identities in the memo would be used again
    own = example.batch

    def fake(tensor: torch.Tensor, shape: tuple[int, ...] | None = None) -> torch.Tensor:
        if id(tensor) in memo:
            return memo[id(tensor)]
        if is_lazy(tensor):
            raise TraceError(f"Model {name!r} has lazy parameters: its builder must run it once")
        if tensor.layout is not torch.strided:
            raise TraceError(f"Tensors of model {name!r} must be dense (strided), not {tensor.layout}")
        with mode:
            new = (
                torch.empty(shape, dtype=tensor.dtype, device="cpu")
                if shape is not None and shape != tuple(tensor.shape)
                else torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")
            )
        if isinstance(tensor, nn.Parameter):
            new = nn.Parameter(new, requires_grad=tensor.requires_grad)
        elif tensor.requires_grad and tensor.is_leaf:
            new.requires_grad_()
        kept.append(tensor)
        memo[id(tensor)] = new
        return new

    def fake_input(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        shape = tuple(value.shape)
        return fake(value, (batch, *shape[1:]) if batch is not None and shape[:1] == (own,) else shape)

    def fake_any(value: Any) -> Any:
        return fake(value) if isinstance(value, torch.Tensor) else value

    for module in example.module.modules():
        stores: list[Any] = [module._parameters, module._buffers]
        for store in stores:
            for key, tensor in store.items():
                if tensor is not None:
                    store[key] = fake(tensor)
        for key, value in list(vars(module).items()):  # tensors that the module keeps without registering them
            if isinstance(value, torch.Tensor | list | tuple | dict) and not key.startswith("_") and tensors(value):
                object.__setattr__(module, key, tree_map(fake_any, value))
    return replace(
        example,
        args=tree_map(fake_input, example.args),
        kwargs={key: tree_map(fake_input, value) for key, value in example.kwargs.items()},
    )


def _described(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} of ({', '.join(type(item).__name__ for item in value)})"
    return type(value).__name__
