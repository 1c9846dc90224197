"""Does our single-buffered array take SCALE-Sim's cycles, but for two stated differences?

SCALE-Sim v3 (arXiv:2504.15377; repository scalesim-project/SCALE-Sim, systolic_compute_{ws,is,os}.py at 1d62b68) counts, for a
GEMM M x N x K on R x C PEs, stalls for memory aside::

    WS   ceil(K/R) ceil(N/C) (2R + C + M - 2)
    IS   ceil(K/R) ceil(M/C) (2R + C + N - 2)
    OS   ceil(M/R) ceil(N/C) ( R + C + K - 2)

Differences, per fold: (1) SCALE-Sim's multiply-accumulate takes no time beyond its beat, ours has a pipeline:
``pe.latency`` more. (2) SCALE-Sim's OS emits each output in the cycle of its last beat, without a way out for it; ours shifts R
results out of each column: R more, which makes the published form 2R + C + T - 2 (arXiv:1811.02883) of all three.
"""

import pytest

from simulator.arch import Accelerator, Array, Buffer, Dataflow, Pe
from simulator.timing import multiply_time
from workloads.gemm import Stage
from workloads.sparsity import DENSE
from workloads.zoo import load_workload_trace

RESNET18 = {  # (M, N, K) of ResNet-18's forward pass at 224x224 (arXiv:1512.03385 table 1), and how often
    (12544, 64, 147): 1,
    (3136, 64, 576): 4,
    (784, 128, 576): 1,
    (784, 128, 1152): 3,
    (784, 128, 64): 1,
    (196, 256, 1152): 1,
    (196, 256, 2304): 3,
    (196, 256, 128): 1,
    (49, 512, 2304): 1,
    (49, 512, 4608): 3,
    (49, 512, 256): 1,
    (1, 1000, 512): 1,
}
SCALESIM_WS_32X32 = 2_855_052  # measured: SCALE-Sim 3.0.0 on these 21 GEMMs, 32x32, weight stationary


def up(a, b):
    return -(-a // b)


def scalesim(dataflow, m, n, k, rows, cols):
    """(folds, cycles per fold)."""
    match dataflow:
        case Dataflow.WS:
            return up(k, rows) * up(n, cols), 2 * rows + cols + m - 2
        case Dataflow.IS:
            return up(k, rows) * up(m, cols), 2 * rows + cols + n - 2
        case Dataflow.OS:
            return up(m, rows) * up(n, cols), rows + cols + k - 2


def array(rows, cols, **pe):
    wide = Buffer(bytes=2**20, banks=rows + cols, bank_bits=64)
    return Accelerator(
        name="scale-sim",
        pe=Pe(
            **{
                "format": "int8",
                "group": 1,
                "lanes": 1,
                "registers": 1,
                "multiply_latency": 0,
                "accumulate_latency": 1,
                "interleave": 1,
            }
            | pe
        ),
        array=Array(rows=rows, cols=cols, dataflows=tuple(Dataflow), double_buffered=False),
        a_buffer=wide,
        b_buffer=wide,
        c_buffer=wide,
    )


@pytest.mark.parametrize(("rows", "cols"), [(32, 32), (16, 64), (128, 128), (7, 3)])
@pytest.mark.parametrize("dataflow", Dataflow)
@pytest.mark.parametrize("latency", [0, 3])
def test_resnet18_products(rows, cols, dataflow, latency):
    machine = array(rows, cols, multiply_latency=latency)
    drain = rows if dataflow is Dataflow.OS else 0
    for m, n, k in RESNET18:
        folds, cycles = scalesim(dataflow, m, n, k, rows, cols)
        time = multiply_time(machine, dataflow, m, n, k, DENSE, "b", False)
        assert time.occupancy + time.tail == folds * (cycles + drain + machine.pe.latency)


def test_the_measured_total():
    """The tool's own output for the whole network, and ours: a cycle of pipeline per fold more."""
    machine = array(32, 32)
    ours = folds_in_all = 0
    for (m, n, k), count in RESNET18.items():
        time = multiply_time(machine, Dataflow.WS, m, n, k, DENSE, "b", False)
        ours += count * int(time.occupancy + time.tail)
        folds_in_all += count * scalesim(Dataflow.WS, m, n, k, 32, 32)[0]
    assert ours - folds_in_all * machine.pe.latency == SCALESIM_WS_32X32


def test_the_shipped_trace_has_these_products():
    forward = [gemm for gemm in load_workload_trace("resnet18").bind(1).gemms if gemm.stage is Stage.FF]
    found = [(gemm.m, gemm.n, gemm.k) for gemm in forward]
    assert {shape: found.count(shape) for shape in set(found)} == RESNET18
