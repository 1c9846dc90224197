"""The same training run on several views at once, which must not differ in a bit."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from reports.studies.rtl_training.host import Digits, batches, coefficients, loss_and_gradient
from reports.studies.rtl_training.network import Network
from simulator.arithmetic import Values
from simulator.interpreter import Registers

__all__ = ["Curves", "View", "same", "train"]


class View(Protocol):
    """What trains: an image run by RTL or interpreter, or the numpy model."""

    def forward(self, x: Values) -> Values: ...
    def backward(self, gradient: Values, of: Registers) -> None: ...
    def state(self) -> dict[str, Values]: ...


@dataclass(slots=True, kw_only=True)
class Curves:
    """Of one view: the training loss of each step, and after each epoch (and before the first) the share of test pictures
    whose class has the largest logit."""

    losses: list[float] = field(default_factory=list[float])
    accuracies: list[float] = field(default_factory=list[float])


def train(views: Sequence[View], network: Network, digits: Digits, *, epochs: int, seed: int) -> list[Curves]:
    """Train every view on the same batches, the host's work done for each by itself.

    Raises AssertionError where logits differ in any step, or weights and velocities after any step: all bits are compared.
    """
    rng = np.random.default_rng(seed)
    curves = [Curves() for _ in views]
    steps = epochs * (len(digits.train_x) // network.batch)
    _test(views, network, digits, curves)
    for _ in range(epochs):
        for batch in batches(len(digits.train_x), network.batch, rng):
            logits = [view.forward(digits.train_x[batch]) for view in views]
            same(logits, "logits")
            of = coefficients(network, len(curves[0].losses), steps)
            for view, each, curve in zip(views, logits, curves, strict=True):
                loss, gradient = loss_and_gradient(each, digits.train_y[batch], network.classes)
                view.backward(gradient, of)
                curve.losses.append(loss)
            states = [view.state() for view in views]
            for name in states[0]:
                same([state[name] for state in states], name)
        _test(views, network, digits, curves)
    return curves


def same(arrays: Sequence[Values], name: str) -> None:
    """All bits of arrays, one from each view. Raises AssertionError with the first element that differs."""
    first, *others = (np.ascontiguousarray(array) for array in arrays)
    for number, other in enumerate(others, 1):
        if first.dtype != other.dtype or first.shape != other.shape:
            raise AssertionError(f"{name}: {first.dtype}{first.shape} in view 0, {other.dtype}{other.shape} in view {number}")
        wrong = np.argwhere(_bits(first) != _bits(other))
        if len(wrong):
            at = tuple(wrong[0].tolist())
            raise AssertionError(f"{name}{list(at)}: {first[at]!r} in view 0, {other[at]!r} in view {number}")


def _bits(array: Values) -> Values:
    return array.view(np.dtype(f"u{array.itemsize}"))


def _test(views: Sequence[View], network: Network, digits: Digits, curves: list[Curves]) -> None:
    """The test pictures in batches, the last one filled up with zeros that are not counted."""
    right = [0] * len(views)
    for start in range(0, len(digits.test_x), network.batch):
        labels = digits.test_y[start : start + network.batch]
        x = np.zeros((network.batch, network.inputs), np.float16)
        x[: len(labels)] = digits.test_x[start : start + network.batch]
        logits = [view.forward(x) for view in views]
        same(logits, "logits of a test")
        for number, each in enumerate(logits):
            right[number] += int((each[: len(labels), : network.classes].argmax(axis=1) == labels).sum())
    for count, curve in zip(right, curves, strict=True):
        curve.accuracies.append(count / len(digits.test_x))
