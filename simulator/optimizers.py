"""Bit-exact Adam and AdamW as the updater computes them; SGD with momentum is `simulator.arithmetic.sgd_momentum`."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.arithmetic import Values, quantize
from simulator.formats import NumberFormat

__all__ = ["AdamCoefficients", "adam", "adam_coefficients"]


class AdamCoefficients(NamedTuple):
    """What the host gives for one step, each rounded to FP32 by the updater's ports, whose names these are."""

    lr: float  # with both bias corrections in it
    momentum: float  # beta_1
    gain: float  # 1 - beta_1
    square_momentum: float  # beta_2
    square_gain: float  # 1 - beta_2
    eps: float  # with the second moment's bias correction in it
    weight_decay: float  # added to the gradient (Adam)
    decoupled_decay: float  # subtracted from the weight (AdamW; with the schedule's factor in it)
    decay: float  # SR-STE, where the mask keeps nothing


def adam_coefficients(
    step: int,
    *,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled_decay: float = 0.0,
    decay: float = 0.0,
) -> AdamCoefficients:
    """Of step 1, 2, ...: ``lr m^ / (sqrt(v^) + eps)`` is ``lr_t m / (sqrt(v) + eps_t)``, with

        lr_t = lr * sqrt(1 - beta2^step) / (1 - beta1^step);  eps_t = eps * sqrt(1 - beta2^step)

    as arXiv:1412.6980, section 2, says. `decoupled_decay` is the lambda of arXiv:1711.05101 (libraries give lr * lambda).
    """
    if step < 1:
        raise ValueError(f"Step of Adam must be at least 1, not {step!r}")
    square = math.sqrt(1.0 - beta2**step)
    return AdamCoefficients(
        lr=lr * square / (1.0 - beta1**step),
        momentum=beta1,
        gain=1.0 - beta1,
        square_momentum=beta2,
        square_gain=1.0 - beta2,
        eps=eps * square,
        weight_decay=weight_decay,
        decoupled_decay=decoupled_decay,
        decay=decay,
    )


def adam(
    weight: NDArray[np.float32],
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    gradient: Values,
    number: NumberFormat,
    coefficients: AdamCoefficients,
    mask: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], Values]:
    """One step in FP32; returns the new weight and moments, and the weight's copy in format `number`.

    Algorithm 1 of arXiv:1412.6980 and, with `decoupled_decay`, 2 of arXiv:1711.05101 (schedule factor 1). Every operation is
    rounded by itself, in this order, quotient and root too::

        g = gradient + weight_decay*w;  g = g + decay*w where not mask (SR-STE)
        m = momentum*m + gain*g;  v = square_momentum*v + square_gain*(g*g)
        w = w - (lr*(m / (sqrt(v) + eps)) + decoupled_decay*w)

    Arrays have one shape; w, m and v must be float32.
    """
    for name, array in (("weight", weight), ("first", first), ("second", second)):
        if array.dtype != np.float32:
            raise ValueError(f"Array {name!r} must be float32, not {array.dtype}")
    w: Values = weight
    with np.errstate(all="ignore"):
        rounded: list[Values] = [np.array(value, np.float32) for value in coefficients]
        lr, momentum, gain, square_momentum, square_gain, eps, weight_decay, decoupled_decay, decay = rounded
        g = gradient.astype(np.float32) + weight_decay * w
        if mask is not None:
            g = np.where(mask, g, g + decay * w)
        m: Values = momentum * first + gain * g
        v: Values = square_momentum * second + square_gain * (g * g)
        w = w - (lr * (m / (np.sqrt(v) + eps)) + decoupled_decay * w)
    return w, m, v, quantize(number, w)
