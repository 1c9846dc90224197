# amaranth: UnusedElaboratable=no
"""Does the pruner keep what `NM.mask` keeps, in the cycles of the closed form and of the machine, whatever stalls?"""

import pickle
import types
from pathlib import Path

import numpy as np
import pytest
from rtl_kit.planted import mutant
from rtl_kit.require import need_rtl

need_rtl()

from pruner_bench import OUTPUTS, Surroundings, bits_of, numbers  # noqa: E402
from rtl_kit import NativeModel, run_cocotb  # noqa: E402

import rtl.pruner  # noqa: E402
from rtl.emit import check, verilog_of  # noqa: E402
from rtl.native.toolchain import ports_of  # noqa: E402
from simulator.arch import Accelerator, Pe, ceil_div  # noqa: E402
from simulator.arch import Pruner as Spec  # noqa: E402
from simulator.arithmetic import prune_copies  # noqa: E402
from workloads.sparsity import NM  # noqa: E402

PATTERNS = [NM(1, 4), NM(2, 4), NM(3, 8), NM(2, 8), NM(2, 16), NM(4, 4), NM(1, 1), NM(5, 7), NM(16, 16)]
# Where ties and the order of special values show: zeros, infinities, NaN, the largest, the least, and few small ones.
SPECIAL = {
    "fp16": [0x0000, 0x8000, 0x7C00, 0xFC00, 0x7E00, 0x7BFF, 0xFBFF, 0x0001, 0x8001, 0x3C00, 0xBC00],
    "bf16": [0x0000, 0x8000, 0x7F80, 0xFF80, 0x7FC0, 0x7F7F, 0xFF7F, 0x0001, 0x8001, 0x3F80, 0xBF80],
    "int8": [0x00, 0x80, 0x7F, 0x81, 0x01, 0xFF, 0x40, 0xC0],
}


def machine(format_name: str, group: int, lanes: int, latency: int) -> Accelerator:
    return Accelerator(name="pruner", pe=Pe(format=format_name, group=group), pruner=Spec(lanes=lanes, latency=latency))


MACHINES = {
    "fp16-16-3-lanes": machine("fp16", 16, 3, 2),
    "bf16-8-4-lanes": machine("bf16", 8, 4, 1),
    "fp16-8-4-lanes": machine("fp16", 8, 4, 2),
    "bf16-16-1-lane": machine("bf16", 16, 1, 4),
    "int8-16-1-lane": machine("int8", 16, 1, 3),
    "int8-8-3-lanes": machine("int8", 8, 3, 2),
    "fp16-1-1-lane": machine("fp16", 1, 1, 2),
}


def _plain(text: str) -> str:
    """Names of streams' members with one underscore: Verilator's C++ names of ports hold no two in a row."""
    for name in ("commands", "elements", "packed"):
        text = text.replace(f"{name}__", f"{name}_")
    return text


class Bench:
    """A pruner's Verilog as a native model, one cycle at a time."""

    def __init__(self, accelerator: Accelerator, module: types.ModuleType = rtl.pruner) -> None:
        verilog = _plain(verilog_of(module.Pruner(accelerator), "pruner"))
        ports = ports_of(verilog, "pruner")
        inputs = [name for name, port in ports.items() if port.direction == "input" and name != "clk"]
        self.bits = {name: port.bits for name, port in ports.items()}
        self.model = NativeModel(verilog, "pruner", inputs, [_plain(name) for name in OUTPUTS])
        self.cycle({name: int(name == "rst") for name in inputs}, restart=True)
        self.idle = dict.fromkeys(inputs, 0)

    def cycle(self, ports: dict[str, int], *, restart: bool = False) -> dict[str, int]:
        rows = {}
        for name, value in ports.items():
            if self.bits[name] > 64:
                words = range(ceil_div(self.bits[name], 32))
                rows[name] = np.array([[value >> 32 * word & 0xFFFFFFFF for word in words]], np.uint32)
            else:
                size = next(size for size in (8, 16, 32, 64) if self.bits[name] <= size)
                rows[name] = np.array([value], f"uint{size}")
        outputs = self.model.run(rows, restart=restart)
        return {name: int.from_bytes(outputs[_plain(name)].tobytes(), "little") for name in OUTPUTS}

    def play(self, surroundings: Surroundings, cycles: int = 10**9) -> Surroundings:
        self.cycle(self.idle | {"rst": 1})
        while not surroundings.finished and surroundings.cycle < cycles:
            ports = surroundings.offer()
            surroundings.step(ports, self.cycle(self.idle | {_plain(name): value for name, value in ports.items()}))
        return surroundings


def groups_of(accelerator: Accelerator, rng: np.random.Generator, shape: tuple[int, int]):
    """Operands' bits: special ones and random ones in changing proportion, NaN canonical."""
    name = accelerator.pe.format
    special = np.array(SPECIAL[name], np.uint32)
    few = rng.choice(special, int(rng.integers(1, 5)))  # many ties
    bits = rng.integers(0, 1 << accelerator.pe.number.operand_bits, shape).astype(np.uint32)
    kind = rng.integers(0, 3, (shape[0], 1))
    bits = np.where(kind == 0, bits, np.where(kind == 1, rng.choice(special, shape), rng.choice(few, shape)))
    if name == "int8":
        return bits
    return np.where(np.isnan(numbers(name, bits).astype(np.float32)), special[4], bits)


def jobs_of(accelerator: Accelerator, count: int, seed: int) -> list:
    rng = np.random.default_rng(seed)
    patterns = [pattern for pattern in PATTERNS if pattern.group <= accelerator.pe.group]
    order = [pattern for _ in range(ceil_div(count, len(patterns))) for pattern in rng.permutation(np.array(patterns, object))]
    return [(p, groups_of(accelerator, rng, (int(rng.integers(1, 14)), p.group))) for p in order[:count]]


@pytest.fixture(scope="module")
def benches():
    """One model for each machine, made when first asked for."""
    made: dict[str, Bench] = {}

    def bench(name: str) -> Bench:
        if name not in made:
            made[name] = Bench(MACHINES[name])
        return made[name]

    return bench


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize(("stall", "seed"), [(0, 1), (0.1, 2), (0.5, 3)])
def test_values_and_cycles(name: str, stall: float, seed: int, benches):
    """Commands back to back, patterns changing; payloads stay until taken; without stalls every cycle is as the table says."""
    surroundings = Surroundings(MACHINES[name], jobs_of(MACHINES[name], 60 if stall == 0 else 27, seed), stall, seed)
    benches(name).play(surroundings).check()


@pytest.mark.parametrize("name", ["fp16-16-3-lanes", "bf16-8-4-lanes", "int8-16-1-lane"])
def test_directed(name: str, benches):
    """All equal, all zero of both signs, NaN above infinity above the rest, |-128| above 127, rising and falling."""
    accelerator = MACHINES[name]
    nan, infinity, top = {"fp16": (0x7E00, 0xFC00, 0x7BFF), "bf16": (0x7FC0, 0xFF80, 0x7F7F), "int8": (0x80, 0x81, 0x7F)}[
        accelerator.pe.format
    ]
    minus = 0x80 if accelerator.pe.format == "int8" else 1 << accelerator.pe.number.operand_bits - 1
    rows = [
        [1, 1, 1, 1, 1, 1, 1, 1],
        [0, minus, 0, minus, minus, 0, 0, minus],
        [top, infinity, nan, top, infinity, nan, infinity, top],
        [infinity, nan, nan, infinity, top, 0, infinity, nan],
        [1, 2, 3, 4, 5, 6, 7, 8],
        [8, 7, 6, 5, 4, 3, 2, 1],
        [1, 2, 1, 2, 2, 1, 2, 1],
    ]
    groups = np.array(rows, np.uint32)
    jobs = [(NM(keep, 8), groups) for keep in range(1, 9)] + [(NM(keep, 4), groups.reshape(-1, 4)) for keep in range(1, 5)]
    surroundings = benches(name).play(Surroundings(accelerator, jobs, 0, 1))
    surroundings.check()
    rounds, lanes = iter(surroundings.rounds), accelerator.pruner.lanes
    for pattern, given in jobs:
        mask = pattern.mask(numbers(accelerator.pe.format, given))
        kept = [entries for _ in range(0, len(given), lanes) for entries in surroundings.unpack(next(rounds))[0]]
        assert [[index for _, index in entries] for entries in kept] == [np.flatnonzero(row).tolist() for row in mask]


def test_the_table_of_the_docstring():
    """The accepted elements and the outputs, in the cycles that the table says."""
    text = rtl.pruner.__doc__ or ""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line[:2] == "| "][1:]
    assert [int(row[0]) for row in rows] == list(range(11))
    accepted = {int(row[0]): int(row[1].split(",")[0]) for row in rows if row[1][:1] in "-0123456789"}
    outputs = {int(row[0]): row[3] for row in rows if row[3]}
    accelerator = machine("int8", 4, 1, 2)
    groups = np.array(list(accepted.values())).reshape(2, 4) & 0xFF
    surroundings = Bench(accelerator).play(Surroundings(accelerator, [(NM(2, 4), groups), (NM(2, 4), groups)], 0, 1))
    surroundings.check()
    assert surroundings.taken == [int(row[0]) for row in rows if "command" in row[1]]
    assert surroundings.accepted[:8] == list(accepted)
    seen = {}
    for cycle, payload in zip(surroundings.delivered[:2], surroundings.rounds[:2], strict=True):
        entries, _, _, last = surroundings.unpack(payload)
        words = [f"{int(np.uint8(value).view(np.int8))}@{index}" for value, index in entries[0]]
        seen[cycle] = " ".join(words + ["last"] * last)
    assert seen == outputs


@pytest.mark.parametrize("name", ["fp16-16-3-lanes", "int8-16-1-lane"])
def test_busy_equals_the_spec(name: str, benches):
    """The circuit accepts elements for as long as `Pruner.cycles` says, also of ragged ends; its last round is out a latency
    later. (The engine around it, which the machine sees, is compared in test_work_engines.)"""
    accelerator, rng = MACHINES[name], np.random.default_rng(6)
    sizes = [(NM(2, 8), 33), (NM(2, 4), 48), (NM(2, 16), 400), (NM(1, 1), 7), (NM(4, 4), 4), (NM(3, 8), 100)]
    jobs = [(p, groups_of(accelerator, rng, (ceil_div(size, p.group), p.group))) for p, size in sizes]
    surroundings = benches(name).play(Surroundings(accelerator, jobs, 0, 6))
    surroundings.check()
    assert surroundings.busy() == [accelerator.pruner.cycles(size, pattern) for pattern, size in sizes]
    assert surroundings.delivered[-1] - surroundings.accepted[-1] == accelerator.pruner.latency


def test_both_copies_of_the_weights(benches):
    """The forward and the backward copy are two orders of the same elements."""
    name, lanes = "fp16-16-3-lanes", MACHINES["fp16-16-3-lanes"].pruner.lanes
    weights = numbers("fp16", groups_of(MACHINES[name], np.random.default_rng(7), (16, 24)))
    patterns = (NM(2, 8), NM(2, 4))
    streams = (weights.T, weights)  # along I for each output, then along O for each input
    jobs = [(p, bits_of("fp16", w).reshape(-1, p.group)) for p, w in zip(patterns, streams, strict=True)]
    surroundings = benches(name).play(Surroundings(MACHINES[name], jobs, 0.2, 7))
    surroundings.check()
    split = ceil_div(len(jobs[0][1]), lanes)
    parts = (surroundings.rounds[:split], surroundings.rounds[split:])
    for copy, rounds in zip(prune_copies(weights, *patterns), parts, strict=True):
        entries = [entry for payload in rounds for group in surroundings.unpack(payload)[0] for entry in group]
        assert [value for value, _ in entries] == bits_of("fp16", copy.values.T).ravel().tolist()
        assert [index for _, index in entries] == copy.indices.T.ravel().tolist()


@pytest.mark.parametrize("name", ["fp16-16-3-lanes", "int8-16-1-lane"])
def test_reset_in_mid_command(name: str, benches):
    """After a reset at any time the pruner is idle, and the next command's results are right."""
    for seed in range(12):
        accelerator = MACHINES[name]
        cut = int(np.random.default_rng(seed).integers(3, 90))
        cut_off = benches(name).play(Surroundings(accelerator, jobs_of(accelerator, 9, seed), 0.3 * (seed % 2), seed), cut)
        assert not cut_off.finished
        benches(name).play(Surroundings(accelerator, jobs_of(accelerator, 2, seed + 100), 0, seed)).check()


def test_cocotb(tmp_path: Path):
    """The same surroundings in a simulator that knows nothing of this project's native model."""
    accelerator = MACHINES["fp16-16-3-lanes"]
    plan = [(9, 0, None), (9, 0.4, None), (6, 0.2, 70), (5, 0, None)]
    sessions = [
        (Surroundings(accelerator, jobs_of(accelerator, count, seed), stall, seed), cut)
        for seed, (count, stall, cut) in enumerate(plan, 20)
    ]
    file = tmp_path / "sessions.pickle"
    file.write_bytes(pickle.dumps(sessions))
    verilog = verilog_of(rtl.pruner.Pruner(accelerator), "pruner")
    run_cocotb(verilog, "pruner", "pruner_bench", {"SESSIONS": str(file)})


@pytest.mark.parametrize("name", MACHINES)
def test_clean(name: str):
    """No latch, loop or undriven net."""
    check(verilog_of(rtl.pruner.Pruner(MACHINES[name]), "pruner"), "pruner")


# name: (format, right text, wrong text)
FAULTS = {
    "none": ("fp16", "new > magnitude", "new > magnitude"),
    "ties keep the higher index": ("fp16", "new > magnitude", "new >= magnitude"),
    "sign not cleared": ("fp16", "return bits[:-1]", "return bits"),
    "sign of int8 not cleared": ("int8", "Mux(bits[-1], -bits, bits)", "Mux(0, -bits, bits)"),
    "-128 is not the largest": ("int8", "-bits, bits)[: len(bits)]", "~bits, bits)[: len(bits)]"),
    "indices start at 1": ("fp16", "indices[j].eq(self.position)", "indices[j].eq(self.position + 1)"),
    "order of arrival lost": ("fp16", "leaves[: j + 1].any()", "leaves[:j].any()"),
    "group longer by one": ("fp16", "position + 1 == command.group", "position == command.group"),
    "state of the group before": ("fp16", "(position > j) & (command.keep > j)", "command.keep > j"),
    "rank not counted": ("fp16", "ranks[j] + beaten[j])", "ranks[j])"),
    "a lane too many": ("fp16", "command.groups > lane for", "command.groups >= lane for"),
    "ends a round late": ("fp16", "command.groups <= lanes)", "command.groups < lanes)"),
    "a command does not end": ("fp16", "~busy | ends)", "~busy)"),
    "a register too many": ("fp16", "ranks = self.spec.latency", "ranks = self.spec.latency + 1"),
    "a round is given again": ("fp16", "eq(~full | ready[rank + 1])", "eq(~full)"),
    "output does not wait": ("fp16", "~full | ready[rank + 1]", "~full | 1"),
    "a round is overwritten": ("fp16", "eq(busy & moves)", "eq(busy)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found(fault: str):
    format_name, right, wrong = FAULTS[fault]
    module = mutant("rtl/pruner.py", (right, wrong))
    accelerator = machine(format_name, 4, 2, 2)
    try:
        bench = Bench(accelerator, module)
        for stall in (0, 0.4):
            bench.play(Surroundings(accelerator, jobs_of(accelerator, 30, 8), stall, 8)).check()
    except AssertionError:
        assert fault != "none"
    else:
        assert fault == "none"
