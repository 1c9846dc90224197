"""FPGAs and what they hold, in the units in which synthesis counts: the limits of a build and of `--fit`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

from simulator.schedule import Unsupported

__all__ = ["DEVICES", "TECHNOLOGIES", "Device", "Resources"]

TECHNOLOGIES = ("ecp5", "ice40", "xcup")
"""Those that the estimates are fitted to; a device of another one can be built for, not estimated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Cells of an FPGA. A technology's own words for them are in `docs/build.md`."""

    lut: int = 0  # look-up tables, those in carry chains and distributed memories included
    ff: int = 0
    dsp: int = 0  # multiplier blocks: ECP5 18x18, iCE40 16x16, Gowin 9x9 (an 18x18 is two), UltraScale+ 27x18
    bram: int = 0  # block memories: ECP5 and Gowin 18 kbit, iCE40 4 kbit, UltraScale+ 36 kbit

    def __add__(self, other: "Resources") -> "Resources":
        mine, others = asdict(self), asdict(other)
        return Resources(**{name: mine[name] + others[name] for name in mine})

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One chip. `technology` is what synthesis maps to."""

    name: str
    technology: str
    limits: Resources
    source: str

    def shortage(self, demand: Resources) -> Unsupported | None:
        """The resource that `demand` exceeds most; None if it fits."""
        limits = self.limits.as_dict()
        over = {name: need for name, need in demand.as_dict().items() if need > limits[name]}
        if not over:
            return None
        name = max(over, key=lambda name: over[name] / max(1, limits[name]))
        return Unsupported(f"{name} of {self.name}", over[name], limits[name])


def _device(name: str, technology: str, source: str, **limits: int) -> tuple[str, Device]:
    return name, Device(name=name, technology=technology, limits=Resources(**limits), source=source)


_NEXTPNR = "utilization report of nextpnr 0.11.1 for this device"
DEVICES: Mapping[str, Device] = MappingProxyType(
    dict(
        [
            _device("ecp5-25k", "ecp5", _NEXTPNR, lut=24288, ff=24288, dsp=28, bram=56),
            _device("ecp5-45k", "ecp5", _NEXTPNR, lut=43848, ff=43848, dsp=72, bram=108),
            _device("ecp5-85k", "ecp5", _NEXTPNR, lut=83640, ff=83640, dsp=156, bram=208),
            _device("ice40-hx8k", "ice40", _NEXTPNR, lut=7680, ff=7680, dsp=0, bram=32),
            _device("ice40-up5k", "ice40", _NEXTPNR, lut=5280, ff=5280, dsp=8, bram=30),
            _device("gw1nr-9c", "gw1n", _NEXTPNR, lut=8640, ff=6480, dsp=40, bram=26),
            _device("xcvu9p", "xcup", "AMD DS890 (XCVU9P)", lut=1182240, ff=2364480, dsp=6840, bram=2160),
        ]
    )
)
