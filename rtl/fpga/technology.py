"""How Yosys maps to each FPGA family, and which of its cells count as what."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from simulator.cost.devices import Resources

__all__ = ["FAMILIES", "Family", "resources_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """`command` maps a design; `cells` says by type what one cell takes up; others are free (wiring, wide muxes, pads)."""

    command: str
    cells: Mapping[str, Resources]
    multipliers: str = ""  # an option without which products are made of look-up tables


def _lut(count: int) -> Resources:
    return Resources(lut=count)


_FF, _DSP, _BRAM = Resources(ff=1), Resources(dsp=1), Resources(bram=1)
_GOWIN_FF = ("", "E", "S", "SE", "R", "RE", "P", "PE", "C", "CE")

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "ecp5": Family(
            command="synth_ecp5",
            cells={
                "LUT4": _lut(1),
                "CCU2C": _lut(2),  # two bits of a carry chain
                "TRELLIS_DPR16X4": _lut(4),  # four 16x1 memories; two more of its slice's tables serve as write port
                "TRELLIS_FF": _FF,
                "MULT18X18D": _DSP,
                "DP16KD": _BRAM,
                "PDPW16KD": _BRAM,
            },
        ),
        "ice40": Family(
            command="synth_ice40",
            multipliers="-dsp",
            cells={
                "SB_LUT4": _lut(1),
                **{f"SB_DFF{kind}": _FF for kind in ("", "E", "SR", "R", "SS", "S", "ESR", "ER", "ESS", "ES")},
                "SB_MAC16": _DSP,
                "SB_RAM40_4K": _BRAM,
            },
        ),
        "gw1n": Family(
            # Pads are the platform's; inputs of memories that nothing drives are 0.
            command="synth_gowin -family gw1n -noiopads -setundef",
            cells={
                **{f"LUT{inputs}": _lut(1) for inputs in range(1, 5)},
                "ALU": _lut(1),  # a bit of a carry chain
                "RAM16SDP4": _lut(4),  # four 16x1 memories
                **{f"DFF{edge}{kind}": _FF for edge in ("", "N") for kind in _GOWIN_FF},
                "MULT9X9": _DSP,
                "MULT18X18": Resources(dsp=2),
                "MULT36X36": Resources(dsp=8),
                **dict.fromkeys(("SP", "SPX9", "SDPB", "SDPX9B", "DPB", "DPX9B", "pROM", "pROMX9"), _BRAM),
            },
        ),
        "xcup": Family(
            command="synth_xilinx -family xcup",
            cells={
                **{f"LUT{inputs}": _lut(1) for inputs in range(1, 7)},
                "INV": _lut(1),
                "RAM32M": _lut(4),
                "RAM32M16": _lut(8),
                "RAM64M8": _lut(8),
                "RAM64M": _lut(4),
                "RAM32X1D": _lut(2),
                "RAM64X1D": _lut(2),
                "RAM128X1D": _lut(4),
                "RAM256X1D": _lut(8),
                "RAM64X1S": _lut(1),
                "SRL16E": _lut(1),
                "SRLC32E": _lut(1),
                **dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE"), _FF),
                "DSP48E2": _DSP,
                "RAMB36E2": _BRAM,
            },
        ),
    }
)


def resources_of(family: str, cells: Mapping[str, int]) -> Resources:
    """What the counted cells take up. Halves of UltraScale+ block memories are rounded up to whole ones."""
    known, counted = FAMILIES[family].cells, cells
    total = {
        name: sum(getattr(known[cell], name) * count for cell, count in counted.items() if cell in known) for name in _NAMES
    }
    total["bram"] += (counted.get("RAMB18E2", 0) + 1) // 2
    return Resources(**total)


_NAMES = ("lut", "ff", "dsp", "bram")
