# amaranth: UnusedElaboratable=no
"""One array through synthesis, place and route, between registers and without pins; rows are kept as they are made."""

import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from reports.studies.fpga.points import rates
from reports.synthesis.store import read_runs, source_digest
from rtl.array import Array
from rtl.emit import verilog_of
from rtl.fpga.place import ToolError, place
from rtl.fpga.synthesize import synthesize
from rtl.platforms.ulx3s import BOARD
from rtl.registered import Registered
from rtl.yosys_shim import YosysError
from simulator.arch import Accelerator

__all__ = ["CHIP", "place_array", "run_points"]

CHIP = BOARD.chip
"""The ULX3S's: LFE5U-85F, the slowest speed grade."""
_LARGE, _ROUTER = 100, "router1"  # from this many multipliers on: slower, and sure to end where wires are many


def source_of(accelerator: Accelerator) -> str:
    """The array's Verilog, between registers, and never stopped: so the machine and the tile use it."""
    return verilog_of(Registered(Array(accelerator), en=1), "unit")


def place_array(accelerator: Accelerator, seed: int, verilog: str) -> dict[str, Any]:
    """Cells and clock of an array."""
    large = accelerator.array.rows * accelerator.array.cols * accelerator.pe.lanes > _LARGE
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "design.v"
        source.write_text(verilog)
        pe = synthesize([source], "unit.pe", "ecp5", folder).resources
        netlist = synthesize([source], "unit", "ecp5", folder, apart=["*.pe", "*.pe_*"])
        placed = place(netlist.path, CHIP, folder, frequency_hz=100_000_000, seed=seed, router=_ROUTER if large else None)
    return {
        "name": accelerator.name,
        "format": accelerator.pe.format,
        "rows": accelerator.array.rows,
        "cols": accelerator.array.cols,
        "group": accelerator.pe.group,
        "dataflows": "+".join(accelerator.array.dataflows),
        "seed": seed,
        **placed.used.as_dict(),
        "pe_lut": pe.lut,
        "pe_ff": pe.ff,
        "fmax_mhz": round(placed.slowest_hz / 1e6, 2),
        **rates(accelerator, round(placed.slowest_hz, -4)),  # of the clock as this table has it
        "seconds": round(time.monotonic() - began, 1),
        "digest": accelerator.digest,
        "source": source_digest(verilog),
    }


def run_points(points: Iterable[tuple[Accelerator, int]], table: Path) -> pd.DataFrame:
    """Those that are not in the table yet, one after another."""
    rows: list[dict[Any, Any]] = read_runs(table).to_dict("records") if table.exists() else []
    done = {(row["digest"], row["seed"], row["source"]) for row in rows}
    with Progress(TextColumn("{task.description}"), TimeElapsedColumn()) as progress:
        for accelerator, seed in points:
            verilog = source_of(accelerator)
            if (accelerator.digest, seed, source_digest(verilog)) in done:
                continue
            rows = [row for row in rows if (row["digest"], row["seed"]) != (accelerator.digest, seed)]
            task = progress.add_task(f"{accelerator.name}, seed {seed}", total=1)
            try:
                rows.append(place_array(accelerator, seed, verilog))
            except (ToolError, YosysError) as error:
                progress.console.print(f"{accelerator.name}: {error}")
            else:
                pd.DataFrame(rows).to_csv(table, index=False)
            progress.update(task, advance=1)
    return pd.DataFrame(rows)
