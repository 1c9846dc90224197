# pyright: basic
"""Matrix products: which stage a product is, by the lineage of its operands, and its canonical orientation."""

from dataclasses import dataclass
from typing import TypeAlias

import torch

from workloads.gemm import Conv, Gemm, Operand, Phase, Role, Stage
from workloads.ops import Tensor, Vector, VectorKind, streaming_work
from workloads.trace.call import Call, Product
from workloads.trace.values import Ledger, Lineage, elements

__all__ = ["PRODUCTS", "Place", "add_bias", "emit", "lower_product", "place", "product_name", "remember"]

PRODUCTS = {  # operation: positions of its two matrices among the arguments
    "mm": (0, 1), "bmm": (0, 1), "mv": (0, 1), "dot": (0, 1), "_int_mm": (0, 1),
    "addmm": (1, 2), "addmm_": (1, 2), "_addmm_activation": (1, 2), "addmv": (1, 2), "addmv_": (1, 2),
    "baddbmm": (1, 2), "baddbmm_": (1, 2), "addbmm": (1, 2), "addbmm_": (1, 2),
}  # fmt: skip

_Sizes: TypeAlias = tuple[int, int, int, int]  # batch, m, n, k


@dataclass(frozen=True, kw_only=True)
class Place:
    """The stage of a product, its layer, the parameter involved, and which operand (0 or 1) is the weight."""

    stage: Stage
    layer: str
    suffix: str | None  # None: not known yet, to be made unique
    parameter: str
    weight: int | None


def lower_product(ledger: Ledger, call: Call) -> bool:
    """Record an mm-like operation; False where it is empty and nothing is to be done."""
    i, j = PRODUCTS[call.operation]
    lhs, rhs = call.args[i], call.args[j]
    sizes = _sizes(call.operation, lhs, rhs)
    if 0 in sizes:
        return False
    at = place(ledger, call, lhs, rhs, sizes)
    result = call.results[0]
    name, suffix = product_name(ledger, call, at)
    added = i == 1 and (call.argument("beta") if call.has("beta") else 1) != 0
    addend = ledger.reads([(call.args[0], elements(call.args[0]))]) if added else ()
    emit(ledger, call, at, name=name, lhs=lhs, rhs=rhs, sizes=sizes, target=f"{name}:out")
    remember(call, at, suffix, sizes)
    lineage, _ = ledger.derived((lhs, rhs, *((call.args[0],) if added else ())))
    if lineage is Lineage.WEIGHT:  # a product of weights is no weight itself: adding it to one leaves that one's name
        lineage = Lineage.CONSTANT
    ledger.declare(result, f"{name}:out", lineage, layer=at.layer)
    if added:
        add_bias(ledger, call, at.layer, result, addend, lineage)
    return True


def place(ledger: Ledger, call: Call, lhs: torch.Tensor, rhs: torch.Tensor, sizes: _Sizes) -> Place:
    """Find the stage by role: which operand derives from a parameter, and what the forward operation was."""
    weights = [i for i, side in enumerate((lhs, rhs)) if ledger.value(side).lineage is Lineage.WEIGHT]
    names = [ledger.parameter(lhs), ledger.parameter(rhs)]
    if call.phase is not Phase.BACKWARD:
        if not weights:
            return Place(stage=Stage.AA, layer=call.layer, suffix=None, parameter="", weight=None)
        # of two weights, the layer's own is the weight and the other (a learned input) the activation
        weight = max(weights, key=lambda i: (names[i].startswith(f"{call.layer}."), i))
        return Place(stage=Stage.FF, layer=call.layer, suffix=None, parameter=names[weight], weight=weight)
    candidates = [forward for forward in call.forwards if forward.parameter]
    for forward in candidates:
        for weight in weights:
            if names[weight] == forward.parameter and _gradient(ledger, (lhs, rhs)[1 - weight]):
                return Place(stage=Stage.BP, layer=forward.layer, suffix=forward.suffix, parameter=names[weight], weight=weight)
    if candidates:
        _, m, n, k = sizes
        fitting = [f for f in candidates if {m, n} == {f.k, f.n} and k == f.m]
        for forward in fitting or candidates[:1]:
            return Place(stage=Stage.WU, layer=forward.layer, suffix=forward.suffix, parameter=forward.parameter, weight=None)
    if weights and not call.forwards:
        weight = weights[-1]
        return Place(stage=Stage.BP, layer=call.layer, suffix=None, parameter=names[weight], weight=weight)
    layer = call.forwards[0].layer if call.forwards else call.layer
    return Place(stage=Stage.AA, layer=layer, suffix=None, parameter="", weight=None)


def emit(
    ledger: Ledger,
    call: Call,
    at: Place,
    *,
    name: str,
    lhs: torch.Tensor,
    rhs: torch.Tensor,
    sizes: _Sizes,
    target: str,
    conv: Conv | None = None,
) -> None:
    """Append a GEMM in its stage's orientation. `conv` names the operand as it is after orientation."""
    batch, m, n, k = sizes
    first, second = _operand(ledger, at, lhs, 0), _operand(ledger, at, rhs, 1)
    turned = (at.stage in (Stage.FF, Stage.BP) and first.role is Role.WEIGHT) or (
        at.stage is Stage.WU and first.role is not Role.GRADIENT and second.role is Role.GRADIENT and conv is None
    )
    if turned:  # C' = B'A'
        first, second, m, n = second, first, n, m
    ledger.ops.append(
        Gemm(
            name=name,
            layer=at.layer,
            stage=at.stage,
            phase=call.phase,
            m=m,
            n=n,
            k=k,
            batch=batch,
            a=first,
            b=second,
            c=target,
            conv=conv,
        )
    )


def remember(call: Call, at: Place, suffix: str, sizes: _Sizes) -> None:
    """Keep a forward product for its gradients."""
    if call.phase is not Phase.BACKWARD:
        _, m, n, k = sizes
        if at.weight == 0:
            m, n = n, m
        call.forwards.append(Product(layer=at.layer, suffix=suffix, parameter=at.parameter, m=m, n=n, k=k))


def add_bias(
    ledger: Ledger,
    call: Call,
    layer: str,
    result: torch.Tensor,
    addend: tuple[Tensor, ...],
    lineage: Lineage,
) -> None:
    """The addition that PyTorch fuses into a product: an element-wise operation on its result."""
    name = ledger.unique(f"{layer}/bias_add")
    reads = (*ledger.reads([(result, elements(result))]), *addend)
    written = Tensor(f"{name}:out", elements(result))
    ledger.ops.append(
        Vector(
            name=name,
            layer=layer,
            phase=call.phase,
            kind=VectorKind.MAP,
            operation="bias_add",
            work=streaming_work(VectorKind.MAP, reads, (written,)),
            reads=reads,
            writes=(written,),
        )
    )
    ledger.declare(result, written.name, lineage, layer=layer)


def product_name(ledger: Ledger, call: Call, at: Place) -> tuple[str, str]:
    """A unique operation name, and the suffix that made it unique."""
    again = "@recompute" if call.phase is Phase.RECOMPUTE else ""
    if at.stage is Stage.AA:
        number = ledger.unique(f"{at.layer}/aa{again}").partition("#")[2]
        return f"{at.layer}/aa{int(number or 1) - 1}{again}", ""
    base = f"{at.layer}/{at.stage}{again}"
    name = ledger.unique(base + (at.suffix or ""))
    return name, name.removeprefix(base)


def _gradient(ledger: Ledger, tensor: torch.Tensor) -> bool:
    return ledger.value(tensor).lineage is Lineage.GRADIENT


def _operand(ledger: Ledger, at: Place, tensor: torch.Tensor, side: int) -> Operand:
    value = ledger.value(tensor)
    if side == at.weight:
        return Operand(tensor=value.name, role=Role.WEIGHT, parameter=at.parameter)
    role = Role.GRADIENT if value.lineage is Lineage.GRADIENT else Role.ACTIVATION
    return Operand(tensor=value.name, role=role)


def _sizes(operation: str, lhs: torch.Tensor, rhs: torch.Tensor) -> _Sizes:
    left, right = tuple(lhs.shape), tuple(rhs.shape)
    match operation.strip("_"):
        case "mv" | "addmv":
            return 1, left[0], 1, left[1]
        case "dot":
            return 1, 1, 1, left[0]
        case "bmm" | "baddbmm":
            return left[0], left[1], right[2], left[2]
        case "addbmm":
            return 1, left[1], right[2], left[0] * left[2]
        case _:
            return 1, left[0], right[1], left[1]
