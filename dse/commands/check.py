# amaranth: UnusedElaboratable=no
"""`dse check`: one design point's RTL against its simulator and golden model."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from dse.commands.options import AcceleratorArg, Set, accelerator_of, check_writable, err, natural, out, write_text
from dse.config import ConfigError
from dse.rtl_extra import need_rtl

__all__ = ["check_command"]


def check_command(
    accelerator: AcceleratorArg,
    changes: Set = None,
    seed: Annotated[int, typer.Option(parser=natural, metavar="N", help="Seed of the random tensors and of the stalls.")] = 0,
    large: Annotated[bool, typer.Option(help="Also GEMMs of 33x17x65, which take several tiles.")] = True,
    stalls: Annotated[bool, typer.Option(help="Run every program a second time, on a memory that stalls at random.")] = True,
    report: Annotated[Path | None, typer.Option("--json", help="Write the outcome of every run to this file.")] = None,
) -> None:
    """Run a design point's RTL against its simulator and golden model: is every bit and every cycle the same?

    Generates the Verilog, checks it (no latches, combinational loops or undriven nets), compiles it with Verilator, and runs
    programs on it with random tensors: GEMMs in every dataflow and pattern, vector operations, pruning, a layer's training
    step. All bytes of memory, the cycles, the counters and the start and end of every command must be equal; where the memory
    stalls, bytes and counters. Minutes for large arrays, most of them compiling; builds are kept in out/rtl.

    Exit code 0 if all is equal, 1 if anything differs, 2 if the accelerator can't be built.

    Example: `dse check edge-int8 --set array.rows=3 --set array.cols=5`
    """
    spec = accelerator_of(accelerator, changes)
    check_writable(report)
    need_rtl("dse check", simulation=True)
    from dse.verify import Outcome, verify
    from dse.verify_programs import Case, cases
    from rtl.emit import check, verilog_of
    from rtl.generate import module_name
    from rtl.native.machine import MachineModel, Stalls
    from rtl.native.toolchain import lint
    from rtl.top import Machine
    from rtl.yosys_shim import YosysError

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    failed: list[tuple[str, str]] = []
    refused: dict[str, str] = {}
    passed: list[dict[str, object]] = []
    began = time.monotonic()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("elaborate", total=3)
        module = module_name(spec)
        try:
            verilog = verilog_of(Machine(spec), module)
        except ValueError as error:
            raise ConfigError(f"Accelerator {spec.name!r} can't be built: {error}") from None
        progress.update(task, advance=1, description="check the Verilog")
        try:
            check(verilog, module)
            lint(verilog, module)
        except (YosysError, RuntimeError) as error:
            progress.stop()
            err.print(f"[bold red]unsound Verilog:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None
        progress.update(task, advance=1, description="compile")
        model = MachineModel(verilog, module, spec)
        progress.remove_task(task)
        todo = list(cases(spec, seed=seed, large=large))
        task = progress.add_task("run", total=len(todo))
        for case in todo:
            progress.update(task, advance=1, description=case.name)
            if not isinstance(case, Case):
                refused[case.name] = case.reason
                continue
            slow = Stalls(arready=0.3, awready=0.3, wready=0.3, rvalid=0.3, bvalid=0.3, extra_latency=20, seed=seed)
            for memory in (None, slow) if stalls else (None,):
                name = case.name if memory is None else f"{case.name}, stalling memory"
                try:
                    outcome: Outcome = verify(model, case.data, case.image, case.registers, memory)
                except RuntimeError as error:  # a view that came to no end: the RTL hangs, or the golden model refuses
                    failed.append((name, str(error)))
                    continue
                failed += [(name, difference) for difference in outcome.differences]
                passed.append({"case": name, "cycles": outcome.cycles, "macs": outcome.macs, "commands": outcome.commands})
    if report is not None:
        outcome_data = {
            "accelerator": spec.name,
            "digest": spec.digest,
            "cases": passed,
            "refused": refused,
            "differences": [{"case": case, "difference": difference} for case, difference in failed],
        }
        write_text(report, json.dumps(outcome_data, indent=1) + "\n")
        out.print(f"wrote {report}", highlight=False, markup=False)
    shown = f"[bold]{spec.name}[/] ({spec.digest}): {spec.array.rows} x {spec.array.cols} {spec.pe.format} PEs"
    out.print(f"{shown}, {len(verilog) / 1e6:.1f} MB of Verilog; {time.monotonic() - began:.0f} s", highlight=False)
    for reason in sorted(set(refused.values())):
        count = sum(each == reason for each in refused.values())
        out.print(f"[yellow]not run[/] ({count}): {reason}", highlight=False)
    if failed:
        table = Table(
            "run", "difference", title=f"[bold red]not equal[/]: {len(failed)} differences", title_justify="left", box=None
        )
        for row in failed[:20]:
            table.add_row(*row)
        out.print(table)
        raise typer.Exit(1)
    cycles = sum(int(str(each["cycles"])) for each in passed)
    out.print(
        f"[bold green]equal[/]: {len(passed)} runs, {cycles:,} cycles: every byte, cycle, counter and event", highlight=False
    )
