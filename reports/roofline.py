"""Where each GEMM stands under the machine's two roofs: the memory port and the multipliers, in effective MACs."""

from dataclasses import dataclass

import pandas as pd

from reports.inputs import Detail

__all__ = ["Roof", "gemm_dots", "roof_of"]

_GEMMS = ("ff", "bp", "wu", "aa")


@dataclass(frozen=True, slots=True)
class Roof:
    """Peak rates: effective GOPS (two per multiplication done) of the multipliers, and GB/s of the memory port."""

    peak_gops: float
    gigabytes_per_second: float

    @property
    def ridge(self) -> float:
        """Effective MACs per DRAM byte from which on the multipliers bind."""
        return self.peak_gops / (2 * self.gigabytes_per_second)

    def at(self, intensity: float) -> float:
        return min(self.peak_gops, 2 * intensity * self.gigabytes_per_second)


def roof_of(detail: Detail) -> Roof | None:
    """None where the description lacks the clock, the memory rate or the number of multipliers."""
    clock, rate = detail.accelerator.get("clock_hz"), detail.accelerator.get("dram.bytes_per_second")
    multipliers = detail.metrics.get("multipliers")
    if not (clock and rate and multipliers):
        return None
    return Roof(2 * float(multipliers) * float(clock) / 1e9, float(rate) / 1e9)  # type: ignore[arg-type]


def gemm_dots(detail: Detail) -> pd.DataFrame:
    """A row per GEMM: effective MACs per DRAM byte, and effective and dense-equivalent GOPS while it was under way.

    A GEMM is under way from the first to the last cycle in which any engine worked on it. Neighbours overlap, so that
    this is no shorter than its share of the run: no dot lies above a roof.
    """
    columns = ["op", "stage", "pattern", "dataflow", "intensity", "gops", "dense_gops", "cycles"]
    needed = {"op", "stage", "macs", "dense_macs", "dram_bytes", "start", "end"}
    if not needed <= set(detail.table.columns) or not detail.accelerator.get("clock_hz"):
        return pd.DataFrame(columns=columns)
    table = detail.table
    gemms = table[table["stage"].isin(_GEMMS) & (table["dram_bytes"] > 0) & (table["end"] > table["start"])]
    gemms = gemms[(gemms["macs"] > 0) & (gemms["start"] >= 0)]
    cycles = gemms["end"] - gemms["start"]
    seconds = cycles / float(detail.accelerator["clock_hz"])  # type: ignore[arg-type]
    return pd.DataFrame(
        {
            "op": gemms["op"],
            "stage": gemms["stage"],
            "pattern": gemms.get("pattern", ""),
            "dataflow": gemms.get("dataflow", ""),
            "intensity": gemms["macs"] / gemms["dram_bytes"],
            "gops": 2 * gemms["macs"] / seconds / 1e9,
            "dense_gops": 2 * gemms["dense_macs"] / seconds / 1e9,
            "cycles": cycles,
        },
        columns=columns,
    )
