"""Are N:M patterns and their masks right?"""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workloads.sparsity import DENSE, NM, parse_pattern

PATTERNS = st.integers(1, 9).flatmap(lambda group: st.builds(NM, st.integers(1, group), st.just(group)))


def rank(value):
    """Sort key of a magnitude in exact arithmetic: a NaN above infinity above all numbers."""
    value = value.item()
    if value != value:
        return (2, 0)
    return (1, 0) if abs(value) == float("inf") else (0, abs(Fraction(value)))


def reference_mask(row, pattern):
    """Keep the best by repeated selection, the first of equals each time."""
    mask = [False] * len(row)
    for start in range(0, len(row), pattern.group):
        for _ in range(pattern.keep):
            left = [i for i in range(start, start + pattern.group) if not mask[i]]
            best = left[0]
            for i in left[1:]:
                if rank(row[i]) > rank(row[best]):
                    best = i
            mask[best] = True
    return mask


@pytest.mark.parametrize("dtype", [np.int8, np.float16, np.float32, np.int32])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_mask_equals_selection_one_by_one(dtype, data):
    pattern = data.draw(PATTERNS)
    shape = (data.draw(st.integers(1, 3)), pattern.group * data.draw(st.integers(1, 4)))
    values = data.draw(hnp.arrays(dtype, shape))
    with np.errstate(all="ignore"):  # hypothesis draws signalling NaNs too
        mask = pattern.mask(values)
    assert mask.tolist() == [reference_mask(row, pattern) for row in values]


@pytest.mark.parametrize("dtype", [np.int8, np.float16])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_mask_keeps_exactly_n_of_every_group_even_among_equals(dtype, data):
    pattern = data.draw(PATTERNS)
    few = st.sampled_from([-1, 0, 1])  # ties everywhere
    values = data.draw(hnp.arrays(dtype, (2, 3, 2 * pattern.group), elements=few))
    groups = pattern.mask(values).reshape(2, 3, 2, pattern.group)
    assert (groups.sum(axis=-1) == pattern.keep).all()


def test_ties_keep_the_lower_index():
    assert NM(2, 4).mask(np.array([1, -1, 1, -1], np.int8)).tolist() == [True, True, False, False]
    assert NM(1, 4).mask(np.array([0.0, -2.0, 2.0, 1.0], np.float16)).tolist() == [False, True, False, False]
    assert NM(2, 4).mask(np.array([-0.0, 0.0, 0.0, -0.0], np.float32)).tolist() == [True, True, False, False]


def test_the_magnitude_of_minus_128_is_128():
    assert NM(1, 2).mask(np.array([127, -128], np.int8)).tolist() == [False, True]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_nan_beats_infinity_beats_the_largest_number(dtype):
    largest = np.finfo(dtype).max
    assert NM(1, 3).mask(np.array([largest, -np.inf, np.nan], dtype)).tolist() == [False, False, True]
    assert NM(2, 3).mask(np.array([1, -np.inf, np.nan], dtype)).tolist() == [False, True, True]
    assert NM(1, 2).mask(np.array([-np.nan, np.nan], dtype)).tolist() == [True, False]
    if dtype is not np.float64:
        assert NM(1, 2).mask(np.array([largest, np.inf], dtype)).tolist() == [False, True]


def test_subnormals_are_compared_not_flushed():
    tiny = np.array([1, 3, 2, 0], np.uint16).view(np.float16)
    assert NM(2, 4).mask(tiny).tolist() == [False, True, True, False]


def test_groups_lie_along_the_last_axis():
    values = np.arange(8).reshape(2, 4)
    assert NM(1, 4).mask(values).tolist() == [[False, False, False, True]] * 2
    assert NM(4, 4).mask(values).all()


def test_a_partial_group_is_refused():
    with pytest.raises(ValueError, match="Axis of 6 elements must be a multiple of the group 4 of 2:4"):
        NM(2, 4).mask(np.zeros((2, 6)))
    assert NM(2, 4).divides(8)
    assert not NM(2, 4).divides(6)


@given(PATTERNS)
def test_text_round_trip_and_derived_sizes(pattern):
    assert parse_pattern(str(pattern)) == NM.parse(str(pattern)) == pattern
    assert pattern.density == Fraction(pattern.keep, pattern.group)
    assert 2**pattern.index_bits >= pattern.group > 2 ** (pattern.index_bits - 1) - (pattern.group == 1)


def test_dense_is_a_pattern():
    assert parse_pattern("dense") is DENSE
    assert str(DENSE) == "dense"
    assert DENSE.density == 1


@pytest.mark.parametrize("text", ["", "2", "2:", ":4", "2:4:8", "a:b", "-1:4", "2.0:4", "2/4"])
def test_other_text_is_refused_by_name(text):
    with pytest.raises(ValueError, match="must be written N:M"):
        NM.parse(text)


@pytest.mark.parametrize(("keep", "group"), [(0, 4), (5, 4), (-1, 4), (1, 0)])
def test_impossible_patterns_are_refused(keep, group):
    with pytest.raises(ValueError, match="must satisfy 1 <= N <= M"):
        NM(keep, group)


@pytest.mark.parametrize(("keep", "group"), [(2.0, 4), (2, 4.0), (True, 4), ("2", 4)])
def test_only_integers_make_a_pattern(keep, group):
    with pytest.raises(ValueError, match="must be an integer"):
        NM(keep, group)
