"""`dse rtl`: the hardware of a design point, as Verilog."""

from pathlib import Path
from typing import Annotated

import typer

from dse.commands.options import AcceleratorArg, Set, accelerator_of, out, status
from dse.config import ConfigError
from dse.rtl_extra import need_rtl
from dse.store import StoreError

__all__ = ["rtl_command"]


def rtl_command(
    accelerator: AcceleratorArg,
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder for the result; an earlier one in it is replaced.")],
    changes: Set = None,
) -> None:
    """Generate the Verilog of an accelerator, with its memory map and metadata.

    Example: `dse rtl edge-int8 -o out/edge --set array.rows=4 --set array.cols=4`
    """
    spec = accelerator_of(accelerator, changes)
    need_rtl("dse rtl")
    from rtl.generate import generate

    try:
        with status(f"elaborating {spec.array.rows} x {spec.array.cols} PEs"):
            done = generate(spec, folder)
    except ValueError as error:
        raise ConfigError(f"Accelerator {spec.name!r} can't be built: {error}") from None
    except OSError as error:
        raise StoreError(f"Folder {str(folder)!r} must be writable and empty, or an earlier result: {error}") from None
    out.print(f"[bold]{done.module}[/]: {done.verilog_bytes / 1e6:.1f} MB of Verilog, digest {spec.digest}", highlight=False)
    out.print(f"wrote {', '.join(str(done.folder / name) for name in done.files)}", highlight=False)
    out.print(f"next: dse check {accelerator}, which proves this very point against the simulator", highlight=False)
