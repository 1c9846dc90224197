"""Offline choice of a dataflow for each layer and stage, by estimated cycles before anything runs."""

from dataclasses import replace

from dataflows.mapping import Mapping
from dataflows.tiling import Tiling, best_tiling
from simulator.arch import Accelerator
from simulator.schedule import UnsupportedError
from workloads.gemm import Gemm

__all__ = ["choose"]


def choose(gemm: Gemm, accelerator: Accelerator, mapping: Mapping) -> Tiling:
    """The best tiling over the dataflows that the mapping allows; ties go to the one named first.

    Raises UnsupportedError, with the first dataflow's reason, where none can run the GEMM.
    """
    found: list[Tiling] = []
    reasons: list[UnsupportedError] = []
    for dataflow in mapping.candidates(gemm.stage, accelerator.array):
        try:
            found.append(best_tiling(_shape(gemm), accelerator, dataflow, mapping.pregenerate))
        except UnsupportedError as error:
            reasons.append(error)
    if not found:
        raise reasons[0]
    return min(found, key=lambda tiling: tiling.cycles)


def _shape(gemm: Gemm) -> Gemm:
    """The GEMM without its names, so that equal shapes share one search."""
    plain = {"tensor": "", "parameter": ""}
    return replace(gemm, name="", layer="", c="", a=replace(gemm.a, **plain), b=replace(gemm.b, **plain))
