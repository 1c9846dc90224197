"""Which machines are synthesised for the cost model: for each part, points spread over what its size depends on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from simulator.arch import Accelerator, Array, Buffer, Dataflow, Dram, Pe, Pruner, Sequencer, Updater, VectorUnit

__all__ = ["COUNTS", "Design", "designs"]

COUNTS = {
    "array": 27,
    "a_buffer": 16,
    "b_buffer": 3,
    "c_buffer": 10,
    "work_buffer": 9,
    "prune": 8,
    "update": 8,
    "vector": 8,
    "control": 5,
}
"""Machines for each part; of every three, two make the fit and one tests it."""
_FORMATS = ("int8", "int8", "fp16", "bf16")
_FLOWS = ((Dataflow.OS,), (Dataflow.OS, Dataflow.WS), tuple(Dataflow))


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A machine of which `part` is measured. `held_out`: the fit may not see it."""

    part: str
    number: int
    accelerator: Accelerator

    @property
    def held_out(self) -> bool:
        return self.number % 3 == 2


def designs() -> Iterator[Design]:
    """All of them, always the same."""
    for at, (part, count) in enumerate(COUNTS.items()):
        rng = np.random.default_rng([7, at])
        for number in range(count):
            yield Design(part=part, number=number, accelerator=_random(rng, part, number))


def _random(rng: np.random.Generator, part: str, number: int) -> Accelerator:
    def pick(*values: int) -> int:
        return int(rng.choice(values))

    form = _FORMATS[number % len(_FORMATS)]
    if part == "update":
        form = ("fp16", "bf16")[number % 2]
    group = pick(1, 2, 4, 8, 16)
    flows = _FLOWS[pick(0, 1, 2)]
    lanes = min(group, pick(1, 1, 2)) if group > 1 else 1
    lag = 1 if form == "int8" else pick(3, 4, 5)
    pe = Pe(
        format=form,
        group=group,
        lanes=lanes,
        registers=max(group, lanes),
        multiply_latency=pick(1, 2, 3) if form == "int8" else pick(2, 3, 4),
        accumulate_latency=lag,
        interleave=1 if form == "int8" else pick(lag, 4),
    )
    sides = (1, 2, 3) if part in ("array", "control") else (2, 3, 4, 6)
    rate = pick(4, 4, 8)
    if part in ("a_buffer", "b_buffer"):  # of one kind where a bus beat has no more operands than the array has rows, columns
        narrow = number % 4 == 0
        sides, rate = ((2, 3), 4) if narrow else ((4, 6, 8), 4 if form == "int8" else rate)
        if narrow and group > 4:  # the other kind takes minutes to map
            pe = replace(pe, group=4, registers=4)
    clock = 100_000_000
    buffers = [Buffer(bytes=2**10 * pick(4, 16, 64), banks=64, bank_bits=1024) for _ in range(4)]
    machine = Accelerator(
        name="calibration",
        clock_hz=clock,
        pe=pe,
        array=Array(rows=pick(*sides), cols=pick(*sides), dataflows=flows),
        a_buffer=buffers[0],
        b_buffer=buffers[1],
        c_buffer=buffers[2],
        work_buffer=buffers[3],
        pruner=Pruner(lanes=pick(1, 2, 4)),
        updater=Updater(
            lanes=pick(1, 2),
            latency=pick(12, 16),
            optimizers=("sgd-momentum", "adam") if number % 4 == 3 else ("sgd-momentum",),
        ),
        vector=VectorUnit(lanes=pick(1, 2, 4), latency=pick(6, 8)),
        dram=Dram(bytes_per_second=rate * clock, latency_ns=150, burst_bytes=32, outstanding=8),
        sequencer=Sequencer(queue_depth=pick(4, 8, 16)),
    )
    if part == "control" and number % 2:  # without engines for training
        return replace(machine, pruner=Pruner(lanes=0), updater=Updater(lanes=0), vector=VectorUnit(lanes=0))
    return machine
