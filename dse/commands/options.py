"""What commands share: the consoles, common options, and settings of a point from what was typed."""

from collections.abc import Container, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from dse.config import ConfigError, parse_value
from dse.folder import SweepFolder
from dse.point import make_point
from dse.store import StoreError
from simulator.arch import Accelerator
from workloads.zoo import zoo_names

__all__ = [
    "AcceleratorArg",
    "AsJson",
    "Batch",
    "DataflowOption",
    "Fit",
    "Method",
    "Set",
    "WorkloadArg",
    "accelerator_of",
    "check_writable",
    "err",
    "natural",
    "out",
    "positive",
    "settings_from",
    "status",
    "typed",
    "write_text",
]

_WIDTH_OF_FILES = 140  # columns where the output is not a terminal

out, err = Console(emoji=False), Console(stderr=True, emoji=False)
if not out.is_terminal:
    out.width = _WIDTH_OF_FILES


def positive(text: str | int) -> int:
    """A size from the command line. Raises typer.BadParameter that names the rule and the value."""
    if not str(text).isdecimal() or int(text) < 1:  # the default passes through here as the integer it is
        raise typer.BadParameter(f"must be a positive integer, not {text!r}")
    return int(text)


def natural(text: str | int) -> int:
    """A count from the command line, which may be 0. Raises typer.BadParameter that names the rule and the value."""
    if not str(text).isdecimal():
        raise typer.BadParameter(f"must be an integer of at least 0, not {text!r}")
    return int(text)


Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Change a field: `pe.group=8`, `dram.bytes_per_second=76800000000`, `mapping.pregenerate=false`. Repeatable.",
    ),
]
Method = Annotated[
    str, typer.Option(metavar="METHOD", help="Training method, as in `dense`, `srste:2:4`, `bdwp:2:8`; see `dse list`.")
]
Fit = Annotated[
    str,
    typer.Option(
        metavar="DEVICE", help="A device that the machine must fit, by estimate: `ecp5-85k`, `xcvu9p`, ...; see `dse list`."
    ),
]
Batch = Annotated[int, typer.Option(parser=positive, metavar="N", help="Images (sequences) per step.")]
WorkloadArg = Annotated[str, typer.Argument(help="A shipped trace (`dse list`) or a trace file; not needed for `FOLDER#N`.")]
DataflowOption = Annotated[str, typer.Option(metavar="DATAFLOW", help="best, os, ws or is.")]
AsJson = Annotated[bool, typer.Option("--json", help="Everything as JSON on standard output.")]
AcceleratorArg = Annotated[str, typer.Argument(help="A preset, a .toml file, or a point of a sweep: `out/sweep#117`.")]


def typed(context: typer.Context, option: str) -> bool:
    """Whether an option stands on the command line."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def settings_from(
    accelerator: str, options: Mapping[str, Any], changes: list[str] | None, *, typed: Container[str] = ()
) -> dict[str, Any]:
    """Flat settings of a point from the command line; `FOLDER#N` brings those of a sweep's point, which the options override
    that were typed (the others have their defaults). `options` may hold workload, method, batch and mapping.dataflow."""
    folder, hash_sign, number = accelerator.rpartition("#")
    if hash_sign:
        if not number.isdecimal():
            raise ConfigError(f"Accelerator {accelerator!r} must be FOLDER#N with the number of a point, as in out/sweep#117")
        settings = SweepFolder(Path(folder)).load_space()[0].point_settings(int(number))
        settings |= {name: value for name, value in options.items() if name in typed}
    elif not options["workload"]:
        raise ConfigError(f"Argument 'workload' must be a trace file or one of: {', '.join(zoo_names())}")
    else:
        settings = {"accelerator": accelerator, **options}
    for change in changes or ():
        name, equals, value = change.partition("=")
        if not equals or not name:
            raise ConfigError(f"Option '--set' must be FIELD=VALUE, as in pe.group=8, not {change!r}")
        path = name if name.startswith(("accelerator.", "mapping.")) else f"accelerator.{name}"
        settings[path] = parse_value(value)
    return settings


def accelerator_of(accelerator: str, changes: list[str] | None) -> Accelerator:
    """The machine alone that an argument and its changes name. Raises ConfigError."""
    return make_point(settings_from(accelerator, {"workload": "resnet18", "method": "dense"}, changes)).accelerator


def status(text: str) -> AbstractContextManager[object]:
    """A spinner with a text, on a terminal."""
    return err.status(text) if err.is_terminal else nullcontext()


def check_writable(*paths: Path | None) -> None:
    """Raise StoreError, before any work is done for it, where a file can't be written later; leaves no trace of the try."""
    for path in paths:
        if path is not None:
            new = not path.exists()
            try:
                path.open("ab").close()
                if new:
                    path.unlink()
            except OSError as error:
                raise StoreError(f"File {str(path)!r} must be writable: {error.strerror}") from None


def write_text(path: Path, text: str) -> None:
    """Write a file. Raises StoreError where it can't be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"File {str(path)!r} must be writable: {error.strerror}") from None
