"""What a person reads in the terminal: a run's tables, a sweep's front, an accelerator's fields."""

from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dse.evaluate import Run
from dse.figures import number, rate, share, si
from dse.render_cost import print_cost
from dse.space import Objective
from simulator.arch import Accelerator, leaf_fields
from simulator.presets import PRESETS
from simulator.schedule import Engine
from workloads.stages import STAGES

__all__ = ["print_accelerator", "print_front", "print_run"]

_WAITS = {"command": "waits for dispatch", "array": "waits for its own results", "drained": "has no more work"}
_WIDE = 120  # columns that the whole operation table needs
_BESIDE_LAYER = {False: 86, True: 58}  # columns beside the layer's name, in the whole table and without MACs and waits


def print_run(console: Console, run: Run, baseline: Run | None, *, top: int) -> None:
    """The point, its costliest operations, the stages, the array's account, and what came out."""
    point, accelerator = run.point, run.point.accelerator
    pe, array = accelerator.pe, accelerator.array
    console.print(
        f"[bold]{escape(accelerator.name)}[/] ({accelerator.digest})   {array.rows}x{array.cols} PEs"
        f"{f' x {pe.lanes} multipliers' if pe.lanes > 1 else ''}, "
        f"{pe.format}, {accelerator.clock_hz / 1e6:g} MHz, {accelerator.dram.bytes_per_second / 1e9:g} GB/s"
        + _provenance(accelerator)
    )
    kept = si(run.workload.saved_elements * pe.number.result_bits / 8)
    console.print(
        f"[bold]{escape(point.workload)}[/], batch {point.batch}, method [bold]{point.method}[/], "
        f"{run.workload.parameters / 1e6:.1f} M parameters, kept for backward {kept}B\n"
    )
    _print_ops(console, run, top)
    _print_stages(console, run)
    _print_account(console, run)
    _print_total(console, run, baseline)
    print_cost(console, run)
    for notice in run.workload.notices[:5]:
        console.print(f"[yellow]note[/] {escape(notice.layer)} {notice.stage}: {escape(notice.text)}", highlight=False)
    if len(run.workload.notices) > 5:
        console.print(f"[yellow]note[/] and {len(run.workload.notices) - 5} more; --json lists them")


def _provenance(accelerator: Accelerator) -> str:
    preset = PRESETS.get(accelerator.name)
    if preset is None or preset.accelerator != accelerator:
        return ""
    total = len(preset.provenance)
    return f"   {preset.sourced} of {total} fields sourced, {total - preset.sourced} assumed (dse show {accelerator.name})"


def _print_ops(console: Console, run: Run, top: int) -> None:
    frame = run.table
    shown = frame[frame["cycles"] > 0].nlargest(top, "cycles").sort_index() if top else frame
    table = Table(box=None, pad_edge=False, header_style="bold")
    narrow = console.width < _WIDE
    room = max(20, console.width - _BESIDE_LAYER[narrow])
    table.add_column("layer", no_wrap=True, min_width=20)
    for name in ("stage", "flow", "pattern"):
        table.add_column(name, no_wrap=True)
    for name in ("cycles", "of step", "util") if narrow else ("MACs", "cycles", "of step", "util"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("bound by", no_wrap=True)
    if not narrow:
        table.add_column("array waits for", no_wrap=True)
    for row in shown.to_dict("records"):
        waits = {str(key).removeprefix("stall_"): value for key, value in row.items() if str(key).startswith("stall_")}
        worst = [item for item in sorted(waits.items(), key=lambda item: -item[1])[:2] if item[1] * 1000 >= run.result.cycles]
        table.add_row(
            escape(_end(str(row["layer"]), room)),
            str(row["stage"]),
            str(row["dataflow"]),
            str(row["pattern"]),
            *([] if narrow else [si(row["dense_macs"]) if row["dense_macs"] else ""]),
            si(row["cycles"]),
            share(row["cycles"], run.result.cycles),
            f"{row['utilization']:.0%}" if row["array_busy"] else "",
            str(row["bound_by"]),
            *([] if narrow else [", ".join(f"{cause} {share(cycles, run.result.cycles)}" for cause, cycles in worst)]),
        )
    console.print(table)
    if len(shown) < len(frame):
        rest = run.result.cycles - int(shown["cycles"].sum())
        console.print(
            f"[dim]... and {len(frame) - len(shown)} more operations ({share(rest, run.result.cycles)} of the step); "
            "--all shows them[/]"
        )
    legend = ["cycles: how far the operation moved the end of the step", "util: of the busy array"]
    console.print(f"[dim]{'; '.join(legend if narrow else ['MACs with zeros', *legend])}[/]\n")


def _end(name: str, room: int) -> str:
    """A name's end, which tells layers apart, where all of it has no room."""
    return name if len(name) <= room else "\N{HORIZONTAL ELLIPSIS}" + name[1 - room :]


def _print_stages(console: Console, run: Run) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    for name in ("MACs dense", "MACs done", "cycles", "of step", "array busy", "DRAM"):
        table.add_column(name, justify="right")
    rows: dict[str, dict[str, int]] = run.stages.to_dict("index")  # pyright: ignore[reportAssignmentType]
    for stage in STAGES:
        row = rows[stage]
        if row["cycles"] or row["dram_bytes"] or row["dense_macs"]:
            table.add_row(
                stage,
                si(row["dense_macs"]) if row["dense_macs"] else "",
                si(row["macs"]) if row["macs"] else "",
                f"{row['cycles']:,}",
                share(row["cycles"], run.result.cycles),
                f"{row['array_busy']:,}" if row["array_busy"] else "",
                f"{si(row['dram_bytes'])}B",
            )
    console.print(table)
    console.print()


def _print_account(console: Console, run: Run) -> None:
    """Where the array's cycles went: they add up to the run."""
    total = run.result.cycles
    causes = {cause: int(run.table[f"array_{cause}"].sum()) for cause in ("compute", "latency", "bandwidth", "shift", "fill")}
    stalls = run.result.engines[Engine.ARRAY].stalls
    waits = {_WAITS.get(cause, f"waits for {cause}"): stalls[cause] for cause in sorted(stalls, key=lambda c: -stalls[c])}
    parts = [f"{name} {share(cycles, total)}" for name, cycles in (causes | waits).items() if cycles * 1000 >= total]
    console.print("[bold]array[/]   " + ", ".join(parts), highlight=False)
    others = [
        f"{engine.value} {share(time.busy, total)}"
        for engine, time in run.result.engines.items()
        if engine is not Engine.ARRAY and time.busy
    ]
    console.print(f"[bold]busy[/]    DRAM port {share(run.result.port_busy_cycles, total)}: " + ", ".join(others) + "\n")


def _print_total(console: Console, run: Run, baseline: Run | None) -> None:
    result, point = run.result, run.point
    console.print(
        f"[bold]training step[/]  {result.cycles:,} cycles = {1e3 * result.seconds:,.3f} ms, "
        f"{rate(run.images_per_second)} images/s, {result.cycles / point.batch:,.0f} cycles per image"
    )
    console.print(
        f"[bold]throughput[/]     {rate(result.dense_ops_per_second / 1e9)} GOPS counting skipped zeros, "
        f"{rate(result.effective_ops_per_second / 1e9)} done, of {rate(point.accelerator.peak_dense_flops / 1e9)} peak "
        f"({float(result.utilization):.1%} of multiplier cycles)"
    )
    bound = run.bound
    console.print(
        f"[bold]lower bound[/]    {bound.cycles:,} cycles ({share(bound.cycles, result.cycles)} of these) for any program, "
        f"set by {bound.binding}"
    )
    if baseline is not None:
        metrics = run.metrics()
        console.print(
            f"[bold]speed-up[/]       {baseline.result.cycles / result.cycles:.3f}x over dense on the same machine "
            f"(MAC bound {metrics['mac_bound_speedup']:.3f}x)"
        )


def print_front(
    console: Console, front: pd.DataFrame, objectives: tuple[Objective, ...], varied: list[str], names: dict[str, str]
) -> None:
    """The Pareto set as a table: what differs, then the objectives, then what else one asks first.

    Where the terminal is too narrow for that, the settings share a column, and only the objectives stay.
    """
    settings = [name for name in varied if name in front.columns and front[name].map(str).nunique() > 1]
    columns = [objective.column for objective in objectives]
    more = [name for name in ("images_per_second", "utilization") if name not in columns]
    by_key: dict[str, list[str]] = {}
    for name, key in names.items():
        by_key.setdefault(key, []).append(name)
    table = _front_table(front, objectives, settings, more, by_key)
    if console.measure(table, options=console.options.update(max_width=10_000)).maximum > console.width:
        table = _front_table(front, objectives, settings, [], by_key, shared=True)
    console.print(table)


def _front_table(
    front: pd.DataFrame,
    objectives: tuple[Objective, ...],
    settings: list[str],
    more: list[str],
    names: dict[str, list[str]],
    *,
    shared: bool = False,
) -> Table:
    title = f"Pareto front: {len(front)} point{'' if len(front) == 1 else 's'}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("point", justify="right", no_wrap=True)
    if shared:
        table.add_column("what differs", min_width=20, overflow="fold")
    for name in [] if shared else settings:
        table.add_column(_short(name).replace(".", "\n").replace("_", "\n"), no_wrap=True)
    for objective in objectives:
        heading = f"{_heading(objective.column)}\n{'(min)' if objective.minimize else '(max)'}"
        table.add_column(heading, justify="right", no_wrap=True)
    for name in more:
        table.add_column(_heading(name), justify="right", no_wrap=True)
    if not shared:
        table.add_column("", no_wrap=True)
    for row in front.to_dict("records"):
        values = [_setting(row[name]) for name in settings]
        called = ", ".join(names.get(str(row["key"]), []))
        if shared:
            told = ", ".join(f"{_short(name)} {value}" for name, value in zip(settings, values, strict=True))
            values = [f"{called}: {told}" if called else told]
        table.add_row(
            f"#{row['point']}",
            *(escape(value) for value in values),
            *(number(row[name]) for name in (*(objective.column for objective in objectives), *more)),
            *([] if shared else [called]),
        )
    return table


def _short(setting: str) -> str:
    return setting.removeprefix("accelerator.").removeprefix("mapping.")


def _setting(value: Any) -> str:
    return si(value, 4).replace(" ", "") if type(value) is int and value >= 10_000 else str(value)


def _heading(column: str) -> str:
    """Words on their own lines: numbers are narrow, their names are long."""
    return column.replace("_", "\n")


def print_accelerator(console: Console, accelerator: Accelerator) -> None:
    """Every field with its value and, for a preset, where that comes from."""
    preset = PRESETS.get(accelerator.name)
    own = leaf_fields(preset.accelerator) if preset is not None else {}
    same = preset is not None and preset.accelerator == accelerator
    about = f"   {preset.about}" if preset is not None and same else ""
    console.print(f"[bold]{escape(accelerator.name)}[/] ({accelerator.digest}){about}", highlight=False)
    console.print(
        f"{accelerator.multipliers:,} multipliers, {rate(accelerator.peak_dense_flops / 1e9)} GOPS dense, "
        f"{accelerator.storage_bits / 8 / 2**20:,.2f} MiB on chip\n"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("field", "value", "", "source or reason"):
        table.add_column(name, overflow="fold")
    for path, value in leaf_fields(accelerator).items():
        if path != "name":
            text = (
                " ".join(str(item) for item in value)
                if isinstance(value, tuple)
                else f"{value:,}"
                if type(value) is int
                else str(value)
            )
            origin = preset.provenance[path] if preset is not None and own[path] == value else None
            table.add_row(path, text, origin.kind if origin else "set here", escape(origin.note) if origin else "")
    console.print(table)
