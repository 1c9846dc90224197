"""Dense training: the baseline, the workload as traced."""

from workloads.graph import Workload
from workloads.methods.method import Method, MethodInfo

__all__ = ["METHOD"]


def rewrite(workload: Workload, method: Method) -> Workload:  # noqa: ARG001 (the signature of every method)
    """The workload unchanged."""
    return workload


METHOD = MethodInfo(
    name="dense",
    description="every GEMM dense: the baseline",
    source="",
    options=(),
    takes_pattern=False,
    rewrite=rewrite,
)
