"""Small machines, operands and both golden models side by side, for the tests of binary programs."""

from dataclasses import replace

import numpy as np
from strategies import gemm

from dataflows.compile import compile_workload
from dataflows.mapping import Mapping
from dataflows.place import place
from dataflows.regions import read, write
from simulator.arch import Accelerator, Array, Buffer, Dataflow, Dram, Pe, Pruner, Updater, VectorUnit
from simulator.arithmetic import quantize
from simulator.encoding import encode
from simulator.formats import FORMATS
from simulator.golden import execute
from simulator.interpreter import interpret
from workloads.gemm import Gemm
from workloads.graph import Workload

__all__ = ["compiled", "golden_operands", "interpreted", "random_operand", "same_bits", "small_machine", "workload"]


def small_machine(number="fp16", *, rows=3, cols=4, lanes=1, slot_bytes=4096, burst=8, dataflows=tuple(Dataflow), slots=2):
    """A few PEs, and slots of `slot_bytes` in every buffer; a bus of 4 bytes."""
    buffer = Buffer(bytes=slots * slot_bytes, banks=8, bank_bits=64, slots=slots)
    return Accelerator(
        name="small",
        clock_hz=10**9,
        pe=Pe(format=number, group=8, lanes=lanes, registers=16, interleave=3),
        array=Array(rows=rows, cols=cols, dataflows=dataflows),
        a_buffer=buffer,
        b_buffer=buffer,
        c_buffer=buffer,
        work_buffer=buffer,
        pruner=Pruner(lanes=2),
        updater=Updater(lanes=2),
        vector=VectorUnit(lanes=2),
        dram=Dram(bytes_per_second=4 * 10**9, latency_ns=20, burst_bytes=burst, outstanding=8),
    )


def workload(*ops):
    return Workload(name="placed", batch=1, ops=ops)


def compiled(accelerator, *ops, **mapping):
    """The program of some operations; single GEMMs may say `dataflow=`."""
    return compile_workload(workload(*ops), accelerator, Mapping(**mapping))


def random_operand(number, rng, shape):
    """Values of all sizes, ties, zeros of both signs and subnormals among them; no infinities."""
    if number == "int8":
        return rng.integers(-128, 128, shape).astype(np.int8)
    values = rng.normal(size=shape) * 2.0 ** rng.integers(-8, 4, shape)
    values = np.where(rng.random(shape) < 0.2, rng.choice([0.0, -0.0, 1.0, -1.0, 2.0**-20], shape), values)
    return quantize(FORMATS[number], values)


def golden_operands(placed, program, tensors):
    """Tensors (as they lie in memory) as `golden.execute` wants them: A (1, m, k), B (1, k, n)."""
    found = {}
    for op in program.ops:
        if isinstance(op, Gemm):
            for side in ("a", "b"):
                at = placed.operands[op.name, side]
                matrix = tensors.get(op.operand(side).tensor)
                if matrix is not None:
                    found[f"{op.name}.{side}"] = (matrix.T if at.across == (side == "a") else matrix)[None]
    return found


def interpreted(placed, accelerator, tensors, *, whole=None, **registers):
    """The memory after the placed program, and its counters. Memory beside the tensors is garbage, not zeros.

    `tensors` go to their regions and compressed copies, those of `whole` to the region of the whole name.
    """
    image = np.random.default_rng(7).integers(0, 256, placed.memory_bytes, np.uint8)
    for name, region in placed.tensors.items():
        matrix = tensors.get(name.split(" ")[0], None) if region.pattern or " " not in name else (whole or {})[name]
        if matrix is not None:
            write(image, region, matrix.reshape(region.rows, region.row_elements))
    counters = interpret(encode(placed.words), image, accelerator, **registers)
    return image, counters


def same_bits(left, right):
    assert left.dtype == right.dtype
    assert left.shape == right.shape
    assert left.tobytes() == right.tobytes()


def check_gemm(accelerator, op, *, seed=0, **mapping):
    """Compile, place and interpret one GEMM; its result must be the golden model's."""
    program = compiled(accelerator, op, **mapping)
    placed = place(program, accelerator, base=100)
    rng = np.random.default_rng(seed)
    number = accelerator.pe.format
    tensors = {}
    for side in ("a", "b"):
        region = placed.tensors[placed.operands[op.name, side].region]
        tensors[op.operand(side).tensor] = random_operand(number, rng, (region.rows, region.row_elements))
    image, counters = interpreted(placed, accelerator, tensors)
    wanted = execute(program, golden_operands(placed, program, tensors), accelerator)
    same_bits(read(image, placed.tensors[op.c]), wanted[op.c][0])
    return program, placed, counters


__all__ += ["check_gemm", "gemm", "replace"]
