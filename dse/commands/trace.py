"""`dse trace`: a training step out of PyTorch."""

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from dse.commands.options import Batch, check_writable, out, status
from dse.config import ConfigError
from dse.figures import si
from dse.folder import command_line
from dse.store import StoreError
from workloads.formats.trace_file import save_trace

__all__ = ["trace_command"]


def trace_command(
    target: Annotated[
        str, typer.Argument(help="`pkg.module:callable`, `file.py:callable` (returning module, inputs), or a zoo name.")
    ],
    output: Annotated[Path | None, typer.Option("-o", "--out", help="Trace file [NAME.jsonl.gz].")] = None,
    batch: Batch = 1,
    shape: Annotated[str | None, typer.Option(help="Shape of one input without the batch, as in 3x64x64.")] = None,
    dtype: Annotated[str, typer.Option(help="fp32, bf16 or fp16 (autocast).")] = "fp32",
    optimizer: Annotated[str, typer.Option(help="sgd, sgd-momentum, adam or adamw.")] = "sgd-momentum",
) -> None:
    """Extract a model's training step from PyTorch: every GEMM of forward and backward, vector work, updates.

    Nothing is computed and no weights are needed: a model of any size traces in seconds. Needs `pip install nmdse[torch]`.
    Example: `dse trace my_model.py:build --batch 8`, then `dse run sat-vcu1525 build.jsonl.gz --batch 8`
    """
    from workloads.trace import resolve_target, trace_step

    name, build = resolve_target(target)
    path = output or Path(f"{name}.jsonl.gz")
    sizes = _shape(shape) if shape else None
    check_writable(path)
    with status(f"tracing {name}"):
        trace = trace_step(
            build,
            name=name,
            batch=batch,
            input_shape=sizes,
            dtype=cast(Literal["fp32", "bf16", "fp16"], dtype),
            optimizer=optimizer,
            source=command_line(),
        )
    try:
        save_trace(trace, path)
    except OSError as error:
        raise StoreError(f"Trace {str(path)!r} must be writable: {error.strerror}") from None
    workload = trace.bind()
    macs = {stage: sum(g.dense_macs for g in workload.gemms if g.stage == stage) for stage in ("ff", "bp", "wu", "aa")}
    out.print(
        f"{name}, batch {batch}: {len(workload.ops):,} operations, {workload.parameters / 1e6:.2f} M parameters",
        highlight=False,
    )
    out.print(
        "  ".join(f"{stage} {si(count, 5)}MAC" for stage, count in macs.items() if count)
        + f"  step {si(sum(macs.values()), 5)}MAC",
        highlight=False,
    )
    for note in trace.notes:
        out.print(f"[yellow]note[/] {note}", highlight=False)
    out.print(f"wrote {path}", highlight=False)


def _shape(text: str) -> tuple[int, ...]:
    parts = text.lower().split("x")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(f"Option '--shape' must be positive sizes as in 3x64x64, not {text!r}")
    return tuple(int(part) for part in parts)
