# amaranth: UnusedElaboratable=no
"""A sweep under a chip's budget, and the fastest point of its Pareto front as a bitstream: predicted and measured."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from dse.derived import with_derived
from dse.pareto import front_of
from dse.point import make_point
from dse.space import Space, read_space
from dse.store import Store
from dse.sweep import run_sweep, sweep_frame
from reports.synthesis.store import source_digest
from rtl.emit import verilog_of
from rtl.fpga.build import REPORT, board_system, build
from rtl.fpga.synthesize import synthesize
from rtl.fpga.technology import resources_of
from rtl.platforms.ulx3s import BOARD
from simulator.arch import Accelerator
from simulator.cost.area import Area, area
from simulator.cost.devices import DEVICES, Resources

__all__ = ["build_front_point"]

_SPACE = Path(__file__).parent / "space.toml"


def build_front_point(folder: Path, console: Console, jobs: int = 2) -> dict[str, Any]:
    """Sweep, choose, build; `text` and `rows` for the study's page. `folder` keeps the store, the front and the build."""
    space = read_space(str(_SPACE))
    folder.mkdir(parents=True, exist_ok=True)
    with Store(folder / "store.db") as store, console.status("sweep under the budget"):
        run_sweep(space, store, jobs=jobs, report=lambda _: None)
        frame = with_derived(space, sweep_frame(space, store))  # and which points break a constraint
    good = frame[frame["status"] == "ok"]
    front = front_of(good, space.objectives).sort_values("latency_ms")
    front.to_csv(folder / "front.csv", index=False)
    around = _around(make_point(space.settings(0)).accelerator)
    chosen, accelerator, estimate = _fastest_that_fits(space, front, around)
    console.print(f"point {chosen['point']}: {accelerator.name} {accelerator.digest}")
    with console.status("place and route"):
        built = _built(accelerator, folder / accelerator.digest)
    return {"text": _text(space, frame, front, chosen, built), "rows": _rows(estimate, around, built)}


def _built(accelerator: Accelerator, folder: Path) -> dict[str, Any]:
    """The build's report (`rtl.fpga.build`), from an earlier run if it came to its end and the RTL is the same."""
    system = board_system(accelerator, BOARD, accelerator.clock_hz)
    source = source_digest(verilog_of(system, "unit"))
    kept, report = folder / "source", folder / "build" / REPORT
    if not (kept.exists() and kept.read_text() == source and report.exists()):
        build(accelerator, BOARD, folder / "build")
        kept.write_text(source)
    return json.loads(report.read_text())


def _around(accelerator: Accelerator) -> Resources:
    """What a board build has around the machine: memories, serial line, bridge. They depend on the bus, not on the array."""
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "design.v"
        system = board_system(accelerator, BOARD, accelerator.clock_hz)
        source.write_text(verilog_of(system, "unit"))
        return synthesize([source], "unit", "ecp5", Path(name), without=["unit.machine"]).resources


def _fastest_that_fits(space: Space, front: pd.DataFrame, around: Resources) -> tuple[Mapping[Any, Any], Accelerator, Area]:
    """The fastest point of the front for which the board's own share is left. Raises ValueError if there is none."""
    for row in front.to_dict("records"):
        accelerator = make_point(space.point_settings(int(row["point"]))).accelerator
        estimate = area(accelerator, "ecp5")
        if DEVICES[BOARD.device].shortage(estimate.total + around) is None:
            return row, accelerator, estimate
    raise ValueError("Front must have a point that leaves room for the board's memories")


def _rows(estimate: Area, around: Resources, built: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    machine, board, placed = estimate.total.as_dict(), around.as_dict(), built["used"]
    mapped = resources_of(BOARD.chip.family, built["cells"]).as_dict()
    for name in machine:
        predicted = machine[name] + board[name]
        rows.append(
            {
                "resource": name,
                "machine, predicted": f"{machine[name]:,}",
                "around it, synthesised": f"{board[name]:,}",
                "predicted": f"{predicted:,}",
                "synthesised": f"{mapped[name]:,}",
                "error": f"{predicted / mapped[name] - 1:+.1%}" if mapped[name] else "",
                "placed": f"{placed[name]:,}",
            }
        )
    reached = min(built["fmax_hz"].values()) / 1e6
    clock = {"resource": "fmax, MHz", "placed": f"{reached:.1f}"}
    if estimate.fmax_hz:
        predicted = estimate.fmax_hz / 1e6
        clock |= {"predicted": f"{predicted:.1f}", "error": f"{predicted / reached - 1:+.1%}"}
    return [*rows, clock]


def _text(space: Space, frame: pd.DataFrame, front: pd.DataFrame, chosen: Mapping[Any, Any], built: Mapping[str, Any]) -> str:
    counts = frame["status"].value_counts().to_dict()
    unfit = int(counts.get("unsupported", 0))
    settings = ", ".join(f"{name.removeprefix('accelerator.')} {chosen[name]}" for name in space.varied)
    minutes = built["seconds"]["place and route"] / 60
    verdict = "closes" if built["closes"] else "does not close"
    return (
        f"`dse sweep reports/studies/fpga/{_SPACE.name}`: {len(frame)} points of {space.title!r}, of which {unfit} were "
        f"refused (they exceed the chip by the estimate, or cannot run the method) and {len(front)} are on the front of step "
        f"time against look-up tables. The fastest that leaves room for what a board needs around the machine is point "
        f"{chosen['point']} ({settings}): {chosen['latency_ms']:.1f} ms a step. Built for the {BOARD.name}, it {verdict} at "
        f"{built['clock_hz'] / 1e6:.0f} MHz (seed {built['seed']}; {minutes:.0f} minutes of place and route). The model "
        "predicts what synthesis makes; placing adds look-up tables that only pass a signal on."
    )
