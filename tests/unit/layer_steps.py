"""Small dense training steps, written by hand as traces have them, for the tests of the methods."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from typing import Literal

from workloads.gemm import Conv, Gemm, Operand, Phase, Role, Stage
from workloads.graph import Workload
from workloads.methods import apply_method, parse_method
from workloads.ops import OPTIMIZERS, Prune, Tensor, Update, Vector, VectorKind

__all__ = ["conv", "gemms", "linear", "net", "only", "prunes", "step", "under", "update", "update_of"]


def linear(name: str, p: int, i: int, o: int, *, x: str, weight: str = "", layer: str = "") -> dict[Stage, list[Gemm]]:
    """The three GEMMs of a linear layer."""
    weight, layer = weight or f"{name}.weight", layer or name
    act = Operand(tensor=x, role=Role.ACTIVATION)
    grad = Operand(tensor=f"{name}:dy", role=Role.GRADIENT)
    w = Operand(tensor=weight, role=Role.WEIGHT, parameter=weight)
    return {
        Stage.FF: [
            Gemm(
                name=f"{name}/ff",
                stage=Stage.FF,
                phase=Phase.FORWARD,
                m=p,
                n=o,
                k=i,
                a=act,
                b=w,
                c=f"{name}:y",
                layer=layer,
            )
        ],
        Stage.BP: [
            Gemm(
                name=f"{name}/bp",
                stage=Stage.BP,
                phase=Phase.BACKWARD,
                m=p,
                n=i,
                k=o,
                a=grad,
                b=w,
                c=f"{name}:dx",
                layer=layer,
            )
        ],
        Stage.WU: [
            Gemm(
                name=f"{name}/wu",
                stage=Stage.WU,
                phase=Phase.BACKWARD,
                m=o,
                n=i,
                k=p,
                a=grad,
                b=act,
                c=f"{name}:dw",
                layer=layer,
            )
        ],
    }


def conv(
    name: str, size: int, i: int, o: int, *, x: str, kernel: int = 3, stride: int = 1, groups: int = 1, images: int = 2
) -> dict[Stage, list[Gemm]]:
    """A convolution with its data gradient split into phases, as traces have it."""
    out = size // stride
    ig, og = i // groups, o // groups
    layer = linear(name, images * out * out, kernel * kernel * ig, og, x=x)

    def geometry(operand: Literal["a", "b"], at: int, channels: int, taps_h: int, taps_w: int, step: int) -> Conv:
        return Conv(
            operand=operand, images=images, height=at, width=at, channels=channels, taps_h=taps_h, taps_w=taps_w,
            stride=step, out_h=out, out_w=out,
        )  # fmt: skip

    full = (ig, kernel, kernel, stride)
    layer[Stage.FF] = [replace(g, batch=groups, conv=geometry("a", size, *full)) for g in layer[Stage.FF]]
    layer[Stage.WU] = [replace(g, batch=groups, conv=geometry("b", size, *full)) for g in layer[Stage.WU]]
    axis = [count for count in (len(range(phase, kernel, stride)) for phase in range(stride)) if count]
    layer[Stage.BP] = [
        replace(
            layer[Stage.BP][0], name=f"{name}/bp.{number}", batch=groups, n=ig, k=h * w * og,
            conv=geometry("a", out, og, h, w, 1),
        )
        for number, (h, w) in enumerate(product(axis, axis))
    ]  # fmt: skip
    return layer


def update(parameter: str, elements: int, gradient: str) -> Update:
    return Update(
        name=f"{parameter}/update",
        parameter=parameter,
        elements=elements,
        optimizer=OPTIMIZERS["sgd"],
        gradient=gradient,
    )


def step(*layers: dict[Stage, list[Gemm]], extra: Iterable[Vector] = (), frozen: tuple[str, ...] = ()) -> Workload:
    """Forward in order, then in reverse each layer's dY, bp (not for the first layer) and wu, then the updates."""
    ops = [gemm for layer in layers for gemm in layer[Stage.FF]]
    updates: dict[str, Update] = {"bn.weight": update("bn.weight", 16, "bn:dw")}
    back: list[Gemm | Vector] = list(extra)
    for number, layer in reversed(list(enumerate(layers))):
        wu = layer[Stage.WU][0]
        elements = wu.batch * wu.m * wu.k
        if wu.a.tensor not in {tensor.name for op in back if isinstance(op, Vector) for tensor in op.writes}:
            back.append(
                Vector(
                    name=f"{wu.name}/dy", layer=wu.layer, phase=Phase.BACKWARD, kind=VectorKind.MAP, operation="dy",
                    work=elements, reads=(), writes=(Tensor(wu.a.tensor, elements),),
                )
            )  # fmt: skip
        back += [*(layer[Stage.BP] if number else []), wu]
        parameter = layer[Stage.FF][0].b.parameter
        if parameter not in frozen:
            updates.setdefault(parameter, update(parameter, wu.batch * wu.m * wu.n, wu.c))
    return Workload(name="net", batch=2, ops=(*ops, *back, *updates.values()))


def net() -> Workload:
    """conv1 (3 channels) - conv2 (strided) - fc - head."""
    return step(
        conv("conv1", 8, 3, 16, x="x"),
        conv("conv2", 8, 16, 32, x="conv1:y", stride=2),
        linear("fc", 32, 32, 16, x="conv2:y"),
        linear("head", 32, 16, 10, x="fc:y"),
    )


def under(text: str, workload: Workload | None = None) -> Workload:
    return apply_method(parse_method(text), workload or net())


def gemms(workload: Workload, layer: str, stage: Stage) -> list[Gemm]:
    return [gemm for gemm in workload.gemms if gemm.layer == layer and gemm.stage is stage]


def only(workload: Workload, layer: str, stage: Stage) -> Gemm:
    (gemm,) = gemms(workload, layer, stage)
    return gemm


def update_of(workload: Workload, parameter: str) -> Update:
    return next(op for op in workload.ops if isinstance(op, Update) and op.parameter == parameter)


def prunes(workload: Workload) -> list[Prune]:
    return [op for op in workload.ops if isinstance(op, Prune)]
