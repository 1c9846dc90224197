# amaranth: UnusedElaboratable=no
"""Do sequencer, queues and tokens start every command in the cycle in which the simulator starts it?"""

import dataclasses

import numpy as np
import pytest
from rtl_kit.require import need_rtl

need_rtl()

from rtl_kit import NativeModel  # noqa: E402
from sequencer_bench import PROGRAM, SequencerBench, busy_of, tail_of  # noqa: E402

import simulator.machine  # noqa: E402
from rtl.emit import verilog_of  # noqa: E402
from simulator.arch import Sequencer  # noqa: E402
from simulator.binary import program_of  # noqa: E402
from simulator.encoding import COMMAND_BITS, COMMAND_BYTES, END, ENGINES, FIELDS, Fault, Opcode, Word, encode  # noqa: E402
from simulator.faults import fault  # noqa: E402
from simulator.presets import PRESETS  # noqa: E402

INPUTS = ["rst", "write", "at", "word", "start", "length"]
OUTPUTS = ["trace_put", "trace_started", "trace_ended", "trace_done", "busy", "fault", "fault_index", "cycles"]
SPECS = [
    Sequencer(dispatch_cycles=d, queue_depth=q, token_latency=t) for d, q, t in ((1, 1, 1), (1, 8, 2), (3, 2, 1), (2, 3, 4))
]


def machine(spec: Sequencer):
    base = PRESETS["sat-vcu1525"].accelerator
    return dataclasses.replace(base, array=dataclasses.replace(base.array, rows=2, cols=2), sequencer=spec)


def body(opcode: Opcode) -> dict[str, int]:
    """Fields that the decoder lets pass."""
    ones = ("rows", "row_bytes", "lines", "k", "stride", "m", "n", "a_stride", "b_stride", "c_stride", "columns")
    fields = dict.fromkeys(FIELDS[opcode], 0) | {name: 1 for name in ones if name in FIELDS[opcode]}
    fields |= {name: 128 for name in ("pitch",) if name in fields}
    if opcode is Opcode.LOAD_B:
        fields["banking"] = 1
    if opcode is Opcode.PRUNE:
        fields |= {"keep": 2, "group": 8, "elements": 16, "row_elements": 16}
    if "elements" in fields and opcode is not Opcode.PRUNE:
        fields |= {"elements": 4}
    return fields


def random_program(rng: np.random.Generator, length: int) -> bytes:
    """Engines at random, some in runs; waits for some of what came before, in any mixture."""
    given = dict.fromkeys(ENGINES, 0)
    words: list[Word] = []
    engine = ENGINES[0]
    for _ in range(length):
        if rng.random() < 0.7:
            engine = ENGINES[rng.integers(len(ENGINES))]
        waits = {e: int(rng.integers(max(1, given[e] - 2), given[e] + 1)) for e in ENGINES if given[e] and rng.random() < 0.25}
        opcode = Opcode(ENGINES.index(engine) + 1)
        tag = int(rng.choice([0, 1, 2, rng.integers(0, 32)]))
        words.append(Word(opcode=opcode, op=tag, waits=waits, fields=body(opcode)))
        given[engine] += 1
    return encode([*words, END])


class Bench:
    def __init__(self, spec: Sequencer) -> None:
        self.accelerator = machine(spec)
        self.model = NativeModel(verilog_of(SequencerBench(self.accelerator), "bench"), "bench", INPUTS, OUTPUTS)

    def run(self, data: bytes, *, length: int | None = None, cycles: int = 20_000, restart: bool = True):
        words = [data[at : at + COMMAND_BYTES] for at in range(0, len(data), COMMAND_BYTES)]
        assert len(words) <= PROGRAM
        rows = cycles + len(words) + 2
        values = np.zeros((rows, COMMAND_BITS // 32), np.uint32)
        values[1 : 1 + len(words)] = np.frombuffer(data, np.uint32).reshape(len(words), -1)
        number = np.arange(rows)
        writing = (number >= 1) & (number <= len(words))
        given = {
            "rst": (number == 0).astype(np.uint8),
            "write": writing.astype(np.uint8),
            "at": np.where(writing, number - 1, 0).astype(np.uint8),
            "word": values,
            "start": (number == len(words) + 1).astype(np.uint8),
            "length": np.full(rows, len(words) if length is None else length, np.uint32),
        }
        return {name: array[len(words) + 1 :] for name, array in self.model.run(given, restart=restart).items()}


def simulated(accelerator, data: bytes, monkeypatch):
    """Events of the real simulator, whose engines do nothing either."""

    def work(number):
        def unit(_, command):
            return busy_of(command.op), busy_of(command.op) + tail_of(number), None

        return unit

    monkeypatch.setattr(simulator.machine, "_WORK", {engine: work(number) for number, engine in enumerate(ENGINES)})
    return simulator.machine.run(program_of(data), accelerator, record_events=True)


def sequences(found):
    """Times of starts and ends, by engine, from the cycle after the first put."""
    zero = int(np.flatnonzero(found["trace_put"])[0]) + 1
    return {
        engine: [
            (int(s) - zero, int(e) - zero + 1)
            for s, e in zip(
                *(np.flatnonzero(found[f"trace_{kind}"] >> number & 1) for kind in ("started", "ended")), strict=True
            )
        ]
        for number, engine in enumerate(ENGINES)
    }


@pytest.mark.parametrize(
    "spec", SPECS, ids=lambda s: f"dispatch{s.dispatch_cycles}-queue{s.queue_depth}-token{s.token_latency}"
)
def test_starts_as_simulated(spec: Sequencer, monkeypatch):
    """Twelve random programs: every start and end of every engine, and the cycles of the run; each after a reset in mid-run."""
    bench, rng = Bench(spec), np.random.default_rng(7)
    for _ in range(12):
        data = random_program(rng, int(rng.integers(5, 120)))
        wanted = simulated(bench.accelerator, data, monkeypatch)
        found = bench.run(data, cycles=wanted.cycles + 500)
        assert not found["busy"][-1]
        assert found["fault"][-1] == 0
        events = {e: [(event.start, event.end) for event in wanted.events if event.engine is e] for e in ENGINES}
        assert sequences(found) == events
        assert found["cycles"][-1] == wanted.cycles
        bench.run(data, cycles=wanted.cycles // 2, restart=False)


def test_a_fault_stops_it_and_it_starts_again():
    """What was dispatched before the fault still runs; the fault names the command; a sound program runs afterwards."""
    bench, rng = Bench(SPECS[1]), np.random.default_rng(3)
    good = random_program(rng, 40)
    for position in (0, 1, 17, 39):
        bad = bytearray(good)
        bad[position * COMMAND_BYTES + COMMAND_BYTES - 1] |= 0x80  # a reserved bit
        found = bench.run(bytes(bad), cycles=4000)
        assert not found["busy"][-1]
        assert (Fault(int(found["fault"][-1])), int(found["fault_index"][-1])) == (Fault.OPCODE, position)
        assert (
            sum(len(events) for events in sequences(found).values()) == position if position else not found["trace_put"].any()
        )
    found = bench.run(good, cycles=4000, restart=False)
    assert (found["busy"][-1], found["fault"][-1]) == (0, Fault.NONE)
    assert sum(len(events) for events in sequences(found).values()) == 40


def test_waiting_for_what_never_comes():
    """A command that waits for a later one is refused, so that nothing hangs."""
    bench = Bench(SPECS[0])
    word = Word(opcode=Opcode.VECTOR, waits={ENGINES[0]: 1}, fields=body(Opcode.VECTOR))
    data = encode([word, Word(opcode=Opcode.LOAD_A, fields=body(Opcode.LOAD_A)), END])
    assert fault(data[:COMMAND_BYTES], bench.accelerator, {}) is Fault.TOKEN
    found = bench.run(data, cycles=200)
    assert (found["busy"][-1], found["fault"][-1], found["fault_index"][-1]) == (0, Fault.TOKEN, 0)


@pytest.mark.parametrize("length", [0, 5, 12])
def test_a_program_without_its_end(length: int):
    bench = Bench(SPECS[0])
    data = random_program(np.random.default_rng(5), 12)
    found = bench.run(data, length=length, cycles=2000)
    assert (found["busy"][-1], found["fault"][-1], found["fault_index"][-1]) == (0, Fault.LENGTH, length)
