# amaranth: UnusedElaboratable=no
"""From an accelerator and a board to a bitstream, and what the tools said of it: `synthesis.json`.

The netlist of a build that was killed is taken up again if nothing that it is made from has changed.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from rtl.emit import verilog_of
from rtl.fpga.clocking import Clock, make_clock
from rtl.fpga.fit import check_fit, foresee
from rtl.fpga.folder import FolderBusyError, building, check_folder, check_room, replace_by, without_others
from rtl.fpga.place import FLOWS, Placed, place, run_tool
from rtl.fpga.synthesize import Netlist, synthesize
from rtl.fpga.timed import untimed, with_delays
from rtl.generate import module_name
from rtl.platforms.board import Board, BoardTop
from rtl.protocol import BAUD, Info
from rtl.system import System
from rtl.tile import Tile
from rtl.uart import LEAST_DIVISOR
from simulator.arch import Accelerator, leaf_fields
from simulator.cost.devices import DEVICES

__all__ = ["REPORT", "Built", "FolderBusyError", "Options", "board_system", "build"]

REPORT = "synthesis.json"
_TOP, _KEY = "top", "netlist.key"
_SAME_RATE = 0.02
"""Share by which a line may be faster or slower than its name: ten bits, looked at in their middle, bear 5 % from both ends."""
_T = TypeVar("_T")
_TOOLS = ("amaranth", "amaranth-boards", "pyosys", *(f"yowasp-{flow.program}" for flow in FLOWS.values()), "apycula")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a build may choose. Memory sizes of 0 are the board's; an array's are those of the accelerator's buffers."""

    baud: int = BAUD
    memory_bytes: int = 0
    program_bytes: int = 0
    seed: int = 1
    part: str = ""  # "machine" or "array"; "": what suits the board


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A finished build."""

    folder: Path
    bitstream: Path
    clock: Clock
    netlist: Netlist
    placed: Placed
    seconds: dict[str, float]

    @property
    def closes(self) -> bool:
        """Whether the machine's clock is one that place and route allows."""
        return self.placed.slowest_hz >= self.clock.hz

    @property
    def untimed(self) -> dict[str, int]:
        """Cells, by type, without which place and route has reckoned: what passes them may be slower than it says."""
        return untimed(self.netlist.cells)


def build(
    accelerator: Accelerator,
    board: Board,
    folder: Path,
    options: Options | None = None,
    *,
    progress: Callable[[str, str], None] | None = None,
) -> Built:
    """Make the bitstream. `progress` is told a step, and what the step is doing.

    Raises UnsupportedError where the design needs more of the chip than there is, ValueError for an accelerator that the RTL
    doesn't build, ToolError and YosysError where a tool stops, FolderBusyError, FileExistsError for a folder with other files.
    """
    options = _complete(options or Options(), board)
    tell, flow = progress or _silent, board.chip.flow
    foresee(accelerator, board.device, options.part, options.memory_bytes + options.program_bytes)
    check_folder(folder, REPORT)
    with building(folder) as work:
        seconds: dict[str, float] = {}

        def timed(step: str, do: Callable[[], _T]) -> _T:
            tell(step, "")
            began = time.monotonic()
            try:
                done = do()
            except Exception:
                check_room(work)
                raise
            check_room(work)
            seconds[step] = round(time.monotonic() - began, 1)
            return done

        clock = timed("clock", lambda: make_clock(board.chip, board.clock_hz, accelerator.clock_hz, work))
        system = board_system(accelerator, board, clock.hz, options)
        sources = timed("elaborate", lambda: _elaborate(accelerator, system, board, clock, options, work))
        netlist = timed("synthesize", lambda: _synthesize(board, sources, work))
        without_others(work)
        check_fit(netlist.resources, board.device)
        chip = f"{_TOP}.{flow.placed[1]}"
        placed = timed(
            "place and route",
            lambda: place(
                netlist.path,
                board.chip,
                work,
                constraints=work / f"{_TOP}.{flow.constraints}",
                frequency_hz=clock.hz,  # of clocks that nextpnr doesn't derive: all behind a Gowin's generator
                seed=options.seed,
                write=work / chip,
                progress=lambda doing: tell("place and route", doing),
            ),
        )
        bitstream = work / f"{module_name(accelerator)}.{flow.bitstream}"
        timed("pack", lambda: run_tool(board.chip.pack(chip, bitstream.name), work / "pack.log", cwd=work))
        built = Built(
            folder=folder, bitstream=folder / bitstream.name, clock=clock, netlist=netlist, placed=placed, seconds=seconds
        )
        digest = hashlib.sha256(bitstream.read_bytes()).hexdigest()
        report = _report(accelerator, board, options, _told(system), built, digest)
        (work / REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        (work / chip).unlink()
        (work / _KEY).unlink()
        replace_by(work, folder)
    return built


def _silent(step: str, doing: str) -> None:
    del step, doing


def _complete(options: Options, board: Board) -> Options:
    """With the board's choices where there are none. A tile has no memories to choose."""
    options = replace(options, part=options.part or board.part)
    if options.part == "array":
        for name in ("memory_bytes", "program_bytes"):
            if size := getattr(options, name):
                raise ValueError(
                    f"Build field {name!r} must be 0 for an array, whose buffers are the accelerator's, not {size}"
                )
        return options
    memory, program = options.memory_bytes or board.memory_bytes, options.program_bytes or board.program_bytes
    return replace(options, memory_bytes=memory, program_bytes=program)


def board_system(accelerator: Accelerator, board: Board, clock_hz: int, options: Options | None = None) -> System | Tile:
    """What goes onto a board's chip, at a clock that the board can make. Raises ValueError where the RTL doesn't build it."""
    options = _complete(options or Options(), board)
    divisor = max(LEAST_DIVISOR, round(clock_hz / options.baud))
    rate = clock_hz / divisor
    if abs(rate - options.baud) > _SAME_RATE * options.baud:
        given = f"a clock of {clock_hz:,} Hz"
        raise ValueError(f"Serial line must have a rate that {given} can make, as {rate:,.0f}, not {options.baud:,}")
    if options.part == "array":
        return Tile(accelerator, divisor=divisor, clock_hz=clock_hz)
    return System(
        accelerator,
        memory_bytes=options.memory_bytes,
        program_bytes=options.program_bytes,
        divisor=divisor,
        wide_program=board.wide_program,
        clock_hz=clock_hz,
    )


def _told(system: System | Tile) -> dict[str, int]:
    """What of it a host should know."""
    info = system.shell.bridge.info
    return {name: info[Info[name.upper()]] for name in ("memory_bytes", "program_bytes", "divisor")}


def _elaborate(
    accelerator: Accelerator, system: System | Tile, board: Board, clock: Clock, options: Options, work: Path
) -> list[Path]:
    """Source files."""
    name = f"{module_name(accelerator)}_{options.part}"
    verilog = work / f"{name}.v"
    verilog.write_text(verilog_of(system, name), encoding="utf-8")
    plan = board.platform().prepare(BoardTop(board, name, pll=clock.source is not None), _TOP, emit_src=False)
    top, constraints = work / f"{_TOP}.il", work / f"{_TOP}.{board.chip.flow.constraints}"
    for path in (top, constraints):
        text = plan.files[path.name]
        path.write_text(text if isinstance(text, str) else text.decode(), encoding="utf-8")
    return [verilog, top, *([clock.source] if clock.source else [])]


def _synthesize(board: Board, sources: list[Path], work: Path) -> Netlist:
    """The netlist, from an earlier attempt if nothing has changed."""
    digest = hashlib.sha256(board.chip.family.encode() + version("pyosys").encode() + version("nmdse").encode())
    for path in sources:
        digest.update(path.read_bytes())
    key, path, kept = digest.hexdigest(), work / "netlist.json", work / _KEY
    for earlier in work.parent.glob(f"*/{_KEY}"):  # written when the netlist beside it was whole
        known = json.loads(earlier.read_text())
        if known["key"] == key:
            shutil.copyfile(earlier.with_name(path.name), path)
            kept.write_text(earlier.read_text())
            return Netlist(path=path, family=board.chip.family, cells=known["cells"], absorbed=known["absorbed"])
    multipliers = DEVICES[board.device].limits.dsp > 0
    netlist = synthesize(sources, _TOP, board.chip.family, work, apart=["*.pe", "*.pe_*"], multipliers=multipliers)
    if board.chip.family == "gw1n":
        netlist = with_delays(netlist)
    whole = kept.with_suffix(".new")
    whole.write_text(json.dumps({"key": key, "cells": dict(netlist.cells), "absorbed": netlist.absorbed}))
    whole.rename(kept)
    return netlist


def _report(
    accelerator: Accelerator, board: Board, options: Options, system: dict[str, int], built: Built, digest: str
) -> dict[str, Any]:
    """What `synthesis.json` says; `digest` is the bitstream's."""
    placed = built.placed
    return {
        "name": accelerator.name,
        "digest": accelerator.digest,
        "board": board.name,
        "part": options.part,
        "device": board.device,
        "bitstream": {"file": built.bitstream.name, "sha256": digest},
        "load": board.program.format(built.bitstream.name),
        "clock_hz": built.clock.hz,
        "fmax_hz": {name: round(hz) for name, hz in placed.fmax_hz.items()},
        "closes": built.closes,
        "baud": options.baud,
        "system": system,
        "used": placed.used.as_dict(),
        "available": placed.available.as_dict(),
        "cells": dict(built.netlist.cells),
        "untimed": built.untimed,
        "flip_flops_absorbed": built.netlist.absorbed,
        "critical_path": placed.critical_path,
        "seed": options.seed,
        "seconds": built.seconds,
        "tools": {name: version(name) for name in _TOOLS},
        "accelerator": leaf_fields(accelerator),
        "options": asdict(options),
    }
