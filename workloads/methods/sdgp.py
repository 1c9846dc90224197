"""SDGP: prune the output gradient for the data gradient alone; weights stay dense.

``dX = S_O(dY) W'``: groups lie along the output channels, which bp reduces over. Kept values are rescaled so that each
map keeps its L1 norm. The weight gradient reads the dense dY (arXiv:2202.00774 and its code, BradMcDanel/sdgp).
"""

from workloads.gemm import Stage
from workloads.graph import Workload
from workloads.methods.method import Method, MethodInfo
from workloads.methods.recipe import Recipe, follow

__all__ = ["METHOD"]


def rewrite(workload: Workload, method: Method) -> Workload:
    """Prune dY online before bp, with rescale; one prune serves all phases of a strided convolution."""
    return follow(workload, method, Recipe(gradients=(Stage.BP,), rescale=True))


METHOD = MethodInfo(
    name="sdgp",
    description="bp output gradient N:M along the channels, pruned online and rescaled",
    source="2202.00774",
    options=("keep_dense",),
    rewrite=rewrite,
)
