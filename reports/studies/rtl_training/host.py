"""What the host does: it picks the batches, and turns logits into the loss and its gradient."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits  # pyright: ignore[reportUnknownVariableType]

from reports.studies.rtl_training.network import Network
from simulator.arithmetic import Values, quantize
from simulator.formats import FORMATS
from simulator.interpreter import Registers

__all__ = ["Digits", "batches", "coefficients", "initial_weights", "load", "loss_and_gradient"]

_TRAINED = 1500
_RATE, _MOMENTUM, _DECAY = 0.1, 0.9, 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """Scikit-learn's 1797 pictures of 8 x 8 pixels, from 0 to 1, rounded to fp16 (exact: they are sixteenths)."""

    train_x: Values
    train_y: Values
    test_x: Values
    test_y: Values


def load(seed: int) -> Digits:
    """1500 pictures to train on and 297 to test, at random. Pixel 0, which is 0 in all of them, is the bias input 1."""
    pictures, labels = load_digits(return_X_y=True)
    pixels = np.asarray(pictures, np.float64) / 16
    assert not pixels[:, 0].any()
    pixels[:, 0] = 1
    order = np.random.default_rng(seed).permutation(len(pixels))
    x, y = quantize(FORMATS["fp16"], pixels[order]), np.asarray(labels, np.int64)[order]
    return Digits(train_x=x[:_TRAINED], train_y=y[:_TRAINED], test_x=x[_TRAINED:], test_y=y[_TRAINED:])


def coefficients(network: Network, step: int, steps: int) -> Registers:
    """The optimizer's registers in a step: a rate that falls linearly to 0, momentum and weight decay.

    Rate and decay are meant for the gradient of the batch's mean loss; the machine gets that of the sum, which in fp16 loses
    less to underflow, so the rate is divided by the batch and the decay multiplied.
    """
    rate = _RATE * (1 - step / steps)
    return Registers(lr=rate / network.batch, momentum=_MOMENTUM, weight_decay=network.batch * _DECAY)


def batches(count: int, size: int, rng: np.random.Generator) -> Iterator[Values]:
    """An epoch: indices in a random order, in whole batches; the rest is left out."""
    order = rng.permutation(count)
    yield from order[: count // size * size].reshape(-1, size)


def initial_weights(network: Network, rng: np.random.Generator) -> tuple[Values, Values]:
    """W1[hidden][inputs] and W2[outputs][hidden] in FP32, scaled by the inputs (He); rows beyond the classes are 0."""
    w1 = rng.normal(size=(network.hidden, network.inputs)) * np.sqrt(2 / network.inputs)
    w2 = rng.normal(size=(network.outputs, network.hidden)) * np.sqrt(2 / network.hidden)
    w2[network.classes :] = 0
    return w1.astype(np.float32), w2.astype(np.float32)


def loss_and_gradient(logits: Values, labels: Values, classes: int) -> tuple[float, Values]:
    """Mean cross-entropy of the batch's softmax over the classes, and the gradient of its sum by the logits in fp16: FP32,
    rounded at the end. Outputs beyond the classes get 0."""
    given = logits[:, :classes].astype(np.float32, order="C")  # the order of elements in memory is that of the sum below
    powers = np.exp(given - given.max(axis=1, keepdims=True))
    chances = powers / powers.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    gradient = np.zeros(logits.shape, np.float32)
    gradient[:, :classes] = chances
    gradient[rows, labels] -= 1
    loss = -np.log(np.maximum(chances[rows, labels], np.float32(1e-30)))
    return float(loss.mean()), quantize(FORMATS["fp16"], gradient)
