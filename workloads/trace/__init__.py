"""From a PyTorch module to nmdse operations: one whole training step, extracted without running it on values.

Importing this package does not import torch; its functions do.
"""

from workloads.trace.step import trace_step
from workloads.trace.target import resolve_target

__all__ = ["resolve_target", "trace_step"]
