"""Does a GEMM count what it is?"""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import gemm, gemms

from workloads.gemm import Conv
from workloads.sparsity import DENSE, NM

CONV = {
    "operand": "a",
    "images": 2,
    "height": 5,
    "width": 6,
    "channels": 3,
    "taps_h": 3,
    "taps_w": 2,
    "stride": 1,
    "out_h": 3,
    "out_w": 5,
}


@given(gemms())
def test_effective_macs_are_the_dense_ones_times_the_density(op):
    assert op.dense_macs == op.batch * op.m * op.n * op.k
    assert op.effective_macs == op.dense_macs * op.density
    assert type(op.effective_macs) is int
    sparse = getattr(op, op.sparse_operand).pattern
    assert op.pattern == sparse
    assert op.density == (Fraction(sparse.keep, sparse.group) if isinstance(sparse, NM) else 1)


@pytest.mark.parametrize("name", ["m", "n", "k", "batch"])
@pytest.mark.parametrize("value", [0, -1, 1.0, True])
def test_sizes_are_positive_integers(name, value):
    with pytest.raises(ValueError, match=f"Gemm 'g': {name} must be a positive integer, not {value!r}"):
        replace(gemm(2, 3, 4), **{name: value})


def test_groups_divide_the_reduction():
    with pytest.raises(ValueError, match="2:8 of operand b must divide the reduction k=12"):
        gemm(2, 3, 12, pattern=NM(2, 8))


def test_one_sparse_operand():
    op = gemm(2, 3, 8, pattern=NM(2, 8))
    with pytest.raises(ValueError, match="at most one operand can be N:M"):
        replace(op, a=replace(op.a, pattern=NM(2, 4)))
    assert replace(op, b=replace(op.b, pattern=DENSE)).density == 1


def brute_footprint(conv, rows, cols):
    """Elements of one image's channel under `rows` whole output rows, by marking each tap's pixel (no padding)."""
    marked = set()
    for y in range(rows):
        for x in range(cols):
            for dy in range(conv.taps_h):
                for dx in range(conv.taps_w):
                    marked.add((y * conv.stride + dy, x * conv.stride + dx))
    return len(marked)


@given(
    taps=st.integers(1, 3),
    stride=st.integers(1, 3),
    rows=st.integers(1, 4),
    channels=st.integers(1, 4),
    images=st.integers(1, 3),
)
def test_footprint_marks_each_element_once(taps, stride, rows, channels, images):
    """Whole images and whole taps, the map exactly as large as the windows need: against marking pixels."""
    side = (rows - 1) * stride + taps
    conv = Conv(
        **CONV
        | {
            "images": images,
            "height": side,
            "width": side,
            "channels": channels,
            "taps_h": taps,
            "taps_w": taps,
            "stride": stride,
            "out_h": rows,
            "out_w": rows,
        }
    )
    depth = taps * taps * channels
    assert conv.footprint(images * rows * rows, depth) == images * channels * brute_footprint(conv, rows, rows)
    for part in range(1, rows + 1):  # whole output rows of one image
        assert conv.footprint(part * rows, depth) == channels * brute_footprint(conv, part, rows)


@given(
    conv=st.builds(Conv, operand=st.just("a"), **{name: st.integers(1, 5) for name in CONV if name != "operand"}),
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    depth=st.integers(1, 30),
)
def test_parts_never_need_less_than_the_whole(conv, sizes, depth):
    assert sum(conv.footprint(size, depth) for size in sizes) >= conv.footprint(sum(sizes), depth)
    assert conv.footprint(sum(sizes), depth) <= min(conv.elements, sum(sizes) * depth)


@pytest.mark.parametrize("name", [name for name in CONV if name != "operand"])
def test_geometry_is_positive(name):
    with pytest.raises(ValueError, match=f"Conv: {name} must be a positive integer, not 0"):
        Conv(**CONV | {name: 0})
