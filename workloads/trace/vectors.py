# pyright: basic
"""All other operations: which are free, and the kind, reads, writes and work of those that are not."""

import math
from typing import Any

import torch

from workloads.ops import Tensor, Vector, VectorKind, streaming_work
from workloads.trace.call import Call, tensors
from workloads.trace.values import Ledger, Lineage, elements

__all__ = ["is_constant", "kind_of", "lower_vector"]

_CONSTANTS = (  # literals: their content is known without data
    "arange", "empty", "empty_like", "empty_strided", "empty_permuted", "eye", "full", "full_like", "linspace",
    "new_empty", "new_empty_strided", "new_full", "new_ones", "new_zeros", "ones", "ones_like", "scalar_tensor",
    "zeros", "zeros_like", "fill_", "zero_", "tril_indices", "triu_indices", "lift_fresh_copy",
)  # fmt: skip
_OVERWRITES = ("copy_", "normal_", "uniform_", "bernoulli_", "random_", "exponential_", "fill_", "zero_")
_NORMS = (
    "batch_norm", "layer_norm", "group_norm", "rms_norm", "softmax", "var", "var_mean", "std", "std_mean",
    "logsumexp",
)  # fmt: skip
_REDUCTIONS = (
    "sum", "mean", "amax", "amin", "max", "min", "argmax", "argmin", "prod", "any", "all", "norm",
    "linalg_vector_norm", "nll_loss_forward", "nll_loss2d_forward", "count_nonzero", "median", "mode", "nansum",
    "aminmax",
)  # fmt: skip
_POOLS = ("pool", "upsample", "im2col", "col2im", "unfold_backward", "grid_sampler")
_MOVES = (
    "clone", "copy_", "cat", "stack", "index", "index_select", "gather", "scatter", "embedding",
    "embedding_dense_backward", "select_backward", "slice_backward", "constant_pad_nd", "roll", "flip", "repeat",
    "index_put", "index_add", "index_copy", "select_scatter", "slice_scatter", "diagonal_scatter",
    "as_strided_scatter", "scatter_add", "scatter_reduce", "take", "masked_select", "masked_scatter", "topk", "sort",
    "kthvalue", "nonzero", "reflection_pad", "replication_pad", "unfold", "nll_loss_backward", "nll_loss2d_backward",
    "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "repeat_interleave", "reflection_pad1d",
    "reflection_pad2d", "reflection_pad3d", "replication_pad1d", "replication_pad2d", "rot90", "one_hot", "tril",
    "triu", "diag_embed", "diagonal_backward", "value_selecting_reduction_backward", "index_select_backward",
)  # fmt: skip
_GATHERS = ("embedding", "index", "index_select", "gather", "take", "nll_loss_forward", "nll_loss2d_forward")
_SHAPE_ONLY = {  # arguments that the operation takes for their shape, or not at all
    "max_pool2d_with_indices_backward": ("self",),
    "max_pool3d_with_indices_backward": ("self",),
    "adaptive_max_pool2d_backward": ("self",),
    "_adaptive_avg_pool2d_backward": ("self",),
    "avg_pool2d_backward": ("self",),
    "avg_pool3d_backward": ("self",),
    "nll_loss_backward": ("self",),
    "nll_loss2d_backward": ("self",),
    "native_layer_norm_backward": ("bias",),
}


def is_constant(call: Call) -> bool:
    """Whether the results are literals, which cost nothing."""
    return call.operation in _CONSTANTS


def lower_vector(ledger: Ledger, call: Call) -> None:
    """Record what the operation computes; views of known storages cost nothing."""
    mutated = _mutated(call)
    fresh = [result for result in call.results if result.numel() and not ledger.known(result)]
    written = [*mutated, *fresh]
    if not written:
        return
    name = f"{call.layer}/{call.operation.rstrip('_')}"
    if is_constant(call):
        for tensor in written:
            if not ledger.known(tensor) or _whole(tensor):
                ledger.declare(tensor, ledger.unique(f"{name}:constant"), Lineage.CONSTANT, layer=call.layer)
        return
    if all(tensor.numel() == 1 and not tensor.is_floating_point() for tensor in written):
        _declare_counters(ledger, call, fresh)
        return
    sources = _sources(call, mutated)
    reads = ledger.reads(sources)
    lineage, parameters = _lineage(ledger, call, [tensor for tensor, _ in sources])
    name = ledger.unique(name)
    writes: dict[str, Tensor] = {}
    for i, tensor in enumerate(written):
        target = f"{name}:{i}" if len(written) > 1 else f"{name}:out"
        own_lineage, own_parameters = lineage, parameters
        if i < len(mutated) and not _whole(tensor):  # the rest of the storage keeps what it derives from
            before = ledger.value(tensor)
            own_lineage = max(lineage, before.lineage)
            own_parameters = (*before.parameters, *parameters) if own_lineage is Lineage.WEIGHT else ()
        writes[target] = Tensor(target, elements(tensor))
        ledger.declare(tensor, target, own_lineage, parameters=own_parameters, layer=call.layer)
    kind = kind_of(call)
    work = streaming_work(kind, reads, tuple(writes.values()))
    if kind is VectorKind.POOL:
        work = max(work, _window_reads(call))
    ledger.ops.append(
        Vector(
            name=name,
            layer=call.layer,
            phase=call.phase,
            kind=kind,
            operation=call.operation,
            work=work,
            reads=reads,
            writes=tuple(writes.values()),
        )
    )


def kind_of(call: Call) -> VectorKind:
    """How the operation walks its data, by its name; by its shapes where the name is not known."""
    plain = call.operation.rpartition(".")[2].strip("_")
    root = plain.removesuffix("_backward_data").removesuffix("_backward").removeprefix("native_").removeprefix("fused_")
    root = root.removeprefix("log_").removeprefix("safe_").removesuffix("_legit").removeprefix("cudnn_")
    if "batch_norm" in root and not _training(call):
        return VectorKind.MAP  # fixed statistics: a scale and a shift
    if "batch_norm" in root:
        return VectorKind.BATCH_NORM
    if root in _NORMS:
        return VectorKind.NORM
    if any(word in plain for word in _POOLS):
        return VectorKind.POOL
    if plain in _MOVES or call.operation in _MOVES:
        return VectorKind.MOVE
    if plain in _REDUCTIONS and not _elementwise(call):
        return VectorKind.REDUCE
    written = max(tensor.numel() for tensor in call.results) if call.results else 0
    read = max((tensor.numel() for tensor in call.inputs), default=0)
    return VectorKind.REDUCE if written == 1 < read else VectorKind.MAP


def _elementwise(call: Call) -> bool:
    """``max(a, b)`` of two tensors, which shares its name with the reduction."""
    return len(call.inputs) == 2 and call.results[0].numel() >= max(tensor.numel() for tensor in call.inputs)


def _training(call: Call) -> bool:
    for name in ("training", "train"):
        if call.has(name):
            return bool(call.argument(name))
    return True


def _mutated(call: Call) -> list[torch.Tensor]:
    """Tensors written in place, running statistics included, which the schema of batch norm does not mention."""
    mutated = list(call.mutated())
    if call.operation == "native_batch_norm" and _training(call):
        mutated += tensors((call.argument("running_mean"), call.argument("running_var")))
    return mutated


def _whole(tensor: torch.Tensor) -> bool:
    return tensor.numel() * tensor.element_size() >= tensor.untyped_storage().nbytes()


def _sources(call: Call, mutated: list[torch.Tensor]) -> list[tuple[torch.Tensor, int]]:
    """Tensors that the operation reads, and how many elements of each."""
    skipped = [call.argument(name) for name in _SHAPE_ONLY.get(call.operation, ()) if call.has(name)]
    if call.operation == "native_batch_norm_backward" and _training(call):
        skipped += [call.argument("running_mean"), call.argument("running_var")]
    if call.operation in _OVERWRITES:
        skipped += [tensor for tensor in mutated if _whole(tensor)]
    sources = [(tensor, elements(tensor)) for tensor in call.inputs if not any(tensor is other for other in skipped)]
    if call.operation in _GATHERS and sources:
        picked = call.argument("target") if call.has("target") else call.results[0]
        sources[0] = (sources[0][0], picked.numel())
    return sources


def _lineage(ledger: Ledger, call: Call, sources: list[torch.Tensor]) -> tuple[Lineage, tuple[str, ...]]:
    if call.operation in ("index", "index_select", "gather") and sources and sources[0].dim() >= 3:
        # experts picked from a stack of weights by what the activations say: still weights
        first = ledger.value(sources[0])
        if first.lineage is Lineage.WEIGHT and not any(tensor.is_floating_point() for tensor in sources[1:]):
            return first.lineage, first.parameters
    return ledger.derived(sources)


def _declare_counters(ledger: Ledger, call: Call, fresh: list[torch.Tensor]) -> None:
    """Step counters and the like are bookkeeping of the host: no operation, but a known value."""
    for tensor in fresh:
        lineage, parameters = ledger.derived(call.inputs)
        name = ledger.unique(f"{call.layer}/{call.operation}:counter")
        ledger.declare(tensor, name, lineage, parameters=parameters, layer=call.layer)


def _window_reads(call: Call) -> int:
    """Elements that pass the windows of a pooling; 0 where it has none of fixed size."""
    if not call.has("kernel_size") or "with_indices_backward" in call.operation:
        return 0
    kernel: Any = call.argument("kernel_size")
    positions = call.args[0] if "backward" in call.operation else call.results[0]
    sizes = list(kernel) if isinstance(kernel, list | tuple) else [kernel]
    spatial = positions.dim() - 2
    return positions.numel() * math.prod(sizes if len(sizes) > 1 else sizes * max(spatial, 1))
