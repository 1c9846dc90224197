"""Where a run's cycles went, twice: by stage, and by what the array did. Each split adds up to the run's cycles."""

import math
from collections.abc import Mapping

import pandas as pd

from reports.inputs import Detail
from reports.palette import CAUSES, STAGES

__all__ = ["by_cause", "by_stage", "cycles_of", "engine_rows"]


def _count(value: object) -> int:
    """A number of cycles; nothing where a store has a gap."""
    if isinstance(value, str) or value is None:
        return 0
    amount = float(value)  # type: ignore[arg-type]
    return int(amount) if math.isfinite(amount) else 0


def cycles_of(detail: Detail) -> int:
    return _count(detail.metrics.get("cycles"))


def _with_rest(parts: dict[str, int], total: int) -> dict[str, int]:
    """Parts with what is missing to the total as "other", so that a stack never claims less or more than the run took."""
    rest = total - sum(parts.values())
    return parts | ({"other": rest} if rest else {})


def by_stage(detail: Detail) -> dict[str, int]:
    """Cycles by stage, in the order of a training step."""
    if "cycles" in detail.stages.columns:
        found = {str(stage): _count(cycles) for stage, cycles in detail.stages["cycles"].items()}
    else:
        found = {stage: _count(detail.metrics.get(f"{stage}_cycles")) for stage in STAGES}
    ordered = {stage: found[stage] for stage in STAGES if found.get(stage)}
    ordered |= {stage: cycles for stage, cycles in found.items() if cycles and stage not in STAGES}
    return _with_rest(ordered, cycles_of(detail)) if ordered else {}


def _array_causes(metrics: Mapping[str, object]) -> dict[str, int]:
    causes: dict[str, int] = {}
    for name, value in metrics.items():
        if name.startswith("array_") and name.endswith("_cycles"):
            cause = name.removeprefix("array_").removesuffix("_cycles").removeprefix("wait_")
            causes[cause] = causes.get(cause, 0) + _count(value)
    return causes


def by_cause(detail: Detail) -> dict[str, int]:
    """What the array did with every cycle: useful work, its own overheads, and waits by cause."""
    found = _array_causes(detail.metrics)
    ordered = {cause: found[cause] for cause in CAUSES if found.get(cause)}
    ordered |= {cause: cycles for cause, cycles in found.items() if cycles and cause not in CAUSES}
    return _with_rest(ordered, cycles_of(detail)) if ordered else {}


def engine_rows(engines: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Each engine's cycles by cause, "busy" first; causes without a cycle are left out."""
    rows: dict[str, dict[str, int]] = {}
    for engine, row in engines.iterrows():
        parts = {str(cause): _count(value) for cause, value in row.items()}
        busy = parts.pop("busy", 0)
        rows[str(engine)] = {"busy": busy} | {cause: parts[cause] for cause in CAUSES if parts.get(cause)}
        rows[str(engine)] |= {cause: cycles for cause, cycles in parts.items() if cycles and cause not in CAUSES}
    return rows
