# amaranth: UnusedElaboratable=no
"""Are a program's actions counted as the hardware performs them? Against loops over folds, beats and PEs, and by hand."""

from collections import Counter
from dataclasses import replace
from importlib.util import find_spec

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import accelerators, mappings, patterns, pes, wide_machine, workloads

from dataflows.compile import compile_workload, prepared
from simulator.arch import Accelerator, Buffer, Dataflow, Dram, Pe, Pruner, Updater, VectorUnit
from simulator.cost.actions import Actions, actions, update_operations, vector_operations
from simulator.cost.array_actions import entry_bits, multiply_actions, port_requests
from simulator.encoding import COMMAND_BITS
from simulator.formats import FORMATS
from simulator.machine import run
from simulator.schedule import Engine, Load, Multiply, Prune, Store, Tile, UnsupportedError, Update, Vector
from simulator.timing import stationary_registers
from workloads.sparsity import DENSE, NM


def folds(size, step):
    return range(0, size, step)


def brute_force(machine: Accelerator, dataflow, m, n, k, pattern, sparse, accumulate) -> Counter:
    """Walks through folds, steps, beats, positions, rows, columns and lanes, one at a time."""
    pe, rows, cols = machine.pe, machine.array.rows, machine.array.cols
    found = Counter()
    group = pattern.group if isinstance(pattern, NM) else pe.lanes
    kept = pattern.keep if isinstance(pattern, NM) else None
    beats = -(-kept // pe.lanes) if kept else 1
    index_bits = max(1, (max(pe.group, pe.lanes) - 1).bit_length())
    bus = max(pe.group, pe.lanes) * pe.number.operand_bits + pe.lanes * index_bits

    def present(step, beat, lane):
        """Whether the lane has an element of the reduction."""
        if kept:
            return step * group < k and beat * pe.lanes + lane < kept
        return step * group + lane < k

    def pe_beat(u, v, u_end, v_end, step, beat):
        for lane in range(pe.lanes):
            here = u < u_end and v < v_end and present(step, beat, lane)
            found["multiplications" if here else "padded_multiplications"] += 1
        found["accumulators"] += 1

    if dataflow is Dataflow.OS:
        along_n = -(-n // cols) >= -(-m // rows)
        wide_u, wide_v = (rows, cols * pe.interleave) if along_n else (rows * pe.interleave, cols)
        for u0 in folds(m, wide_u):
            for v0 in folds(n, wide_v):
                found["folds"] += 1
                outputs = [(u0, v0 + i * cols) if along_n else (u0 + i * rows, v0) for i in range(pe.interleave)]
                if accumulate:
                    found["sums"] += len(outputs) * rows * cols
                    found["sum_hops"] += len(outputs) * rows * cols * rows
                for step in range(-(-k // group)):
                    for beat in range(beats):
                        for u1, v1 in outputs:
                            if u1 >= m or v1 >= n:
                                continue  # fewer are interleaved in the last fold
                            found["row"] += rows
                            found["column"] += cols
                            found["operand_hop_bits"] += rows * (cols - 1) * bus + cols * (rows - 1) * bus
                            for r in range(rows):
                                for c in range(cols):
                                    pe_beat(u1 + r, v1 + c, m, n, step, beat)
                for u1, v1 in outputs:
                    for r in range(rows):
                        for c in range(cols):
                            found["accumulators"] += 1  # its copy
                            found["sum_hops"] += rows - 1 - r
                            found["results"] += u1 + r < m and v1 + c < n
        return found
    u_end, v_end = (m, n) if dataflow is Dataflow.WS else (n, m)
    registers = stationary_registers(machine, dataflow, pattern, sparse)
    for first in folds(k, rows * group):
        for v0 in folds(v_end, cols):
            found["folds"] += 1
            for _ in range(rows * registers):
                found["column"] += cols
                found["stationary"] += cols
                found["operand_hop_bits"] += cols * (rows - 1) * (pe.number.operand_bits + index_bits)
            for u in range(u_end):
                takes = first > 0 or accumulate
                found["sums"] += cols * takes
                found["sum_hops"] += cols * (rows - 1) + cols * takes
                for beat in range(beats):
                    found["row"] += rows
                    found["operand_hop_bits"] += rows * (cols - 1) * bus
                    for r in range(rows):
                        for c in range(cols):
                            pe_beat(u, v0 + c, u_end, v_end, first // group + r, beat)
                found["results"] += sum(v0 + c < v_end for c in range(cols))
    return found


@given(
    pe=pes(),
    rows=st.integers(1, 4),
    cols=st.integers(1, 4),
    sizes=st.tuples(*[st.integers(1, 13)] * 3),
    dataflow=st.sampled_from(Dataflow),
    pattern=patterns(),
    sparse=st.sampled_from("ab"),
    accumulate=st.booleans(),
)
def test_a_multiply_against_loops(pe, rows, cols, sizes, dataflow, pattern, sparse, accumulate):
    machine = wide_machine(pe, rows, cols, double=True)
    m, n, k = sizes
    if isinstance(pattern, NM):
        k = pattern.group * -(-k // pattern.group)
    shape = (dataflow, m, n, k, pattern, sparse, accumulate)
    want, asked, found = brute_force(machine, *shape), port_requests(machine, shape), multiply_actions(machine, shape)
    assert asked == {"beats": asked["beats"]} | {name: want[name] for name in ("folds", "row", "column", "sums", "results")}
    assert asked["row"] == asked["beats"] * rows
    bits = pe.number.accumulator_bits
    for name in ("multiplications", "padded_multiplications", "operand_hop_bits"):
        assert found[name] == want[name], name
    assert found["accumulations"] == want["multiplications"]
    assert found["padded_accumulations"] == want["padded_multiplications"]
    assert found["accumulator_bits"] == want["accumulators"] * bits
    assert found["sum_hop_bits"] == want["sum_hops"] * bits
    assert found.get("stationary_bits", 0) == want["stationary"] * entry_bits(pe)
    assert found["c_read_bits"] == want["sums"] * bits
    assert found["c_write_bits"] == want["results"] * bits
    row_side, column_side = ("b", "a") if dataflow is Dataflow.IS else ("a", "b")
    word = word_bits(machine)
    assert (found[f"{row_side}_read_bits"], found[f"{column_side}_read_bits"]) == (want["row"] * word, want["column"] * word)
    assert 0 < found["operand_used_bits"] <= found["a_read_bits"] + found["b_read_bits"]


def word_bits(machine):
    """Bits of a word of an operand buffer's bank: a power of two of entries, at least a group, the lanes, a bus beat."""
    bus = 8 * max(4, -(-machine.dram.bytes_per_second // machine.clock_hz))
    least = max(machine.pe.group, machine.pe.lanes, bus // machine.pe.number.operand_bits)
    return 2 ** (least - 1).bit_length() * entry_bits(machine.pe)


PE = Pe(format="fp16", group=8, lanes=1, registers=8, multiply_latency=1, accumulate_latency=1, interleave=2)
MACHINE = wide_machine(
    PE,
    2,
    3,
    double=True,
    clock_hz=10**9,
    dram=Dram(bytes_per_second=8 * 10**9, latency_ns=10, burst_bytes=32, outstanding=64),  # a bus of 8 bytes, 4 operands
    work_buffer=Buffer(bytes=2**16),
    pruner=Pruner(lanes=2),
    updater=Updater(lanes=2),
    vector=VectorUnit(lanes=4),
)
PLANE_BITS = 64  # of a plane's word: a bus beat, two FP32, four FP16
ENTRY = 16 + 3
WORD = 8 * ENTRY


def load(engine, runs, run_bytes, slot=0):
    return Load(op=0, engine=engine, slot=slot, runs=runs, run_bytes=run_bytes, waits=())


def multiply(m, n, k, pattern=DENSE, sparse="b", accumulate=False, batch=1, dataflow=Dataflow.OS):
    return Multiply(
        op=0,
        dataflow=dataflow,
        tile=Tile(range(batch), range(m), range(n), range(k)),
        pattern=pattern,
        sparse=sparse,
        accumulate=accumulate,
        a_slot=0,
        b_slot=0,
        c_slot=0,
        waits=(),
    )


def test_nothing():
    assert actions((), MACHINE) == Actions()


def test_tiles_are_written_once_as_they_are_taken():
    """A dense, 2 x 8; B 2:4, 3 columns x 4 kept; a second Multiply takes the same tiles, a third a new one of A."""
    nm = multiply(2, 3, 8, pattern=NM(2, 4))
    commands = [load(Engine.LOAD_A, 2, 16), load(Engine.LOAD_B, 3, 9), nm, nm, load(Engine.LOAD_A, 2, 16), nm]
    found = actions(commands, MACHINE)
    assert (found.a_write_bits, found.b_write_bits) == (2 * 2 * 8 * ENTRY, 3 * 4 * ENTRY)
    assert found.dram_read_bits == 8 * (2 * 32 + 27)
    assert found.dram_burst_bits == 8 * (2 * 2 * 32 + 3 * 32) + COMMAND_BITS * 6
    assert found.commands == 6
    # Each: one output a PE, so one fold of two groups, two beats each; 2 rows and 3 columns ask.
    assert (found.a_read_bits, found.b_read_bits) == (3 * 4 * 2 * WORD, 3 * 4 * 3 * WORD)
    # of them: 4 elements of a group of A, and an entry of B
    assert found.operand_used_bits == 3 * (4 * 2 * 4 * 16 + 4 * 3 * ENTRY)
    assert found.multiplications == 3 * 2 * 3 * 4
    assert found.padded_multiplications == 0


def test_a_batch_is_that_many_multiplications():
    one, five = actions([multiply(3, 2, 4)], MACHINE).as_dict(), actions([multiply(3, 2, 4, batch=5)], MACHINE).as_dict()
    same = {"commands", "dram_burst_bits"}
    assert {name: 5 * each for name, each in one.items() if name not in same} == {
        name: each for name, each in five.items() if name not in same
    }


def test_a_store_of_sums_reads_all_banks_and_places():
    """5 rows of 7 results are two beats each of 4 results; 3 banks of 4 places of 32 bits."""
    store = Store(op=0, engine=Engine.STORE_C, slot=0, runs=5, run_bytes=14, waits=())
    found = actions([store], MACHINE)
    assert found.c_read_bits == 5 * 2 * 3 * 4 * 32
    assert found.dram_write_bits == 8 * 5 * 14
    assert found.dram_burst_bits == 8 * 5 * 32 + COMMAND_BITS


@pytest.mark.parametrize(("pattern", "reads"), [(None, 5), (NM(2, 4), 2 * 4)])
def test_a_store_of_a_plane_reads_its_words_once(pattern, reads):
    """3 rows of 13 bytes lie in 39 bytes, 5 words of 8; of 5 kept FP16 each in 30, 4 words, and as many of indices."""
    fields = {"pattern": pattern, "entries": 5} if pattern else {}
    store = Store(op=0, engine=Engine.STORE_WORK, slot=0, runs=3, run_bytes=13, waits=(), **fields)
    assert actions([store], MACHINE).work_read_bits == reads * PLANE_BITS


@pytest.mark.parametrize("across", [False, True])
def test_a_prune_of_a_plane(across):
    """12 elements, groups of 4 on 2 lanes: two rounds of 4 cycles, the second with one group."""
    prune = Prune(op=0, buffer="work", slot=0, elements=12, pattern=NM(1, 4), across=across, row_elements=12, waits=())
    found = actions([prune], MACHINE)
    assert found.work_read_bits == 8 * PLANE_BITS
    assert found.work_write_bits == 3 * (16 + 8)
    assert found.pruned_elements == 12
    assert found.comparison_bits == 12 * 8 * 16
    assert found.turn_bits == 8 * 2 * 16


def test_pruning_at_use_takes_the_tile_dense():
    prune = Prune(op=0, buffer="b", slot=0, elements=24, pattern=NM(2, 4), waits=())
    found = actions([load(Engine.LOAD_B, 3, 16), prune, multiply(2, 3, 8, pattern=NM(2, 4))], MACHINE)
    assert found.b_write_bits == (24 + 12) * ENTRY
    assert found.b_read_bits == 24 * ENTRY + 4 * 3 * WORD


@pytest.mark.parametrize(("masked", "adam"), [(False, False), (True, False), (False, True)])
def test_an_update(masked, adam):
    """5 elements on 2 lanes: 3 steps; weight, velocity, gradient, and mask or second moment, a word each."""
    machine = replace(MACHINE, updater=Updater(lanes=2, optimizers=("sgd-momentum", "adam") if adam else ("sgd-momentum",)))
    found = actions([Update(op=0, slot=0, elements=5, waits=(), masked=masked, adam=adam)], machine)
    assert found.work_read_bits == 3 * (3 + masked + adam) * PLANE_BITS
    assert found.work_write_bits == 5 * (32 * (2 + adam) + 16)
    operations = (found.update_multiplications, found.update_additions, found.update_divisions, found.update_roots)
    assert operations == ((45, 35, 5, 5) if adam else (20, 20, 0, 0))
    assert found.updated_elements == 5


@pytest.mark.parametrize("y", [0, 1])
def test_a_vector_operation(y):
    """9 element operations on 4 lanes: 3 steps of one or two words."""
    found = actions([Vector(op=0, slot=0, work=9, waits=(), x=0, y=y, out=2)], MACHINE)
    assert found.work_read_bits == 3 * (1 + y) * PLANE_BITS
    assert found.work_write_bits == 9 * 16
    assert (found.vector_multiplications, found.vector_additions, found.vector_elements) == (9, 9, 9)
    integers = actions([Vector(op=0, slot=0, work=9, waits=())], replace(MACHINE, pe=replace(PE, format="int8")))
    assert (integers.vector_multiplications, integers.vector_additions) == (9, 0)
    assert (integers.vector_integer_multiplications, integers.vector_integer_additions) == (9, 9)


@given(workload=workloads(), machine=accelerators(kib=(8, 16)), mapping=mappings())
def test_a_run_adds_up(workload, machine, mapping):
    """What the machine counts too is the same; each part of a reduction writes each of its sums once."""
    try:
        program = compile_workload(prepared(workload, mapping), machine, mapping)
    except UnsupportedError:
        assume(False)
    found, counters = actions(program, machine), run(program, machine).counters
    assert found.multiplications == counters.macs
    assert (found.dram_read_bits, found.dram_write_bits) == (8 * counters.dram_read_bytes, 8 * counters.dram_write_bytes)
    assert found.pruned_elements == counters.pruned_elements
    assert found.updated_elements == counters.updated_elements
    assert found.vector_elements == counters.vector_operations
    assert found.commands == counters.commands
    assert found.dram_burst_bits >= found.dram_read_bits + found.dram_write_bits
    outputs = 0
    for command in program:
        if isinstance(command, Multiply):
            batch, m, n, k = (len(part) for part in command.tile)
            parts = -(-k // (machine.array.rows * machine.pe.depth(command.pattern)))
            outputs += batch * m * n * (1 if command.dataflow is Dataflow.OS else parts)
    assert found.c_write_bits == outputs * machine.pe.number.accumulator_bits
    assert found == actions(list(program), machine)


@pytest.mark.skipif(find_spec("amaranth") is None, reason="needs the rtl extra: amaranth is not installed")
@pytest.mark.parametrize("optimizers", [("sgd-momentum",), ("adam",), ("sgd-momentum", "adam")])
def test_an_updater_lane_has_these_circuits(optimizers):
    from amaranth.hdl import Signal

    from rtl.fp import NUMBERS
    from rtl.fp32 import FP32_MULTIPLY
    from rtl.fp32_divide import FP32_DIVIDE, FP32_SQUARE_ROOT
    from rtl.fp_add import FP32_ADD
    from rtl.optimizer import ADAM_COEFFICIENTS, COEFFICIENTS, operations

    coefficients = {name: Signal(32) for name in (*COEFFICIENTS, *ADAM_COEFFICIENTS, "adam")}
    built = [operation.steps for operation in operations(NUMBERS["fp16"], optimizers, coefficients)]
    kinds = {"multiplications": FP32_MULTIPLY, "additions": FP32_ADD, "divisions": FP32_DIVIDE, "roots": FP32_SQUARE_ROOT}
    machine = replace(MACHINE, updater=Updater(optimizers=optimizers))
    assert update_operations(machine) == {name: built.count(steps) for name, steps in kinds.items()}


@pytest.mark.skipif(find_spec("amaranth") is None, reason="needs the rtl extra: amaranth is not installed")
@pytest.mark.parametrize("number", ["fp16", "bf16", "int8"])
def test_widths_are_those_of_the_rtl(number):
    from rtl.operand_unpack import entry_layout
    from rtl.pe import operand_layout, word_layout
    from simulator.cost.array_actions import operand_bus_bits

    for pe in (replace(PE, format=number), replace(PE, format=number, group=1, registers=1), replace(PE, lanes=3, group=2)):
        assert entry_bits(pe) == entry_layout(pe).size == word_layout(pe).size
        assert operand_bus_bits(pe) == operand_layout(pe).size


@pytest.mark.skipif(find_spec("amaranth") is None, reason="needs the rtl extra: amaranth is not installed")
@pytest.mark.parametrize("number", ["fp16", "bf16", "int8"])
def test_a_vector_lane_has_these_circuits(number):
    from rtl.fp import NUMBERS
    from rtl.fp32 import FP32_MULTIPLY
    from rtl.vector import INT32_MULTIPLY, VectorLane

    lane, add = VectorLane(FORMATS[number], 8), NUMBERS[number].add
    built = [operation.steps for operation in (lane._integers() if number == "int8" else lane._floats())]
    integer = number == "int8"
    assert vector_operations(replace(MACHINE, pe=replace(PE, format=number))) == {
        "multiplications": built.count(FP32_MULTIPLY),
        "additions": 0 if integer else built.count(add),
        "integer_multiplications": built.count(INT32_MULTIPLY),
        "integer_additions": built.count(add) if integer else 0,
    }
