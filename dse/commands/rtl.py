"""`dse rtl`: the hardware of a design point, as Verilog."""

import shlex
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
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files: new, empty, or an earlier result's.")],
    changes: Set = None,
) -> None:
    """Generate the Verilog of an accelerator, with its register map and metadata.

    Writes four files: one Verilog file with the whole machine (AXI4-Lite registers, an AXI4 master for tensors and one for
    the program), `files.f` for tools that take file lists, `memory_map.md`, and `metadata.json` with every setting, port,
    register and command field. The same settings give the same bytes. An accelerator that the RTL doesn't build is refused.

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
    except OSError as error:  # one without a number is of a folder with other files
        said = f"Folder {str(folder)!r} must be writable: {error.strerror}" if error.errno else str(error)
        raise StoreError(said) from None
    out.print(f"[bold]{done.module}[/]: {done.verilog_bytes / 1e6:.1f} MB of Verilog, digest {spec.digest}", highlight=False)
    out.print(f"wrote {', '.join(str(done.folder / name) for name in done.files)}", highlight=False)
    same = shlex.join(["dse", "check", accelerator, *(word for change in changes or () for word in ("--set", change))])
    out.print(f"next: {same}, which runs this very hardware against its simulator", highlight=False, markup=False)
