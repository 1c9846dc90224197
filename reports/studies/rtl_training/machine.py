"""The machine that trains: 3 x 4 PEs on fp16 operands, N:M groups up to 8, and a memory of 4 bytes a cycle."""

from simulator.arch import Accelerator, Array, Buffer, Dataflow, Dram, Pe, Pruner, Sequencer, Updater, VectorUnit

__all__ = ["MACHINE"]

_OPERANDS = Buffer(bytes=2 * 4096, banks=8, bank_bits=64, slots=2)

MACHINE = Accelerator(
    name="fp16-3x4",
    clock_hz=10**9,
    pe=Pe(format="fp16", group=8, lanes=1, registers=16, interleave=3),
    array=Array(rows=3, cols=4, dataflows=tuple(Dataflow)),
    a_buffer=_OPERANDS,
    b_buffer=_OPERANDS,
    c_buffer=_OPERANDS,
    work_buffer=Buffer(bytes=2 * 8192, banks=8, bank_bits=64, slots=2),
    pruner=Pruner(lanes=2),
    updater=Updater(lanes=2),
    vector=VectorUnit(lanes=2),
    dram=Dram(bytes_per_second=4 * 10**9, latency_ns=20, burst_bytes=16, outstanding=8),
    sequencer=Sequencer(dispatch_cycles=1, queue_depth=4, token_latency=1),
)
