# amaranth: UnusedElaboratable=no
"""Would SAT's array fit its chip? An estimate: no open tool places on an UltraScale+."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from reports.synthesis.measure import source_of
from rtl.fpga.synthesize import synthesize
from simulator.cost.area import area
from simulator.cost.devices import DEVICES, Resources
from simulator.presets import PRESETS

__all__ = ["estimate_sat"]

_DEVICE = DEVICES["xcvu9p"]


def estimate_sat() -> dict[str, Any]:
    """`text` and `rows` for the study's page: the PEs from one PE's synthesis, the rest from the calibrated model."""
    accelerator = PRESETS["sat-vcu1525"].accelerator
    count = accelerator.array.rows * accelerator.array.cols
    one = replace(accelerator, array=replace(accelerator.array, rows=2, cols=2))
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "design.v"
        source.write_text(source_of(one, "array"))
        pe = synthesize([source], "unit.pe", "xcup", Path(name)).resources
    pes = Resources(**{name: count * amount for name, amount in pe.as_dict().items()})
    estimate = area(accelerator, "xcup")
    parts = {f"{count} PEs (one synthesised, times {count})": pes}
    parts |= {f"{part} (estimated)": amount for part, amount in estimate.parts.items() if part != "pe"}
    total = Resources()
    for amount in parts.values():
        total += amount
    rows = [{"part": part, **amount.as_dict()} for part, amount in parts.items()]
    rows += [{"part": "sum", **total.as_dict()}, {"part": _DEVICE.name, **_DEVICE.limits.as_dict()}]
    array = pes + estimate.parts["array"]
    text = (
        f"The {accelerator.array.rows} x {accelerator.array.cols} array, {accelerator.pe.format.upper()} products and FP32 "
        f"sums, takes {_shares(array)} of the {_DEVICE.name.upper()}: {_verdict(array)}. The whole machine of preset "
        f"`{accelerator.name}`: {_verdict(total)}. An estimate from Yosys (`synth_xilinx`, UltraScale+); nothing was placed, "
        f"for which there is no open tool. Block memories alone hold the buffers here: UltraRAM, which the chip has as well, "
        f"is not used. Outside of what was calibrated: {'; '.join(estimate.notes) or 'nothing'}. The model's own estimate of "
        f"the PEs is {estimate.parts['pe'].lut:,} look-up tables."
    )
    return {"text": text, "rows": rows}


def _shares(demand: Resources) -> str:
    limits = _DEVICE.limits.as_dict()
    shown = {"lut": "look-up tables", "dsp": "multiplier blocks"}
    amounts = demand.as_dict()
    return " and ".join(f"{amounts[name]:,} {text} ({amounts[name] / limits[name]:.0%})" for name, text in shown.items())


def _verdict(demand: Resources) -> str:
    limits = _DEVICE.limits.as_dict()
    over = [f"{name} {need:,} of {limits[name]:,}" for name, need in demand.as_dict().items() if need > limits[name]]
    return f"does not fit ({', '.join(over)})" if over else "fits"
