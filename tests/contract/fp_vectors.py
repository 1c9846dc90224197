"""Operands that hurt: every boundary against every boundary, ties, cancellation, and random bit patterns."""

import itertools

import numpy as np
from fp_oracle import Bits
from numpy.random import Generator
from numpy.typing import NDArray

__all__ = ["accumulator_pairs", "halfway_to_fp16", "operand_pairs", "vectors"]

_FIELDS = {"fp16": (5, 10), "bf16": (8, 7), "fp32": (8, 23)}


def vectors(kind: str, format_name: str, count: int, seed: int) -> dict[str, Bits]:
    """At least `count` rows of operands for `kind`; the directed ones first."""
    rng = np.random.default_rng(seed)
    match kind, format_name:
        case "multiply", _:
            a, b = operand_pairs(format_name, count, rng)
            return {"a": a, "b": b}
        case "add", _:
            a, b = accumulator_pairs(format_name, count, rng)
            return {"a": a, "b": b}
        case "widen", "int8":
            return {"value": np.arange(1 << 8, dtype=np.uint8)}
        case "widen", _:
            return {"value": np.arange(1 << 16, dtype=np.uint16)}
        case "narrow", _:
            special = np.concatenate([_special("fp32"), halfway_to_fp16(), _halfway_to_bf16(rng, 1 << 16)])
            return {"value": np.concatenate([special, _random("fp32", count, rng), _uniform(32, count, rng)])}
        case _:
            raise ValueError(f"Kind must be multiply, add, widen or narrow, not {kind!r}")


def operand_pairs(format_name: str, count: int, rng: Generator) -> tuple[Bits, Bits]:
    """Pairs for a multiplier. int8: all 65536. Otherwise every boundary squared, and `count` more."""
    if format_name == "int8":
        a, b = np.divmod(np.arange(1 << 16), 256)
        return a.astype(np.uint8), b.astype(np.uint8)
    a, b = (grid.ravel() for grid in np.meshgrid(_special(format_name), _special(format_name)))
    edge_a, edge_b = _products_near_subnormal(rng, count // 4) if format_name == "bf16" else (a[:0], b[:0])
    more = [_random(format_name, count // 2, rng), _uniform(16, count // 2, rng)]
    others = [_random(format_name, count // 2, rng), _uniform(16, count // 2, rng)]
    return np.concatenate([a, edge_a, *more]), np.concatenate([b, edge_b, *others])


def accumulator_pairs(format_name: str, count: int, rng: Generator) -> tuple[Bits, Bits]:
    """Pairs for an adder: boundaries squared, neighbours in exponent (cancellation, ties), and `count` random."""
    if format_name == "int8":
        edges = np.array([0, 1, 2**31 - 1, 2**31, 2**32 - 1], np.uint32)
        a, b = (grid.ravel() for grid in np.meshgrid(edges, edges))
        return np.concatenate([a, _uniform(32, count, rng)]), np.concatenate([b, _uniform(32, count, rng)])
    a, b = (grid.ravel() for grid in np.meshgrid(_special("fp32"), _special("fp32")))
    near_a, near_b = _neighbours(count // 2, rng)
    far_a, far_b = _uniform(32, count // 2, rng), _uniform(32, count // 2, rng)
    flip = rng.random(len(near_a)) < 0.5
    left, right = np.where(flip, near_b, near_a), np.where(flip, near_a, near_b)
    return np.concatenate([a, left, far_a]), np.concatenate([b, right, far_b])


def halfway_to_fp16() -> Bits:
    """Every FP32 value halfway between two neighbouring fp16 numbers (or the largest and infinity), and both its neighbours."""
    positive = np.arange(0x7C00, dtype=np.uint16)
    low = positive.view(np.float16).astype(np.float64)
    high = np.append(low[1:], 65536.0)
    middle = ((low + high) / 2).astype(np.float32).view(np.uint32)
    around = np.concatenate([middle - np.uint32(1), middle, middle + np.uint32(1)])
    return np.concatenate([around, around | np.uint32(1 << 31)])


def _halfway_to_bf16(rng: Generator, count: int) -> Bits:
    high = rng.integers(0, 1 << 16, count, dtype=np.uint32) << np.uint32(16)
    return high | rng.choice(np.array([0x7FFF, 0x8000, 0x8001], np.uint32), count)


def _join(format_name: str, sign: NDArray[np.int64], exponent: NDArray[np.int64], fraction: NDArray[np.int64]) -> Bits:
    exponent_bits, fraction_bits = _FIELDS[format_name]
    bits = (((sign << exponent_bits) | exponent) << fraction_bits) | fraction
    return bits.astype(np.uint32 if format_name == "fp32" else np.uint16)


def _special(format_name: str) -> Bits:
    """Zeros, subnormals, the ends of each range, ones and their neighbours, infinities, NaNs; both signs."""
    exponent_bits, fraction_bits = _FIELDS[format_name]
    top, full = (1 << exponent_bits) - 1, (1 << fraction_bits) - 1
    bias = top // 2
    exponents = {0, 1, 2, fraction_bits, fraction_bits + 1, fraction_bits + 2, bias - 1, bias, bias + 1, top - 2, top - 1, top}
    fractions = {0, 1, 2, 3, 1 << (fraction_bits - 1), (1 << (fraction_bits - 1)) + 1, full - 1, full}
    rows = np.array(list(itertools.product((0, 1), sorted(exponents), sorted(fractions))), np.int64)
    return _join(format_name, rows[:, 0], rows[:, 1], rows[:, 2])


def _fractions(bits: int, count: int, rng: Generator) -> NDArray[np.int64]:
    """Fractions of five kinds: random, single bits, runs of ones at the top, at the bottom, and short ones."""
    anything = rng.integers(0, 1 << bits, count)
    at = rng.integers(0, bits + 1, count)
    single = (np.int64(1) << at) & ((1 << bits) - 1)
    low = (np.int64(1) << at) - 1
    high = ((1 << bits) - 1) ^ low
    return np.choose(rng.integers(0, 5, count), [anything, single, low, high, anything & high])


def _random(format_name: str, count: int, rng: Generator) -> Bits:
    exponent_bits, fraction_bits = _FIELDS[format_name]
    exponents = rng.integers(0, 1 << exponent_bits, count)
    exponents = np.where(rng.random(count) < 0.1, 0, exponents)
    return _join(format_name, rng.integers(0, 2, count), exponents, _fractions(fraction_bits, count, rng))


def _neighbours(count: int, rng: Generator) -> tuple[Bits, Bits]:
    """FP32 pairs at most 30 binades apart, where alignment, ties and cancellation happen; a few equal magnitudes."""
    exponent = rng.integers(0, 255, count)
    exponent = np.where(rng.random(count) < 0.1, rng.integers(0, 30, count), exponent)
    distance = np.where(rng.random(count) < 0.4, rng.integers(0, 3, count), rng.integers(0, 31, count))
    other = np.maximum(exponent - distance, 0)
    fraction = _fractions(23, count, rng)
    near = np.clip(fraction + rng.integers(-2, 3, count), 0, (1 << 23) - 1)
    close = np.where(rng.random(count) < 0.2, near, _fractions(23, count, rng))
    a = _join("fp32", rng.integers(0, 2, count), exponent, fraction)
    return a, _join("fp32", rng.integers(0, 2, count), other, close)


def _products_near_subnormal(rng: Generator, count: int) -> tuple[Bits, Bits]:
    """bf16 pairs whose product lies around FP32's least normal number or below, where it must be rounded."""
    total = rng.integers(127 - 30, 127 + 3, count)  # 127: an exponent field of 0 or 1
    a = rng.integers(0, total + 1)
    a = np.minimum(a, 254)
    b = total - a
    fractions = _fractions(7, count, rng), _fractions(7, count, rng)
    signs = rng.integers(0, 2, (2, count))
    return _join("bf16", signs[0], a, fractions[0]), _join("bf16", signs[1], b, fractions[1])


def _uniform(bits: int, count: int, rng: Generator) -> Bits:
    return rng.integers(0, 1 << bits, count, dtype=np.uint32 if bits == 32 else np.uint16)
