"""The compiler's choices that are not hardware: part of a design point, beside the accelerator and the method."""

from dataclasses import dataclass
from typing import Literal

from simulator.arch import Array, Dataflow
from simulator.schedule import Unsupported, UnsupportedError
from workloads.gemm import Stage

__all__ = ["Mapping"]

_UPDATES = ("overlapped", "end")
_VECTORS = ("chip", "host")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """How the compiler places a workload.

    `dataflow` is "best" (per layer and stage, the one with fewest estimated cycles: SAT's offline scheduling) or one
    dataflow for all GEMMs; `ff`, `bp`, `wu`, `aa` override it for a stage.
    """

    dataflow: str = "best"
    ff: str = ""
    bp: str = ""
    wu: str = ""
    aa: str = ""
    pregenerate: bool = True  # prune weights once, when they are updated, and store them compressed; else at each use
    update: Literal["overlapped", "end"] = "overlapped"  # when the optimizer runs: as soon as a gradient is final, or last
    vector: Literal["chip", "host"] = "chip"  # who does the work between GEMMs; "host" takes no time here
    fuse: bool = True  # chain element-wise operations, so that what lies between them never travels to memory

    def __post_init__(self) -> None:
        known = ("best", *Dataflow)
        for name in ("dataflow", *(stage.value for stage in Stage)):
            value = getattr(self, name)
            if value not in known and not (value == "" and name != "dataflow"):
                raise ValueError(f"Mapping field {name!r} must be one of {', '.join(known)}, not {value!r}")
        for name, allowed in (("update", _UPDATES), ("vector", _VECTORS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"Mapping field {name!r} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        for name in ("pregenerate", "fuse"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"Mapping field {name!r} must be true or false, not {getattr(self, name)!r}")

    def candidates(self, stage: Stage, array: Array) -> tuple[Dataflow, ...]:
        """Dataflows to choose from for a stage. Raises UnsupportedError where the array can't do the one asked for."""
        wanted = getattr(self, stage.value) or self.dataflow
        if wanted == "best":
            return array.dataflows
        if Dataflow(wanted) not in array.dataflows:
            raise UnsupportedError(Unsupported(f"dataflow {wanted} on the array", 1, 0))
        return (Dataflow(wanted),)
