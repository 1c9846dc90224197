"""Random machines, GEMMs, mappings and small training steps: small and odd, so that edges are the rule."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import strategies as st

from dataflows.mapping import Mapping
from simulator.arch import Accelerator, Array, Buffer, Dataflow, Dram, Pe, Pruner, Sequencer, Updater, VectorUnit
from workloads.gemm import Gemm, Operand, Phase, Role, Stage
from workloads.graph import Workload
from workloads.ops import OPTIMIZERS, Prune, Tensor, Update, Vector, VectorKind
from workloads.sparsity import DENSE, NM, Producer

__all__ = ["accelerators", "fat_buffer", "gemm", "gemms", "mappings", "patterns", "pes", "wide_machine", "workloads"]

WIDE = 2**16


def fat_buffer() -> Buffer:
    """Never in the way: a megabyte, and ports wider than any tiny array needs."""
    return Buffer(bytes=2**21, banks=64, bank_bits=WIDE)


def wide_machine(pe: Pe, rows: int, cols: int, *, double: bool, **fields) -> Accelerator:
    """An array whose buffers never make it wait, on an all but ideal memory."""
    plain = {f"{name}_buffer": fat_buffer() for name in ("a", "b", "c", "work")} | {
        "dram": Dram(bytes_per_second=64 * 10**9, latency_ns=1, burst_bytes=64, outstanding=2**20),
        "sequencer": Sequencer(dispatch_cycles=1, queue_depth=64, token_latency=1),
    }
    array = Array(rows=rows, cols=cols, dataflows=tuple(Dataflow), double_buffered=double)
    return Accelerator(name="wide", pe=pe, array=array, **(plain | fields))


@st.composite
def patterns(draw, widest=8):
    """N:M with M up to `widest`, or dense."""
    if draw(st.booleans()):
        return DENSE
    group = draw(st.integers(2, widest))
    return NM(draw(st.integers(1, group)), group)


@st.composite
def pes(draw, number=None):
    return Pe(
        format=number or draw(st.sampled_from(("fp16", "bf16", "int8"))),
        group=draw(st.sampled_from((8, 16))),
        lanes=draw(st.integers(1, 3)),
        registers=32,
        multiply_latency=draw(st.integers(0, 3)),
        accumulate_latency=draw(st.integers(1, 5)),
        interleave=draw(st.integers(1, 5)),
    )


@st.composite
def buffers(draw, kib=(1, 2, 8)):
    slots = draw(st.integers(1, 3))
    return Buffer(
        bytes=slots * 1024 * draw(st.sampled_from(kib)),
        banks=draw(st.sampled_from((1, 4, 8))),
        bank_bits=draw(st.sampled_from((16, 32, 128))),
        slots=slots,
    )


@st.composite
def accelerators(draw, number=None, kib=(1, 2, 8)):
    """A small, odd machine: few rows, narrow ports, tiny buffers with one to three slots, short queues."""
    return Accelerator(
        name="odd",
        clock_hz=draw(st.sampled_from((100_000_000, 1_000_000_007))),
        pe=draw(pes(number)),
        array=Array(
            rows=draw(st.integers(1, 5)),
            cols=draw(st.integers(1, 5)),
            dataflows=tuple(Dataflow),
            double_buffered=draw(st.booleans()),
        ),
        a_buffer=draw(buffers(kib)),
        b_buffer=draw(buffers(kib)),
        c_buffer=draw(buffers(kib)),
        work_buffer=draw(buffers(kib)),
        pruner=Pruner(lanes=draw(st.integers(1, 4)), latency=draw(st.integers(1, 3))),
        updater=Updater(lanes=draw(st.integers(1, 4)), latency=draw(st.integers(1, 20))),
        vector=VectorUnit(lanes=draw(st.integers(1, 4)), latency=draw(st.integers(1, 9))),
        dram=Dram(
            bytes_per_second=draw(st.sampled_from((50_000_000, 1_000_000_000, 10**10))),
            latency_ns=draw(st.sampled_from((1, 30, 500))),
            burst_bytes=draw(st.sampled_from((1, 32, 64))),
            outstanding=draw(st.sampled_from((1, 3, 64))),
        ),
        sequencer=Sequencer(
            dispatch_cycles=draw(st.integers(1, 3)),
            queue_depth=draw(st.sampled_from((1, 2, 5, 32))),
            token_latency=draw(st.integers(1, 3)),
        ),
        implicit_im2col=draw(st.booleans()),
    )


@st.composite
def mappings(draw):
    return Mapping(
        dataflow=draw(st.sampled_from(("best", *Dataflow))),
        pregenerate=draw(st.booleans()),
        update=draw(st.sampled_from(("overlapped", "end"))),
        vector=draw(st.sampled_from(("chip", "host"))),
        fuse=draw(st.booleans()),
    )


def gemm(m, n, k, *, batch=1, pattern=DENSE, sparse="b", producer=Producer.UPDATE, stage=Stage.FF, name="g") -> Gemm:
    """One GEMM by itself: operands ``<name>.a`` and ``<name>.b``, result ``<name>.c``."""
    operands = {side: Operand(tensor=f"{name}.{side}", role=Role.ACTIVATION) for side in "ab"}
    operands["b"] = replace(operands["b"], role=Role.WEIGHT, parameter=f"{name}.w")
    if isinstance(pattern, NM):
        operands[sparse] = replace(operands[sparse], pattern=pattern, producer=producer)
    return Gemm(
        name=name,
        layer=name,
        stage=stage,
        phase=Phase.FORWARD,
        m=m,
        n=n,
        k=k,
        batch=batch,
        c=f"{name}.c",
        a=operands["a"],
        b=operands["b"],
    )


@st.composite
def gemms(draw, largest=40):
    pattern = draw(patterns())
    unit = pattern.group if isinstance(pattern, NM) else 1
    return gemm(
        draw(st.integers(1, largest)),
        draw(st.integers(1, largest)),
        unit * draw(st.integers(1, max(1, largest // unit))),
        batch=draw(st.sampled_from((1, 1, 1, 2, 5))),
        pattern=pattern,
        sparse=draw(st.sampled_from("ab")),
        producer=draw(st.sampled_from(Producer)),
        stage=draw(st.sampled_from((Stage.FF, Stage.WU, Stage.AA))),
    )


@st.composite
def workloads(draw, layers=3):
    """A training step in miniature: forward GEMMs with vector work between them, then for each layer in reverse an
    online prune, a data gradient, a weight gradient and an update."""
    pattern = NM(draw(st.integers(1, 4)), 4)
    widths = [4 * draw(st.integers(1, 4)) for _ in range(draw(st.integers(1, layers)) + 1)]
    rows = draw(st.integers(1, 24))
    ops, tensor = [], Tensor("x0", rows * widths[0])
    sparse = [draw(st.booleans()) for _ in widths[1:]]
    online = [draw(st.booleans()) for _ in widths[1:]]
    inputs = [tensor]

    def operand(name, role, **fields):
        return Operand(tensor=name, role=role, **fields)

    def product(name, stage, phase, m, n, k, a, b, c):
        return Gemm(name=name, layer=name, stage=stage, phase=phase, m=m, n=n, k=k, a=a, b=b, c=c)

    def vector(name, phase, kind, reads, writes):
        work = max(t.elements for t in (*reads, *writes)) * (2 if kind is VectorKind.BATCH_NORM else 1)
        return Vector(name=name, layer=name, phase=phase, kind=kind, operation=kind, work=work, reads=reads, writes=writes)

    for i, (wide, narrow) in enumerate(pairwise(widths)):
        kept = {"pattern": pattern, "producer": Producer.UPDATE} if sparse[i] else {}
        weight = operand(f"w{i}", Role.WEIGHT, parameter=f"w{i}", **kept)
        out = Tensor(f"y{i}", rows * narrow)
        x = operand(tensor.name, Role.ACTIVATION)
        ops.append(product(f"ff{i}", Stage.FF, Phase.FORWARD, rows, narrow, wide, x, weight, out.name))
        tensor = Tensor(f"x{i + 1}", rows * narrow)
        kind = draw(st.sampled_from(VectorKind))
        ops.append(vector(f"act{i}", Phase.FORWARD, kind, (out,), (tensor,)))
        inputs.append(tensor)
    gradient = Tensor("loss", tensor.elements)
    ops.append(vector("loss", Phase.BACKWARD, VectorKind.MAP, (tensor,), (gradient,)))
    ops.append(vector("metric", Phase.FORWARD, VectorKind.REDUCE, (tensor,), ()))
    for i in reversed(range(len(widths) - 1)):
        wide, narrow = widths[i], widths[i + 1]
        dy = operand(gradient.name, Role.GRADIENT)
        if online[i]:
            ops.append(
                Prune(
                    name=f"prune{i}",
                    layer=f"{i}",
                    phase=Phase.BACKWARD,
                    pattern=pattern,
                    source=gradient,
                    target=f"p{i}",
                    rescale=draw(st.booleans()),
                )
            )
            dy = operand(f"p{i}", Role.GRADIENT, pattern=pattern, producer=Producer.ONLINE)
        weight = operand(f"w{i}", Role.WEIGHT, parameter=f"w{i}")
        x, dense = operand(inputs[i].name, Role.ACTIVATION), operand(gradient.name, Role.GRADIENT)
        both = [
            product(f"bp{i}", Stage.BP, Phase.BACKWARD, rows, wide, narrow, dy, weight, f"g{i}"),
            product(f"wu{i}", Stage.WU, Phase.BACKWARD, narrow, wide, rows, dense, x, f"dw{i}"),
        ]
        ops += draw(st.permutations(both))
        ops.append(
            Update(
                name=f"up{i}",
                parameter=f"w{i}",
                elements=wide * narrow,
                optimizer=OPTIMIZERS[draw(st.sampled_from(sorted(OPTIMIZERS)))],
                gradient=f"dw{i}",
                prune=(("ff", pattern),) if sparse[i] else (),
                dense_copy=draw(st.booleans()),
                decay=draw(st.booleans()),
                mask_search=draw(st.sampled_from((0, 100))),
            )
        )
        gradient = Tensor(f"d{i}", rows * wide)
        ops.append(vector(f"der{i}", Phase.BACKWARD, VectorKind.MAP, (Tensor(f"g{i}", rows * wide), inputs[i]), (gradient,)))
    return Workload(name="tiny", batch=1, ops=tuple(ops))
