"""The machines that whole programs run on, and their compiled models."""

from dataclasses import replace
from functools import lru_cache

from rtl.emit import verilog_of
from rtl.native.machine import MachineModel
from rtl.top import Machine
from simulator.arch import Accelerator, Array, Buffer, Dataflow, Dram, Pe, Pruner, Sequencer, Updater, VectorUnit

__all__ = ["MACHINES", "model_of", "verilog_of_machine"]


def machine(name: str, number: str, rows: int, cols: int, **pe) -> Accelerator:
    """Small buffers, so that a GEMM of some dozens takes several tiles; a bus of 4 bytes, bursts of 16."""
    buffer = Buffer(bytes=2 * 4096, banks=8, bank_bits=64, slots=2)
    return Accelerator(
        name=name,
        clock_hz=10**9,
        pe=Pe(**({"format": number, "group": 8, "lanes": 1, "registers": 16, "interleave": 3} | pe)),
        array=Array(rows=rows, cols=cols, dataflows=tuple(Dataflow)),
        a_buffer=buffer,
        b_buffer=buffer,
        c_buffer=buffer,
        work_buffer=Buffer(bytes=2 * 8192, banks=8, bank_bits=64, slots=2),
        pruner=Pruner(lanes=2),
        updater=Updater(lanes=2),
        vector=VectorUnit(lanes=2),
        dram=Dram(bytes_per_second=4 * 10**9, latency_ns=20, burst_bytes=16, outstanding=8),
        sequencer=Sequencer(dispatch_cycles=1, queue_depth=4, token_latency=1),
    )


INT8 = machine("int8-2x2", "int8", 2, 2, group=4, registers=4, multiply_latency=0, accumulate_latency=1, interleave=1)
FP16 = machine("fp16-3x4", "fp16", 3, 4)
MACHINES = {
    "int8-2x2": INT8,
    "fp16-3x4": FP16,
    # A memory whose burst takes no whole number of cycles, an odd queue, slow dispatch and tokens, two lanes, three slots; Adam
    # beside SGD.
    "bf16-2x3-slow": replace(
        machine("bf16-2x3-slow", "bf16", 2, 3, lanes=2, multiply_latency=3, accumulate_latency=5, interleave=2),
        a_buffer=Buffer(bytes=3 * 2048, banks=8, bank_bits=64, slots=3),
        dram=Dram(bytes_per_second=3 * 10**9, latency_ns=33, burst_bytes=32, outstanding=2),
        sequencer=Sequencer(dispatch_cycles=2, queue_depth=1, token_latency=3),
        pruner=Pruner(lanes=4, latency=3),
        updater=Updater(lanes=4, latency=40, optimizers=("sgd-momentum", "adam")),
        vector=VectorUnit(lanes=4, latency=1),
    ),
}


@lru_cache(maxsize=4)
def verilog_of_machine(name: str) -> str:
    return verilog_of(Machine(MACHINES[name]), "machine")


@lru_cache(maxsize=4)
def model_of(name: str) -> MachineModel:
    return MachineModel(verilog_of_machine(name), "machine", MACHINES[name])
