"""A design as the cells of an FPGA family, made once for all runs: what a simulator runs in place of the source."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import rtl.fpga
from rtl.fpga.simulation import netlist_verilog
from rtl.fpga.synthesize import Netlist, synthesize
from rtl.native.toolchain import built

__all__ = ["Gates", "gates_of"]

_FLOW = Path(rtl.fpga.__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """`files` are Verilog: the netlist and its cells' models."""

    netlist: Netlist
    files: tuple[Path, ...]

    @property
    def verilog(self) -> str:
        return "\n".join(file.read_text() for file in self.files)


def gates_of(verilog: str, top: str, family: str, *, apart: Sequence[str] = ()) -> Gates:
    """Synthesise module `top` as a build for a board does, or take what an earlier run has made of the same."""
    kept = "netlist.counts"

    def map_cells(folder: Path) -> None:
        (folder / "design.v").write_text(verilog)
        made = synthesize([folder / "design.v"], top, family, folder, apart=apart)
        (folder / kept).write_text(json.dumps({"cells": dict(made.cells), "absorbed": made.absorbed}))

    flow = [(_FLOW / name).read_text() for name in ("synthesize.py", "absorb.py", "technology.py")]
    mapped = built("netlist", [version("pyosys"), verilog, top, family, *apart, *flow], map_cells)
    models = [file.read_text() for file in (_FLOW / "simulation.py", *sorted((_FLOW / "cells").iterdir()))]
    path = mapped / "netlist.json"
    folder = built("gates", [mapped.name, *models], lambda folder: _write(path, top, family, folder))
    known = json.loads((mapped / kept).read_text())
    netlist = Netlist(path=path, family=family, cells=known["cells"], absorbed=known["absorbed"])
    return Gates(netlist=netlist, files=tuple(folder / name for name in json.loads((folder / "files").read_text())))


def _write(path: Path, top: str, family: str, folder: Path) -> None:
    files = netlist_verilog(path, top, family, folder)
    (folder / "files").write_text(json.dumps([file.name for file in files]))
