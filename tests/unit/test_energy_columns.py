"""Is the energy of many machines at once that of each of them, in every bit?"""

from dataclasses import replace

import pytest

from dataflows.analytic.machines import Machines
from dataflows.analytic.points import step_cycles
from dataflows.compile import prepared
from dataflows.mapping import Mapping
from dse.energy_columns import energy_columns
from dse.evaluate import evaluate
from dse.point import make_point, workload_of
from dse.pricing import COST_COLUMNS
from simulator.cost.actions import Actions
from simulator.cost.energy import columns
from simulator.presets import PRESETS

AXES = {
    "array.rows": [4, 8],
    "a_buffer.bytes": [2**17, 2**19],
    "c_buffer.bytes": [2**18, 2**19],
    "work_buffer.bytes": [2**19, 2**21],
    "updater.lanes": [8, 16],
    "dram.bytes_per_second": [9_600_000_000, 76_800_000_000],
}
BATCH = 2


@pytest.mark.parametrize("form", ["fp16", "bf16"])
def test_each_machine_costs_what_it_costs_alone(form):
    base = PRESETS["sat-vcu1525"].accelerator
    machines = Machines.grid(replace(base, pe=replace(base.pe, format=form)), AXES)
    workload = prepared(workload_of("resnet18-cifar", BATCH, "bdwp:2:8"), Mapping())
    steps = step_cycles(workload, machines, Mapping(), actions=True)
    found = energy_columns(machines, steps.actions, steps.cycles, BATCH)
    assert steps.supported.all()
    for number in range(len(machines)):
        actions = Actions(**{name: int(counts[number]) for name, counts in steps.actions.items()})
        alone = columns(actions, int(steps.cycles[number]), machines[number], BATCH)
        assert {name: values[number] for name, values in found.items()} == alone
    assert len({tuple(values[number] for values in found.values()) for number in range(len(machines))}) > len(machines) // 2


def test_formats_side_by_side():
    """Machines of two formats in one table, as a sweep has them; what did not run costs nothing."""
    machines = Machines.of([PRESETS["sat-vcu1525"].accelerator, PRESETS["edge-int8"].accelerator])
    none = dict.fromkeys(Actions().as_dict(), machines.index["pe"] * 0)
    once = none | {"multiplications": machines.index["pe"] * 0 + 1000}
    found = energy_columns(machines, once, machines.index["pe"] * 0, 1)
    for number in range(2):
        alone = columns(Actions(multiplications=1000), 0, machines[number], 1)
        assert {name: values[number] for name, values in found.items()} == alone
    assert not any(values.any() for values in energy_columns(machines, none, machines.index["pe"] * 0, 1).values())


def test_energy_of_the_closed_form_is_that_of_the_event_machine():
    """Its actions are exact; only static power follows the time, and no table of an ASIC here has any."""
    settings = {"accelerator": "sat-vcu1525", "workload": "resnet18-cifar", "method": "bdwp:2:8", "batch": BATCH}
    run = evaluate(make_point(settings))
    machines = Machines.of([run.point.accelerator])
    steps = step_cycles(run.workload, machines, run.point.mapping, actions=True)
    found = energy_columns(machines, steps.actions, steps.cycles, BATCH)
    metrics = run.metrics()
    exact = [name for name in COST_COLUMNS if name.endswith(("_energy_uj", "_unpriced")) and name.startswith("asic")]
    assert exact
    assert {name: found[name][0] for name in exact} == {name: metrics[name] for name in exact}
