"""The command line, and how it ends: 0 done, 2 something asked for can't be, 130 interrupted."""

import os
import sys

import click
import typer
from rich.markup import escape

from dse.commands.describe import list_command, show_command
from dse.commands.options import err
from dse.commands.run import run_command
from dse.commands.sweep import pareto_command, report_command, sweep_command
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
    "sweep": sweep_command,
    "pareto": pareto_command,
    "report": report_command,
    "trace": trace_command,
    "list": list_command,
    "show": show_command,
}.items():
    app.command(name)(command)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 2 something that was asked for can't be, 130 interrupted."""
    try:
        app(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (ConfigError, TraceError, StoreError, WorkerLostError) as error:
        err.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
