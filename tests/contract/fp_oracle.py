"""What the circuits must compute, and when, by `simulator.arithmetic`: raw bits in, raw bits out, one canonical NaN."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from simulator.arithmetic import Values, accumulate, accumulator_dtype, product, to_result
from simulator.formats import FORMATS

__all__ = ["Bits", "enables", "expected", "mismatches", "stored_bits", "values_of"]

Bits = NDArray[np.unsignedinteger]


def expected(kind: str, format_name: str, inputs: Mapping[str, Bits]) -> Bits:
    """The result of `kind` ("multiply", "add", "widen", "narrow") for each row of operands."""
    number = FORMATS[format_name]
    wide = accumulator_dtype(number)
    match kind:
        case "multiply":
            return _wide_bits(product(number, values_of(format_name, inputs["a"]), values_of(format_name, inputs["b"])))
        case "add":
            return _wide_bits(accumulate(number, inputs["a"].view(wide), inputs["b"].view(wide)))
        case "widen":
            return _wide_bits(values_of(format_name, inputs["value"]).astype(wide))
        case "narrow":
            return stored_bits(format_name, to_result(number, inputs["value"].view(wide)))
        case _:
            raise ValueError(f"Kind must be multiply, add, widen or narrow, not {kind!r}")


def enables(cycles: int, seed: int, stall: float) -> Bits:
    """The clock enable of each cycle; low with probability `stall`."""
    return (np.random.default_rng(seed).random(cycles) >= stall).astype(np.uint8)


def mismatches(kind: str, format_name: str, operands: Mapping[str, Bits], en: Bits, got: Bits, latency: int) -> str:
    """How `got`, the result port in each cycle, differs from what it must be; empty when it does not.

    Operands change in every cycle; those under a low enable must leave no trace.
    """
    right = expected(kind, format_name, operands)
    accepted = np.flatnonzero(en)
    edges = np.cumsum(en, dtype=np.int64) - en  # enabled clock edges before each cycle
    visible = edges >= latency
    row = np.arange(len(right)) if latency == 0 else accepted[edges[visible] - latency]
    wrong = np.flatnonzero(got[visible] != right[row])
    if not len(wrong):
        return ""
    first = wrong[0]
    case = ", ".join(f"{name}={values[row[first]]:#x}" for name, values in operands.items())
    return f"{len(wrong)} of {len(row)} wrong; first: {case} gives {got[visible][first]:#x}, not {right[row[first]]:#x}"


def values_of(format_name: str, bits: Bits) -> Values:
    """What raw bits stand for, as `simulator.arithmetic` holds it; integers are signed, of the bits' width."""
    match format_name:
        case "fp16":
            return bits.view(np.float16)
        case "bf16":
            return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
        case _:
            return bits.view(f"i{bits.itemsize}")


def _wide_bits(values: Values) -> Bits:
    bits = values.view(np.uint32)
    return np.where(np.isnan(values), np.uint32(0x7FC00000), bits) if values.dtype.kind == "f" else bits


def stored_bits(format_name: str, values: Values) -> Bits:
    """The raw bits of results as a store writes them."""
    match format_name:
        case "fp16":
            return values.view(np.uint16)
        case "bf16":
            bits = values.view(np.uint32)
            assert not (bits & np.uint32(0xFFFF)).any()
            return (bits >> np.uint32(16)).astype(np.uint16)
        case _:
            return values.view(np.uint32)
