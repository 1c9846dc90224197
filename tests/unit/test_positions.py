"""Does every point of a space come once, with its own number and settings, and its own machine?"""

from dataclasses import replace

import numpy as np
import pytest

from dse.config import ConfigError
from dse.constraints import parse_constraint
from dse.machine_columns import machine_columns
from dse.point import make_point
from dse.positions import Order
from dse.space import Objective, Space

AXES = (
    ({"accelerator.work_buffer.bytes": 2**19}, {"accelerator.work_buffer.bytes": 2**20}),
    ({"method": "dense"}, {"method": "bdwp:2:8"}, {"method": "bdwp:2:16"}),
    ({"accelerator.pe.lanes": 1}, {"accelerator.pe.lanes": 8}),
    (
        {"accelerator.pe.registers": 4, "accelerator.pe.interleave": 2},
        {"accelerator.pe.registers": 16, "accelerator.pe.interleave": 4},
    ),
    ({"accelerator": "sat-vcu1525"}, {"accelerator": "edge-int8"}),
    ({"accelerator.array.dataflows": ["os"]}, {"accelerator.array.dataflows": ["os", "ws"]}),
    ({"accelerator.array.rows": 8}, {"accelerator.array.rows": 0}),
)
SPACE = Space(title="t", base={"workload": "resnet18-cifar"}, axes=AXES, objectives=(Objective("cycles", True),))
SPACES = {
    "grid": SPACE,
    "sample": replace(SPACE, samples=50, seed=3),
    "limited": replace(SPACE, constraints=(parse_constraint("accelerator.pe.lanes < 8"),)),
    "chosen": replace(SPACE, chosen=(7, 100, 3)),
}


@pytest.mark.parametrize("name", SPACES)
def test_ranges_of_the_order_have_every_point_once(name):
    space = SPACES[name]
    order = Order(space)
    found = {}
    for start in range(0, len(order), 13):
        points = order.points(start, start + 13)
        found |= {int(number): points.settings(i) for i, number in enumerate(points.numbers)}
        for axis, choices in enumerate(space.axes):
            for name_, value in choices[0].items():
                assert [choices[place][name_] for place in points.place(axis)] == [
                    points.settings(i)[name_] for i in range(len(points))
                ], value
    assert found == dict(enumerate(space))


def test_what_is_run_changes_slowest_and_what_is_around_the_array_fastest():
    points = Order(SPACE).points(0, SPACE.size)
    changes = [int(np.count_nonzero(np.diff(points.place(axis)))) for axis in range(len(AXES))]
    around, method, preset = changes[0], changes[1], changes[4]
    assert around == max(changes)
    assert max(method, preset) < min(changes[axis] for axis in (2, 3, 5, 6))


def test_machines_are_those_of_the_points_alone_and_so_are_the_errors():
    points = Order(SPACE).points(0, SPACE.size)
    found = machine_columns(points)
    wrong = set()
    for i in range(len(points)):
        alone, error = made(points.settings(i))
        assert found.error[i] == error
        assert alone is None or found.machines[i].digest == alone.digest
        wrong.add(error)
    assert len(wrong) > 4  # none, rows, registers, both, of two presets


def made(settings):
    try:
        return make_point(settings).accelerator, ""
    except ConfigError as error:
        return None, str(error)


def test_a_part_that_no_point_can_have():
    space = replace(SPACE, base=SPACE.base | {"accelerator.dram.latency_ns": 0})
    points = Order(space).points(0, 9)
    found = machine_columns(points)
    for i in range(len(points)):
        with pytest.raises(ConfigError) as error:
            make_point(points.settings(i))
        assert found.error[i] == str(error.value)


def test_a_setting_that_no_machine_has():
    space = replace(SPACE, base=SPACE.base | {"accelerator.peach.lanes": 0})
    with pytest.raises(ConfigError, match="peach"):
        machine_columns(Order(space).points(0, 9))
