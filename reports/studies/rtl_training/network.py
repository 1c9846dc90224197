"""A perceptron's training step as one placed program, cut where the host takes the logits and gives their gradient."""

from dataclasses import dataclass
from typing import Literal

from dataflows.compile import compile_workload
from dataflows.mapping import Mapping
from dataflows.place import Placed, place
from dataflows.split import split
from simulator.arch import Accelerator
from simulator.encoding import encode
from workloads.gemm import Gemm, Operand, Phase, Role, Stage
from workloads.graph import Workload
from workloads.ops import OPTIMIZERS, Op, Tensor, Update, Vector, VectorKind, streaming_work
from workloads.sparsity import DENSE, NM, Pattern, Producer

__all__ = ["Network", "Step", "compiled_step", "step_workload"]

_FORWARD = ("ff1", "relu", "ff2")  # what runs before the host's turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """``logits = relu(x W1') W2'``, weights W1[hidden][inputs] and W2[outputs][hidden], all of a pattern (BDWP) or dense.

    `outputs` is `classes` rounded up to what the machine takes: rows of whole bursts, and whole N:M groups along the outputs.
    """

    pattern: Pattern
    batch: int = 32
    inputs: int = 64
    hidden: int = 32
    outputs: int = 16
    classes: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A training step: the programs before and after the host's turn, on one memory image."""

    network: Network
    placed: Placed
    forward: bytes
    backward: bytes


def step_workload(network: Network) -> Workload:
    """Forward, backward (the first layer needs no data gradient), weight gradients, and updates that make the copies which
    the next step reads: W1 along its inputs, W2 along its inputs and, for the data gradient, along its outputs."""
    batch, inputs, hidden, outputs = network.batch, network.inputs, network.hidden, network.outputs
    x, h, dy, dlogits = (_plain(name) for name in ("x", "h", "dy", "dlogits"))
    w1, w2 = (
        Operand(tensor=name, role=Role.WEIGHT, parameter=name, pattern=network.pattern, producer=Producer.UPDATE)
        for name in ("w1", "w2")
    )
    ops: tuple[Op, ...] = (
        _gemm("ff1", Stage.FF, (batch, hidden, inputs), x, w1, "y"),
        _vector("relu", "relu", ("y",), "h", batch * hidden),
        _gemm("ff2", Stage.FF, (batch, outputs, hidden), h, w2, "logits"),
        _gemm("bp2", Stage.BP, (batch, hidden, outputs), dlogits, w2, "dh"),
        _vector("relu gradient", "threshold_backward", ("dh", "h"), "dy", batch * hidden),
        _gemm("wu2", Stage.WU, (outputs, hidden, batch), dlogits, h, "dw2"),
        _gemm("wu1", Stage.WU, (hidden, inputs, batch), dy, x, "dw1"),
        _update("w2", outputs * hidden, network.pattern, both=True),
        _update("w1", hidden * inputs, network.pattern, both=False),
    )
    return Workload(name="perceptron", batch=batch, ops=ops)


def compiled_step(network: Network, accelerator: Accelerator) -> Step:
    """Compiled, placed and cut. Raises UnsupportedError where the machine can't run it."""
    program = compile_workload(step_workload(network), accelerator, Mapping(fuse=False, bp="ws", wu="os"))
    placed = place(program, accelerator)
    before = {index for index, op in enumerate(program.ops) if op.name in _FORWARD}
    forward, backward = split(placed.words, before)
    return Step(network=network, placed=placed, forward=encode(forward), backward=encode(backward))


def _plain(name: str) -> Operand:
    return Operand(tensor=name, role=Role.GRADIENT if name.startswith("d") else Role.ACTIVATION)


def _gemm(name: str, stage: Stage, shape: tuple[int, int, int], a: Operand, b: Operand, c: str) -> Gemm:
    m, n, k = shape
    phase = Phase.FORWARD if stage is Stage.FF else Phase.BACKWARD
    return Gemm(name=name, layer=name[-1], stage=stage, phase=phase, m=m, n=n, k=k, a=a, b=b, c=c)


def _vector(name: str, operation: str, reads: tuple[str, ...], out: str, elements: int) -> Vector:
    tensors, written = tuple(Tensor(each, elements) for each in reads), (Tensor(out, elements),)
    work = streaming_work(VectorKind.MAP, tensors, written)
    return Vector(
        name=name,
        layer="1",
        phase=Phase.FORWARD if operation == "relu" else Phase.BACKWARD,
        kind=VectorKind.MAP,
        operation=operation,
        work=work,
        reads=tensors,
        writes=written,
    )


def _update(parameter: str, elements: int, pattern: Pattern, *, both: bool) -> Update:
    copies: tuple[tuple[Literal["ff", "bp"], NM], ...] = ()
    if isinstance(pattern, NM):
        copies = (("ff", pattern), ("bp", pattern)) if both else (("ff", pattern),)
    return Update(
        name=f"update {parameter}",
        parameter=parameter,
        elements=elements,
        optimizer=OPTIMIZERS["sgd-momentum"],
        gradient=f"d{parameter}",
        prune=copies,
        dense_copy=pattern == DENSE,
    )
