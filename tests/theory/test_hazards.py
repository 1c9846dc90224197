"""Does every command start only when its data are there, and is nothing overwritten that is still needed?

The true hazards are derived again here from the commands' slots and the operations' tensors, not from the waits that the
compiler gave; the times come from the machine's events, plus the latency until a result is complete.
"""

from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor

import pytest
from hypothesis import Phase, assume, find, given, settings
from hypothesis import strategies as st
from strategies import accelerators, gemm, gemms, mappings, wide_machine, workloads

from dataflows.compile import compile_workload, prepared
from simulator.arch import Dataflow, Pe
from simulator.machine import run
from simulator.schedule import Engine, Load, Multiply, Program, Prune, Store, UnsupportedError, Update, Vector, Wait
from simulator.timing import multiply_time
from workloads import ops
from workloads.gemm import Gemm
from workloads.graph import Workload, read_names, write_names

DMA = (Engine.LOAD_A, Engine.LOAD_B, Engine.LOAD_WORK, Engine.STORE_C, Engine.STORE_WORK)


def tail_of(command, accelerator):
    """Cycles from the end of a command's event until its result is complete; a transfer's may be so before its end."""
    match command:
        case Load() | Store():
            dram, clock, bus = accelerator.dram, accelerator.clock_hz, 4
            while bus * clock < dram.bytes_per_second:
                bus *= 2
            slot = max(
                Fraction(dram.burst_bytes * clock, dram.bytes_per_second), Fraction(latency(dram, clock), dram.outstanding)
            )
            bursts = command.runs * ceil(Fraction(command.run_bytes, dram.burst_bytes))
            last_data = floor((bursts - 1) * slot) + ceil(Fraction(dram.burst_bytes, bus)) + latency(dram, clock)
            return last_data - ceil(bursts * slot)
        case Multiply(tile=tile):
            shape = (len(tile.m), len(tile.n), len(tile.k), command.pattern, command.sparse, command.accumulate)
            return int(multiply_time(accelerator, command.dataflow, *shape).tail)
        case Prune():
            return 0
        case Update():
            return accelerator.updater.latency
        case Vector():
            return accelerator.vector.latency


def latency(dram, clock):
    return max(1, ceil(Fraction(dram.latency_ns * clock, 10**9)))


def timed(commands, result, accelerator):
    """(command, start, end, complete) in program order."""
    events = {engine: iter([e for e in result.events if e.engine is engine]) for engine in Engine}
    rows, latest = [], dict.fromkeys(Engine, 0)
    for command in commands:
        event = next(events[command.engine])
        assert event.op == command.op
        assert event.start >= latest[command.engine], "an engine does one thing at a time, in order"
        latest[command.engine] = event.end
        rows.append((command, event.start, event.end, event.end + tail_of(command, accelerator)))
    assert all(next(rest, None) is None for rest in events.values())
    return rows


def slots_of(command):
    """(buffer, slot, what the command does there), in a chain where only those that read commute. Work slots by plane."""
    match command:
        case Load(engine=Engine.LOAD_A):
            return [("a", command.slot, "write")]
        case Load(engine=Engine.LOAD_B):
            return [("b", command.slot, "write")]
        case Multiply():
            return [("a", command.a_slot, "read"), ("b", command.b_slot, "read"), ("c", command.c_slot, "write")]
        case Store(engine=Engine.STORE_C):
            return [("c", command.slot, "read")]
        case Prune(buffer="a" | "b"):
            return [(command.buffer, command.slot, "write")]
        case Load():
            return [("work", (command.slot, command.plane), "write")]
        case Store():
            planes = {command.plane, command.indices} if command.pattern else {command.plane}
            return [("work", (command.slot, plane), "read") for plane in planes]
        case _:
            return [("work", (command.slot, plane), "write") for plane in range(8)]


def check_slots(rows):
    written, read = defaultdict(int), defaultdict(int)
    for command, start, _, complete in rows:
        for buffer, slot, access in slots_of(command):
            key = buffer, slot
            assert start >= written[key], f"{command} starts at {start}: its slot is complete at {written[key]}"
            if access == "write":
                assert start >= read[key], f"{command} starts at {start}: its slot is read until {read[key]}"
                written[key] = complete
            else:
                read[key] = max(read[key], complete)


def check_tensors(rows, workload):
    """Nobody loads a tensor before it is in memory. What the host makes is there when its inputs are."""
    in_memory = defaultdict(int)
    stored = defaultdict(int)
    for command, _, _, complete in rows:
        if isinstance(command, Store):
            stored[command.op] = max(stored[command.op], complete)
    for index, op in enumerate(workload.ops):
        there = stored[index] if index in stored else max((in_memory[name] for name in read_names(op)), default=0)
        for name in write_names(op):
            in_memory[name] = max(in_memory[name], there)
    for command, start, _, _ in rows:
        if isinstance(command, Load):
            op = workload.ops[command.op]
            names = read_names(op)
            if isinstance(op, Gemm):
                names = (op.a.tensor,) if command.engine is Engine.LOAD_A else (op.b.tensor,)
            for name in names:
                assert start >= in_memory[name], f"{op.name} loads {name} at {start}, stored at {in_memory[name]}"


def check_weights(rows, workload):
    """No update's store starts before every load of the old weight is complete."""
    last_read = defaultdict(int)
    for command, _, _, complete in rows:
        op = workload.ops[command.op]
        if isinstance(command, Load) and isinstance(op, Gemm):
            operand = op.a if command.engine is Engine.LOAD_A else op.b
            if operand.parameter:
                last_read[operand.parameter] = max(last_read[operand.parameter], complete)
    for command, start, _, _ in rows:
        op = workload.ops[command.op]
        if isinstance(command, Store) and isinstance(op, ops.Update):
            assert start >= last_read[op.parameter], f"{op.name} overtakes a read of {op.parameter}"


def check_port(rows):
    spans = sorted((start, end) for command, start, end, _ in rows if command.engine in DMA)
    for (_, end), (start, _) in pairwise(spans):
        assert start >= end, "the port serves one at a time"


def check_array(rows):
    """The c buffer's one write port: WS and IS begin after what an output-stationary command shifts out."""
    shifted_out = -1
    for command, start, _, complete in rows:
        if isinstance(command, Multiply) and command.dataflow is Dataflow.OS:
            shifted_out = complete
        elif isinstance(command, Multiply):
            assert start > shifted_out, f"{command} starts at {start}: results are written until {shifted_out}"


def check_order(commands):
    """Program order is a topological order of the waits: what in-order dispatch through short queues needs."""
    count = dict.fromkeys(Engine, 0)
    for command in commands:
        for engine, needed in command.waits:
            assert needed <= count[engine]
        count[command.engine] += 1


def check(workload, accelerator, mapping):
    workload = prepared(workload, mapping)
    try:
        program = compile_workload(workload, accelerator, mapping)
    except UnsupportedError:
        assume(False)
    commands = list(program)
    check_order(commands)
    result = run(program, accelerator, record_events=True)
    rows = timed(commands, result, accelerator)
    check_array(rows)
    assert result.cycles == max((max(end, complete) for _, _, end, complete in rows), default=0)
    check_slots(rows)
    check_tensors(rows, workload)
    check_weights(rows, workload)
    check_port(rows)
    return rows


@given(workload=workloads(), accelerator=accelerators(kib=(1, 2, 8)), mapping=mappings())
@settings(max_examples=200)
def test_no_hazard_in_a_training_step(workload, accelerator, mapping):
    check(workload, accelerator, mapping)


@given(products=st.lists(gemms(), min_size=1, max_size=3), accelerator=accelerators(), mapping=mappings())
@settings(max_examples=150)
def test_no_hazard_between_products(products, accelerator, mapping):
    """Products with nothing in common but the machine, batched ones and ones pruned at use among them."""
    named = tuple(replace(op, name=f"{op.name}{i}", c=f"c{i}") for i, op in enumerate(products))
    check(Workload(name="w", batch=1, ops=named), accelerator, mapping)


@pytest.mark.parametrize(
    "missing", ["array", "load_a", "load_b", "prune", "store_c", "store_work", "vector", "update", "load_work"]
)
def test_the_checks_bite(missing, monkeypatch):
    """Without the tokens of any one engine, some check fails on some small step."""
    real = run

    def forgetful(program, accelerator, *, record_events):
        def emit():
            for command in program:
                yield type(command)(
                    **{name: getattr(command, name) for name in command.__dataclass_fields__}
                    | {"waits": tuple(wait for wait in command.waits if wait.engine != missing)}
                )

        return real(Program(ops=program.ops, choices=program.choices, emit=emit), accelerator, record_events=record_events)

    monkeypatch.setitem(globals(), "run", forgetful)

    def hazard(case):
        try:
            check(*case)
        except AssertionError:
            return True
        return False

    search = settings(max_examples=2000, derandomize=True, database=None, phases=[Phase.generate])
    find(st.tuples(workloads(), accelerators(), mappings()), hazard, settings=search)


def test_a_wait_for_what_never_comes_is_reported():
    load = Load(op=0, engine=Engine.LOAD_A, slot=0, runs=1, run_bytes=1, waits=(Wait(Engine.ARRAY, 1),))
    program = Program(ops=(gemm(1, 1, 1),), choices=("os",), emit=lambda: iter([load]))
    with pytest.raises(RuntimeError, match=r"waits? for a command that never comes: load_a"):
        run(program, wide_machine(Pe(), 1, 1, double=True))
