"""The training step in numpy, straight from the arithmetic's definitions: no program, no memory, no tiles."""

from dataclasses import dataclass

import numpy as np

from reports.studies.rtl_training.network import Network
from simulator.arithmetic import (
    Packed,
    Values,
    compress,
    multiply_dense,
    multiply_sparse,
    prune_copies,
    quantize,
    sgd_momentum,
    to_result,
)
from simulator.formats import FORMATS
from simulator.interpreter import Registers
from workloads.sparsity import NM

__all__ = ["NumpyModel"]

_FP16 = FORMATS["fp16"]


@dataclass(slots=True)
class _Layer:
    """A weight [outputs][inputs], its velocity, and its copies as the GEMMs read them."""

    master: Values
    velocity: Values
    copy: Values
    forward: Packed | None = None
    backward: Packed | None = None


class NumpyModel:
    """Two layers' weights and how a step changes them; PEs have `lanes` lanes."""

    def __init__(self, network: Network, w1: Values, w2: Values, *, lanes: int = 1) -> None:
        self._network, self._lanes = network, lanes
        self._first, self._second = (_Layer(w, np.zeros_like(w), quantize(_FP16, w)) for w in (w1, w2))
        self._prune()

    def forward(self, x: Values) -> Values:
        """The batch's logits; keeps what the backward pass needs."""
        y = self._by_weight(x, self._first.copy.T, self._first.forward)
        self._x, self._h = x, np.where(y > 0, y, np.float16(0))
        return self._by_weight(self._h, self._second.copy.T, self._second.forward)

    def backward(self, gradient: Values, of: Registers) -> None:
        """From the gradient by the logits to new weights, with the optimizer's coefficients."""
        dh = self._by_weight(gradient, self._second.copy, self._second.backward)
        dy = np.where(self._h > 0, dh, np.float16(0))
        self._update(self._second, self._product(gradient.T, self._h), of)
        self._update(self._first, self._product(dy.T, self._x), of)
        self._prune()

    def state(self) -> dict[str, Values]:
        """FP32 weights and velocities, by the names of their regions in a placed program."""
        layers = {"w1": self._first, "w2": self._second}
        found = {f"{name} master": layer.master for name, layer in layers.items()}
        return found | {f"{name} velocity": layer.velocity for name, layer in layers.items()}

    def _prune(self) -> None:
        pattern = self._network.pattern
        if isinstance(pattern, NM):
            self._first.forward = compress(self._first.copy.T, pattern, 0)
            self._second.forward, self._second.backward = prune_copies(self._second.copy.T, pattern, pattern)

    def _update(self, layer: _Layer, gradient: Values, of: Registers) -> None:
        layer.master, layer.velocity, layer.copy = sgd_momentum(
            layer.master,
            layer.velocity,
            gradient,
            _FP16,
            lr=of.lr,
            momentum=of.momentum,
            weight_decay=of.weight_decay,
        )

    def _product(self, a: Values, b: Values) -> Values:
        """``a b`` as a store writes it."""
        sums = np.zeros((1, len(a), b.shape[1]), np.float32)
        return to_result(_FP16, multiply_dense(_FP16, self._lanes, sums, a[None], b[None])[0])

    def _by_weight(self, a: Values, weight: Values, packed: Packed | None) -> Values:
        """``a weight``; by the weight's kept elements, packed along its reduction (axis 0), where there are such."""
        pattern = self._network.pattern
        if packed is None or not isinstance(pattern, NM):
            return self._product(a, weight)
        lines = Packed(packed.values.T[None], packed.indices.T[None])
        sums = np.zeros((1, weight.shape[1], len(a)), np.float32)
        return to_result(_FP16, multiply_sparse(_FP16, self._lanes, sums, lines, a.T[None], pattern)[0].T)
