"""Number formats of the multiply-accumulate path: storage widths here, bit-exact arithmetic in `simulator.golden`."""

from dataclasses import dataclass

__all__ = ["FORMATS", "MASTER_BITS", "NumberFormat"]

MASTER_BITS = 32  # master weights, optimizer state: FP32 (mixed-precision training, arXiv:1710.03740)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberFormat:
    """Widths in bits: of the operands, of the accumulator, and of the result as it is stored for the next operation."""

    name: str
    operand_bits: int
    accumulator_bits: int
    result_bits: int


FORMATS = {
    "fp16": NumberFormat(name="fp16", operand_bits=16, accumulator_bits=32, result_bits=16),
    "bf16": NumberFormat(name="bf16", operand_bits=16, accumulator_bits=32, result_bits=16),
    "int8": NumberFormat(name="int8", operand_bits=8, accumulator_bits=32, result_bits=32),
}
