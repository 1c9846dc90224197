"""Tracing a module in one call, for the tests of the tracer; needs torch."""

from torch.utils.flop_counter import FlopCounterMode

from workloads.gemm import Gemm
from workloads.graph import Workload
from workloads.ops import Vector
from workloads.trace import trace_step

__all__ = ["counted_macs", "gemms", "trace", "vectors"]


def trace(build, *, batch=2, at=None, **options) -> Workload:
    return trace_step(build, name="model", batch=batch, **options).bind(at)


def gemms(workload: Workload) -> dict[str, Gemm]:
    return {gemm.name: gemm for gemm in workload.gemms}


def vectors(workload: Workload) -> dict[str, Vector]:
    return {op.name: op for op in workload.ops if isinstance(op, Vector)}


def counted_macs(build, batch: int) -> int:
    """Multiplications of forward and backward by PyTorch's own counter, on fake tensors."""
    from workloads.trace.example import build_example, fake_example
    from workloads.trace.run import fake_mode, total_loss, tracing

    example = build_example(build, name="model", batch=batch, input_shape=None, real=False)
    mode, counter = fake_mode(), FlopCounterMode(display=False)
    example = fake_example(example, mode, name="model", batch=None)
    with tracing(mode, counter):
        total_loss(example.module(*example.args, **example.kwargs)).backward()
    return counter.get_total_flops() // 2
