"""Is every convolution, of any kind, written as the GEMMs that multiply what it multiplies?"""

from math import prod

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from traced import counted_macs, gemms, trace  # noqa: E402

from workloads.gemm import Role, Stage  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("kernel", "stride", "taps"),
    [(3, 1, [9]), (3, 2, [4, 2, 2, 1]), (1, 2, [1]), (7, 2, [16, 12, 12, 9]), (2, 2, [1, 1, 1, 1]), (3, 3, [1] * 9)],
)
def test_strided_data_gradient_by_phases(kernel, stride, taps):
    """Every tap belongs to one phase: a kernel of R taps at stride s has ceil((R-p)/s) of them in phase p."""
    layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, kernel, stride=stride, padding=kernel // 2, bias=False))
    workload = trace(lambda batch: (layers, torch.empty(batch, 3, 15, 15)))
    out = (15 + 2 * (kernel // 2) - kernel) // stride + 1
    parts = [gemm for gemm in workload.gemms if gemm.layer == "1" and gemm.stage is Stage.BP]
    assert [(g.m, g.k, g.n) for g in parts] == [(2 * out * out, count * 6, 4) for count in taps]
    assert [g.name for g in parts] == ["1/bp", *(f"1/bp.{i}" for i in range(1, len(taps)))]
    assert {g.c for g in parts} == {"1/bp:out"}
    assert sum(g.dense_macs for g in parts) == 2 * out * out * kernel * kernel * 4 * 6
    for gemm, count in zip(parts, taps, strict=True):
        assert gemm.conv.taps_h * gemm.conv.taps_w == count
        assert (gemm.conv.height, gemm.conv.channels, gemm.conv.stride, gemm.conv.operand) == (out, 6, 1, "a")


def test_convolution_geometry():
    layers = nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=4))
    found = gemms(trace(lambda batch: (layers, torch.empty(batch, 8, 9, 9))))
    ff, wu = found["1/ff"], found["1/wu"]
    assert (ff.batch, ff.m, ff.n, ff.k) == (4, 2 * 25, 4, 9 * 2)
    assert (wu.batch, wu.m, wu.n, wu.k) == (4, 4, 9 * 2, 2 * 25)
    assert (ff.conv.operand, wu.conv.operand) == ("a", "b")
    for conv in (ff.conv, wu.conv):
        assert (conv.images, conv.height, conv.channels, conv.stride, conv.out_h) == (2, 9, 2, 2, 5)


CONVOLUTIONS = {  # layer, input: 1, 2 and 3 dimensions, groups, depthwise, dilation, unequal strides, transposed
    "1d": (lambda: nn.Conv1d(4, 6, 5, stride=2), (4, 17)),
    "2d": (lambda: nn.Conv2d(4, 6, 3, padding=1), (4, 7, 9)),
    "3d": (lambda: nn.Conv3d(4, 6, (2, 3, 3), stride=(1, 2, 2)), (4, 5, 7, 7)),
    "no taps in depth": (lambda: nn.Conv3d(4, 6, (1, 3, 3)), (4, 5, 7, 7)),
    "dilated": (lambda: nn.Conv2d(4, 6, 3, stride=2, dilation=2), (4, 11, 11)),
    "unequal strides": (lambda: nn.Conv2d(4, 6, (3, 5), stride=(2, 1)), (4, 11, 11)),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, stride=2, groups=2), (4, 8, 8)),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4), (4, 8, 8)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1), (4, 5, 5)),
    "transposed, grouped": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), (4, 5, 5)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_macs(name):
    """Each of the three stages multiplies every weight once per position of the side that the stride does not widen."""
    make, shape = CONVOLUTIONS[name]
    with torch.device("meta"):
        layer = make()
        out = layer(torch.empty(2, *shape)).shape
    groups, transposed = layer.groups, layer.transposed
    positions = 2 * prod(shape[1:] if transposed else out[2:])
    expected = positions * layer.weight.numel()
    workload = trace(lambda batch: (nn.Sequential(nn.Tanh(), nn.PReLU(), make()), torch.empty(batch, *shape)))
    for stage in (Stage.FF, Stage.BP, Stage.WU):
        found = [gemm for gemm in workload.gemms if gemm.stage is stage]
        assert sum(gemm.dense_macs for gemm in found) == expected
        assert {gemm.batch for gemm in found} == {groups}
        for gemm in found:  # the geometry describes the operand: positions by depth of the reduction
            if gemm.conv is not None:
                depth = gemm.n if stage is Stage.WU else gemm.k
                assert gemm.conv.images * gemm.conv.out_h * gemm.conv.out_w == positions
                assert gemm.conv.taps_h * gemm.conv.taps_w * gemm.conv.channels == depth
    assert (next(workload.gemms).conv is None) == (name in {"3d", "unequal strides"})
    if groups == 1:  # the counter takes a grouped weight gradient for an ungrouped one
        build = lambda batch: (nn.Sequential(nn.Tanh(), nn.PReLU(), make()), torch.empty(batch, *shape))  # noqa: E731
        assert workload.dense_macs() == counted_macs(build, 2)


def test_dilated_taps_reach_one_phase():
    """At stride 2, taps 0, 2, 4 of a kernel dilated by 2 all lie on even positions; dilated by 3 they alternate."""
    from workloads.trace.convolutions import phases

    assert list(phases((3, 3), (2, 2), (2, 2))) == [(3, 3)]
    assert list(phases((3,), (2,), (3,))) == [(2,), (1,)]


def test_transposed_convolution_is_a_data_gradient():
    """4x4 at stride 2 over 5x5 inputs: every output phase of the forward has 2x2 taps; backward is a plain convolution."""
    layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1))
    found = gemms(trace(lambda batch: (layers, torch.empty(batch, 3, 5, 5))))
    for name in ("1/ff", "1/ff.1", "1/ff.2", "1/ff.3"):
        assert (found[name].m, found[name].k, found[name].n, found[name].c) == (2 * 25, 4 * 4, 6, "1/ff:out")
    assert (found["1/bp"].m, found["1/bp"].k, found["1/bp"].n) == (2 * 25, 16 * 6, 4)
    conv = found["1/bp"].conv
    assert (conv.height, conv.channels, conv.taps_h, conv.stride, conv.out_h) == (10, 6, 4, 2, 5)
    wu = found["1/wu"]
    assert (wu.m, wu.k, wu.n, wu.conv.operand, wu.b.role) == (4, 2 * 25, 16 * 6, "b", Role.GRADIENT)
