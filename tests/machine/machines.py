"""The machines that whole programs run on, and their compiled models."""

from dataclasses import replace
from functools import lru_cache

from reports.studies.rtl_training.machine import MACHINE
from rtl.emit import verilog_of
from rtl.native.machine import MachineModel
from rtl.top import Machine
from simulator.arch import Accelerator, Buffer, Dataflow, Dram, Pruner, Sequencer, Updater, VectorUnit

__all__ = ["MACHINES", "model_of", "verilog_of_machine"]


def machine(name: str, number: str, rows: int, cols: int, **pe) -> Accelerator:
    """The machine of the training study, with another array of other PEs."""
    return replace(
        MACHINE,
        name=name,
        pe=replace(MACHINE.pe, format=number, **pe),
        array=replace(MACHINE.array, rows=rows, cols=cols),
    )


INT8 = machine("int8-2x2", "int8", 2, 2, group=4, registers=4, multiply_latency=0, accumulate_latency=1, interleave=1)
MACHINES = {
    "int8-2x2": INT8,
    "fp16-3x4": MACHINE,
    # Products only: none of the engines that train.
    "int8-3x1-products": replace(
        INT8,
        name="int8-3x1-products",
        array=replace(INT8.array, rows=3, cols=1, dataflows=(Dataflow.OS,)),
        pruner=Pruner(lanes=0),
        updater=Updater(lanes=0),
        vector=VectorUnit(lanes=0),
    ),
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
