"""Programs that exercise every engine of a machine, with random tensors: what `dse check` runs on a design point.

Each is a compiled and placed workload, so that the compiler, too, is among the views that are compared.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dataflows.compile import compile_workload
from dataflows.mapping import Mapping
from dataflows.place import place
from dataflows.place_work import second_name
from dataflows.regions import Region, read, write
from simulator.arch import Accelerator, Dataflow
from simulator.arithmetic import Values, quantize
from simulator.encoding import encode
from simulator.formats import FORMATS
from simulator.image import Element
from simulator.interpreter import Registers
from simulator.optimizers import adam_coefficients
from simulator.schedule import UnsupportedError
from workloads.gemm import Gemm, Operand, Phase, Role, Stage
from workloads.graph import Workload
from workloads.ops import OPTIMIZERS, Op, Prune, Tensor, Update, Vector, VectorKind, streaming_work
from workloads.sparsity import DENSE, NM, Pattern, Producer

__all__ = ["Case", "Refused", "cases", "patterns_of", "random_values"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A program, and the memory and registers that it begins with."""

    name: str
    data: bytes
    image: NDArray[np.uint8]
    registers: Registers = field(default_factory=Registers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A case that this machine can't run, and why."""

    name: str
    reason: str


def patterns_of(accelerator: Accelerator) -> tuple[Pattern, ...]:
    """Dense, and N:M up to the widest group: one, half, three and all of a group kept."""
    found: list[Pattern] = [DENSE]
    group = accelerator.pe.group
    for keep, of in ((1, 4), (2, 4), (2, 8), (3, 8), (2, 16), (4, 4)):
        if of <= group and of & (of - 1) == 0:
            found.append(NM(keep, of))
    if len(found) == 1 and group > 1:
        found.append(NM(1, 1 << group.bit_length() - 1))
    return tuple(found)


def random_values(rng: np.random.Generator, element: Element, shape: tuple[int, ...]) -> Values:
    """Values of all sizes: ties, zeros of both signs, subnormals and equal magnitudes among them.

    The first and last of each row, and of each column, are large and equal but for their signs: in half of the sums they
    cancel, so that what was lost in between, and with it the order of additions, shows in the result.
    """
    if element is Element.MASK:
        return rng.integers(0, 2, shape).astype(np.bool_)
    if element in (Element.INT8, Element.INT32):
        top = 128 if element is Element.INT8 else 2**20
        return rng.integers(-top, top, shape).astype(np.int8 if element is Element.INT8 else np.int32)
    values = rng.normal(size=shape) * 2.0 ** rng.integers(-8, 4, shape)
    values = np.where(rng.random(shape) < 0.2, rng.choice([0.0, -0.0, 1.0, -1.0, 2.0**-20], shape), values)
    for axis in (values, values.T) if values.ndim == 2 else ():
        axis[0] *= 2.0**6
        axis[-1] = axis[0] * rng.choice([-1.0, 1.0], axis[0].shape)
    return values.astype(np.float32) if element is Element.FP32 else quantize(FORMATS[element.value], values)


def cases(accelerator: Accelerator, *, seed: int = 0, large: bool = True) -> Iterator[Case | Refused]:
    """Single GEMMs in every dataflow, dense and N:M on either side, edge tiles and accumulation over tiles; vector
    operations; optimizer steps with both pruned copies; and a layer's training step with all of these."""
    rng = np.random.default_rng(seed)
    for dataflow in accelerator.array.dataflows:
        for pattern in patterns_of(accelerator):
            unit = pattern.group if isinstance(pattern, NM) else 1
            shapes = [(5, 7, 9 if unit == 1 else unit)]
            if large:
                shapes.append((33, 17, 65 if unit == 1 else -(-65 // unit) * unit))
            for sparse in ("a", "b") if isinstance(pattern, NM) else ("b",):
                for m, n, k in shapes:
                    gemm = _gemm("y", m, n, k, pattern, sparse, Stage.FF)
                    side = f" of {sparse}" if isinstance(pattern, NM) else ""
                    yield _case(f"{dataflow} {m}x{n}x{k} {pattern}{side}", [gemm], accelerator, rng, dataflow=dataflow.value)
    yield from _gradients(accelerator, rng)
    yield from _element_work(accelerator, rng)
    yield from _training(accelerator, rng)


def _gradients(accelerator: Accelerator, rng: np.random.Generator) -> Iterator[Case | Refused]:
    """GEMMs whose operands lie across: weight gradients, and data gradients by the weights of the forward pass."""
    for dataflow in accelerator.array.dataflows:
        if dataflow is Dataflow.OS:
            yield _case(
                "os weight gradient 18x21x20", [_gemm("dw", 18, 21, 20, DENSE, "b", Stage.WU)], accelerator, rng, dataflow="os"
            )
        for pattern in patterns_of(accelerator)[:3]:
            unit = pattern.group if isinstance(pattern, NM) else 1
            gemm = _gemm("dx", 9, 20, 3 * unit + 8 // unit * unit, pattern, "b", Stage.BP)
            yield _case(f"{dataflow} data gradient {pattern}", [gemm], accelerator, rng, dataflow=dataflow.value)


def _element_work(accelerator: Accelerator, rng: np.random.Generator) -> Iterator[Case | Refused]:
    burst = 8 * accelerator.dram.burst_bytes // accelerator.pe.number.operand_bits
    elements = 5 * burst
    for operation, reads in (("relu", 1), ("add", 2), ("mul", 2), ("threshold_backward", 2), ("scale", 1), ("clone", 1)):
        vector = _map(operation, ("x", "y")[:reads], "z", elements)
        yield _case(f"vector {operation}, {elements} elements", [vector], accelerator, rng)
    if accelerator.pe.format != "int8" and accelerator.pe.group > 1:
        pattern = NM(1, 1 << accelerator.pe.group.bit_length() - 1)
        prune = Prune(
            name="prune",
            layer="layer",
            phase=Phase.BACKWARD,
            pattern=pattern,
            source=Tensor("x", 3 * burst * pattern.group),
            target="kept",
        )
        reader = Operand(tensor="kept", role=Role.GRADIENT, pattern=pattern, producer=Producer.ONLINE)
        dense = Operand(tensor="u", role=Role.ACTIVATION)
        gemm = _product("online", Stage.AA, (3 * burst, 5, pattern.group), reader, dense, "e")
        yield _case(f"online pruning {pattern}", [prune, gemm], accelerator, rng)


def _training(accelerator: Accelerator, rng: np.random.Generator) -> Iterator[Case | Refused]:
    """A layer's step: forward by its pruned weights, ReLU and back, data gradient by the backward copy, weight gradient,
    each optimizer that the machine has, and both copies of the new weights."""
    if accelerator.pe.format == "int8":
        return
    group = 1 << min(accelerator.pe.group, 8).bit_length() - 1
    pattern = NM(max(1, group // 4), group) if group > 1 else DENSE
    burst = 8 * accelerator.dram.burst_bytes // accelerator.pe.number.operand_bits
    batch, inputs, outputs = 6, burst * max(1, group // burst), burst * max(1, group // burst)
    weight = Operand(tensor="w", role=Role.WEIGHT, parameter="w", pattern=pattern, producer=Producer.UPDATE)
    plain = {name: Operand(tensor=name, role=Role.ACTIVATION) for name in ("x", "g", "dy")}
    backward = Mapping(fuse=False, wu="os", bp="ws" if Dataflow.WS in accelerator.array.dataflows else "os")
    for optimizer, decay, registers in _optimizers(accelerator):
        ops: list[Op] = [
            _product("ff", Stage.FF, (batch, outputs, inputs), plain["x"], weight, "y"),
            _map("relu", ("y",), "h", batch * outputs),
            _map("threshold_backward", ("g", "h"), "dy", batch * outputs),
            _product("bp", Stage.BP, (batch, inputs, outputs), plain["dy"], weight, "dx"),
            _product("wu", Stage.WU, (outputs, inputs, batch), plain["dy"], plain["x"], "dw"),
            Update(
                name="update",
                parameter="w",
                elements=outputs * inputs,
                optimizer=OPTIMIZERS[optimizer],
                gradient="dw",
                prune=(("ff", pattern), ("bp", pattern)) if isinstance(pattern, NM) else (),
                dense_copy=pattern is DENSE,
                decay=decay,
            ),
        ]
        extra = [*([optimizer] if OPTIMIZERS[optimizer].is_adam else []), *(["SR-STE decay"] if decay else [])]
        name = ", ".join([f"training step {batch}x{outputs}x{inputs}, {pattern}", *extra])
        yield _case(name, ops, accelerator, rng, mapping=backward, registers=registers)


def _optimizers(accelerator: Accelerator) -> Iterator[tuple[str, bool, Registers]]:
    """Those of the machine: the workload's name, with SR-STE decay or not, and coefficients."""
    if "sgd-momentum" in accelerator.updater.optimizers:
        registers = Registers(lr=0.05, momentum=0.9, weight_decay=1e-3, decay=2e-4)
        yield "sgd-momentum", False, registers
        yield "sgd-momentum", True, registers
    if "adam" in accelerator.updater.optimizers:
        rates = adam_coefficients(3, lr=0.05, eps=1e-3, weight_decay=1e-3, decoupled_decay=2e-3, decay=2e-4)
        yield "adamw", True, Registers(**rates._asdict())  # SR-STE's mask, too: then all planes are in use


def _gemm(name: str, m: int, n: int, k: int, pattern: Pattern, sparse: str, stage: Stage) -> Gemm:
    """A GEMM of two tensors of its own."""
    a, b = (
        Operand(tensor=f"{name}.{side}", role=Role.ACTIVATION, pattern=pattern if side == sparse else DENSE) for side in "ab"
    )
    return _product(name, stage, (m, n, k), a, b, name)


def _product(name: str, stage: Stage, shape: tuple[int, int, int], a: Operand, b: Operand, c: str) -> Gemm:
    m, n, k = shape
    return Gemm(name=name, layer="layer", stage=stage, phase=Phase.FORWARD, m=m, n=n, k=k, a=a, b=b, c=c)


def _map(operation: str, reads: tuple[str, ...], out: str, elements: int) -> Vector:
    tensors, written = tuple(Tensor(name, elements) for name in reads), (Tensor(out, elements),)
    return Vector(
        name=f"{operation} {out}",
        layer="layer",
        phase=Phase.FORWARD,
        kind=VectorKind.MAP,
        operation=operation,
        work=streaming_work(VectorKind.MAP, tensors, written),
        reads=tensors,
        writes=written,
    )


def _case(
    name: str,
    ops: Sequence[Op],
    accelerator: Accelerator,
    rng: np.random.Generator,
    *,
    dataflow: str = "best",
    mapping: Mapping | None = None,
    registers: Registers | None = None,
) -> Case | Refused:
    """Compiled and placed, on a memory of garbage in which the tensors are."""
    workload = Workload(name=name, batch=1, ops=tuple(ops))
    try:
        program = compile_workload(workload, accelerator, mapping or Mapping(dataflow=dataflow, fuse=False))
        scalars = {op.name: 0.3 for op in ops if isinstance(op, Vector)}
        placed = place(program, accelerator, scalars=scalars)
    except UnsupportedError as error:
        return Refused(name=name, reason=str(error))
    image = rng.integers(0, 256, placed.memory_bytes, np.uint8)
    squares = {second_name(op.parameter) for op in ops if isinstance(op, Update)}
    for name_of, region in placed.tensors.items():
        fill(image, region, rng)
        if name_of in squares:  # means of squares are not negative; else most roots are NaN
            write(image, region, np.abs(read(image, region)))
    return Case(name=name, data=encode(placed.words), image=image, registers=registers or Registers())


def fill(image: NDArray[np.uint8], region: Region, rng: np.random.Generator) -> None:
    """Random values of the region's type."""
    write(image, region, random_values(rng, region.element, (region.rows, region.row_elements)))
