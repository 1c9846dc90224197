"""`dse list` and `dse show`: what there is, and what it is made of."""

import sys

from rich.table import Table

from dse.commands.options import AcceleratorArg, Set, accelerator_of, out
from dse.figures import si
from dse.point import trace_of
from dse.render import print_accelerator
from dse.space import Space, read_space, shipped_spaces
from simulator.cost.area import calibration
from simulator.cost.devices import DEVICES, Device
from simulator.presets import PRESETS
from workloads.methods import METHODS
from workloads.zoo import zoo_names

__all__ = ["list_command", "show_command"]


def list_command() -> None:
    """List accelerators, workloads, methods, dataflows, FPGA devices and spaces."""

    def table(title: str, rows: list[tuple[str, str]]) -> None:
        shown = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, show_header=False)
        shown.add_column(style="cyan", no_wrap=True)
        shown.add_column()
        for row in rows:
            shown.add_row(*row)
        out.print(shown)
        out.print()

    table("accelerators (dse show NAME)", [(name, preset.about) for name, preset in PRESETS.items()])
    workloads: list[tuple[str, str]] = []
    for name in zoo_names():
        step = trace_of(name).bind()
        macs = f"{si(step.dense_macs() / step.batch)}MAC per step and image"
        workloads.append((name, f"{macs}, {step.parameters / 1e6:.1f} M parameters, {trace_of(name).optimizer}"))
    table("workloads", workloads)
    table("methods", [(info.usage, info.description) for info in METHODS.values()])
    table(
        "dataflows (--dataflow, mapping.ff, .bp, .wu, .aa)",
        [
            ("os", "output stationary: rows m, columns n, time k"),
            ("ws", "weight stationary: rows k, columns n, time m"),
            ("is", "input stationary: rows k, columns m, time n"),
            ("best", "the fastest of those that the array has, for each layer and stage"),
        ],
    )
    table("devices (--fit, as far as they are estimated; dse build)", [(name, _about(each)) for name, each in DEVICES.items()])
    table(
        "spaces (dse sweep NAME)",
        [(name, f"{space.size:,} points: {space.title}") for name, space in _spaces()],
    )


def _about(device: Device) -> str:
    limits = ", ".join(f"{count:,} {what.upper()}" for what, count in device.limits.as_dict().items())
    return limits if device.technology in calibration() else f"{limits}; not estimated, so not for --fit"


def _spaces() -> list[tuple[str, Space]]:
    return [(name, read_space(name, limit=sys.maxsize)) for name in shipped_spaces()]


def show_command(accelerator: AcceleratorArg, changes: Set = None) -> None:
    """Show every field of an accelerator, and whether it is sourced or assumed. Example: `dse show sat-vcu1525`"""
    print_accelerator(out, accelerator_of(accelerator, changes))
