"""What the vector unit does to an element: its operations, and their bit-exact values (the contract with `rtl.vector`).

Operands and results are results as a store writes them: fp16 as ``float16``, bf16 as ``float32`` whose low 16 bits are zero,
int8 machines' as ``int32``. Rounding is to nearest, ties to even, subnormals kept, overflow to infinity. Every NaN that comes
out is the positive quiet one without payload, whichever operand it came from, for every operation.

| operation     | fp16, bf16                                                                       | int8 machines (int32)    |
|---------------|----------------------------------------------------------------------------------|--------------------------|
| ADD           | x + y rounded to FP32, that rounded to the format: twice                         | modulo 2^32              |
| RELU          | x if x > 0, else +0 (of -0 too); a NaN stays one                                 | x if x > 0, else 0       |
| RELU_GRADIENT | x if y > 0, else +0 (where y is a NaN too)                                       | x if y > 0, else 0       |
| MULTIPLY      | x * y in FP32 (fp16: exact; bf16: rounded if subnormal), rounded to the format   | modulo 2^32              |
| SCALE         | x * scalar rounded to FP32, that rounded to the format: twice                    | see below                |
| COPY          | x                                                                                | x                        |

ADD serves bias and residual. In RELU_GRADIENT x is the gradient and y the forward output. SCALE of an int32 requantises it:
x rounded to FP32, times the scalar rounded to FP32, rounded to an integer, ties to even, saturated at -128 and 127 (infinities
too; a NaN, of a NaN scalar or of zero times infinity, gives 0).
"""

from enum import IntEnum

import numpy as np

from simulator.arithmetic import Values, accumulate, accumulator_dtype, product, to_result
from simulator.formats import NumberFormat

__all__ = ["VectorOperation", "vector_operation"]


class VectorOperation(IntEnum):
    """The value is the operation's code in the RTL; one numbering for all formats."""

    ADD = 0
    RELU = 1
    RELU_GRADIENT = 2
    MULTIPLY = 3
    SCALE = 4
    COPY = 5


def vector_operation(number: NumberFormat, operation: VectorOperation, x: Values, y: Values, scalar: float) -> Values:
    """The table's result for every element of x and y, which have one shape; `scalar` is rounded to FP32 first.

    Raises ValueError where x or y is not stored as results of the format are.
    """
    wide = accumulator_dtype(number)
    stored = np.dtype(np.float16) if number.name == "fp16" else wide
    for name, array in (("x", x), ("y", y)):
        if array.dtype != stored:
            raise ValueError(f"Array {name!r} of a {number.name} machine must be {stored}, not {array.dtype}")
    nothing = np.zeros((), wide)
    with np.errstate(all="ignore"):
        match operation:
            case VectorOperation.ADD:
                sums = accumulate(number, x.astype(wide), y.astype(wide))
            case VectorOperation.RELU:
                sums = np.where((x > 0) | np.isnan(x), x.astype(wide), nothing)
            case VectorOperation.RELU_GRADIENT:
                sums = np.where(y > 0, x.astype(wide), nothing)
            case VectorOperation.MULTIPLY:
                sums = product(number, x, y)
            case VectorOperation.SCALE:
                scaled: Values = x.astype(np.float32) * np.array(scalar, np.float32)
                if wide.kind == "i":
                    units = np.where(np.isnan(scaled), np.float32(0), np.rint(scaled))
                    return np.clip(units, -128, 127).astype(wide)
                sums = scaled
            case VectorOperation.COPY:
                sums = x.astype(wide)
    return to_result(number, sums)
