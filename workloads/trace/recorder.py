# pyright: basic
"""The dispatch mode that sees every operation of a step, and finds its phase, its layer and its forward operation."""

import sys
from functools import partial
from typing import Any

import torch
from torch import nn
from torch._C._autograd import _get_sequence_nr
from torch.utils._python_dispatch import TorchDispatchMode

from workloads.gemm import Phase
from workloads.trace.call import Call, Product, tensors
from workloads.trace.convolutions import CONVOLUTIONS, lower_convolution
from workloads.trace.products import PRODUCTS, lower_product
from workloads.trace.values import Ledger
from workloads.trace.vectors import lower_vector

__all__ = ["Recorder", "UnsupportedOperationError"]

_NOT_LOWERED = (
    "scaled_dot_product",
    "flash_attention",
    "efficient_attention",
    "mkldnn_rnn",
    "_scaled_mm",
    "_grouped_mm",
)


class UnsupportedOperationError(Exception):
    """An operation that holds matrix products and that can't be written as GEMMs."""


class Recorder(TorchDispatchMode):
    """Records operations into a ledger while it is active, on top of a fake tensor mode.

    An autograd node takes its sequence number just before the operation reaches this mode: that ties what a node runs
    in backward to the layer and the products of its forward operation.
    """

    def __init__(self, module: nn.Module, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger
        self.phase = Phase.FORWARD
        self.failure: tuple[BaseException, str] | None = None  # an exception and the innermost layer that it left
        self._stack: list[str] = []
        self._forwards: dict[int, tuple[str, list[Product]]] = {}
        self._functions: set[int] = set()
        self._backward_layer = "loss"
        root = type(module).__name__
        self._hooks = [
            hook
            for name, child in module.named_modules()
            for hook in (
                child.register_forward_pre_hook(self._enter(name or root), prepend=True),
                child.register_forward_hook(self._leave, always_call=True),
            )
        ]

    def close(self) -> None:
        """Take the hooks off the module."""
        for hook in self._hooks:
            hook.remove()

    def watch(self, loss: torch.Tensor) -> None:
        """Note when backward enters a custom autograd function: an error inside passes no operation of PyTorch."""
        todo, seen = [loss.grad_fn], set()
        while todo:
            node = todo.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            todo.extend(following for following, _ in node.next_functions)
            if hasattr(node, "_forward_cls"):
                node.register_prehook(partial(self._in_backward, node._sequence_nr()))

    def layer_of(self, error: BaseException) -> str:
        """The layer in which an exception arose."""
        if self.failure and self.failure[0] is error:
            return self.failure[1]
        return self._backward_layer if self.phase is Phase.BACKWARD else "loss"

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # fake tensors ask for their device through here, from C++ that can't pass an exception on: touch nothing
        if func.namespace == "prim" or "sym_" in func.name():
            return func(*args, **kwargs)
        phase, layer, forwards = self._place()
        self._check(func, kwargs)
        results = func(*args, **kwargs)
        call = Call(
            func=func,
            args=tuple(args),
            kwargs=kwargs,
            results=tuple(tensors(results)),
            phase=phase,
            layer=layer,
            forwards=forwards,
        )
        self._lower(call)
        return results

    def _lower(self, call: Call) -> None:
        if call.operation in PRODUCTS:
            recorded = lower_product(self.ledger, call)
        elif call.operation in CONVOLUTIONS:
            recorded = lower_convolution(self.ledger, call)
        else:
            recorded = False
        if not recorded:
            lower_vector(self.ledger, call)

    def _check(self, func: Any, kwargs: dict[str, Any]) -> None:
        name = func.name()
        if any(word in name for word in _NOT_LOWERED):
            raise UnsupportedOperationError(f"{name} has no GEMM form here; use the plain (eager, math) form of the layer")
        device = kwargs.get("device")
        if device is not None and torch.device(device).type not in ("cpu", "meta"):
            # going on would end the process in a build of PyTorch without that device
            raise UnsupportedOperationError(f"{name} asks for device {str(device)!r}; a step is traced on the CPU")

    def _place(self) -> tuple[Phase, str, list[Product]]:
        if self.phase is Phase.FORWARD:
            return self._register(Phase.FORWARD, self._stack[-1] if self._stack else "loss")
        if self._stack or torch.is_grad_enabled():  # forward work inside backward
            node_layer, _ = self._node()
            return self._register(Phase.RECOMPUTE, self._stack[-1] if self._stack else node_layer)
        layer, forwards = self._node()
        self._backward_layer = layer
        return Phase.BACKWARD, layer, forwards

    def _register(self, phase: Phase, layer: str) -> tuple[Phase, str, list[Product]]:
        number, enabled = _get_sequence_nr() - 1, torch.is_grad_enabled()
        if number not in self._forwards:
            self._forwards[number] = (layer, [])
            if not enabled:  # inside a custom autograd function, whose operations share its node
                self._functions.add(number)
        elif enabled or number not in self._functions:
            return phase, layer, []  # it needs no gradient: the number is that of an earlier operation
        return phase, layer, self._forwards[number][1]

    def _node(self) -> tuple[str, list[Product]]:
        node = torch._C._current_autograd_node()
        if node is None:
            return self._backward_layer, []
        return self._forwards.get(node._sequence_nr(), (self._backward_layer, []))

    def _in_backward(self, number: int, *_: Any) -> None:
        self._backward_layer = self._forwards.get(number, (self._backward_layer, []))[0]

    def _enter(self, name: str) -> Any:
        def push(*_: Any) -> None:
            self._stack.append(name)

        return push

    def _leave(self, *_: Any) -> None:
        layer = self._stack.pop()
        error = sys.exc_info()[1]
        if error is not None and (self.failure is None or self.failure[0] is not error):
            self.failure = (error, layer)
