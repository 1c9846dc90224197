"""Is the area estimate what the stored synthesis runs say, and does it admit where it knows nothing?"""

import json
from dataclasses import replace

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("amaranth")

from reports.synthesis.designs import designs
from reports.synthesis.fit import errors, fit
from reports.synthesis.measure import source_of
from reports.synthesis.store import COEFFICIENTS, runs_of, source_digest
from simulator.arch import Array, Pruner, Updater, VectorUnit
from simulator.cost.area import RESOURCES, area, calibration, misfit
from simulator.cost.components import COMPONENTS
from simulator.cost.devices import DEVICES, Resources
from simulator.presets import PRESETS

if "ecp5" not in calibration():
    pytest.skip("no synthesis runs are stored: python -m reports.synthesis", allow_module_level=True)

KNOWN = {(design.part, design.number): design for design in designs()}
TECHNOLOGIES = tuple(calibration())
EDGE = PRESETS["edge-int8"].accelerator


@pytest.mark.parametrize("technology", TECHNOLOGIES)
def test_factors_are_the_fit_of_the_stored_runs(technology):
    """Nobody typed them in."""
    stored = json.loads(COEFFICIENTS.read_text())[technology]
    found = fit(runs_of(technology), KNOWN)
    for part, formats in found["parts"].items():
        for form, resources in formats.items():
            for resource in RESOURCES:
                assert stored["parts"][part][form][resource] == pytest.approx(resources[resource], rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("technology", TECHNOLOGIES)
def test_the_fit_never_saw_what_it_is_judged_by(technology):
    """Held-out runs may be anything: the factors stay."""
    runs = runs_of(technology)
    spoiled = runs.copy()
    spoiled.loc[spoiled["held_out"], list(RESOURCES)] = 7
    assert fit(spoiled, KNOWN) == fit(runs, KNOWN)
    assert len(errors(runs, fit(runs, KNOWN), KNOWN).query("held_out")) > 0


def test_the_runs_are_of_this_rtl():
    """Verilog of one design for each of the smaller parts is what was synthesised; if not: python -m reports.synthesis."""
    rows = {(row["design"], row["number"]): row["source"] for row in runs_of("ecp5").to_dict("records")}
    for part in ("prune", "update", "vector", "c_buffer"):
        design = KNOWN[part, 0]
        assert rows[part, 0] == source_digest(source_of(design.accelerator, part)), part


def test_every_part_has_factors():
    for technology in TECHNOLOGIES:
        assert set(calibration()[technology]["parts"]) == set(COMPONENTS), technology


@pytest.mark.parametrize("technology", TECHNOLOGIES)
def test_parts_add_up(technology):
    found = area(EDGE, technology)
    total = Resources()
    for part in found.parts.values():
        total += part
    assert total == found.total


@pytest.mark.parametrize("technology", TECHNOLOGIES)
def test_what_is_not_there_takes_no_cells(technology):
    bare = replace(EDGE, pruner=Pruner(lanes=0), updater=Updater(lanes=0), vector=VectorUnit(lanes=0))
    found = area(bare, technology)
    assert {found.parts[name] for name in ("prune", "update", "vector", "work_buffer")} == {Resources()}
    assert found.total.lut < area(EDGE, technology).total.lut


def test_more_takes_more():
    small = area(EDGE, "ecp5").total
    wider = area(replace(EDGE, array=replace(EDGE.array, rows=2 * EDGE.array.rows)), "ecp5").total
    assert wider.lut > small.lut
    assert wider.dsp - small.dsp == EDGE.array.rows * EDGE.array.cols  # a multiplier in each PE


def test_beyond_what_was_measured_it_says_so():
    inside = KNOWN["array", 0].accelerator
    assert area(inside, "ecp5").notes == ()
    outside = area(replace(inside, array=Array(rows=500, cols=1)), "ecp5").notes
    assert any("array.rows = 500 is outside the calibrated" in note for note in outside)


def test_the_scarcest_resource_of_a_device():
    reason = misfit(area(PRESETS["sat-vcu1525"].accelerator, "ecp5"), "ecp5-85k")
    assert reason is not None
    assert reason.constraint.endswith("of ecp5-85k")
    assert reason.demand > reason.limit
    assert misfit(replace(area(EDGE, "ecp5"), total=DEVICES["ecp5-85k"].limits), "ecp5-85k") is None


def test_mistakes():
    with pytest.raises(ValueError, match="Technology must be one of"):
        area(EDGE, "sky130")
    with pytest.raises(ValueError, match="Device must be one of"):
        misfit(area(EDGE, "ecp5"), "ecp6")
    with pytest.raises(ValueError, match="must be estimated as xcup"):
        misfit(area(EDGE, "ecp5"), "xcvu9p")
