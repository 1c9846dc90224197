"""Is the area estimate what the stored synthesis runs say, how good is it, and does it admit where it knows nothing?"""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("amaranth")

from reports.synthesis.clock import fit_clock
from reports.synthesis.designs import designs
from reports.synthesis.errors import held_out, summary
from reports.synthesis.fit import MOST, fit
from reports.synthesis.measure import measure, source_of
from reports.synthesis.store import COEFFICIENTS, HERE, run_digest, runs_of
from simulator.arch import Array, Dataflow, Pruner, Updater, VectorUnit
from simulator.cost.area import RESOURCES, area, calibration, misfit, part_cells
from simulator.cost.buffer_drivers import rotation_choices
from simulator.cost.components import COMPONENTS
from simulator.cost.devices import DEVICES, Resources
from simulator.cost.memory_cells import memory_cells
from simulator.presets import PRESETS

if "ecp5" not in calibration():
    pytest.skip("no synthesis runs are stored: python -m reports.synthesis", allow_module_level=True)

KNOWN = {(design.part, design.number): design for design in designs()}
TECHNOLOGIES = tuple(calibration())
EDGE = PRESETS["edge-int8"].accelerator
LIMITS = tomllib.loads((Path(__file__).parent / "area_limits.toml").read_text())
"""Medians and worst errors on held-out runs, by technology and part."""


def _like(technology):
    return None if technology == MOST else calibration()[MOST]


@pytest.mark.parametrize("technology", TECHNOLOGIES)
def test_factors_are_the_fit_of_the_stored_runs(technology):
    """Nobody typed them in."""
    stored = json.loads(COEFFICIENTS.read_text())[technology]
    found = fit(runs_of(technology), KNOWN, technology, _like(technology))
    assert stored["ranges"] == found["ranges"]
    assert stored.get("together") == found.get("together")
    assert set(stored["parts"]) == set(found["parts"])
    for part, resources in found["parts"].items():
        for resource in RESOURCES:
            assert stored["parts"][part][resource] == pytest.approx(resources[resource], rel=1e-3, abs=1e-3), part


def test_the_clock_is_the_fit_of_the_stored_runs():
    """And an estimate is the slowest part's, of those that the machine has."""
    stored = json.loads(COEFFICIENTS.read_text())["ecp5"]["clock"]
    assert stored == fit_clock()
    assert area(EDGE, "ecp5").fmax_hz == 1e6 * stored["parts"]["work_buffer"]
    bare = replace(EDGE, pruner=Pruner(lanes=0), updater=Updater(lanes=0), vector=VectorUnit(lanes=0))
    parts = {name: hz for name, hz in stored["parts"].items() if name not in ("prune", "update", "vector", "work_buffer")}
    assert area(bare, "ecp5").fmax_hz == 1e6 * min(parts.values())


@pytest.mark.parametrize("technology", TECHNOLOGIES)
def test_the_fit_never_saw_what_it_is_judged_by(technology):
    """Held-out runs may be anything: the factors stay. Whole machines but the first ones, which were seen, are held out."""
    runs = runs_of(technology)
    spoiled = runs.copy()
    spoiled.loc[spoiled["held_out"], list(RESOURCES)] = 7
    assert fit(spoiled, KNOWN, technology, _like(technology)) == fit(runs, KNOWN, technology, _like(technology))
    for row in runs.to_dict("records"):
        assert row["held_out"] == KNOWN[row["part"], row["number"]].held_out


@pytest.mark.parametrize("technology", TECHNOLOGIES)
def test_errors_on_held_out_runs(technology):
    """Where no run was seen the estimate is as good as the limits say, for every part and resource that was judged."""
    table = summary(held_out(technology, calibration()[technology], KNOWN))
    print(table.to_string())
    for row in table.to_dict("records"):
        limit = LIMITS[technology][row["part"]][row["resource"]]
        assert row["median"] <= limit["median"], (row, limit)
        assert row["worst"] <= limit["worst"], (row, limit)
    shown = (HERE / "README.md").read_text()
    for row in table.to_dict("records"):
        line = f"| {row['part']} | {row['resource']} | {row['runs']} | {row['median']:.1%} | {row['worst']:.1%} |"
        assert line in shown.partition(f"## {technology}\n")[2].partition("\n## ")[0], line


def test_the_runs_are_of_this_rtl():
    """Verilog of a design for each part is what was synthesised; if not: python -m reports.synthesis."""
    for technology in TECHNOLOGIES:
        runs = runs_of(technology).drop_duplicates("part")
        for row in runs.to_dict("records"):
            design = KNOWN[row["part"], row["number"]]
            assert row["digest"] == design.accelerator.digest, row["part"]
            found = run_digest(source_of(design.accelerator, design.part), technology)
            assert row["source"] == found, (technology, row["part"])


@pytest.mark.parametrize("technology", TECHNOLOGIES)
def test_an_array_is_measured_without_its_pes(technology):
    """Whatever the technology's names of cells that are inside a PE."""
    one = replace(EDGE, array=Array(rows=1, cols=1, dataflows=(Dataflow.OS,)))
    found = measure(one, "array", technology, source_of(one, "array"))
    assert found.dsp == 0
    assert found.lut > 100


@pytest.mark.parametrize("technology", TECHNOLOGIES)
def test_every_part_has_factors(technology):
    assert set(calibration()[technology]["parts"]) | {"b_buffer"} == set(COMPONENTS)


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


def _more(accelerator):
    """The machine with more of something, one thing at a time."""
    pe, array = accelerator.pe, accelerator.array
    yield "rows", replace(accelerator, array=replace(array, rows=2 * array.rows))
    yield "cols", replace(accelerator, array=replace(array, cols=2 * array.cols))
    yield "group", replace(accelerator, pe=replace(pe, group=2 * pe.group, registers=2 * pe.registers))
    yield "lanes", replace(accelerator, pe=replace(pe, lanes=2))
    yield "registers", replace(accelerator, pe=replace(pe, registers=64))
    yield "pruner", replace(accelerator, pruner=Pruner(lanes=2 * accelerator.pruner.lanes))
    yield "vector", replace(accelerator, vector=VectorUnit(lanes=2 * accelerator.vector.lanes))
    yield "memory", replace(accelerator, dram=replace(accelerator.dram, bytes_per_second=16 * accelerator.clock_hz))


@pytest.mark.parametrize("technology", TECHNOLOGIES)
@pytest.mark.parametrize("preset", ["edge-int8", "board-fp16", "sat-vcu1525"])
def test_more_takes_more(technology, preset):
    accelerator = PRESETS[preset].accelerator
    least = area(accelerator, technology).total
    for what, machine in _more(accelerator):
        if machine.dram.bytes_per_second >= accelerator.dram.bytes_per_second:
            assert area(machine, technology).total.lut >= least.lut, what
    wider = area(replace(EDGE, array=replace(EDGE.array, rows=2 * EDGE.array.rows)), "ecp5").total
    assert wider.dsp - area(EDGE, "ecp5").total.dsp == EDGE.array.rows * EDGE.array.cols  # a multiplier in each PE


def test_blocks_and_multipliers_of_whole_machines():
    """Counted, not fitted: the B buffer's banks that Yosys keeps for rows that can't ask it are among them."""
    runs = runs_of("ecp5")
    machines = runs[runs["part"] == "machine"].to_dict("records")
    assert [row["held_out"] for row in machines] == 6 * [False] + 6 * [True]
    for row in machines:
        found = area(KNOWN["machine", row["number"]].accelerator, "ecp5").total
        assert (found.dsp, found.bram) == (row["dsp"], row["bram"]), row["number"]


def test_what_is_mapped_in_one_piece_takes_less():
    """All parts but the PEs by the one factor."""
    known = calibration()["ecp5"]
    apart = {name: value for name, value in known.items() if name != "together"}
    share = known["together"]["lut"]
    assert share < 1
    for name in COMPONENTS:
        one, other = part_cells(EDGE, name, "ecp5", known), part_cells(EDGE, name, "ecp5", apart)
        assert one["lut"] == other["lut"] * (1 if name == "pe" else share)
        assert one["ff"] == other["ff"]


def test_choices_of_a_rotation():
    """Counted by hand: 4 places, bit by bit from the lowest; of the last step only what is wanted."""
    assert rotation_choices(4, 4) == 4 + 4
    assert rotation_choices(4, 1) == 1 + 2
    assert rotation_choices(8, 2) == 2 + 4 + 8
    assert rotation_choices(1, 1) == 0


def test_memories_become_blocks_where_tables_cost_more():
    """As Yosys maps them for the ECP5: 16x4 tables up to its price of a block; entries that are written alone fill up bytes."""
    small = memory_cells("ecp5", 32, 1, 48)
    assert (small.blocks, small.tables, small.rows) == (0, 3 * 8 * 4, 3)
    assert memory_cells("ecp5", 36, 1, 48).blocks == 1
    assert memory_cells("ecp5", 32, 1, 512).blocks == 1
    assert memory_cells("ecp5", 32, 1, 1024).blocks == 2
    assert (memory_cells("ecp5", 32, 1, 1365).blocks, memory_cells("ecp5", 32, 1, 1365).rows) == (3, 3)
    assert memory_cells("ecp5", 11, 4, 512).blocks == 2  # 18 bits each
    assert memory_cells("ecp5", 8, 4, 512).blocks == 1


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
