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
from reports.synthesis.store import COEFFICIENTS, HERE, read_runs, source_digest
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
    rows = read_runs(_TABLE).to_dict("records") if _TABLE.exists() else []
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
    """The array's period, and the slowest clock seen of each other part.

    A format's constant is its PE's own path; what a wider group and a larger array add is fitted to all formats at once, for
    most runs are of INT8. `spread` is the standard deviation among all runs, relative.
    """
    arrays, parts = read_runs(_ARRAYS), read_runs(_TABLE)
    formats = [str(form) for form in dict.fromkeys(arrays["format"])]
    rows = arrays.to_dict("records")
    drivers = [clock_drivers(int(row["group"]), int(row["rows"]) * int(row["cols"])) for row in rows]
    shared = [name for name in drivers[0] if name != "one"]
    table = [
        [float(row["format"] == form) for form in formats] + [each[name] for name in shared]
        for row, each in zip(rows, drivers, strict=True)
    ]
    wanted = 1000 / arrays["fmax_mhz"].to_numpy(dtype=np.float64)
    model = LinearRegression(positive=True, fit_intercept=False).fit(np.array(table), wanted)
    spread = float(np.sqrt(np.mean((np.asarray(model.predict(np.array(table))) / wanted - 1) ** 2)))
    found = [round(float(each), 4) for each in model.coef_]
    ones, others = found[: len(formats)], dict(zip(shared, found[len(formats) :], strict=True))
    return {
        "parts": {str(part): float(group.min()) for part, group in parts.groupby("part")["fmax_mhz"]},
        "array": {
            form: {
                "period_ns": {"one": one, **others},
                "spread": round(spread, 4),
                "runs": int((arrays["format"] == form).sum()),
            }
            for form, one in zip(formats, ones, strict=True)
        },
    }


def main() -> None:
    """The command line: no options."""
    measure_clocks()
    stored = json.loads(COEFFICIENTS.read_text())
    stored["ecp5"]["clock"] = fit_clock()
    COEFFICIENTS.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
