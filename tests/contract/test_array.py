# amaranth: UnusedElaboratable=no
"""Does the array compute what `simulator.arithmetic` says, bit for bit, in the cycles that `simulator.timing` says?"""

import contextlib
import dataclasses
import functools
import pickle

import numpy as np
import pytest
from rtl_kit.require import need_rtl
from strategies import wide_machine

need_rtl()

from array_model import SLOTS, Surroundings, random_job  # noqa: E402
from array_tops import PlainPorts  # noqa: E402
from pe_jobs import PATTERNS  # noqa: E402
from port_rows import as_array, as_integers  # noqa: E402
from rtl_kit import NativeModel, run_cocotb  # noqa: E402

from rtl.array import Array  # noqa: E402
from rtl.array_ports import check_array, encode  # noqa: E402
from rtl.emit import check, verilog_of  # noqa: E402
from rtl.native.toolchain import ports_of  # noqa: E402
from simulator.arch import Accelerator, Buffer, Dataflow, Dram, Pe  # noqa: E402
from simulator.presets import PRESETS  # noqa: E402
from simulator.timing import multiply_time  # noqa: E402
from workloads.sparsity import DENSE, NM  # noqa: E402


def machine(
    name, rows, cols, *, group=8, lanes=1, multiply=1, lag=2, interleave=2, registers=8, dataflows=tuple(Dataflow)
) -> Accelerator:
    pe = Pe(
        format=name,
        group=group,
        lanes=lanes,
        registers=registers,
        multiply_latency=multiply,
        accumulate_latency=lag,
        interleave=interleave,
    )
    buffers = {f"{x}_buffer": Buffer(bytes=2**21, banks=64, bank_bits=2**16, slots=SLOTS) for x in "abc"}
    dram = Dram(bytes_per_second=1_600_000_000)  # some results a beat: several places in a word of the result buffer
    wide = wide_machine(pe, rows, cols, double=True, dram=dram, **buffers)
    return dataclasses.replace(wide, array=dataclasses.replace(wide.array, dataflows=dataflows))


class Bench:
    """Emitted Verilog in closed loop with the surroundings, a cycle at a time."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.verilog = verilog_of(PlainPorts(accelerator), "array_bench")
        ports = ports_of(self.verilog, "array_bench")
        self.bits = {name: port.bits for name, port in ports.items()}
        self.inputs = [name for name, port in ports.items() if port.direction == "input" and name != "clk"]
        self.outputs = [name for name, port in ports.items() if port.direction == "output"]
        self.model = NativeModel(self.verilog, "array_bench", self.inputs, self.outputs)

    def cycle(self, values: dict[str, int], *, restart: bool = False) -> dict[str, int]:
        arrays = {name: as_array([values.get(name, 0)], self.bits[name]) for name in self.inputs}
        return {name: as_integers(array)[0] for name, array in self.model.run(arrays, restart=restart).items()}

    def run(self, surroundings: Surroundings, *, restart: bool = True, limit: int = 1 << 62, stall: float = 0.0) -> None:
        rng, answers, cycles = np.random.default_rng(3), {}, 0
        while not surroundings.finished and cycles < limit:
            offered = surroundings.offer()
            enabled = rng.random() >= stall
            outputs = self.cycle({"en": int(enabled), **offered, **answers}, restart=restart)
            restart, cycles = False, cycles + 1
            if enabled:
                answers = surroundings.step(offered, outputs)
            assert surroundings.cycle < 1_000_000


@functools.cache
def bench(name: str) -> Bench:
    return Bench(MACHINES[name])


def jobs_of(accelerator: Accelerator, count: int, seed: int, largest: int = 12) -> list:
    rng = np.random.default_rng(seed)
    jobs = []
    while len(jobs) < count:
        pattern = PATTERNS[rng.integers(len(PATTERNS))]
        unit = pattern.group if isinstance(pattern, NM) else 1
        m, n = (int(x) for x in rng.integers(1, largest + 1, 2))
        k = unit * int(rng.integers(1, max(2, largest // unit + 1)))
        dataflow = accelerator.array.dataflows[rng.integers(len(accelerator.array.dataflows))]
        with contextlib.suppress(ValueError):  # a group that doesn't fit
            jobs.append(random_job(accelerator, rng, dataflow, pattern, m, n, k, len(jobs)))
    return jobs


MACHINES = {
    "int8-1x1-plain": machine("int8", 1, 1, multiply=0, lag=1, interleave=1),
    "int8-2x2": machine("int8", 2, 2),
    "int8-3x5-two-lanes": machine("int8", 3, 5, lanes=2, multiply=0, lag=3, interleave=4),
    "int8-4x4-three-lanes": machine("int8", 4, 4, group=4, lanes=3, multiply=2, lag=1, interleave=3, registers=6),
    "int8-4x4-one-sum": machine("int8", 4, 4, lag=1, interleave=1),
    "int8-6x2-streams": machine("int8", 6, 2, multiply=2, lag=1, interleave=1, dataflows=(Dataflow.OS,)),
    "fp16-2x2": machine("fp16", 2, 2, multiply=2, lag=4, interleave=4),
    "fp16-3x5": machine("fp16", 3, 5, lanes=2, multiply=1, lag=3, interleave=2, group=4, registers=4),
    "bf16-3x2": machine("bf16", 3, 2, multiply=0, lag=2, interleave=5),
    "int8-1x6": machine("int8", 1, 6, lag=3, interleave=2),
    "int8-5x1": machine("int8", 5, 1, lanes=2, multiply=0, lag=1, interleave=4),
}


SLOW = ("int8-1x6", "int8-5x1")


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in MACHINES])
def test_commands_back_to_back(name: str):
    """Random sizes up to some folds each way, dataflows and patterns in turn: values, writes, occupancy and completion."""
    accelerator = MACHINES[name]
    jobs = jobs_of(accelerator, 24, seed=1, largest=9)
    assert {job.what[0] for job in jobs} == set(accelerator.array.dataflows)
    surroundings = Surroundings(accelerator, jobs)
    bench(name).run(surroundings)
    surroundings.check()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
@pytest.mark.parametrize("name", MACHINES)
def test_many_commands(name: str, seed: int):
    """Enough of them that every dataflow meets every pattern that fits."""
    accelerator = MACHINES[name]
    jobs = jobs_of(accelerator, 150, seed, largest=14)
    fit = [pattern for pattern in PATTERNS if accelerator.pe.depth(pattern) <= accelerator.pe.group]
    met = {(job.what[0], str(job.what[4])) for job in jobs}
    assert met == {(dataflow, str(pattern)) for dataflow in accelerator.array.dataflows for pattern in fit}
    surroundings = Surroundings(accelerator, jobs)
    bench(name).run(surroundings)
    surroundings.check()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(16))
def test_random_machines(seed: int):
    """Any shape, lanes, latencies and interleave; registers for every pattern or for few."""
    rng = np.random.default_rng(seed)
    lanes = int(rng.integers(1, 5))
    group = int(rng.choice((1, 4, 8)))
    accelerator = machine(
        "fp16" if seed % 4 == 3 else "int8",
        *(int(x) for x in rng.integers(1, 5, 2)),
        group=group,
        lanes=lanes,
        multiply=int(rng.integers(0, 4)),
        lag=int(rng.integers(1, 7)),
        interleave=int(rng.integers(1, 6)),
        registers=int(rng.choice((max(4, lanes), group + lanes))),
    )
    surroundings = Surroundings(accelerator, jobs_of(accelerator, 100, seed, largest=14))
    Bench(accelerator).run(surroundings)
    surroundings.check()


def test_stalls_and_pauses():
    """With `en` low at random the same happens in the enabled cycles; a command may also come late."""
    name = "int8-2x2"
    accelerator = MACHINES[name]
    jobs = jobs_of(accelerator, 24, seed=8, largest=8)
    pauses = {number: int(x) for number, x in enumerate(np.random.default_rng(5).integers(0, 30, 24)) if number % 3 == 2}
    late = {number: jobs[number - 1].times[0] + pause for number, pause in pauses.items()}
    surroundings = Surroundings(accelerator, jobs, late)
    bench(name).run(surroundings, stall=0.4)
    surroundings.check()


def test_reset_in_mid_command():
    """Nothing of what was in flight is asked for or written afterwards, and the next commands are right."""
    name = "int8-2x2"
    accelerator = MACHINES[name]
    array = bench(name)
    restart = True
    for cut in range(3, 160, 11):
        array.run(Surroundings(accelerator, jobs_of(accelerator, 6, seed=cut, largest=8)), restart=restart, limit=cut)
        restart = False
        array.cycle({"en": 1, "rst": 1})
        quiet = [array.cycle({"en": 1}) for _ in range(cut % 2 * 60)]  # at once, or later
        silent = ("row_request", "column_request", "sums_request", "results")
        for outputs in quiet:
            for port in silent:
                layout, count = Surroundings(accelerator, []).layouts[port]
                assert not any(outputs[port] >> (i * layout.size) & 1 for i in range(count)), port
            assert not outputs["done"] | outputs["started"]
        jobs = jobs_of(accelerator, 3, seed=1000 + cut, largest=6)
        surroundings = Surroundings(accelerator, jobs)
        array.run(surroundings, restart=False)
        surroundings.check()


@pytest.mark.parametrize("name", ["int8-2x2", pytest.param("fp16-3x5", marks=pytest.mark.slow)])
def test_under_cocotb(name: str, tmp_path):
    """The same surroundings in a simulator that knows nothing of this project."""
    accelerator = MACHINES[name]
    jobs = jobs_of(accelerator, 12, seed=4, largest=9)
    file = tmp_path / "jobs.pickle"
    file.write_bytes(pickle.dumps((accelerator, jobs)))
    run_cocotb(bench(name).verilog, "array_bench", "array_bench", {"JOBS": str(file)})


@pytest.mark.parametrize("dataflow", Dataflow)
@pytest.mark.parametrize("pattern", [DENSE, NM(2, 4)], ids=str)
def test_odd_sizes(dataflow: Dataflow, pattern):
    """5 x 7 x 9 on 3 x 5 (8 for the reduction of a pattern): edges in every dimension; accumulating and not, sparse A and B."""
    name = "fp16-3x5"
    accelerator = MACHINES[name]
    rng = np.random.default_rng(6)
    k = 9 if pattern is DENSE else 8
    jobs = [random_job(accelerator, rng, dataflow, pattern, 5, 7, k, number) for number in range(6)]
    surroundings = Surroundings(accelerator, jobs)
    bench(name).run(surroundings)
    surroundings.check()


def test_the_docstring_example():
    """The table in rtl/array_control.py, cycle by cycle."""
    name = "int8-1x1-plain"
    job = random_job(MACHINES[name], np.random.default_rng(3), Dataflow.OS, DENSE, 1, 2, 2, 0)
    job.fields["accumulate"] = 0
    surroundings, seen, step = Surroundings(MACHINES[name], [job]), [], Surroundings.step

    def record(offered, outputs):
        seen.append((outputs["row_request"] & 1, outputs["results"] & 1, outputs["done"], outputs["ready"]))
        return step(surroundings, offered, outputs)

    surroundings.step = record
    bench(name).run(surroundings)
    assert job.accepted == 0
    asks, writes, done, ready = ([cycle for cycle, row in enumerate(seen) if row[i]] for i in range(4))
    assert (asks, writes, done, ready) == ([1, 2, 3, 4], [5, 7], [7], [0, 4, 5, 6, 7])


@pytest.mark.parametrize(("name", "dataflows"), [("fp16-2x2", Dataflow), ("int8-4x4-one-sum", (Dataflow.WS, Dataflow.IS))])
def test_a_sum_waits_for_the_c_buffer(name: str, dataflows):
    """One position and one column: the next part of the reduction begins when the sum is back."""
    accelerator = MACHINES[name]
    rng = np.random.default_rng(6)
    jobs = [random_job(accelerator, rng, dataflow, DENSE, 1, 1, 9, number) for number, dataflow in enumerate(dataflows)]
    surroundings = Surroundings(accelerator, jobs)
    assert all(multiply_time(accelerator, *job.what).latency > 0 for job in jobs)
    bench(name).run(surroundings)
    surroundings.check()


@pytest.mark.parametrize("name", ["int8-2x2", "fp16-2x2", "int8-1x1-plain"])
def test_text_is_sound(name: str):
    check(verilog_of(Array(MACHINES[name]), "array"), "array")


def test_presets_are_arrays_that_can_be_built():
    """Their buffers' ports are wide enough, and not by more than the test below takes away."""
    for name in ("sat-vcu1525", "edge-int8", "a100-like-sm"):
        accelerator = PRESETS[name].accelerator
        check_array(accelerator)
        for buffer in ("a_buffer", "b_buffer"):
            banks = getattr(accelerator, buffer).banks - 1
            narrow = dataclasses.replace(getattr(accelerator, buffer), banks=banks)
            with pytest.raises(ValueError, match="must move"):
                check_array(dataclasses.replace(accelerator, **{buffer: narrow}))


def test_arrays_that_are_not_this_one():
    accelerator = MACHINES["int8-2x2"]
    single = dataclasses.replace(accelerator, array=dataclasses.replace(accelerator.array, double_buffered=False))
    with pytest.raises(ValueError, match="Array field 'double_buffered' must be True for the RTL, not False"):
        Array(single)
    for name in "abc":
        narrow = dataclasses.replace(accelerator, **{f"{name}_buffer": Buffer(bytes=2**20, banks=1, bank_bits=16)})
        with pytest.raises(ValueError, match=rf"Buffer '{name}' must move \d+ bits per cycle for this array's RTL, not 16"):
            Array(narrow)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"m": 0}, "Command field 'm' must be between 1 and 65535, not 0"),
        ({"pattern": NM(2, 16), "k": 16}, "Command field 'pattern' must fit groups of 8 and divide k=16, not 2:16"),
        ({"pattern": NM(2, 4), "k": 6}, "Command field 'pattern' must fit groups of 8 and divide k=6, not 2:4"),
        (
            {"pattern": NM(2, 8), "k": 8, "sparse": "a"},
            "Command field 'pattern' must need at most 4 stationary registers, not 8",
        ),
    ],
)
def test_commands_that_it_cannot_execute(change: dict, message: str):
    accelerator = machine("int8", 2, 2, registers=4)
    fields = {"dataflow": Dataflow.WS, "m": 4, "n": 4, "k": 4, "pattern": DENSE, "sparse": "b", "accumulate": False}
    with pytest.raises(ValueError, match=message):
        encode(accelerator, **(fields | change))
