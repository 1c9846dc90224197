"""Is the area of many machines at once the same, to the cell, as that of each alone?"""

import random
from dataclasses import fields, replace

import numpy as np
import pytest

from dataflows.analytic.machines import Machines
from dse import area_columns as module
from dse.area_columns import area_columns, misfits
from simulator.arch import Accelerator, Array, Buffer, Dataflow, Dram, Pe, Pruner, Sequencer, Updater, VectorUnit
from simulator.cost import area as one
from simulator.cost.area import RESOURCES, area, calibration, misfit
from simulator.cost.devices import DEVICES

FLOWS = ((Dataflow.OS,), (Dataflow.WS,), (Dataflow.OS, Dataflow.WS), (Dataflow.OS, Dataflow.WS, Dataflow.IS))


def any_machine(rng: random.Random) -> Accelerator:
    """Every field that a part may read varies."""

    def buffer() -> Buffer:
        return Buffer(bytes=rng.choice((2**10, 3000, 2**16, 2**21)), banks=4, bank_bits=64, slots=rng.choice((1, 2, 3)))

    return Accelerator(
        name="any",
        clock_hz=rng.choice((100_000_000, 200_000_000)),
        pe=Pe(
            format=rng.choice(("fp16", "bf16", "int8")),
            group=rng.choice((1, 4, 16)),
            lanes=rng.choice((1, 2)),
            registers=rng.choice((4, 16)),
            multiply_latency=rng.randint(0, 2),
            accumulate_latency=rng.randint(1, 4),
            interleave=rng.choice((1, 2, 4, 5)),
        ),
        array=Array(
            rows=rng.choice((1, 4, 7)),
            cols=rng.choice((1, 4, 9)),
            dataflows=rng.choice(FLOWS),
            double_buffered=rng.random() < 0.5,
        ),
        a_buffer=buffer(),
        b_buffer=buffer(),
        c_buffer=buffer(),
        work_buffer=buffer(),
        pruner=Pruner(lanes=rng.choice((0, 2, 8)), latency=rng.choice((1, 2))),
        updater=Updater(
            lanes=rng.choice((0, 2, 8)), latency=rng.choice((8, 16)), optimizers=rng.choice((("sgd-momentum",), ("adam",)))
        ),
        vector=VectorUnit(lanes=rng.choice((0, 2, 8)), latency=rng.choice((4, 8))),
        dram=Dram(bytes_per_second=rng.choice((10**9, 4 * 10**9, 10**10)), burst_bytes=rng.choice((64, 128))),
        sequencer=Sequencer(queue_depth=rng.choice((4, 16, 40))),
    )


def kin(rng: random.Random, count: int) -> list[Accelerator]:
    """Machines that have each part from one of two: most of what one of them has, others have too."""
    parents = any_machine(rng), any_machine(rng)
    names = [item.name for item in fields(Accelerator)]
    return [Accelerator(**{name: getattr(rng.choice(parents), name) for name in names}) for _ in range(count)]


@pytest.fixture(autouse=True)
def fresh():
    module._known.cache_clear()
    yield
    module._known.cache_clear()


@pytest.mark.parametrize("seed", range(3))
def test_each_machine_has_the_area_that_it_has_alone(seed, monkeypatch):
    clock = {
        "array": {"fp16": {"period_ns": {"one": 8.0, "group": 1.0, "size": 0.1}, "spread": 0.1}},
        "parts": {"control": 110.0, "update": 60.0, "prune": 150.0},
    }
    known = {name: each | {"clock": clock} for name, each in calibration().items()}
    monkeypatch.setattr(module, "calibration", lambda: known)
    monkeypatch.setattr(one, "calibration", lambda: known)
    rng = random.Random(seed)
    machines = [any_machine(rng) for _ in range(60)] + [each for _ in range(5) for each in kin(rng, 40)]
    found = area_columns(Machines.of(machines))
    assert found.keys() == known.keys()
    for number, machine in enumerate(machines):
        for technology, columns in found.items():
            alone = area(machine, technology)
            assert {name: columns.cells[name][number] for name in RESOURCES} == alone.total.as_dict()
            assert columns.extrapolated[number] == len(alone.notes)
            assert columns.fmax_hz[number] == alone.fmax_hz
    assert len(np.unique(found["ecp5"].fmax_hz)) > 3


def test_what_exceeds_a_device_and_by_how_much():
    rng = random.Random(7)
    machines = [any_machine(rng) for _ in range(60)]
    machines += [replace(machine, array=Array(rows=40, cols=40)) for machine in machines[:20]]
    areas = area_columns(Machines.of(machines))
    said = set()
    for device in (name for name, chip in DEVICES.items() if chip.technology in areas):
        found = misfits(areas, device)
        for number, machine in enumerate(machines):
            reason = misfit(area(machine, DEVICES[device].technology), device)
            assert found.exceeds[number] == (reason is not None)
            if reason is not None:
                said.add(reason.constraint)
                assert reason.constraint == found.constraint[number]
                assert (reason.demand, reason.limit) == (found.demand[number], found.limit[number])
    assert len(said) > 2
