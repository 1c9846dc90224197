"""The command line, and how it ends: 0 done, 1 a check or diff found something, 2 what was asked can't be, 130 interrupted."""

import os
import sys
from typing import NoReturn

import typer
from rich.markup import escape

from dse.commands.build import build_command
from dse.commands.check import check_command
from dse.commands.describe import list_command, show_command
from dse.commands.diff import diff_command
from dse.commands.explain import explain_command
from dse.commands.merge import merge_command
from dse.commands.options import err
from dse.commands.pareto import pareto_command, report_command
from dse.commands.rtl import rtl_command
from dse.commands.run import run_command
from dse.commands.sensitivity import sensitivity_command
from dse.commands.sweep import sweep_command
from dse.commands.trace import trace_command
from dse.config import ConfigError
from dse.store import StoreError
from dse.sweep import WorkerLostError
from workloads.formats.trace_file import TraceError

__all__ = ["main"]

app = typer.Typer(
    help="Design accelerators that train neural networks with N:M sparsity.\n\n"
    "Start with `dse run sat-vcu1525 resnet18 --method bdwp:2:8 --batch 16`, then `dse sweep resnet18`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name, command in {
    "run": run_command,
    "explain": explain_command,
    "sweep": sweep_command,
    "pareto": pareto_command,
    "report": report_command,
    "sensitivity": sensitivity_command,
    "diff": diff_command,
    "merge": merge_command,
    "trace": trace_command,
    "rtl": rtl_command,
    "check": check_command,
    "build": build_command,
    "list": list_command,
    "show": show_command,
}.items():
    app.command(name)(command)


def main() -> None:
    """Run the command line; it ends with one of the exit codes above."""
    try:
        try:
            app()  # usage errors exit with 2 in here, and Ctrl-C with 130
        finally:
            sys.stdout.flush()
    except (ConfigError, TraceError, StoreError, WorkerLostError) as error:
        _fail(str(error))
    except OSError as error:  # standard output is full or closed; files are the commands' own to watch
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _fail(f"Output must be writable: {error.strerror}")


def _fail(message: str) -> NoReturn:
    err.print(f"[bold red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    sys.exit(2)
