"""Does every cycle and every multiplication have exactly one place in the books?"""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import accelerators, gemm, gemms, mappings, pes, wide_machine, workloads

from dataflows.compile import compile_workload, prepared
from dataflows.mapping import Mapping
from dataflows.select import choose
from dataflows.tiling import tiles
from simulator.arch import Dataflow, Pe
from simulator.machine import run
from simulator.result import EngineTime
from simulator.schedule import Engine, UnsupportedError
from simulator.timing import multiply_time
from workloads.gemm import Gemm
from workloads.graph import Workload
from workloads.methods import METHODS, apply_method, parse_method
from workloads.sparsity import DENSE, NM

CAUSES = ("compute", "latency", "bandwidth", "shift", "fill")


def compiled(workload, accelerator, mapping):
    workload = prepared(workload, mapping)
    try:
        return workload, compile_workload(workload, accelerator, mapping)
    except UnsupportedError:
        assume(False)


@given(workload=workloads(), accelerator=accelerators(kib=(2, 8)), mapping=mappings())
def test_every_cycle_has_one_cause(workload, accelerator, mapping):
    _, program = compiled(workload, accelerator, mapping)
    result = run(program, accelerator, record_events=True)
    for engine, time in result.engines.items():
        assert time.busy + sum(time.stalls.values()) == result.cycles
        assert time.busy == sum(e.end - e.start for e in result.events if e.engine is engine)
        assert time.busy == sum(op.busy.get(engine, 0) for op in result.ops)
        assert all(cycles > 0 for cycles in time.stalls.values())
        known = {"command", "port", "drained", *(e.value for e in Engine)}
        assert set(time.stalls) <= known
        assert "port" not in time.stalls or "load" in engine or "store" in engine
    array = result.engines[Engine.ARRAY]
    assert array.busy == sum(sum(op.array.as_dict().values()) for op in result.ops)
    stalls = sum(sum(op.array_stalls.values()) for op in result.ops)
    assert array.busy + stalls + array.stalls.get("drained", 0) == result.cycles
    assert sum(op.cycles for op in result.ops) == result.cycles
    assert result.port_busy_cycles == sum(time.busy for e, time in result.engines.items() if "load" in e or "store" in e)
    assert sum(op.dram_bytes for op in result.ops) == result.counters.dram_read_bytes + result.counters.dram_write_bytes
    assert result.counters.commands == len(list(program)) == len(result.events)


@given(workload=workloads(), accelerator=accelerators(kib=(2, 8)), mapping=mappings())
def test_every_multiplication_is_done_once(workload, accelerator, mapping):
    ready, program = compiled(workload, accelerator, mapping)
    counters = run(program, accelerator).counters
    assert (counters.macs, counters.dense_macs) == (ready.effective_macs, ready.dense_macs())


@pytest.mark.parametrize("name", list(METHODS))
@given(workload=workloads(), accelerator=accelerators(kib=(2, 8)), mapping=mappings())
@settings(max_examples=12)
def test_a_method_changes_the_macs_by_its_patterns_only(name, workload, accelerator, mapping):
    plain = replace(
        workload,
        ops=tuple(
            replace(op, a=replace(op.a, pattern=DENSE), b=replace(op.b, pattern=DENSE)) if isinstance(op, Gemm) else op
            for op in workload.ops
        ),
    )
    method = parse_method(f"{name}:2:4" if METHODS[name].takes_pattern else name)
    rewritten = apply_method(method, plain)
    ready, program = compiled(rewritten, accelerator, mapping)
    counters = run(program, accelerator).counters
    assert counters.dense_macs == plain.dense_macs()
    assert counters.macs == sum(op.dense_macs * op.density for op in ready.gemms)


@given(product=gemms(), accelerator=accelerators(), mapping=mappings())
def test_tiles_cover_every_multiplication_once(product, accelerator, mapping):
    try:
        tiling = choose(product, accelerator, mapping)
    except UnsupportedError:
        assume(False)
    assume(product.dense_macs <= 200_000)
    times = np.zeros((product.batch, product.m, product.n, product.k), np.uint8)
    last = {}
    for tile in tiles(product, tiling):
        box = tuple(slice(part.start, part.stop) for part in tile)
        assert all(len(part) > 0 for part in tile)
        times[box] += 1
        # k ascends without a gap for each output tile, and no other output tile comes between: its sums stay in one slot
        key = tile[:3]
        assert last.get("key") in (None, key) or last["k"] == product.k
        assert tile.k.start == (last["k"] if last.get("key") == key else 0)
        last = {"key": key, "k": tile.k.stop}
        if isinstance(product.pattern, NM):
            assert product.pattern.divides(len(tile.k))
    assert (times == 1).all()


@given(product=gemms(), accelerator=accelerators(), mapping=mappings())
def test_the_chosen_tiling_estimates_the_array_as_the_machine_runs_it(product, accelerator, mapping):
    """`array_cycles` of the tiling is the array's busy time: the choice rests on the same closed form."""
    workload = Workload(name="w", batch=1, ops=(product,))
    _, program = compiled(workload, accelerator, mapping)
    tiling = choose(product, accelerator, mapping)
    busy = run(program, accelerator).engines[Engine.ARRAY].busy
    if tiling.k == product.k:
        assert busy == tiling.array_cycles
    else:
        assert busy <= tiling.array_cycles  # which takes the first k tile for one that reads partial sums


@given(
    pe=pes(),
    rows=st.integers(1, 5),
    cols=st.integers(1, 5),
    double=st.booleans(),
    dataflow=st.sampled_from(Dataflow),
    pattern=st.sampled_from((DENSE, NM(1, 4), NM(3, 4), NM(2, 8))),
    sparse=st.sampled_from("ab"),
    sizes=st.lists(st.tuples(*[st.integers(1, 50)] * 3, st.booleans()), min_size=1, max_size=9),
)
def test_arrays_of_sizes_are_timed_as_each_alone(pe, rows, cols, double, dataflow, pattern, sparse, sizes):
    machine = wide_machine(pe, rows, cols, double=double)
    m, n, k, accumulate = (np.array(column) for column in zip(*sizes, strict=True))
    together = multiply_time(machine, dataflow, m, n, k, pattern, sparse, accumulate)
    for i, size in enumerate(sizes):
        alone = multiply_time(machine, dataflow, *size[:3], pattern, sparse, size[3])
        for cause in (*CAUSES, "tail", "occupancy"):
            vector = np.broadcast_to(getattr(together, cause), (len(sizes),))
            assert vector[i] == getattr(alone, cause), cause
            assert getattr(alone, cause) >= 0
        assert sum(getattr(alone, cause) for cause in CAUSES) == alone.occupancy


@given(product=gemms(), accelerator=accelerators(), mapping=mappings(), factor=st.integers(2, 5))
def test_wider_ports_never_slow_the_array(product, accelerator, mapping, factor):
    """True of the closed form at one shape. Of whole runs it is not: another tiling may be chosen."""
    wider = replace(
        accelerator,
        **{
            f"{s}_buffer": replace(
                getattr(accelerator, f"{s}_buffer"), bank_bits=factor * getattr(accelerator, f"{s}_buffer").bank_bits
            )
            for s in "abc"
        },
    )
    for dataflow in Dataflow:
        shape = (dataflow, product.m, product.n, product.k, product.pattern, product.sparse_operand, True)
        narrow_time, wide_time = multiply_time(accelerator, *shape), multiply_time(wider, *shape)
        assert wide_time.occupancy + wide_time.tail <= narrow_time.occupancy + narrow_time.tail
        assert wide_time.compute == narrow_time.compute
    assert mapping.dataflow in ("best", *Dataflow)


@given(workload=workloads(), accelerator=accelerators(kib=(8,)), mapping=mappings(), factor=st.integers(2, 4))
@settings(max_examples=60)
def test_a_faster_port_never_holds_a_program_longer(workload, accelerator, mapping, factor):
    """The same program: fewer port cycles. (Its run may still be reordered at the port, so no claim on the total.)"""
    _, program = compiled(workload, accelerator, mapping)
    dram = replace(accelerator.dram, bytes_per_second=factor * accelerator.dram.bytes_per_second)
    faster = replace(accelerator, dram=dram)
    assert run(program, faster).port_busy_cycles <= run(program, accelerator).port_busy_cycles


@given(workload=workloads(), accelerator=accelerators(kib=(2, 8)), mapping=mappings())
@settings(max_examples=25)
def test_a_program_runs_the_same_twice(workload, accelerator, mapping):
    _, program = compiled(workload, accelerator, mapping)
    first, second = (run(program, accelerator, record_events=True) for _ in range(2))
    assert first == second
    _, again = compiled(workload, accelerator, mapping)
    assert list(again) == list(program)


def test_results_do_not_depend_on_the_hash_seed():
    code = (
        "from dse.evaluate import simulate;"
        "r = simulate('resnet18-cifar', 'sat-vcu1525', 'bdwp:2:8', record_events=True).result;"
        "print(hash(tuple((e.start, e.end, e.op) for e in r.events)), r.cycles, sorted(r.counters.as_dict().items()))"
    )
    outputs = set()
    for seed in ("1", "4242"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert outputs.pop()


class TestTheChecksBite:
    """Books that don't balance are refused."""

    @pytest.fixture
    def result(self):
        product = gemm(3, 4, 5)
        machine = wide_machine(Pe(), 2, 2, double=True)
        workload = Workload(name="w", batch=1, ops=(product,))
        return run(compile_workload(workload, machine, Mapping()), machine)

    def test_engine(self, result):
        engines = dict(result.engines) | {Engine.ARRAY: EngineTime(busy=1)}
        with pytest.raises(ValueError, match=f"'array': busy . stalls must be {result.cycles} cycles, not 1"):
            replace(result, engines=engines)

    def test_operations(self, result):
        result.ops[0].cycles -= 1
        with pytest.raises(ValueError, match=f"must add up to {result.cycles} cycles, not {result.cycles - 1}"):
            replace(result)
