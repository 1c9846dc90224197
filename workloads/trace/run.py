# pyright: basic
"""One training step under the recorder: forward, loss, backward, and an update for each trained parameter."""

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel

from workloads.formats.trace_file import TraceError
from workloads.gemm import Phase
from workloads.ops import OPTIMIZERS, Op, Update
from workloads.trace.call import tensors
from workloads.trace.example import Example, build_example, fake_example, takes_batch
from workloads.trace.recorder import Recorder
from workloads.trace.values import Ledger, Lineage

__all__ = ["Step", "fake_mode", "record_step", "total_loss", "tracing"]

_AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
_VALUE_ERRORS = ("DataDependentOutputException", "DynamicOutputShapeException", "GuardOnDataDependentSymNode")


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one traced step did."""

    ops: list[Op]
    saved_elements: int


def record_step(
    build: Callable[..., Any],
    *,
    name: str,
    batch: int,
    input_shape: tuple[int, ...] | None,
    dtype: str,
    optimizer: str,
) -> Step:
    """Build the model at a batch and record a step of it. Raises TraceError that names the layer of a failure."""

    def attempt(real: bool) -> Step:
        example = build_example(build, name=name, batch=batch, input_shape=input_shape, real=real)
        own = None if takes_batch(build) else example.batch
        try:
            return _record(example, name=name, dtype=dtype, optimizer=optimizer, batch=None if own is None else batch)
        except TraceError as error:
            if real or not example.small:
                hint = "" if own in (None, batch) else f" (the builder takes no batch, and its example inputs have {own})"
                raise TraceError(f"{error}{hint}") from error.__cause__
        return attempt(real=True)  # the meta device may be what failed; the second error is the model's own

    try:
        return attempt(real=False)
    except TraceError as error:
        if not isinstance(error.__cause__, Exception) or "could not be built" not in str(error):
            raise
    return attempt(real=True)


def fake_mode() -> FakeTensorMode:
    """The mode under which nothing is computed; tensors that the model hides from us become fake as they appear."""
    return FakeTensorMode(allow_non_fake_inputs=True)


@contextlib.contextmanager
def tracing(mode: FakeTensorMode, watcher: contextlib.AbstractContextManager[Any]) -> Iterator[None]:
    """The settings under which a step is extracted: attention as plain products, layers without fused CPU kernels.

    Warnings of the model and PyTorch's own log of a failed operation are held back: the error says it.
    """
    fused, log = torch._C._get_mkldnn_enabled(), logging.getLogger("torch._subclasses.fake_tensor")
    silent = log.disabled
    torch._C._set_mkldnn_enabled(False)
    log.disabled = True
    try:
        with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH), torch.enable_grad(), mode, watcher:
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = silent
        torch._C._set_mkldnn_enabled(fused)


def total_loss(output: Any) -> torch.Tensor | None:
    """The output's own loss where it has one, else the sum of all outputs that can be differentiated."""
    own = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
    found = tensors(own) or tensors(_plain(output))
    parts = [part for part in found if part.is_floating_point() and part.requires_grad]
    sums = [part if part.dim() == 0 else part.sum() for part in parts]
    return sum(sums[1:], start=sums[0]) if sums else None


def _plain(output: Any) -> Any:
    """Containers that the tree walk does not know, as those it knows."""
    if isinstance(output, dict):
        return dict(output)
    if hasattr(output, "__dataclass_fields__"):
        return [getattr(output, field) for field in output.__dataclass_fields__]
    return output


def _record(example: Example, *, name: str, dtype: str, optimizer: str, batch: int | None) -> Step:
    mode = fake_mode()
    example = fake_example(example, mode, name=name, batch=batch)
    module = example.module
    if not module.training:
        module.train()
    ledger = Ledger()
    for parameter_name, parameter in module.named_parameters():
        ledger.declare_parameter(parameter, parameter_name)
    for buffer_name, buffer in module.named_buffers():
        ledger.declare(buffer, buffer_name, Lineage.CONSTANT)
    persistent = {p.untyped_storage()._cdata for p in (*module.parameters(), *module.buffers())}
    for i, tensor in enumerate(tensors((example.args, dict(example.kwargs)))):
        if not ledger.known(tensor):
            ledger.declare(tensor, f"input/{i}", Lineage.ACTIVATION)
    saved: dict[int, int] = {}
    alive: list[torch.UntypedStorage] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        weight = ledger.known(tensor) and ledger.value(tensor).lineage is Lineage.WEIGHT  # its casts and masked copies
        if not weight and storage._cdata not in persistent and storage._cdata not in saved:
            saved[storage._cdata] = storage.nbytes() // tensor.element_size()
            alive.append(storage)
        return tensor

    recorder = Recorder(module, ledger)
    try:
        with tracing(mode, recorder):
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), _autocast(dtype):
                loss = total_loss(module(*example.args, **example.kwargs))
            if loss is None:
                raise TraceError(f"Model {name!r} must return a floating-point tensor that depends on its parameters")
            seed = torch.ones_like(loss)
            ledger.declare(seed, "loss/seed", Lineage.GRADIENT, layer="loss")
            recorder.watch(loss)
            recorder.phase = Phase.BACKWARD
            loss.backward(seed)
    except TraceError:
        raise
    except Exception as error:
        raise TraceError(_failure(name, recorder, error)) from error
    finally:
        recorder.close()
    for parameter_name, parameter in module.named_parameters():
        if (gradient := parameter.grad) is not None:
            ledger.ops.append(
                Update(
                    name=f"{parameter_name}/update",
                    parameter=parameter_name,
                    elements=parameter.numel(),
                    optimizer=OPTIMIZERS[optimizer],
                    gradient=ledger.value(gradient).name,
                )
            )
    return Step(ops=ledger.ops, saved_elements=sum(saved.values()))


def _autocast(dtype: str) -> contextlib.AbstractContextManager[Any]:
    low = _AUTOCAST[dtype]
    return contextlib.nullcontext() if low is None else torch.autocast("cpu", dtype=low)


def _failure(name: str, recorder: Recorder, error: Exception) -> str:
    direction = "backward" if recorder.phase is Phase.BACKWARD else "forward"
    text = f"Model {name!r} failed in {direction} at layer {recorder.layer_of(error)!r}: {type(error).__name__}: {error}"
    if any(kind in type(error).__name__ for kind in _VALUE_ERRORS):
        text += " (a step is traced without values: what the model decides by a tensor's content can't be known)"
    return text.strip()
