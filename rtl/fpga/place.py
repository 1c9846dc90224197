"""nextpnr: a netlist to a placed and routed chip, with its report; and the packing of its bitstream."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO

from rtl.tied import tied
from simulator.cost.devices import Resources

__all__ = ["FLOWS", "Chip", "Flow", "Placed", "ToolError", "place", "run_tool"]


class ToolError(RuntimeError):
    """A tool of the flow stopped; the message has the end of what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """How a family is placed and packed: nextpnr's program and switches, its files by their suffixes, the packer."""

    program: str
    options: tuple[str, ...]  # switches for a whole chip
    part: tuple[str, ...]  # switches for a part of a chip, whose ports get no pins
    constraints: str  # suffix of the file with the pins
    pins: str  # nextpnr's switch for that file; {} stands for its name
    placed: tuple[str, str]  # switch and suffix of what the packer reads
    pack: tuple[str, ...]  # the packer and its switches; it is given what it reads and the bitstream's name
    bitstream: str  # suffix
    cells: Mapping[str, Mapping[str, int]]  # the report's names for what `Resources` counts, and how many one of them takes
    packed: tuple[str, ...] = ()  # the packer's switch before the bitstream's name
    routers: tuple[str, str] | None = None  # for a whole chip and for a part, where there is a choice


FLOWS: Mapping[str, Flow] = MappingProxyType(
    {
        "ecp5": Flow(
            program="nextpnr-ecp5",
            # A machine on a chip half full: router2 leaves some hundred wires in conflict for ever, router1 comes to an
            # end, and the static placer's wires are a fifth shorter. A large array alone is faster where heap puts it.
            options=("--placer", "static"),
            part=("--out-of-context", "--placer", "heap"),
            routers=("router1", "router2"),
            constraints="lpf",
            pins="--lpf={}",
            placed=("--textcfg", "config"),
            pack=("ecppack", "--compress"),
            bitstream="bit",
            cells={
                "lut": {"TRELLIS_COMB": 1},
                "ff": {"TRELLIS_FF": 1},
                "dsp": {"MULT18X18D": 1},
                "bram": {"DP16KD": 1},
            },
        ),
        "ice40": Flow(
            program="nextpnr-ice40",
            options=(),
            part=("--no-promote-globals",),
            constraints="pcf",
            pins="--pcf={}",
            placed=("--asc", "asc"),
            pack=("icepack",),
            bitstream="bin",
            cells={
                "lut": {"ICESTORM_LC": 1},
                "ff": {"ICESTORM_LC": 1},
                "dsp": {"ICESTORM_DSP": 1},
                "bram": {"ICESTORM_RAM": 1},
            },
        ),
        "gw1n": Flow(
            program="nextpnr-himbaechel-gowin",
            options=(),
            part=(),  # there is no such switch: a part of a chip, too, needs pads and pins
            constraints="cst",
            pins="--vopt=cst={}",
            placed=("--write", "json"),
            pack=("gowin_pack",),
            packed=("-o",),
            bitstream="fs",
            cells={
                "lut": {"LUT4": 1, "ALU": 1},  # the report has a distributed memory's four among the former
                "ff": {"DFF": 1},
                "dsp": {"MULT9X9": 1, "MULT18X18": 2, "MULT36X36": 8},
                "bram": {"BSRAM": 1},
            },
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A device as the tools know it: `family`, a key of `FLOWS`, and the options that name it to nextpnr, to the packer and
    to the calculator of its clock generator, where these need any."""

    family: str
    options: tuple[str, ...]
    packing: tuple[str, ...] = ()
    clocking: tuple[str, ...] = ()

    @property
    def flow(self) -> Flow:
        return FLOWS[self.family]

    def pack(self, placed: str, bitstream: str) -> list[str]:
        """The packer's command, for the two files' names."""
        return [*self.flow.pack, *self.packing, placed, *self.flow.packed, bitstream]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What nextpnr reports: `fmax_hz` by clock net, used and available `resources`."""

    fmax_hz: dict[str, float]
    used: Resources
    available: Resources
    critical_path: list[dict[str, Any]]

    @property
    def slowest_hz(self) -> float:
        return min(self.fmax_hz.values())


def place(
    netlist: Path,
    chip: Chip,
    folder: Path,
    *,
    constraints: Path | None = None,
    frequency_hz: int,
    seed: int = 1,
    router: str | None = None,
    write: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Placed:
    """Place and route. Without `constraints` the design is a part of a chip: its ports get no pins. `router`: nextpnr's name of
    one, instead of the family's.

    All files are in `folder`: the tools are given bare names, for absolute ones in the system's temporary folder are hidden
    from them. A design that misses `frequency_hz` is placed all the same: compare `slowest_hz`. Raises ToolError.
    """
    report, flow = folder / "nextpnr.json", chip.flow
    command = [flow.program, *chip.options, "--json", netlist.name, "--report", report.name]
    command += ["--seed", str(seed), "--freq", f"{frequency_hz / 1e6:.6f}", "--timing-allow-fail"]
    command += flow.part if constraints is None else [*flow.options, flow.pins.format(constraints.name)]
    if chosen := router or (flow.routers and flow.routers[constraints is None]):
        command += ["--router", chosen]
    if write is not None:
        command += [flow.placed[0], write.name]
    run_tool(command, folder / "nextpnr.log", cwd=folder, progress=progress)
    found = json.loads(report.read_text())
    paths = [
        path for path in found["critical_paths"] if path["from"].startswith("posedge") and path["to"].startswith("posedge")
    ]
    return Placed(
        fmax_hz={clock: 1e6 * entry["achieved"] for clock, entry in found["fmax"].items()},
        used=Resources(**{name: sum(_counts(found, cells, "used")) for name, cells in flow.cells.items()}),
        # Cells that are counted as one resource share its places.
        available=Resources(**{name: max(_counts(found, cells, "available")) for name, cells in flow.cells.items()}),
        critical_path=[_step(step) for path in paths[:1] for step in path["path"]],
    )


def _counts(found: dict[str, Any], cells: Mapping[str, int], column: str) -> list[int]:
    """Of each cell in nextpnr's report `found`; a chip without any doesn't name it."""
    return [each * found["utilization"].get(cell, {column: 0})[column] for cell, each in cells.items()]


def _step(step: dict[str, Any]) -> dict[str, Any]:
    return {"kind": step["type"], "ns": step["delay"], "from": step["from"]["cell"], "to": step["to"]["cell"]}


def run_tool(command: Sequence[str], log: Path, *, cwd: Path, progress: Callable[[str], None] | None = None) -> None:
    """Run one of the FPGA tools that came with the Python packages, its output into `log`; `progress` hears what it is doing.

    Paths should be relative to `cwd`. Ends with this process. Raises ToolError, and OSError where the log can't be written.
    """
    folder = Path(sys.executable).parent
    program = next((path for path in (folder / f"yowasp-{command[0]}", folder / command[0]) if path.exists()), None)
    if program is None:
        raise ToolError(f"Tool {command[0]!r} must be installed: pip install 'nmdse[fpga]'")
    terminal, line = pty.openpty()  # into a pipe the tools write when they are done; to a terminal, line by line
    with log.open("w", buffering=1) as file, os.fdopen(terminal, errors="replace", newline="") as said:
        running = subprocess.Popen(tied(str(program), *command[1:]), cwd=cwd, stdin=line, stdout=line, stderr=line)
        os.close(line)
        try:
            for text in _lines(said):
                file.write(text.replace("\r\n", "\n"))
                if progress is not None and (phase := _phase(text)):
                    progress(phase)
            code = running.wait()
        except BaseException:
            running.kill()
            running.wait()
            raise
    if code:
        tail = "\n".join(log.read_text().splitlines()[-8:])
        raise ToolError(f"Tool {command[0]!r} must run to its end, not stop with code {code}; {log} ends:\n{tail}")


def _lines(terminal: TextIO) -> Iterator[str]:
    """What is said, until nobody writes any more, of which a terminal tells by an error."""
    with suppress(OSError):
        yield from terminal


_PHASES = (
    "Packing",
    "Promoting",
    "Running",
    "Placed",
    "initial placement",
    "legalise",
    "timing-driven",
    "Routing",
    "Setting up routing",
)


_WIDTH = 60  # columns of a phase


def _phase(line: str) -> str:
    """A few words of what nextpnr is doing, for a progress display; whole ones."""
    text = line.removeprefix("Info:").strip()
    if not text.startswith(("at iteration", *_PHASES)) and "iter=" not in text:
        return ""
    words = text.split(", ")
    while len(words) > 1 and len(", ".join(words)) > _WIDTH:
        words.pop()
    return ", ".join(words)[:_WIDTH]
