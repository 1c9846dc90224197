"""The updater's optimizers as expressions of FP32 operations: SGD with momentum, Adam, or both on shared circuits.

| steps | sgd-momentum        | adam                                   | beside it                                       |
|-------|---------------------|----------------------------------------|-------------------------------------------------|
| 7     | weight_decay*w      | the same                               | momentum*velocity, the gradient widened to FP32 |
| 6     | gradient + product  | the same                               | decay*w                                         |
| 6     | g + decay*w         | the same                               |                                                 |
| 1     | g by `keep`         | the same                               |                                                 |
| 14    |                     | gain*g; g*g, square_gain*(g*g)         | square_momentum*second                          |
| 6     | momentum*v + g      | both moments                           |                                                 |
| 29    |                     | square root of the second              |                                                 |
| 6     |                     | root + eps                             |                                                 |
| 32    |                     | first moment / sum                     |                                                 |
| 7     | lr*v                | lr*quotient                            | decoupled_decay*w                               |
| 6     |                     | both added                             |                                                 |
| 6     | w - product         | w - sum                                |                                                 |
| 1 or 2| copy: bf16 or fp16  | the same                               |                                                 |

A lane of both has Adam's length: for SGD its `gain` must be 1, so that g passes unchanged, quotient and sum are passed by, and
the second moment means nothing.
"""

# pyright: basic

from collections.abc import Mapping

from amaranth.hdl import Cat, Mux, Value

from rtl.expression import Operation, select
from rtl.fp import Number
from rtl.fp32 import FP32_MULTIPLY
from rtl.fp32_divide import FP32_DIVIDE, FP32_SQUARE_ROOT
from rtl.fp_add import FP32_ADD

__all__ = ["ADAM_COEFFICIENTS", "COEFFICIENTS", "operations"]

COEFFICIENTS = ("lr", "momentum", "weight_decay", "decay")
ADAM_COEFFICIENTS = ("gain", "square_momentum", "square_gain", "eps", "decoupled_decay")


def _product(result: str, a: str, b: str | Value) -> Operation:
    return Operation(result, FP32_MULTIPLY, {"a": a, "b": b})


def _total(result: str, a: str, b: str | Value) -> Operation:
    return Operation(result, FP32_ADD, {"a": a, "b": b})


def _negative(bits: Value) -> Value:
    return Cat(bits[:-1], ~bits[-1])


def operations(number: Number, optimizers: tuple[str, ...], coefficients: Mapping[str, Value]) -> tuple[Operation, ...]:
    """From weight, velocity, gradient, keep (and second, for Adam) to their new values and `copy`.

    `coefficients` are the FP32 bits of the names above, and `adam` (1: Adam, 0: SGD) where both are among the optimizers.
    """
    c = coefficients
    pick = select(1, lambda state: Mux(state["keep"], state["kept"], state["dropped"]))
    slope = (
        _product("shrink", "weight", c["weight_decay"]),
        _product("regrow", "weight", c["decay"]),
        _product("inertia", "velocity", c["momentum"]),
        Operation("wide", number.widen, {"value": "gradient"}),
        _total("kept", "wide", "shrink"),
        _total("dropped", "kept", "regrow"),
        Operation("slope", pick, {"keep": "keep", "kept": "kept", "dropped": "dropped"}),
    )
    step = _adam(optimizers, c) if "adam" in optimizers else _sgd(c)
    end = (_total("new_weight", "weight", "change"), Operation("copy", number.narrow, {"value": "new_weight"}))
    return (*slope, *step, *end)


def _sgd(c: Mapping[str, Value]) -> tuple[Operation, ...]:
    # -lr*v rounds to the negative of lr*v
    return _total("new_velocity", "inertia", "slope"), _product("change", "new_velocity", _negative(c["lr"]))


def _adam(optimizers: tuple[str, ...], c: Mapping[str, Value]) -> tuple[Operation, ...]:
    both = "sgd-momentum" in optimizers

    def direction(state: Mapping[str, Value]) -> Value:
        return Mux(c["adam"], state["ratio"], state["velocity"]) if both else state["ratio"]

    def change(state: Mapping[str, Value]) -> Value:
        return _negative(Mux(c["adam"], state["total"], state["step"]) if both else state["total"])

    return (
        _product("fresh", "slope", c["gain"]),
        _total("new_velocity", "inertia", "fresh"),
        _product("square", "slope", "slope"),
        _product("fresh_square", "square", c["square_gain"]),
        _product("memory", "second", c["square_momentum"]),
        _total("new_second", "memory", "fresh_square"),
        Operation("root", FP32_SQUARE_ROOT, {"value": "new_second"}),
        _total("divisor", "root", c["eps"]),
        Operation("ratio", FP32_DIVIDE, {"a": "new_velocity", "b": "divisor"}),
        Operation("direction", select(1, direction), {"ratio": "ratio"} | ({"velocity": "new_velocity"} if both else {})),
        _product("step", "direction", c["lr"]),
        _product("loss", "weight", c["decoupled_decay"]),
        _total("total", "step", "loss"),
        Operation("change", select(1, change), {"total": "total"} | ({"step": "step"} if both else {})),
    )
