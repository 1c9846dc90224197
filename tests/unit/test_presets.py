"""Does each preset say where every one of its numbers comes from, and can it run?"""

from dataclasses import replace

import pytest
from strategies import gemm

from dataflows.compile import compile_workload
from dataflows.mapping import Mapping
from simulator.arch import leaf_fields
from simulator.machine import run
from simulator.presets import PRESETS, Preset, Provenance
from workloads.graph import Workload


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_field_has_a_provenance(preset):
    assert set(preset.provenance) == set(leaf_fields(preset.accelerator)) - {"name"}
    assert all(item.kind in ("sourced", "assumed") for item in preset.provenance.values())
    assert all(len(item.note) > 4 for item in preset.provenance.values())
    assert preset.sourced == [item.kind for item in preset.provenance.values()].count("sourced")


def test_a_field_without_one_is_refused():
    preset = PRESETS["sat-vcu1525"]
    fewer = {name: item for name, item in preset.provenance.items() if name != "pe.group"}
    with pytest.raises(ValueError, match=r"'sat-vcu1525' must give the provenance of each field once, not of \['pe.group'\]"):
        replace(preset, provenance=fewer)
    with pytest.raises(ValueError, match=r"\['pe.width'\]"):
        replace(preset, provenance={**preset.provenance, "pe.width": Provenance("assumed", "no such field")})


def test_named_alike_and_all_different():
    assert all(name == preset.accelerator.name for name, preset in PRESETS.items())
    assert len({preset.accelerator.digest for preset in PRESETS.values()}) == len(PRESETS)
    assert all(isinstance(preset, Preset) and preset.about for preset in PRESETS.values())


def test_presets_can_not_be_changed():
    with pytest.raises(TypeError):
        PRESETS["x"] = PRESETS["sat-vcu1525"]
    with pytest.raises(TypeError):
        PRESETS["sat-vcu1525"].provenance["clock_hz"] = Provenance("assumed", "x")


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_runs_a_product(preset):
    workload = Workload(name="w", batch=1, ops=(gemm(100, 100, 64),))
    result = run(compile_workload(workload, preset.accelerator, Mapping()), preset.accelerator)
    assert result.counters.macs == 100 * 100 * 64
    assert result.accelerator == preset.accelerator.digest


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_enough_bursts_in_flight_for_the_peak_rate(preset):
    """What the provenance of `dram.outstanding` claims: the latency never limits the rate (Little's law)."""
    machine = preset.accelerator
    dram, clock = machine.dram, machine.clock_hz
    assert dram.outstanding * dram.burst_bytes * clock >= dram.bytes_per_second * dram.latency_cycles(clock)
