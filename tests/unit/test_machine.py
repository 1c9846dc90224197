"""Does the machine run commands as its written rules say? Small programs, worked out by hand."""

from dataclasses import replace

import pytest
from strategies import gemm, wide_machine

from simulator.arch import Accelerator, Dataflow, Dram, Pe, Sequencer, VectorUnit
from simulator.machine import run
from simulator.schedule import Engine, Load, Multiply, Program, Prune, Store, Tile, Update, Vector, Wait
from simulator.timing import multiply_time
from workloads.sparsity import DENSE, NM


def machine(**fields) -> Accelerator:
    """1 GHz, 16 bytes a cycle, 10 cycles of memory latency; dispatch and tokens of one cycle."""
    plain = {
        "clock_hz": 10**9,
        "dram": Dram(bytes_per_second=16 * 10**9, latency_ns=10, burst_bytes=16, outstanding=1000),
        "sequencer": Sequencer(dispatch_cycles=1, queue_depth=8, token_latency=1),
    }
    return wide_machine(Pe(interleave=16), 4, 4, double=True, **(plain | fields))


def program(*commands, ops=1):
    return Program(
        ops=tuple(gemm(4, 4, 4, name=f"g{i}") for i in range(ops)), choices=("os",) * ops, emit=lambda: iter(commands)
    )


def load(size, *waits, engine=Engine.LOAD_A, op=0):
    return Load(op=op, engine=engine, slot=0, runs=1, run_bytes=size, waits=waits)


def store(size, *waits, op=0):
    return Store(op=op, engine=Engine.STORE_C, slot=0, runs=1, run_bytes=size, waits=waits)


def multiply(*waits, dataflow=Dataflow.OS, size=4, op=0):
    tile = Tile(range(1), range(size), range(size), range(size))
    return Multiply(
        op=op,
        dataflow=dataflow,
        tile=tile,
        pattern=DENSE,
        sparse="b",
        accumulate=False,
        a_slot=0,
        b_slot=0,
        c_slot=0,
        waits=waits,
    )


def spans(result):
    return [(event.engine.value, event.start, event.end) for event in result.events]


def test_nothing_to_do():
    result = run(program(ops=0), machine())
    assert (result.cycles, result.seconds, result.utilization) == (0, 0.0, 0)


def test_a_load_alone():
    """Dispatched in 0, seen at 1, 160 bytes in 10 cycles, complete when the last data are there: 10 later."""
    result = run(program(load(160)), machine(), record_events=True)
    assert spans(result) == [("load_a", 1, 11)]
    assert result.cycles == 21
    assert result.engines[Engine.LOAD_A].stalls == {"command": 1, "drained": 10}
    assert result.engines[Engine.ARRAY].stalls == {"drained": 21}


def test_loads_share_the_port_and_hide_the_latency():
    """B's command is seen a cycle later, waits for the port until 11; both loads of A follow one another."""
    result = run(program(load(160), load(160, engine=Engine.LOAD_B), load(160)), machine(), record_events=True)
    assert spans(result) == [("load_a", 1, 11), ("load_b", 11, 21), ("load_a", 21, 31)]
    assert result.engines[Engine.LOAD_B].stalls["port"] == 9
    assert result.engines[Engine.LOAD_A].stalls["port"] == 10
    assert result.port_busy_cycles == 30
    assert result.cycles == 41


def test_a_token_takes_its_latency():
    """The load is complete at 21; a token of three cycles lets the product start at 24."""
    slow = machine(sequencer=Sequencer(token_latency=3))
    result = run(program(load(160), multiply(Wait(Engine.LOAD_A, 1))), slow, record_events=True)
    time = multiply_time(slow, Dataflow.OS, 4, 4, 4, DENSE, "b", False)
    assert spans(result)[1] == ("array", 24, 24 + int(time.occupancy))
    assert result.cycles == 24 + int(time.occupancy + time.tail)
    assert result.ops[0].array_stalls == {"command": 2, "load_a": 22}


def test_dispatch_is_in_order_and_takes_its_cycles():
    """A command every 5 cycles, each seen 5 after it went in."""
    result = run(program(load(16), load(16), load(16)), machine(sequencer=Sequencer(dispatch_cycles=5)), record_events=True)
    assert [start for _, start, _ in spans(result)] == [5, 10, 15]


def test_a_full_queue_holds_the_sequencer():
    """Queue of one: the third load of A waits in the sequencer, and with it the product that needs nothing."""
    commands = (load(1600), load(1600), load(1600), load(1600), multiply())
    free, held = (
        run(program(*commands), machine(sequencer=Sequencer(queue_depth=depth)), record_events=True) for depth in (8, 1)
    )
    start = [{e: s for e, s, _ in spans(result)}["array"] for result in (free, held)]
    assert start[0] == 5
    assert start[1] > 100


def test_products_start_after_results_that_shift_out():
    """OS, then WS: one write port of the c buffer, so the second starts a cycle after the first is complete. Not OS after OS,
    nor OS after WS."""
    wide = machine()
    first = multiply_time(wide, Dataflow.OS, 1, 1, 1, DENSE, "b", False)
    second = multiply_time(wide, Dataflow.WS, 1, 1, 1, DENSE, "b", False)
    shapes = (Dataflow.OS, Dataflow.OS, Dataflow.WS, Dataflow.IS, Dataflow.OS)
    commands = [multiply(dataflow=dataflow, size=1) for dataflow in shapes]
    result = run(program(*commands, store(16, Wait(Engine.ARRAY, 3))), wide, record_events=True)
    (a, a_end), (b, b_end), (c, c_end), (d, d_end), (e, _) = [(s, e) for name, s, e in spans(result) if name == "array"]
    assert (a_end - a, c_end - c) == (int(first.occupancy), int(second.occupancy))
    assert (b, c, d, e) == (a_end, b_end + int(first.tail) + 1, c_end, d_end)
    assert [s for name, s, _ in spans(result) if name == "store_c"] == [c_end + int(second.tail) + 1]
    assert result.engines[Engine.ARRAY].stalls["array"] == int(first.tail) + 1
    assert result.ops[0].array_stalls["array"] == int(first.tail) + 1


def test_a_token_may_come_before_the_port_is_free():
    """A burst of 16 bytes takes 16 cycles of the memory's rate, 4 beats of the bus and 2 of latency: there after 6."""
    slow = machine(dram=Dram(bytes_per_second=10**9, latency_ns=2, burst_bytes=16, outstanding=1000))
    update = Update(op=0, slot=0, elements=1, waits=(Wait(Engine.LOAD_A, 1),))
    result = run(program(load(16), update), slow, record_events=True)
    assert spans(result) == [("update", 1 + 6 + 1, 9), ("load_a", 1, 17)]
    long = run(program(load(16), update, load(16), load(16)), slow)
    assert long.cycles == 1 + 3 * 16  # the last burst is there before the port is free


def test_streams():
    """33 elements on 32 lanes: two cycles each, and the units' own latencies. Five groups take 8, their turn 8, latency 2 and
    their second entries 1; down the rows nothing turns."""
    slot = {"op": 0, "slot": 0}
    units = machine()
    prune = {"buffer": "work", "elements": 33, "pattern": NM(2, 8), "waits": ()}
    assert units.pruner.latency == 2
    for command, busy, latency in (
        (Update(elements=33, waits=(), **slot), 2, units.updater.latency),
        (Vector(work=33, waits=(), **slot), 2, units.vector.latency),
        (Prune(**prune, **slot), 8 + 8 + 2 + 1, 0),
        (Prune(across=True, **prune, **slot), 8 + 2 + 1, 0),
    ):
        result = run(program(command), units, record_events=True)
        assert spans(result) == [(command.engine.value, 1, 1 + busy)]
        assert result.cycles == 1 + busy + latency


def test_the_end_is_the_last_result_not_the_last_command():
    """The load holds the port until 11 and is complete at 21; the vector unit works until 14 and is complete at 15."""
    quick = machine(vector=VectorUnit(lanes=32, latency=1))
    result = run(program(load(160), Vector(op=0, slot=0, work=12 * 32, waits=())), quick, record_events=True)
    assert spans(result) == [("load_a", 1, 11), ("vector", 2, 14)]
    assert result.cycles == 21


def test_counters():
    commands = (
        load(160),
        store(32),
        multiply(),
        Update(op=0, slot=0, elements=7, waits=()),
        Vector(op=0, slot=0, work=9, waits=()),
    )
    counters = run(program(*commands), machine()).counters.as_dict()
    assert counters == {
        "commands": 5,
        "macs": 64,
        "dense_macs": 64,
        "dram_read_bytes": 160,
        "dram_write_bytes": 32,
        "pruned_elements": 0,
        "updated_elements": 7,
        "vector_operations": 9,
    }


def test_an_operation_s_cycles_are_what_it_adds_to_the_end():
    """The second operation ends first: it adds nothing, and the parts still add up."""
    result = run(program(load(1600), load(16, engine=Engine.LOAD_B, op=1), ops=2), machine())
    assert [op.cycles for op in result.ops] == [111, 1]
    late = run(program(load(16, op=1), load(1600, engine=Engine.LOAD_B), ops=2), machine())
    assert [op.cycles for op in late.ops] == [112, 0]
    assert late.ops[1].end == 12


def test_batch_entries_follow_one_another():
    one, several = multiply(), multiply()
    several = replace(several, tile=several.tile._replace(batch=range(3)))
    busy = [run(program(command), machine()).engines[Engine.ARRAY].busy for command in (one, several)]
    assert busy[1] == 3 * busy[0]


def test_a_run_that_stops_early_is_an_error():
    with pytest.raises(RuntimeError, match="load_a, array stopped early"):
        run(program(load(16, Wait(Engine.ARRAY, 1)), multiply(Wait(Engine.LOAD_A, 1))), machine())


def test_an_engine_that_waits_behind_a_full_queue_blames_its_engine():
    """Queue depth 1, vector commands of 100 cycles: the second waits in the queue, the third before it, the prune behind."""
    narrow = machine(
        sequencer=Sequencer(dispatch_cycles=1, queue_depth=1, token_latency=1), vector=VectorUnit(lanes=1, latency=1)
    )
    slow = [Vector(op=0, slot=0, work=100, waits=()) for _ in range(3)]
    result = run(program(*slow, Prune(op=0, buffer="work", slot=0, elements=4, pattern=NM(2, 4), waits=())), narrow)
    # The first runs from 1 to 101; the third stands before the queue from 2 until the second leaves it at 101; the prune is
    # dispatched at 102 and visible at 103.
    stalls = result.engines[Engine.PRUNE].stalls
    assert (stalls["vector"], stalls["command"]) == (101 - 2, 103 - (101 - 2))
