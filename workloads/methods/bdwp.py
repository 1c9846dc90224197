"""Weight pruning where the data gradient gains: BDWP in both directions, and its baseline SDWP in backward alone.

BDWP takes two masks from the same dense weights: groups along the inputs I for ff, along the outputs O for bp. Each
GEMM then has N:M along its own reduction. Both copies can be made once, when the weights are updated, and stored
compressed.
"""

from workloads.gemm import Stage
from workloads.graph import Workload
from workloads.methods.method import Method, MethodInfo
from workloads.methods.recipe import Recipe, follow

__all__ = ["BDWP", "SDWP"]


def sdwp(workload: Workload, method: Method) -> Workload:
    """Weights N:M along O in bp; ff and wu dense (the single-direction baseline of arXiv:2309.13015, by its name)."""
    return follow(workload, method, Recipe(weights=(Stage.BP,)))


def bdwp(workload: Workload, method: Method) -> Workload:
    """Weights N:M along I in ff and along O in bp, two independent masks; wu dense (arXiv:2309.13015)."""
    return follow(workload, method, Recipe(weights=(Stage.FF, Stage.BP)))


SDWP = MethodInfo(
    name="sdwp",
    description="bp weights N:M along the outputs; forward dense",
    source="2309.13015",
    options=("keep_dense",),
    rewrite=sdwp,
)
BDWP = MethodInfo(
    name="bdwp",
    description="ff and bp weights N:M, two masks of the same dense weights",
    source="2309.13015",
    options=("keep_dense",),
    rewrite=bdwp,
)
