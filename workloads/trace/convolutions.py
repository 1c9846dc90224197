# pyright: basic
"""Convolutions as GEMMs: one forward, one per output phase for a strided data gradient, one for the weight gradient."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch

from workloads.gemm import Conv, Phase, Stage
from workloads.ops import Tensor, Vector, VectorKind, streaming_work
from workloads.trace.call import Call
from workloads.trace.products import Place, add_bias, emit, place, product_name, remember
from workloads.trace.values import Ledger, Lineage, elements

__all__ = ["CONVOLUTIONS", "lower_convolution", "phases"]

CONVOLUTIONS = ("convolution", "_convolution", "convolution_overrideable", "convolution_backward")


def lower_convolution(ledger: Ledger, call: Call) -> bool:
    """Record a convolution or its backward; False where it is empty."""
    if any(tensor.numel() == 0 for tensor in call.inputs):
        return False
    if call.operation == "convolution_backward":
        _lower_backward(ledger, call)
    else:
        _lower_forward(ledger, call)
    return True


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """A convolution between its large side (a transposed one's output) and its small side (a transposed one's input).

    Each position of the small side meets every tap, so that all GEMMs of the layer have `positions` as one dimension.
    """

    images: int
    large: tuple[int, ...]
    small: tuple[int, ...]
    large_channels: int  # per group
    small_channels: int
    taps: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def positions(self) -> int:
        return self.images * math.prod(self.small)


def phases(taps: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Taps along each axis that reach each output phase of a strided data gradient; phases without taps left out.

    A 3x3 kernel at stride 2 has the phases (2,2), (2,1), (1,2), (1,1); the padding only changes their order.
    """
    axes = []
    for count, step, spread in zip(taps, stride, dilation, strict=True):
        sizes = [sum(tap * spread % step == phase for tap in range(count)) for phase in range(step)]
        axes.append([size for size in sizes if size])
    yield from product(*axes)


def _lower_forward(ledger: Ledger, call: Call) -> None:
    x, weight = call.args[0], call.args[1]
    bias = call.argument("bias")
    (result,) = call.results
    transposed = bool(call.argument("transposed"))
    shape = _shape(call, x, result, weight)
    at = place(ledger, call, x, weight, (0, 0, 0, 0))
    if at.weight == 0:  # a learned input: the kernel is the weight nevertheless
        at = Place(stage=at.stage, layer=at.layer, suffix=at.suffix, parameter=ledger.parameter(weight), weight=1)
    name, suffix = product_name(ledger, call, at)
    scatter = _scatter if transposed else _gather
    scatter(ledger, call, at, name, shape, x, weight)
    remember(call, at, suffix, (0, 0, 0, 0))
    lineage = max(ledger.value(x).lineage, ledger.value(weight).lineage)
    lineage = Lineage.CONSTANT if lineage is Lineage.WEIGHT else lineage
    ledger.declare(result, f"{name}:out", lineage, layer=at.layer)
    if bias is not None:
        add_bias(ledger, call, at.layer, result, ledger.reads([(bias, elements(bias))]), lineage)


def _lower_backward(ledger: Ledger, call: Call) -> None:
    gradient, x, weight = call.args[:3]
    transposed = bool(call.argument("transposed"))
    wanted = call.argument("output_mask")
    results = iter(call.results)
    shape = _shape(call, x, gradient, weight)
    forward = next((f for f in call.forwards if f.parameter), None)
    parameter = forward.parameter if forward else ledger.parameter(weight)
    layer = forward.layer if forward else call.forwards[0].layer if call.forwards else call.layer
    suffix = forward.suffix if forward else None

    def at(stage: Stage, side: int | None) -> Place:
        if not parameter:
            return Place(stage=Stage.AA, layer=layer, suffix=None, parameter="", weight=None)
        return Place(stage=stage, layer=layer, suffix=suffix, parameter=parameter, weight=side)

    if wanted[0]:
        here = at(Stage.BP, 1)
        name, _ = product_name(ledger, call, here)
        scatter = _gather if transposed else _scatter
        scatter(ledger, call, here, name, shape, gradient, weight)
        ledger.declare(next(results), f"{name}:out", Lineage.GRADIENT, layer=layer)
    if wanted[1]:
        here = at(Stage.WU, None)
        name, _ = product_name(ledger, call, here)
        # the large side is lowered; a transposed convolution exchanges the sides, and so its operands
        small, large = (x, gradient) if transposed else (gradient, x)
        taps = math.prod(shape.taps)
        sizes = (shape.groups, shape.small_channels, taps * shape.large_channels, shape.positions)
        conv = _geometry(shape, "b", shape.large, shape.large_channels, shape.taps, shape.stride)
        emit(ledger, call, here, name=name, lhs=small, rhs=large, sizes=sizes, target=f"{name}:out", conv=conv)
        ledger.declare(next(results), f"{name}:out", Lineage.GRADIENT, layer=layer)
    if wanted[2]:
        _bias_gradient(ledger, layer, gradient, next(results))


def _gather(ledger: Ledger, call: Call, at: Place, name: str, shape: _Shape, data: torch.Tensor, weight: torch.Tensor) -> None:
    """From the large side to the small one: one GEMM over all taps."""
    sizes = (shape.groups, shape.positions, shape.small_channels, math.prod(shape.taps) * shape.large_channels)
    conv = _geometry(shape, "a", shape.large, shape.large_channels, shape.taps, shape.stride)
    emit(ledger, call, at, name=name, lhs=data, rhs=weight, sizes=sizes, target=f"{name}:out", conv=conv)


def _scatter(ledger: Ledger, call: Call, at: Place, name: str, shape: _Shape, data: torch.Tensor, weight: torch.Tensor) -> None:
    """From the small side to the large one: one GEMM per phase of the large side, without the stride's zeros."""
    one = (1,) * len(shape.taps)
    for i, taps in enumerate(phases(shape.taps, shape.stride, shape.dilation)):
        sizes = (shape.groups, shape.positions, shape.large_channels, math.prod(taps) * shape.small_channels)
        conv = _geometry(shape, "a", shape.small, shape.small_channels, taps, one)
        part = f"{name}.{i}" if i else name
        emit(ledger, call, at, name=part, lhs=data, rhs=weight, sizes=sizes, target=f"{name}:out", conv=conv)


def _shape(call: Call, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor) -> _Shape:
    large, small = (y, x) if call.argument("transposed") else (x, y)
    taps = tuple(weight.shape[2:])
    groups = call.argument("groups")
    return _Shape(
        images=x.shape[0],
        large=tuple(large.shape[2:]),
        small=tuple(small.shape[2:]),
        large_channels=large.shape[1] // groups,
        small_channels=small.shape[1] // groups,
        taps=taps,
        stride=_per_axis(call.argument("stride"), len(taps)),
        dilation=_per_axis(call.argument("dilation"), len(taps)),
        groups=groups,
    )


def _per_axis(values: Sequence[int], axes: int) -> tuple[int, ...]:
    return tuple(values) if len(values) == axes else tuple(values) * axes


def _geometry(
    shape: _Shape,
    operand: Literal["a", "b"],
    source: tuple[int, ...],
    channels: int,
    taps: tuple[int, ...],
    stride: tuple[int, ...],
) -> Conv | None:
    """The 2D geometry, trivial axes left out; None where more than two are left or their strides differ."""
    axes = list(zip(source, taps, shape.small, stride, strict=True))
    folded = [axis for axis in axes if axis[:3] != (1, 1, 1)]
    images = shape.images
    if len(folded) > 2 and (plain := [axis for axis in folded if axis[1] == 1 and axis[3] == 1 and axis[0] == axis[2]]):
        images *= plain[0][0]  # no taps along this axis: its slices are as good as images
        folded.remove(plain[0])
    folded = [(1, 1, 1, 1)] * (2 - len(folded)) + folded
    strides = {step for _, _, out, step in folded if out > 1}
    if len(folded) > 2 or len(strides) > 1:
        return None
    (height, taps_h, out_h, _), (width, taps_w, out_w, _) = folded
    return Conv(
        operand=operand,
        images=images,
        height=height,
        width=width,
        channels=channels,
        taps_h=taps_h,
        taps_w=taps_w,
        stride=strides.pop() if strides else 1,
        out_h=out_h,
        out_w=out_w,
    )


def _bias_gradient(ledger: Ledger, layer: str, gradient: torch.Tensor, result: torch.Tensor) -> None:
    name = ledger.unique(f"{layer}/bias_gradient")
    reads = ledger.reads([(gradient, elements(gradient))])
    written = Tensor(f"{name}:out", result.numel())
    ledger.ops.append(
        Vector(
            name=name,
            layer=layer,
            phase=Phase.BACKWARD,
            kind=VectorKind.REDUCE,
            operation="sum",
            work=streaming_work(VectorKind.REDUCE, reads, (written,)),
            reads=reads,
            writes=(written,),
        )
    )
    ledger.declare(result, written.name, Lineage.GRADIENT, layer=layer)
