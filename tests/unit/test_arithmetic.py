"""Are the machine's number formats, pruning and optimizer right, bit for bit?"""

import math
import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from simulator import arithmetic as ar
from simulator.formats import FORMATS, NumberFormat
from workloads.sparsity import NM

FP16, BF16, INT8 = FORMATS["fp16"], FORMATS["bf16"], FORMATS["int8"]
F32 = np.float32


def bits(values):
    return np.ascontiguousarray(values).view({1: np.uint8, 2: np.uint16, 4: np.uint32}[values.dtype.itemsize])


def floats(pattern):
    return np.asarray(pattern, np.uint32).view(F32)


def test_every_halfway_case_to_fp16_goes_to_even():
    codes = np.arange(0x7BFF, dtype=np.uint16)  # every finite half but the largest, with its successor
    low, high = codes.view(np.float16).astype(F32), (codes + np.uint16(1)).view(np.float16).astype(F32)
    half = (low + high) / F32(2)  # exact: one bit more than fp16 has
    even = codes + (codes & np.uint16(1))
    for sign, top in ((F32(1), np.uint16(0)), (F32(-1), np.uint16(0x8000))):
        for values, expected in (
            (half, even),
            (np.nextafter(half, low), codes),
            (np.nextafter(half, high), codes + np.uint16(1)),
        ):
            result = ar.to_result(FP16, sign * values)
            assert (bits(result) == (expected | top)).all()
            assert (bits(result) == bits((sign * values).astype(np.float16))).all()


def test_fp16_overflows_to_infinity_at_65520():
    below = np.nextafter(F32(65520), F32(0))
    result = ar.to_result(FP16, np.array([below, 65520, -65520, 3e38, np.inf], F32))
    assert result.tolist() == [65504, np.inf, -np.inf, np.inf, np.inf]


@given(st.floats(-65504, 65504, width=32))
def test_fp16_equals_the_c_library_of_python(value):
    expected = struct.unpack("<H", struct.pack("<e", value))[0]
    assert bits(ar.quantize(FP16, [value])).tolist() == [expected]


def test_bf16_rounds_every_upper_half_to_nearest_even():
    upper = np.arange(0x10000, dtype=np.int64)
    upper = upper[(upper & 0x7FFF) <= 0x7F80]  # zeros, numbers, infinities of both signs
    for lower in (0, 1, 0x4000, 0x7FFF, 0x8000, 0x8001, 0xFFFF):
        finite = upper[(upper & 0x7FFF) < 0x7F80] if lower else upper
        up = (lower > 0x8000) | ((lower == 0x8000) & (finite % 2 == 1))
        given_values = (finite * 0x10000 + lower).astype(np.uint32).view(F32)
        result = ar.to_result(BF16, given_values)
        assert (bits(result) == (finite + up) * 0x10000).all()
        assert (bits(ar.quantize(BF16, result)) == bits(result)).all()


def test_stored_nans_are_canonical_and_silent():
    nans = floats([0x7F800001, 0x7FC00000, 0xFFC00000, 0xFFFFFFFF, 0x7FFFFFFF, 0xFF800001])
    assert set(bits(ar.to_result(FP16, nans)).tolist()) == {0x7E00}
    assert set(bits(ar.to_result(BF16, nans)).tolist()) == {0x7FC00000}
    assert set(bits(ar.quantize(BF16, nans)).tolist()) == {0x7FC00000}
    packed = ar.compress(nans, NM(1, 2), 0)
    assert packed.indices.tolist() == [0, 0, 0]


def test_int8_rounds_to_even_and_saturates():
    assert ar.quantize(INT8, [0.5, 1.5, -2.5, 127.5, -128.6, np.inf, -np.inf]).tolist() == [
        0,
        2,
        -2,
        127,
        -128,
        127,
        -128,
    ]
    assert ar.quantize(INT8, np.array([300, -300, 5])).tolist() == [127, -128, 5]
    with pytest.raises(ValueError, match="'int8' must be numbers, not nan"):
        ar.quantize(INT8, [np.nan])


def test_unknown_formats_are_refused():
    other = NumberFormat(name="fp8", operand_bits=8, accumulator_bits=32, result_bits=8)
    with pytest.raises(ValueError, match="'fp8' must be one of fp16, bf16, int8"):
        ar.quantize(other, [1.0])


@settings(max_examples=200)
@given(a=st.integers(0, 0xFFFF), b=st.integers(0, 0xFFFF))
def test_fp16_products_are_exact(a, b):
    x, y = np.array([a], np.uint16).view(np.float16), np.array([b], np.uint16).view(np.float16)
    result = ar.product(FP16, x, y)[0]
    if np.isfinite(x[0]) and np.isfinite(y[0]):
        assert Fraction(float(result)) == Fraction(float(x[0])) * Fraction(float(y[0]))
        assert np.signbit(result) == (np.signbit(x[0]) ^ np.signbit(y[0]))


@settings(max_examples=200)
@given(a=st.integers(0, 0xFFFF), b=st.integers(0, 0xFFFF))
def test_bf16_products_are_the_nearest_fp32(a, b):
    x, y = floats([a << 16]), floats([b << 16])
    result = ar.product(BF16, x, y)
    with np.errstate(all="ignore"):
        exact = x.astype(np.float64) * y.astype(np.float64)  # 16 bits, exponent in range: exact
        expected = exact.astype(F32)
    assert np.isnan(result[0]) == np.isnan(expected[0])
    assert np.isnan(result[0]) or bits(result).tolist() == bits(expected).tolist()


def test_accumulate_keeps_ieee_specials():
    sums = np.array([np.inf, np.inf, 3e38, np.nan, 0.0, -0.0, 1.0], F32)
    addend = np.array([-np.inf, 1.0, 3e38, 1.0, -0.0, -0.0, 2**-24], F32)
    result = ar.accumulate(FP16, sums, addend)
    assert np.isnan(result[[0, 3]]).all()
    assert result[[1, 2]].tolist() == [np.inf, np.inf]
    assert np.signbit(result[4:6]).tolist() == [False, True]
    assert result[6] == 1.0  # a tie, to even
    smallest = floats([1])
    assert bits(ar.accumulate(FP16, smallest, smallest)).tolist() == [2]


def test_int32_wraps_without_a_warning():
    top = np.array([2**31 - 1, -(2**31)], np.int32)
    assert ar.accumulate(INT8, top, np.array([1, -1], np.int32)).tolist() == [-(2**31), 2**31 - 1]
    assert ar.accumulate(INT8, top[0], np.int32(1)) == -(2**31)  # a scalar too
    assert ar.product(INT8, np.int8([-128]), np.int8([-128])).tolist() == [16384]
    assert ar.to_result(INT8, top).tolist() == top.tolist()


def test_accumulators_of_another_type_are_refused():
    with pytest.raises(ValueError, match="Accumulator of 'fp16' must be float32"):
        ar.accumulate(FP16, np.zeros(1, np.float64), np.zeros(1, F32))
    with pytest.raises(ValueError, match="Accumulator of 'int8' must be int32"):
        ar.to_result(INT8, np.zeros(1, F32))


def test_the_tree_adds_neighbours_and_passes_an_odd_one_on():
    big, one = F32(2**24), F32(1)
    values = [np.array([v], F32) for v in (big, one, one, one, one)]
    # ((big+1) + (1+1)) + 1 = (2^24 + 2) + 1 -> tie to even 2^24+4; one after another would stay at 2^24
    assert ar.add_tree(FP16, values)[0] == 2**24 + 4
    assert ar.add_tree(FP16, values[:3])[0] == big
    assert np.signbit(ar.add_tree(FP16, [np.array([-0.0], F32)])).all()
    with pytest.raises(ValueError, match="at least one product"):
        ar.add_tree(FP16, [])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_absent_lanes_equal_minus_zero(products):
    values = [np.array([v], F32) for v in products]
    padded = values + [np.array([-0.0], F32)] * (16 - len(values))
    first, second = ar.add_tree(FP16, values), ar.add_tree(FP16, padded)
    assert np.isnan(first).all() == np.isnan(second).all()
    assert np.isnan(first).all() or bits(first).tolist() == bits(second).tolist()


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("dtype", [np.int8, np.float16])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_compress_then_decompress_masks(axis, dtype, data):
    group = data.draw(st.integers(1, 8))
    pattern = NM(data.draw(st.integers(1, group)), group)
    shape = [2, 3, 2]
    shape[axis] = 3 * group
    matrix = data.draw(hnp.arrays(dtype, tuple(shape), elements=st.integers(-3, 3)))
    packed = ar.compress(matrix, pattern, axis)
    mask = np.moveaxis(pattern.mask(np.moveaxis(matrix, axis, -1)), -1, axis)
    shape[axis] = 3 * pattern.keep
    assert packed.values.shape == packed.indices.shape == tuple(shape)
    assert (ar.decompress(packed, pattern, axis) == np.where(mask, matrix, 0)).all()
    order = np.moveaxis(packed.indices, axis, -1).reshape(-1, pattern.keep)
    assert (np.diff(order, axis=-1) > 0).all()
    again = ar.compress(ar.decompress(packed, pattern, axis), pattern, axis)
    assert (ar.decompress(again, pattern, axis) == ar.decompress(packed, pattern, axis)).all()


def test_zeros_fill_a_group_with_too_few_nonzeros():
    packed = ar.compress(np.array([0, 0, 0, 5, 0, 0, 0, 0], np.int8), NM(2, 4), 0)
    assert packed.values.tolist() == [0, 5, 0, 0]
    assert packed.indices.tolist() == [0, 3, 0, 1]


def test_partial_groups_are_refused():
    with pytest.raises(ValueError, match="multiple of the group 4"):
        ar.compress(np.zeros((2, 6)), NM(2, 4), 1)
    with pytest.raises(ValueError, match="multiple of the 2 kept of 2:4"):
        ar.decompress(ar.Packed(np.zeros(3), np.zeros(3, np.int32)), NM(2, 4), 0)


def test_prune_copies_group_one_weight_both_ways():
    weights = np.array([[1, 9, 2, 8], [5, 3, 6, 4]], np.int8)  # I=2, O=4
    ff, bp = ar.prune_copies(weights, NM(1, 2), NM(1, 4))
    assert ff.values.tolist() == [[5, 9, 6, 8]]
    assert ff.indices.tolist() == [[1, 0, 1, 0]]
    assert bp.values.tolist() == [[9, 6]]  # of W' (4, 2), one of each column
    assert bp.indices.tolist() == [[1, 2]]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["fp16", "bf16"])
@pytest.mark.parametrize("seed", range(3))
def test_sgd_equals_scalars_in_the_stated_order(seed, name, masked):
    rng = np.random.default_rng(seed)
    number = FORMATS[name]
    w, v = (rng.normal(size=(7, 5)).astype(F32) for _ in range(2))
    gradient = ar.quantize(number, rng.normal(size=(7, 5)))
    mask = rng.random((7, 5)) < 0.5 if masked else None
    weight, velocity, copy = ar.sgd_momentum(
        w, v, gradient, number, lr=0.1, momentum=0.9, weight_decay=0.3, mask=mask, decay=0.7
    )
    assert weight.dtype == velocity.dtype == F32
    lr, mu, wd, decay = F32(0.1), F32(0.9), F32(0.3), F32(0.7)
    for i, old in np.ndenumerate(w):
        g = F32(F32(gradient[i]) + F32(wd * old))
        if mask is not None and not mask[i]:
            g = F32(g + F32(decay * old))
        new_v = F32(F32(mu * v[i]) + g)
        new_w = F32(old - F32(lr * new_v))
        assert (new_v, new_w) == (velocity[i], weight[i])
    assert bits(copy).tolist() == bits(ar.quantize(number, weight)).tolist()
    assert math.isclose(float(copy[0, 0]), float(weight[0, 0]), rel_tol=2**-8)


def test_sgd_lets_nothing_escape_and_wants_fp32():
    huge = np.full((1,), 3e38, F32)
    weight, velocity, copy = ar.sgd_momentum(huge, huge, huge, FP16, lr=1.0, momentum=1.0, weight_decay=1.0)
    assert (weight[0], velocity[0], copy[0]) == (-np.inf, np.inf, -np.inf)
    with pytest.raises(ValueError, match="'weight' must be float32, not float64"):
        ar.sgd_momentum(huge.astype(np.float64), huge, huge, FP16, lr=1.0, momentum=1.0, weight_decay=1.0)
