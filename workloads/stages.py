"""The rows of a step's account: GEMM stages, and the kinds of work between GEMMs."""

from workloads.gemm import Gemm, Stage
from workloads.ops import Op, Prune, Update, Vector

__all__ = ["STAGES", "stage_of"]

STAGES = (*(stage.value for stage in Stage), "vector", "prune", "update")


def stage_of(op: Op) -> str:
    """The one of `STAGES` that an operation belongs to."""
    match op:
        case Gemm():
            return op.stage.value
        case Vector():
            return "vector"
        case Prune():
            return "prune"
        case Update():
            return "update"
