"""Can any run beat the bounds, and is a method's speed-up ever above its MAC bound where that is a theorem?

What is guaranteed, and where:

1. Any run: ``cycles >= each bound``. Hence, for any two runs on one machine, ``speed-up <= MAC bound / utilization of the
   dense run``: only a dense run that wastes multipliers can be beaten by more than the MAC bound.
2. Array beats (cause "compute") of whole runs in one dataflow, whatever sizes, tiling, memory and the rest: speed-up <= MAC
   bound where the PE's lanes divide M. (g groups on r rows: ceil(gM/(r lanes)) <= M/lanes ceil(g/r), and N values take at
   least N/lanes beats.) In OS it is exactly the bound where the lanes divide N too.
3. Array occupancy of one product, double-buffered, lanes dividing M, ports never narrow: OS always; WS and IS where the
   dense run does not wait for partial sums.

Where it is no theorem: a single-buffered array pays skew and pipeline per fold, and a sparse run has fewer folds; a narrow c
port moves partial sums per fold of the reduction, likewise fewer; a dense run with short streams waits more often for partial
sums; lanes that don't divide M leave dense lanes idle at the reduction's end. Each has an example below. Over whole runs, a
dense run moves more bytes than the MACs' share where it is bound by memory. In all of them statement 1 still holds.
"""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import accelerators, gemm, gemms, mappings, wide_machine, workloads

from dataflows.compile import compile_workload, prepared
from dataflows.mapping import Mapping
from simulator.arch import Accelerator, Array, Buffer, Dataflow, Dram, Pe
from simulator.bounds import LowerBound, compute_bound, lower_bound, memory_bound
from simulator.machine import run
from simulator.schedule import UnsupportedError
from simulator.timing import multiply_time
from workloads.gemm import Conv, Operand, Role, Stage
from workloads.graph import Workload
from workloads.ops import OPTIMIZERS, Prune, Tensor, Update, Vector, VectorKind
from workloads.sparsity import DENSE, NM, Producer


def step(*ops):
    return Workload(name="w", batch=1, ops=ops)


def attempt(workload, accelerator, mapping):
    ready = prepared(workload, mapping)
    try:
        return ready, run(compile_workload(ready, accelerator, mapping), accelerator)
    except UnsupportedError:
        assume(False)


def bound_of(workload, accelerator, mapping):
    return lower_bound(workload, accelerator, pregenerate=mapping.pregenerate, vector_on_chip=mapping.vector == "chip")


@given(workload=workloads(), accelerator=accelerators(kib=(2, 8)), mapping=mappings())
def test_no_run_beats_a_bound(workload, accelerator, mapping):
    ready, result = attempt(workload, accelerator, mapping)
    bound = bound_of(ready, accelerator, mapping)
    assert result.cycles >= bound.cycles
    assert result.port_busy_cycles >= bound.memory
    for unit, engine in (("compute", "array"), ("vector", "vector"), ("update", "update"), ("prune", "prune")):
        assert result.engines[engine].busy >= getattr(bound, unit), unit


@given(product=gemms(), accelerator=accelerators(), mapping=mappings())
def test_no_product_beats_a_bound(product, accelerator, mapping):
    workload, result = attempt(step(product), accelerator, mapping)
    bound = bound_of(workload, accelerator, mapping)
    assert result.engines["array"].busy >= bound.compute
    assert result.port_busy_cycles >= bound.memory
    assert result.engines["prune"].busy >= bound.prune


@st.composite
def convolutions(draw):
    """A forward convolution or its weight gradient, any stride and taps, padded or not."""
    side, taps, stride, channels = (draw(st.integers(1, top)) for top in (7, 3, 3, 5))
    out = draw(st.integers(1, -(-side // stride)))
    images, filters = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    conv = {"images": images, "height": side, "width": side, "channels": channels, "taps_h": taps, "taps_w": taps}
    conv |= {"stride": stride, "out_h": out, "out_w": out}
    positions, depth = images * out * out, taps * taps * channels
    if draw(st.booleans()):
        return replace(gemm(positions, filters, depth), conv=Conv(operand="a", **conv))
    return replace(gemm(filters, depth, positions, stage=Stage.WU), conv=Conv(operand="b", **conv))


@given(product=convolutions(), accelerator=accelerators(), mapping=mappings())
@settings(max_examples=200)
def test_no_convolution_beats_the_memory_bound(product, accelerator, mapping):
    """The feature map's compulsory part is never above what the tiles of any tiling load."""
    workload, result = attempt(step(product), accelerator, mapping)
    assert result.port_busy_cycles >= bound_of(workload, accelerator, mapping).memory


@pytest.fixture
def machine():
    """1 GHz, one byte a cycle, 2x2 PEs of one multiplier each, FP16: bounds that can be worked out by hand."""
    return Accelerator(
        name="hand", clock_hz=10**9, array=Array(rows=2, cols=2), dram=Dram(bytes_per_second=10**9, latency_ns=1)
    )


def test_bounds_of_a_product_by_hand(machine):
    # 3*5*8 = 120 MACs on 4 multipliers; (3*8 + 8*5 + 3*5) FP16 elements at a byte a cycle
    dense = step(gemm(3, 5, 8))
    assert compute_bound(dense, machine) == 30
    assert memory_bound(dense, machine, pregenerate=True, vector_on_chip=True) == 2 * (24 + 40 + 15)
    # 2:8 on B: 5 groups of 2 values of 16+3 bits = 190 bits
    sparse = step(gemm(3, 5, 8, pattern=NM(2, 8)))
    assert lower_bound(sparse, machine, pregenerate=True, vector_on_chip=True) == LowerBound(
        8, -(-(16 * 39 + 190) // 8), 0, 0, 0
    )
    # pruned at use: dense in memory; 5 groups of 8 through 32 lanes, turned in 8, 2 of latency, a second entry
    at_use = lower_bound(sparse, machine, pregenerate=False, vector_on_chip=True)
    assert (at_use.memory, at_use.prune) == (2 * (24 + 40 + 15), 8 + 8 + 2 + 1)
    assert at_use.binding == "memory"
    assert at_use.cycles == 158


def test_bounds_of_the_other_operations_by_hand(machine):
    x, y = Tensor("x", 100), Tensor("y", 60)
    phase = gemm(1, 1, 1).phase
    vector = Vector(name="v", layer="", phase=phase, kind=VectorKind.MAP, operation="", work=640, reads=(x,), writes=(y,))
    assert lower_bound(step(vector), machine, pregenerate=True, vector_on_chip=True) == LowerBound(0, 320, 20, 0, 0)
    assert lower_bound(step(vector), machine, pregenerate=True, vector_on_chip=False) == LowerBound(0, 0, 0, 0, 0)
    prune = Prune(name="p", layer="", phase=phase, pattern=NM(1, 4), source=x, target="z", rescale=True)
    # in: 100 halves; out: 25 values of 16+2 bits; 25 groups of 4 and 2 of latency; two passes over 100 elements
    assert lower_bound(step(prune), machine, pregenerate=True, vector_on_chip=True) == LowerBound(
        0, -(-(1600 + 450) // 8), 7, 0, 4 + 2
    )
    update = Update(
        name="u",
        parameter="w",
        elements=64,
        optimizer=OPTIMIZERS["adam"],
        gradient="g",
        prune=(("ff", NM(2, 8)), ("bp", NM(1, 8))),
        decay=True,
        mask_search=96,
    )
    # three FP32 words in and out, the gradient, the mask, the dense copy, and three eighths of it with 3-bit indices
    bits = 64 * (6 * 32 + 16 + 1 + 16) + 24 * 19
    # 8 groups of 8 twice: along the rows they are turned first, down the rows not; the 2:8 have a second entry
    pruned = (8 + 8 + 2 + 1) + (8 + 2)
    assert lower_bound(step(update), machine, pregenerate=True, vector_on_chip=True) == LowerBound(0, bits // 8, 3, 2, pruned)


def test_every_batch_entry_is_compulsory(machine):
    one, three = (memory_bound(step(gemm(3, 5, 8, batch=b)), machine, pregenerate=True, vector_on_chip=True) for b in (1, 3))
    assert (one, three) == (158, 3 * 158)


def test_a_feature_map_is_compulsory_once(machine):
    """A 6x6 map of 2 channels under 3x3 windows: 72 elements, not 16 x 18; forward, and as B of the weight gradient."""
    geometry = {
        "images": 1,
        "height": 6,
        "width": 6,
        "channels": 2,
        "taps_h": 3,
        "taps_w": 3,
        "stride": 1,
        "out_h": 4,
        "out_w": 4,
    }
    forward = replace(gemm(16, 5, 18), conv=Conv(operand="a", **geometry))
    gradient = replace(gemm(5, 18, 16, stage=Stage.WU), conv=Conv(operand="b", **geometry))
    for op in (forward, gradient):
        flags = {"pregenerate": True, "vector_on_chip": True}
        assert memory_bound(step(op), machine, **flags) == 2 * (72 + 5 * 18 + 5 * 16)
        assert memory_bound(step(op), replace(machine, implicit_im2col=False), **flags) == 2 * (16 * 18 + 5 * 18 + 5 * 16)


def test_what_a_stride_passes_over_is_not_compulsory(machine):
    """1x1 windows at stride 2 touch 16 of 64 pixels of 2 channels, forward and in the weight gradient."""
    geometry = {
        "images": 1,
        "height": 8,
        "width": 8,
        "channels": 2,
        "taps_h": 1,
        "taps_w": 1,
        "stride": 2,
        "out_h": 4,
        "out_w": 4,
    }
    forward = replace(gemm(16, 5, 2), conv=Conv(operand="a", **geometry))
    gradient = replace(gemm(5, 2, 16, stage=Stage.WU), conv=Conv(operand="b", **geometry))
    for op in (forward, gradient):
        assert memory_bound(step(op), machine, pregenerate=True, vector_on_chip=True) == 2 * (32 + 10 + 80)


def test_a_tensor_read_twice_by_one_product_is_compulsory_once(machine):
    square = replace(gemm(4, 4, 8), b=Operand(tensor="g.a", role=Role.ACTIVATION))
    assert memory_bound(step(square), machine, pregenerate=True, vector_on_chip=True) == 2 * (32 + 16)


def test_memory_bound_knows_the_outstanding_limit(machine):
    slow = replace(machine, dram=replace(machine.dram, latency_ns=640, outstanding=2, burst_bytes=64))
    # two bursts of 64 bytes in flight per 640 cycles: a byte in five cycles, not one a cycle
    assert memory_bound(step(gemm(3, 5, 8)), slow, pregenerate=True, vector_on_chip=True) == 5 * 158


# The MAC bound -------------------------------------------------------------------------------------------------------


def pair(m, n, k, pattern, sparse="b", **more):
    return gemm(m, n, k, **more), gemm(m, n, k, pattern=pattern, sparse=sparse, producer=Producer.STATIC, **more)


@given(
    accelerator=accelerators(kib=(2, 8)),
    dataflow=st.sampled_from(Dataflow),
    pattern=st.sampled_from((NM(1, 2), NM(1, 4), NM(2, 4), NM(3, 4), NM(2, 8), NM(1, 6))),
    sparse=st.sampled_from("ab"),
    sizes=st.tuples(*[st.integers(1, 20)] * 2, st.integers(1, 9), st.integers(1, 2)),
)
def test_speedup_in_array_beats_never_above_the_mac_bound(accelerator, dataflow, pattern, sparse, sizes):
    """Statement 2: odd sizes, tiny buffers, slow memory, any tiling."""
    m, n, groups, batch = sizes
    pe, k = accelerator.pe, pattern.group * groups
    assume(pattern.group % pe.lanes == 0)
    dense, sparse = (step(op) for op in pair(m, n, k, pattern, sparse, batch=batch))
    mapping = Mapping(dataflow=dataflow)
    beats = [attempt(workload, accelerator, mapping)[1].ops[0].array.compute for workload in (dense, sparse)]
    assert Fraction(*beats) <= Fraction(dense.effective_macs, sparse.effective_macs)
    if pattern.keep % pe.lanes == 0 and dataflow is Dataflow.OS:
        assert Fraction(*beats) == 1 / pattern.density


@given(
    lanes=st.sampled_from((1, 2)),
    rows=st.integers(1, 8),
    cols=st.integers(1, 8),
    latency=st.integers(1, 4),
    interleave=st.integers(1, 6),
    pattern=st.sampled_from((NM(1, 2), NM(2, 4), NM(2, 8), NM(7, 8))),
    sparse=st.sampled_from("ab"),
    sizes=st.tuples(*[st.integers(1, 60)] * 3),
    dataflow=st.sampled_from(Dataflow),
)
def test_speedup_in_occupancy_never_above_the_mac_bound(
    lanes, rows, cols, latency, interleave, pattern, sparse, sizes, dataflow
):
    """Statement 3. In WS and IS the dense run's streams must cover the partial sums' way down and back."""
    m, n, groups = sizes
    pe = Pe(lanes=lanes, accumulate_latency=latency, interleave=interleave, registers=16)
    machine = wide_machine(pe, rows, cols, double=True)
    k = pattern.group * groups
    time = [multiply_time(machine, dataflow, m, n, k, each, sparse, False) for each in (DENSE, pattern)]
    if dataflow is not Dataflow.OS:
        streamed, columns = (m, n) if dataflow is Dataflow.WS else (n, m)
        assume(-(-columns // cols) * streamed >= rows * pe.accumulate_latency + pe.latency)
    assert Fraction(int(time[0].occupancy), int(time[1].occupancy)) <= 1 / pattern.density


@given(product=gemms(), accelerator=accelerators(), mapping=mappings())
def test_speedup_never_above_the_mac_bound_over_the_dense_utilization(product, accelerator, mapping):
    """Statement 1, on any machine."""
    assume(isinstance(product.pattern, NM))
    plain = replace(product, a=replace(product.a, pattern=DENSE), b=replace(product.b, pattern=DENSE))
    _, sparse = attempt(step(product), accelerator, mapping)
    _, dense = attempt(step(plain), accelerator, mapping)
    assert Fraction(dense.cycles, sparse.cycles) <= Fraction(plain.effective_macs, product.effective_macs) / dense.utilization


def occupancies(machine, dataflow, m, n, k, pattern):
    times = [multiply_time(machine, dataflow, m, n, k, each, "b", False) for each in (DENSE, pattern)]
    return [int(time.occupancy) for time in times]


def test_where_the_mac_bound_is_no_theorem():
    """A speed-up above the bound is real in these cases: the dense run is the one that wastes the array."""
    quick = Pe(multiply_latency=2, accumulate_latency=1, interleave=1)
    half = NM(2, 4)
    # single-buffered: skew and pipeline once per fold, four dense folds to one
    dense, sparse = occupancies(wide_machine(quick, 2, 8, double=False), Dataflow.WS, 4, 8, 16, half)
    assert dense > 2 * sparse
    # a narrow c port: each fold of the reduction writes and reads partial sums
    narrow = wide_machine(quick, 4, 4, double=True, c_buffer=Buffer(bytes=2**20, banks=1, bank_bits=32))
    dense, sparse = occupancies(narrow, Dataflow.WS, 64, 4, 64, half)
    assert dense > 2 * sparse
    # short streams: every dense fold waits for the last one's partial sums
    dense, sparse = occupancies(wide_machine(quick, 8, 4, double=True), Dataflow.WS, 1, 4, 512, NM(2, 8))
    assert dense > 4 * sparse
    # lanes: three dense elements take two beats of two, two kept of them one
    pair_of_lanes = wide_machine(replace(quick, lanes=2), 1, 1, double=True)
    times = [multiply_time(pair_of_lanes, Dataflow.OS, 1, 1, 300, each, "b", False) for each in (DENSE, NM(2, 3))]
    assert [int(time.compute) for time in times] == [150, 100]  # whole: 3/2 is the bound
    times = [multiply_time(pair_of_lanes, Dataflow.OS, 1, 1, 3, each, "b", False) for each in (DENSE, NM(2, 3))]
    assert [int(time.compute) for time in times] == [2, 1]
