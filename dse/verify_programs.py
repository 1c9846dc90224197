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
from dataflows.regions import Region, write
from simulator.arch import Accelerator, Dataflow
from simulator.arithmetic import Values, quantize
from simulator.encoding import encode
from simulator.formats import FORMATS
from simulator.image import Element
from simulator.interpreter import Registers
from simulator.schedule import UnsupportedError
from workloads.gemm import Gemm, Operand, Phase, Role, Stage
from workloads.graph import Workload
from workloads.ops import OPTIMIZERS, Op, Tensor, Update, Vector, VectorKind, streaming_work
from workloads.sparsity import DENSE, NM, Pattern

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
    """Values of all sizes: ties, zeros of both signs, subnormals and equal magnitudes among them."""
    if element is Element.MASK:
        return rng.integers(0, 2, shape).astype(np.bool_)
    if element in (Element.INT8, Element.INT32):
        top = 128 if element is Element.INT8 else 2**20
        return rng.integers(-top, top, shape).astype(np.int8 if element is Element.INT8 else np.int32)
    values = rng.normal(size=shape) * 2.0 ** rng.integers(-8, 4, shape)
    values = np.where(rng.random(shape) < 0.2, rng.choice([0.0, -0.0, 1.0, -1.0, 2.0**-20], shape), values)
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
    for operation, reads in (("relu", 1), ("add", 2), ("mul", 2), ("threshold_backward", 2)):
        tensors = tuple(Tensor(name, elements) for name in ("x", "y")[:reads])
        written = (Tensor("z", elements),)
        vector = Vector(
            name="vector",
            layer="layer",
            phase=Phase.FORWARD,
            kind=VectorKind.MAP,
            operation=operation,
            work=streaming_work(VectorKind.MAP, tensors, written),
            reads=tensors,
            writes=written,
        )
        yield _case(f"vector {operation}, {elements} elements", [vector], accelerator, rng)
    if accelerator.pe.format == "int8":
        return
    group = 1 << min(accelerator.pe.group, 8).bit_length() - 1
    pattern = NM(max(1, group // 4), group) if group > 1 else None
    inputs, outputs = 2 * burst, 2 * max(group, 4)
    for decay in (False, True):
        update = Update(
            name="update",
            parameter="w",
            elements=inputs * outputs,
            row_elements=inputs,
            optimizer=OPTIMIZERS["sgd-momentum"],
            gradient="dw",
            prune=(("ff", pattern), ("bp", pattern)) if pattern else (),
            decay=decay,
        )
        name = f"update {outputs}x{inputs}{f', copies {pattern}' if pattern else ''}{', SR-STE decay' if decay else ''}"
        yield _case(name, [update], accelerator, rng, registers=_REGISTERS)


_REGISTERS = Registers(lr=0.05, momentum=0.9, weight_decay=1e-3, decay=2e-4)


def _gemm(name: str, m: int, n: int, k: int, pattern: Pattern, sparse: str, stage: Stage) -> Gemm:
    sides = {
        side: Operand(
            tensor=f"{name}.{side}",
            role=Role.ACTIVATION,
            pattern=pattern if side == sparse else DENSE,
        )
        for side in ("a", "b")
    }
    return Gemm(name=name, layer="layer", stage=stage, phase=Phase.FORWARD, m=m, n=n, k=k, a=sides["a"], b=sides["b"], c=name)


def _case(
    name: str,
    ops: Sequence[Op],
    accelerator: Accelerator,
    rng: np.random.Generator,
    *,
    dataflow: str = "best",
    registers: Registers | None = None,
) -> Case | Refused:
    """Compiled and placed, on a memory of garbage in which the tensors are."""
    workload = Workload(name=name, batch=1, ops=tuple(ops))
    try:
        placed = place(compile_workload(workload, accelerator, Mapping(dataflow=dataflow, fuse=False)), accelerator)
    except UnsupportedError as error:
        return Refused(name=name, reason=str(error))
    image = rng.integers(0, 256, placed.memory_bytes, np.uint8)
    for region in placed.tensors.values():
        fill(image, region, rng)
    return Case(name=name, data=encode(placed.words), image=image, registers=registers or Registers())


def fill(image: NDArray[np.uint8], region: Region, rng: np.random.Generator) -> None:
    """Random values of the region's type."""
    write(image, region, random_values(rng, region.element, (region.rows, region.row_elements)))
