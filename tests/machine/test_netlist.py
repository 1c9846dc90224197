# amaranth: UnusedElaboratable=no
"""Does what synthesis makes of a whole accelerator do by its serial line what the other views say, to the cycle?"""

from dataclasses import replace

import pytest
from rtl_kit.require import need_rtl

need_rtl()

from machines import machine  # noqa: E402
from rtl_kit.gates import gates_of  # noqa: E402
from system_run import Board, run_system  # noqa: E402
from test_system import verilog_of_board  # noqa: E402

from dse.verify_programs import Case, cases  # noqa: E402
from rtl.fpga.synthesize import Netlist  # noqa: E402
from simulator.arch import Accelerator, Buffer, Dataflow, Dram, Pruner, Updater, VectorUnit  # noqa: E402


def small(accelerator: Accelerator, operand_bytes: int, work_bytes: int, bank_bits: int) -> Accelerator:
    """The least of everything: what is built is flattened into single tables and flip-flops, and simulated as these."""
    operands = Buffer(bytes=2 * operand_bytes, banks=4, bank_bits=bank_bits, slots=2)
    return replace(
        accelerator,
        a_buffer=operands,
        b_buffer=operands,
        c_buffer=operands,
        work_buffer=replace(operands, bytes=2 * work_bytes),
        pruner=Pruner(lanes=1),
        updater=Updater(lanes=1),
        vector=VectorUnit(lanes=1),
        dram=Dram(bytes_per_second=4 * 10**9, latency_ns=8, burst_bytes=4, outstanding=4),
    )


FP16 = small(machine("fp16-1x2", "fp16", 1, 2, group=4, registers=4), 1024, 2048, 32)
INT8 = small(
    machine("int8-1x2", "int8", 1, 2, group=2, registers=2, multiply_latency=0, accumulate_latency=1, interleave=1),
    512,
    512,
    16,
)
MULTIPLIES = replace(
    INT8,
    name="int8-1x2-os",
    array=replace(INT8.array, dataflows=(Dataflow.OS,)),
    pruner=Pruner(lanes=0),
    updater=Updater(lanes=0),
    vector=VectorUnit(lanes=0),
)
REGISTERED = replace(MULTIPLIES, name="int8-1x2-registered", pe=replace(MULTIPLIES.pe, multiply_latency=2))


def run_netlist(accelerator: Accelerator, family: str, names: tuple[str, ...], program_bytes: int, tmp_path) -> Netlist:
    """system_cocotb.py on the netlist, which is returned."""
    board = Board(
        accelerator=accelerator, memory_bytes=1024, program_bytes=program_bytes, divisor=4, clock_hz=10**8, idle_cycles=1024
    )
    gates = gates_of(verilog_of_board(board), "system", family, apart=["*.pe", "*.pe_*"])
    found = {case.name: case for case in cases(accelerator, seed=3, large=False) if isinstance(case, Case)}
    run_system(gates.files, "system", board, [found[name] for name in names], tmp_path)
    return gates.netlist


@pytest.mark.slow
def test_ecp5(tmp_path):
    """A sparse GEMM: multipliers with registers, block and distributed memory, carry chains and muxes are among the cells."""
    netlist = run_netlist(REGISTERED, "ecp5", ("os 5x7x2 1:2 of b",), 2048, tmp_path)
    cells = {"MULT18X18D", "DP16KD", "TRELLIS_DPR16X4", "CCU2C", "PFUMX", "L6MUX21", "LUT4", "TRELLIS_FF"}
    assert cells <= set(netlist.cells)
    assert netlist.absorbed > 0


@pytest.mark.slow
def test_ecp5_training(tmp_path):
    """A sparse GEMM and a layer's training step, with online pruning and an optimizer."""
    names = ("os 5x7x4 2:4 of b", "training step 6x4x4, 1:4, SR-STE decay")
    assert run_netlist(FP16, "ecp5", names, 5120, tmp_path).absorbed > 0


@pytest.mark.slow
def test_ice40(tmp_path):
    netlist = run_netlist(MULTIPLIES, "ice40", ("os 5x7x2 1:2 of b",), 2048, tmp_path)
    assert {"SB_LUT4", "SB_CARRY", "SB_RAM40_4K"} <= set(netlist.cells)
