# amaranth: UnusedElaboratable=no
"""`dse build`: a design point as a bitstream for a board, by open tools."""

import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from dse.commands.options import AcceleratorArg, Set, accelerator_of, err, natural, out, positive
from dse.config import ConfigError
from dse.folder import command_line
from dse.rtl_extra import need_rtl
from dse.store import StoreError
from rtl.protocol import BAUD

__all__ = ["build_command"]


def build_command(
    accelerator: AcceleratorArg,
    board: Annotated[
        str,
        typer.Option(metavar="BOARD", help="The board: `ulx3s-85f`, `ecpix5-85f`, `icebreaker`, `hx8k-evn` or `tang-nano-9k`."),
    ],
    folder: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the files: new, empty, or an earlier build's.")
    ],
    changes: Set = None,
    baud: Annotated[int, typer.Option(parser=positive, metavar="N", help="Bits a second on the serial line.")] = BAUD,
    memory_kib: Annotated[
        int, typer.Option(parser=natural, metavar="N", help="On-chip memory for tensors; 0: what suits the board.")
    ] = 0,
    program_kib: Annotated[
        int, typer.Option(parser=natural, metavar="N", help="On-chip memory for programs; 0: what suits the board.")
    ] = 0,
    seed: Annotated[int, typer.Option(parser=natural, metavar="N", help="Seed of the placement.")] = 1,
    part: Annotated[
        str,
        typer.Option(metavar="PART", help="`machine`, all of it, or `array` [machine; array on the iCE40 and Gowin boards]."),
    ] = "",
) -> None:
    """Build an FPGA bitstream of a whole accelerator, or of its array, with Yosys and nextpnr.

    The machine gets on-chip memories and a serial line, over which `rtl.host` loads programs and tensors and reads results
    (docs/board.md). The machine's clock is the accelerator's `clock_hz`. Writes the bitstream, the Verilog, the netlist, the
    tools' logs and `synthesis.json`: cells, multipliers, block memories, the highest clock, tool versions, times. A design that
    needs more than the chip has is refused before place and route. An interrupted build leaves nothing in the folder; the
    same command takes up its netlist again.

    Exit code 0 if the bitstream may run at its clock, 1 if place and route says that it is too slow, 2 if there is none.

    Example: `dse build board-int8 --board ulx3s-85f -o out/board-int8`
    """
    spec = accelerator_of(accelerator, changes)
    if part not in ("", "machine", "array"):
        raise ConfigError(f"Option '--part' must be machine or array, not {part!r}")
    if folder.resolve() == Path.cwd():
        raise ConfigError(f"Option '--output' must be another folder than this one, whose place it takes, not {str(folder)!r}")
    need_rtl("dse build", boards=True)
    from rtl.fpga.build import Options, build
    from rtl.fpga.folder import FolderBusyError
    from rtl.fpga.place import ToolError
    from rtl.platforms import board_named
    from rtl.yosys_shim import YosysError
    from simulator.schedule import UnsupportedError

    try:
        found = board_named(board)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    options = Options(baud=baud, memory_bytes=memory_kib * 2**10, program_bytes=program_kib * 2**10, seed=seed, part=part)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[doing]}[/]"),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        steps: dict[str, TaskID] = {}

        def tell(step: str, doing: str) -> None:
            if step not in steps:
                if steps:
                    before = [*steps.values()][-1]
                    progress.update(before, doing="done")
                    progress.stop_task(before)
                steps[step] = progress.add_task(step, total=None, doing="")
            progress.update(steps[step], doing=escape(doing))

        try:
            built = build(spec, found, folder, options, progress=tell)
        except UnsupportedError as error:
            raise ConfigError(f"Accelerator {spec.name!r} doesn't fit board {board!r}: {error}") from None
        except ValueError as error:
            raise ConfigError(f"Accelerator {spec.name!r} can't be built: {error}") from None
        except FolderBusyError as error:
            raise StoreError(str(error)) from None
        except (ToolError, YosysError) as error:
            raise ConfigError(f"Accelerator {spec.name!r} can't be built for {board!r}: {error}") from None
        except OSError as error:
            said = f"Folder {str(folder)!r} must be writable: {error.strerror}" if error.errno else str(error)
            raise StoreError(said) from None
        except KeyboardInterrupt:
            warnings.simplefilter("ignore")  # Amaranth's, of circuits that are left unfinished
            progress.stop()
            err.print(f"stopped; nothing in {folder} has changed", highlight=False, markup=False, soft_wrap=True)
            err.print(f"continue with: {command_line()}", highlight=False, markup=False, soft_wrap=True)
            raise
    used, available = built.placed.used.as_dict(), built.placed.available.as_dict()
    table = Table(box=None)
    table.add_column("resource")
    for name in ("used", "of", "share"):
        table.add_column(name, justify="right")
    for name, count in used.items():
        share = f"{count / available[name]:.0%}" if available[name] else "-"
        table.add_row(name, f"{count:,}", f"{available[name]:,}", share)
    shown = f"[bold]{spec.name}[/] ({spec.digest}) on {found.about}"
    out.print(shown, highlight=False)
    out.print(table)
    verdict = "[bold green]closes[/]" if built.closes else "[bold red]too slow[/]"
    speeds = f"{built.placed.slowest_hz / 1e6:.1f} MHz possible, {built.clock.hz / 1e6:.1f} MHz wanted"
    out.print(f"clock    {verdict}: {speeds}", highlight=False)
    if built.untimed:
        cells = ", ".join(f"{count} {cell}" for cell, count in built.untimed.items())
        out.print(f"untimed  {cells}: what passes them may be slower", highlight=False)
    out.print("time     " + ", ".join(f"{step} {seconds:.0f} s" for step, seconds in built.seconds.items()), highlight=False)
    out.print(f"wrote    {built.bitstream} and synthesis.json", highlight=False, markup=False)
    out.print(f"load it  {found.program.format(built.bitstream)}", highlight=False, markup=False)
    out.print(f"talk     rtl.host.SerialPort(DEVICE, {baud}), see docs/board.md", highlight=False, markup=False)
    if not built.closes:
        slower = int(built.placed.slowest_hz // 1e6) * 1_000_000
        out.print(f"next     --set clock_hz={slower}, or another --seed", highlight=False, markup=False)
        raise typer.Exit(1)
