# amaranth: UnusedElaboratable=no
"""How fast each part of the board presets is on an ECP5, placed alone between registers: `python -m reports.synthesis.clock`.

The array's clock depends on its size and comes from `reports/studies/fpga/arrays.csv`; the other parts hardly do.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

from reports.studies.fpga.place import CHIP
from reports.synthesis.store import COEFFICIENTS, HERE, source_digest
from rtl.dma import Dma
from rtl.emit import verilog_of
from rtl.fpga.place import place
from rtl.fpga.synthesize import synthesize
from rtl.part import PARTS
from rtl.registered import Registered
from rtl.sequencer import Sequencer
from simulator.arch import Accelerator
from simulator.cost.area import clock_drivers
from simulator.faults import opcodes_of
from simulator.presets import PRESETS

__all__ = ["fit_clock"]

_TABLE = HERE / "ecp5_clock.csv"
_ARRAYS = HERE.parent / "studies" / "fpga" / "arrays.csv"
_ROUTER = "router1"
"""The other leaves some hundred wires of the work buffer in conflict for ever."""
_PLACED = {"dma": Dma, "sequencer": Sequencer, **{name: PARTS[name][0] for name in PARTS if name not in ("array", "b_buffer")}}
_OPCODES = {"prune": "PRUNE", "update": "UPDATE", "vector": "VECTOR", "work_buffer": "LOAD_WORK"}


def _parts(accelerator: Accelerator) -> list[str]:
    present = {opcode.name for opcode in opcodes_of(accelerator)}
    return [name for name in _PLACED if _OPCODES.get(name, "END") in present]


def measure_clocks() -> None:
    """Place what is not in the table yet."""
    rows = pd.read_csv(_TABLE).to_dict("records") if _TABLE.exists() else []
    for preset in ("board-int8", "board-fp16"):
        accelerator = PRESETS[preset].accelerator
        for part in _parts(accelerator):
            verilog = verilog_of(Registered(_PLACED[part](accelerator)), "unit")
            source = source_digest(verilog)
            if any((row["preset"], row["part"], row["source"]) == (preset, part, source) for row in rows):
                continue
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                (folder / "design.v").write_text(verilog)
                netlist = synthesize([folder / "design.v"], "unit", "ecp5", folder)
                placed = place(netlist.path, CHIP, folder, frequency_hz=100_000_000, router=_ROUTER)
            rows = [row for row in rows if (row["preset"], row["part"]) != (preset, part)]
            rows.append(
                {
                    "preset": preset,
                    "format": accelerator.pe.format,
                    "part": part,
                    "fmax_mhz": round(placed.slowest_hz / 1e6, 2),
                    "source": source,
                    "seconds": round(time.monotonic() - began, 1),
                }
            )
            print(rows[-1])
            pd.DataFrame(rows).to_csv(_TABLE, index=False)


def fit_clock() -> dict[str, Any]:
    """The array's period as a sum of drivers for each format, and the slowest clock seen of each other part."""
    arrays, parts = pd.read_csv(_ARRAYS), pd.read_csv(_TABLE)
    found: dict[str, Any] = {"parts": {str(part): float(rows.min()) for part, rows in parts.groupby("part")["fmax_mhz"]}}
    found["array"] = {}
    for form, rows in arrays.groupby("format"):
        table = [clock_drivers(int(row["group"]), int(row["rows"]) * int(row["cols"])) for row in rows.to_dict("records")]
        names = list(table[0])
        wanted = 1000 / rows["fmax_mhz"].to_numpy(dtype=np.float64)
        matrix = np.array([[each[name] for name in names] for each in table], np.float64)
        model = LinearRegression(positive=True, fit_intercept=False).fit(matrix, wanted)
        off = np.asarray(model.predict(matrix)) / wanted - 1
        found["array"][str(form)] = {
            "period_ns": {name: round(float(each), 4) for name, each in zip(names, model.coef_, strict=True)},
            "spread": round(float(np.sqrt(np.mean(off**2))), 4),
            "runs": len(rows),
        }
    return found


def main() -> None:
    """The command line: no options."""
    measure_clocks()
    stored = json.loads(COEFFICIENTS.read_text())
    stored["ecp5"]["clock"] = fit_clock()
    COEFFICIENTS.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
