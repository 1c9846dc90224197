"""Straight-through pruning of the forward weights, plain and with SR-STE's masked decay: only the forward GEMM gains.

The mask's groups lie along the inputs I. In the data gradient ``dX = dY S_I(W)'`` the reduction runs over the outputs
O, so the same zeros are not N:M along it, and an N:M engine computes it dense. The weight gradient goes to all of W.
"""

from workloads.gemm import Stage
from workloads.graph import Workload
from workloads.methods.method import Method, MethodInfo
from workloads.methods.recipe import Recipe, follow

__all__ = ["SRSTE", "STE"]


def ste(workload: Workload, method: Method) -> Workload:
    """Weights N:M along I in ff; the dense copy is still stored, for bp reads the masked weights unpacked."""
    return follow(workload, method, Recipe(weights=(Stage.FF,)))


def srste(workload: Workload, method: Method) -> Workload:
    """As `ste`; the update adds ``lambda (1-mask) w`` to the gradient (arXiv:2102.04010 and its code)."""
    return follow(workload, method, Recipe(weights=(Stage.FF,), decay=True))


STE = MethodInfo(
    name="ste",
    description="ff weights N:M, gradient straight through the mask",
    source="1308.3432",
    options=("keep_dense",),
    rewrite=ste,
)
SRSTE = MethodInfo(
    name="srste",
    description="ff weights N:M, with masked decay of the pruned weights in the update",
    source="2102.04010",
    options=("keep_dense",),
    rewrite=srste,
)
