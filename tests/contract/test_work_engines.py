# amaranth: UnusedElaboratable=no
"""Do pruner, updater and vector unit turn planes into planes as the golden model does, in the cycles of docs/machine.md?"""

import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from rtl_kit.planted import mutant
from rtl_kit.require import need_rtl

need_rtl()

from rtl_kit import run_cocotb  # noqa: E402
from work_bench import ENGINES, Bench, Script, machine  # noqa: E402

import rtl.prune_engine  # noqa: E402
import rtl.work_engines  # noqa: E402
from rtl.emit import check  # noqa: E402
from simulator.vector_operations import VectorOperation  # noqa: E402
from workloads.sparsity import NM  # noqa: E402

# Lanes: pruner, updater, vector unit. A mask's byte holds 1, 2, 4, 8 steps.
MACHINES = {
    "fp16": (machine("fp16", 8, (4, 2, 2), 4, 2), ("prune", "update", "vector")),
    "bf16": (machine("bf16", 16, (2, 1, 2), 16, 3, (1, 16, 1)), ("prune", "update", "vector")),
    "int8": (machine("int8", 4, (8, 1, 2), 8, 2, (3, 1, 5)), ("prune", "vector")),
    "one lane": (machine("fp16", 4, (1, 1, 1), 4, 4, (2, 1, 2)), ("prune", "update", "vector")),
    "adam": (machine("fp16", 4, (2, 2, 2), 4, 2, (2, 9, 2), ("sgd-momentum", "adam")), ("update",)),
    "pruner of one element": (machine("int8", 1, (2, 1, 1), 4, 2), ("prune",)),
}
WIDE = {
    "pruner of 32": (machine("int8", 32, (4, 1, 1), 8, 2, (1, 1, 1)), ("prune",)),
    "8 lanes": (machine("fp16", 8, (8, 8, 8), 8, 2, (2, 2, 1)), ("update", "vector")),
    "16 lanes": (machine("bf16", 4, (2, 16, 4), 8, 2, (2, 2, 1)), ("update",)),
    "4 lanes": (machine("bf16", 4, (16, 4, 4), 8, 2, (4, 5, 3)), ("prune", "update", "vector")),
}


@cache
def bench(name: str) -> Bench:
    return Bench(*(MACHINES | WIDE)[name])


def check_program(broken: Bench, seed: int, count: int, gap: float = 0.2, stall: float = 0.1) -> str:
    """All planes filled, commands at random while transfers come and go, every byte read back."""
    run = Script(broken, seed, stall, gap)
    run.fill()
    run.any(*broken.engines, *broken.engines, "load", "store", count=count)
    run.empty()
    return broken.wrong(run.rows())


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize(("gap", "stall", "seed"), [(0, 0, 1), (0.2, 0.1, 2), (0.5, 0.5, 3), (0, 0.2, 4)])
def test_values_and_cycles(name: str, gap: float, stall: float, seed: int):
    """400 commands of all engines and transfers at once: values, `ready`, `started`, `ended`, `done` in every cycle."""
    assert not check_program(bench(name), seed, 400, gap, stall)


@pytest.mark.slow
@pytest.mark.parametrize("name", WIDE)
def test_wide_lanes(name: str):
    for seed in range(6):
        assert not check_program(bench(name), seed, 600, 0.2 * (seed % 2))


@pytest.mark.parametrize("name", ["fp16", "bf16", "int8"])
@pytest.mark.parametrize("across", [0, 1])
def test_every_pattern(name: str, across: int):
    """Every N of every M, over one round, some rounds and ragged ones, from slot to slot without a cycle between."""
    run = Script(bench(name), 5, 0, 0)
    run.fill()
    lanes, size = run.accelerator.pruner.lanes, run.size * 8 // run.number.operand_bits
    starts, back_to_back = 0, 0
    for group in (1 << bit for bit in range(run.accelerator.pe.group.bit_length())):
        for keep in range(1, group + 1):
            columns = lanes * run.rng.randint(1, 2) if across else run.rng.randint(1, 2 * lanes + 1)
            columns = min(columns, size // group // lanes * lanes if across else size // group)
            blocks = run.rng.randint(1, size // (group * columns))
            if columns:
                free = run.free["prune"]
                run.prune(starts % run.slots, run.rng.sample(range(1, 8), 3), NM(keep, group), blocks, columns, across)
                back_to_back += run.events["prune_started"].get(free, 0)
                starts += 1
    run.empty()
    assert back_to_back > starts // 2
    assert not bench(name).wrong(run.rows())


@pytest.mark.parametrize("name", ["fp16", "int8"])
def test_vector_operations_follow_each_other(name: str):
    """Commands of one cycle each: each operation follows each other one while it is in the lanes."""
    run = Script(bench(name), 6, 0, 0)
    run.fill()
    run.free["vector"] = run.end + 1
    lanes = run.accelerator.vector.lanes
    order = [operation for first in VectorOperation for second in VectorOperation for operation in (first, second)]
    for number, operation in enumerate(order):
        planes = [run.rng.randrange(4), run.rng.randrange(4), 4 + number // 2 % 4]
        run.vector(number % 2, planes, operation, run.rng.randint(1, lanes), run.rng.choice([0.5, -7.0]))
    run.empty()
    starts = sorted(run.events["vector_started"])
    assert sum(later - earlier == 1 for earlier, later in pairwise(starts)) > len(starts) // 2
    assert not bench(name).wrong(run.rows())


@pytest.mark.parametrize("seed", range(12))
def test_reset_in_mid_command(seed: int):
    """After a reset at any time the engines are idle, nothing more is written, and what follows is right."""
    name = ["fp16", "bf16", "int8"][seed % 3]
    cut_off, after = Script(bench(name), seed, 0.1), Script(bench(name), seed + 100, 0.1)
    cut_off.fill()
    begin = cut_off.end
    cut_off.any(*bench(name).engines, count=40)
    rows = cut_off.rows()
    cut = cut_off.rng.randint(begin, cut_off.end)
    after.fill()
    after.any(*bench(name).engines, "store", count=40)
    after.empty()
    assert not bench(name).wrong(rows.cut(cut).then(after.rows()))


def test_the_table_of_the_docstring():
    """Lanes, latency and elements of 2, 3 and 3, back to back: the events in the cycles that the table says."""
    rows = re.findall(r"^\| s ([+-] \d+)? *\| (.*?) *\|", rtl.work_engines.__doc__ or "", re.MULTILINE)
    events = {name: int(after.replace(" ", "") or 0) for after, names in rows for name in names.split(", ")}
    assert events == {"accept": -1, "ready": 1, "started": 0, "ended": 1, "(next command starts)": 2, "": 4, "done": 5}
    fp16 = bench("fp16")
    assert (fp16.accelerator.updater.lanes, fp16.accelerator.updater.latency) == (2, 3)
    run = Script(fp16, 7, 0, 0)
    run.fill()
    begin = run.free["update"] = run.end + 1
    run.update(0, [0, 1, 2, 3, 4, 5], 3, 1)
    run.update(1, [0, 1, 2, 3, 4, 5], 3, 0)
    run.empty()
    assert sorted(run.events["update_started"]) == [begin, begin + events["(next command starts)"]]
    for name in ("started", "ended", "done"):
        assert begin + events[name] == min(run.events[f"update_{name}"])
    assert not fp16.wrong(run.rows())


def test_cocotb(tmp_path: Path):
    """All engines, loads, stalled stores and a reset in a simulator that knows nothing of this project's native model."""
    one = bench("one lane")
    cut_off, after = Script(one, 8, 0.2), Script(one, 9, 0.2)
    for run, count in ((cut_off, 30), (after, 60)):
        run.fill()
        run.any("prune", "update", "vector", "load", "store", count=count)
    after.empty()
    rows = cut_off.rows().cut(cut_off.end - 50).then(after.rows())
    assert not one.wrong(rows)
    file = tmp_path / "rows.json"
    file.write_text(rows.table())
    run_cocotb(one.verilog, "work", "rows_bench", {"ROWS": str(file)})


@pytest.mark.parametrize("name", ["fp16", "int8", "one lane"])
def test_clean(name: str):
    """No latch, loop or undriven net."""
    check(bench(name).verilog, "work")


def test_bad_machines():
    with pytest.raises(ValueError, match="must be for fp16 or bf16 gradients, not 'int8'"):
        rtl.work_engines.UpdateEngine(machine("int8", 4, (2, 2, 2), 4, 1))
    with pytest.raises(ValueError, match="Pruner field 'lanes' must be a power of two for the RTL, not 3"):
        rtl.prune_engine.PruneEngine(machine("int8", 4, (3, 2, 2), 4, 1))
    with pytest.raises(ValueError, match="VectorUnit field 'lanes' must be a power of two for the RTL, not 6"):
        rtl.work_engines.VectorEngine(machine("int8", 4, (2, 2, 6), 4, 1))
    message = "Pruner field 'lanes' must be above 0 for the RTL where it has another of these engines, not 0"
    with pytest.raises(ValueError, match=message):
        rtl.work_engines.VectorEngine(machine("int8", 4, (0, 2, 2), 4, 1))


# name: (engine, right text, wrong text)
FAULTS = {
    "no fault, prune": ("prune", "index + 1)", "index + 1)"),
    "no fault, update": ("update", "max(0, 3 - log2(lanes))", "max(0, 3 - log2(lanes))"),
    "no fault, vector": ("vector", "left <= self.lanes", "left <= self.lanes"),
    "a step too many": ("vector", "active & (left <= self.lanes)", "active & (left < self.lanes)"),
    "lanes beyond the end write": ("vector", "Cat(left > lane for", "Cat(left >= lane for"),
    "a command's steps go on": ("vector", "left.eq(self.elements), at.eq(0)", "left.eq(self.elements)"),
    "result a cycle late": ("vector", 'delayed(self.m, Cat(place.values()), self.latency + 1, "place")', "Cat(place.values())"),
    "a plane that is not needed is read": ("vector", 'element.read("y", two)', 'element.read("y")'),
    "no second operand": ("vector", "VectorOperation.ADD, VectorOperation.MULTIPLY,", "VectorOperation.ADD,"),
    "scalar of the next command": ("vector", 'element.next(element.command.scalar, "scalar")', "self.command.scalar"),
    "done a cycle early": ("vector", "engine.done.eq(events[1])", "engine.done.eq(self.walk.ended)"),
    "reset forgets nothing": ("vector", '"event", reset_less=False', '"event", reset_less=True'),
    "mask of another step": ("update", "mask.word_select(element.next(", "mask.word_select(element.next(0 & "),
    "mask is always taken": ("update", "mask | ~element.next", "mask & ~element.next"),
    "second moment of another": ("update", 'adam if name == "second" else 1', '~adam if name == "second" else 1'),
    "SGD writes a second moment": ("update", '{"second": adam} if', '{"second": Const(1)} if'),
    "SGD takes Adam's gain": ("update", "Mux(adam, self.gain, Const(_ONE, MASTER_BITS))", "self.gain"),
    "a wrong bit of the copy": ("update", '"copy": unit.copy', '"copy": unit.copy.as_value() ^ 1'),
    "a round too many": ("prune", "left <= command.group << shift", "left < command.group << shift"),
    "columns end late": ("prune", "column == width - 1", "column == width"),
    "block does not end": ("prune", "Mux(ends_row, at, begin) + 1", "begin + 1"),
    "rows are not turned": ("prune", "Mux(command.across, arrives, feeding)", "arrives"),
    "one bank": ("prune", "filling ^ arrives_last", "0"),
    "ended a cycle late": ("prune", "command.keep - 1 + turn", "command.keep + turn"),
    "ready too late": ("prune", "~reading & (rest <= 1)", "~reading & (rest < 1)"),
    "round is not held": ("prune", "Mux(new, packed.payload, held)", "packed.payload"),
    "fields change too early": ("prune", "m.d.sync += fields.eq(command)", "m.d.comb += fields.eq(command)"),
    "garbage beyond the entries": ("prune", "for bit in present)", "for bit in (Const(1),) * lanes)"),
    "planes exchanged": ("prune", "getattr(fields, plane)", 'getattr(fields, "values")'),
    "no carry": ("prune", "now.lane + step.lane + carry", "now.lane + step.lane"),
    "entries go on": ("prune", "with m.Elif(fresh):", "with m.Elif(0):"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch):
    engine, right, wrong = FAULTS[fault]
    module = rtl.prune_engine if engine == "prune" else rtl.work_engines
    changed = mutant(f"{module.__name__.replace('.', '/')}.py", (right, wrong))
    monkeypatch.setitem(ENGINES, engine, getattr(changed, ENGINES[engine].__name__))
    optimizers = ("sgd-momentum", "adam") if engine == "update" else ("sgd-momentum",)
    broken = Bench(machine("bf16", 4, (2, 1 + (engine == "update"), 2), 4, 2, (1, 2, 2), optimizers), [engine])
    found = [check_program(broken, seed, 300, 0.2 * (seed % 2)) for seed in range(4)]
    run, after = Script(broken, 5, 0), Script(broken, 6, 0)
    for each in (run, after):
        each.fill()
        each.any(engine, count=30)
    found.append(broken.wrong(run.rows().cut(run.end - 3).then(after.rows())))
    assert any(found) == (not fault.startswith("no fault"))
