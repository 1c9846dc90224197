"""A step as a trace: recorded at two batch sizes, every size then written as a function of the batch."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

from workloads.formats.trace_file import Trace, TraceError, merge_batches, op_record
from workloads.gemm import Gemm
from workloads.ops import OPTIMIZERS, Op
from workloads.trace.target import require_torch

if TYPE_CHECKING:
    from workloads.trace.run import Step

__all__ = ["trace_step"]

_DTYPES = ("fp32", "bf16", "fp16")


def trace_step(
    build: Callable[..., Any],
    *,
    name: str,
    batch: int,
    input_shape: tuple[int, ...] | None = None,
    dtype: Literal["fp32", "bf16", "fp16"] = "fp32",
    optimizer: str = "sgd-momentum",
    source: str = "",
) -> Trace:
    """Extract one training step (forward, backward, optimizer) of a model.

    `build` returns a module and its example inputs: a tensor, a tuple of tensors or a dict of keyword arguments. It may
    take a keyword `batch`; where it does not, inputs that lead with its own batch are given the one asked for. With
    `input_shape` (without the batch) it may return the module alone. bf16 and fp16 run forward under autocast.
    The loss is the output's own `loss`, else the sum of its tensors. Where the model can't be traced as a function of
    the batch, the trace holds for this batch only and its `notes` say why.

    Raises TraceError for a model that can't be built or fails, naming the layer, and where PyTorch is missing.
    """
    require_torch()
    if type(batch) is not int or batch < 1:
        raise TraceError(f"Model {name!r}: batch must be a positive integer, not {batch!r}")
    if dtype not in _DTYPES:
        raise TraceError(f"Model {name!r}: dtype must be one of {', '.join(_DTYPES)}, not {dtype!r}")
    if optimizer not in OPTIMIZERS:
        raise TraceError(f"Model {name!r}: optimizer must be one of {', '.join(OPTIMIZERS)}, not {optimizer!r}")
    import torch

    from workloads.trace.run import record_step

    def record(size: int) -> "Step":
        return record_step(build, name=name, batch=size, input_shape=input_shape, dtype=dtype, optimizer=optimizer)

    first = record(batch)
    records, saved, notes = _as_function_of_batch(record, first, batch)
    return Trace(
        name=name,
        batch=batch,
        batch_scalable=records is not None,
        optimizer=optimizer,
        dtype=dtype,
        source=source,
        torch=torch.__version__.partition("+")[0],
        saved_elements=saved,
        records=tuple([op_record(op) for op in first.ops] if records is None else records),
        notes=notes,
    )


def _as_function_of_batch(
    record: "Callable[[int], Step]", first: "Step", batch: int
) -> tuple[list[dict[str, Any]] | None, str, tuple[str, ...]]:
    """Records with sizes as functions of the batch, or None and why it can't be."""
    try:
        second = record(batch + 1)
        records, saved = merge_batches((batch, first.ops, first.saved_elements), (batch + 1, second.ops, second.saved_elements))
        return records, saved, ()
    except TraceError as error:
        reason = str(error)
    if batch == 1:  # a batch of one may need fewer copies than others
        try:
            two, three = record(2), record(3)
            records, saved = merge_batches((2, two.ops, two.saved_elements), (3, three.ops, three.saved_elements))
            merged = Trace(
                name="",
                batch=1,
                batch_scalable=True,
                optimizer="",
                dtype="",
                source="",
                torch="",
                saved_elements=saved,
                records=tuple(records),
            )
            if _products(merged.bind().ops) == _products(first.ops):
                more = len(two.ops) - len(first.ops)
                return records, saved, (f"at batch 1 the model runs {more} vector operations less than the trace has",)
            reason = "its matrix products at batch 1 differ from those at other batches"
        except TraceError as error:
            reason = str(error)
    return None, str(first.saved_elements), (f"the trace holds for batch {batch} only: {reason}",)


def _products(ops: Iterable[Op]) -> list[tuple[object, ...]]:
    """The matrix products with all their sizes."""
    return [(op.name, op.batch, op.m, op.n, op.k, op.conv) for op in ops if isinstance(op, Gemm)]
