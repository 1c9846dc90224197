"""Do energies follow from actions and prices, does each price say where it comes from, and are the derived ones as derived?"""

import re
import subprocess
import sys
from dataclasses import replace
from math import log

import pytest

from simulator.cost.actions import Actions, actions
from simulator.cost.energy import GROUPS, columns, energy, memory_kib
from simulator.cost.technology import PRICES, Sram, read_tables, tables, technology
from simulator.presets import PRESETS
from simulator.schedule import Engine, Load

SAT, EDGE = PRESETS["sat-vcu1525"].accelerator, PRESETS["edge-int8"].accelerator
NAMES = ("asic-45nm", "asic-7nm", "ecp5", "xcup")

TABLE = """
[sources]
here = "a source"
[technologies.one]
about = "one"
kind = "asic"
node_nm = 1
assumptions = []
[technologies.one.prices]
fp16_multiply = { pj = 2, kind = "sourced", source = "here" }
[technologies.one.sram]
kib = [1.0, 4.0]
pj = [32.0, 64.0]
bits = 32
kind = "sourced"
source = "here"
"""


def test_every_action_is_in_one_group_and_no_other():
    """But for elements, which say what operations are of, useful bits, and bits that whole bursts contain."""
    priced = [action for parts in GROUPS.values() for action in parts]
    apart = {"operand_used_bits", "pruned_elements", "updated_elements", "vector_elements", "commands"}
    apart |= {"dram_read_bits", "dram_write_bits"}
    assert len(priced) == len({*priced})
    assert {*priced} | apart == {*Actions().as_dict()}
    assert not {*priced} & apart


def test_energy_by_hand():
    """45 nm, FP16: 1,000 multiplications of 1.1 pJ and additions of 0.9 pJ; 64 bits of DRAM are 1,300 pJ; no static power."""
    found = energy(Actions(multiplications=1000, accumulations=1000, dram_burst_bits=64), 2000, SAT, "asic-45nm")
    assert {group: pj for group, pj in found.pj.items() if pj} == {"multiply": 1100.0, "accumulate": 900.0, "dram": 1300.0}
    assert found.seconds == 2000 / 200e6
    assert found.joules == found.dynamic_j == 1e-12 * 3300.0
    assert found.watts == found.joules / 1e-5
    assert found.edp == found.joules * 1e-5
    assert found.joules_per(4) == found.joules / 4
    assert found.unpriced == ()
    assert "static power: not known for asic-45nm, counted as 0" in found.notes


def test_integers_are_priced_as_such():
    found = energy(Actions(multiplications=1000, accumulations=1000), 1, EDGE, "asic-45nm")
    assert (found.pj["multiply"], found.pj["accumulate"]) == (200.0, 100.0)


def test_static_power_is_times_time():
    found = energy(Actions(), 10**8, EDGE, "ecp5")  # a second
    assert (found.dynamic_j, found.joules, found.watts) == (0.0, 0.233, 0.233)
    nothing = energy(Actions(), 0, EDGE, "ecp5")
    assert (nothing.joules, nothing.watts) == (0.0, 0.0)


def test_what_has_no_price_is_said():
    """No source has a square root's energy; a table without additions prices none, and says so only where there are some."""
    found = energy(Actions(update_roots=3, update_divisions=1), 1, SAT, "asic-45nm")
    assert found.unpriced == ("update_roots",)
    assert found.pj["update"] == 26.3
    assert found.notes[0] == "update_roots: no price in asic-45nm, counted as 0"
    one = read_tables(TABLE).technologies["one"]
    assert energy(Actions(multiplications=1), 1, SAT, one).unpriced == ()
    assert energy(Actions(multiplications=1, accumulations=1), 1, SAT, one).unpriced == ("accumulations",)


def test_memories_are_priced_by_their_size():
    """The table's own sizes exactly; a power law between them and beyond; not below."""
    sram = read_tables(TABLE).technologies["one"].sram
    assert [sram.pj_per_bit(kib) for kib in (0.5, 1.0, 2.0, 4.0, 16.0)] == [1.0, 1.0, 2**0.5, 2.0, 4.0]
    assert [sram.covers(kib) for kib in (0.5, 1.0, 4.0, 16.0)] == [False, True, True, False]
    horowitz = technology("asic-45nm").sram
    assert [64 * horowitz.pj_per_bit(kib) for kib in (8, 32, 1024)] == [10.0, 20.0, 100.0]
    one_size = Sram(kib=(8.0,), pj=(6.0,), bits=3, kind="sourced", source="here")
    assert [one_size.pj_per_bit(kib) for kib in (1, 8, 1e6)] == [2.0] * 3
    assert one_size.covers(1e6)


def test_a_memory_beyond_the_table_is_said():
    assert memory_kib(EDGE) == {"a_buffer": 11.0, "b_buffer": 11.0, "c_buffer": 4.0, "work_buffer": 2.0}
    counted = Actions(a_read_bits=1, c_read_bits=1, work_write_bits=1)
    notes = energy(counted, 1, EDGE, "asic-45nm").notes
    small = (("c_buffer", 4), ("work_buffer", 2))
    said = [f"{name}: memories of {kib} KiB are beyond the table's 8 to 1024 KiB, priced as 8 KiB" for name, kib in small]
    assert [note for note in notes if "beyond" in note] == said
    assert not [note for note in energy(counted, 1, EDGE, "ecp5").notes if "beyond" in note]
    assert not [note for note in energy(Actions(), 1, EDGE, "asic-45nm").notes if "beyond" in note]


def test_buffers_cost_what_their_size_says():
    """64 bits read of a bank of 80 KiB, and of a slot's bank of 64 KiB: from 32 to 1,024 KiB energy grows fivefold."""
    found = energy(Actions(a_read_bits=64, c_write_bits=64), 1, SAT, "asic-45nm")
    assert (memory_kib(SAT)["a_buffer"], memory_kib(SAT)["c_buffer"]) == (80.0, 64.0)
    assert found.pj["operand_buffers"] == 20 * 5 ** (log(80 / 32) / log(32))
    assert found.pj["result_buffer"] == 20 * 5 ** (log(64 / 32) / log(32))


def three_digits(value):
    return float(f"{value:.3g}")


def asic(name, action):
    """Its price in an ASIC's table, unrounded."""
    tech = technology(name)
    if action == "sram":
        return tech.sram.pj[0]
    return tech.prices["int32_add"].pj / 32 if action == "comparison_bit" else tech.prices[action].pj


def at_node(nm, action):
    """A power law of the node through the two ASIC tables."""
    first, last = asic("asic-45nm", action), asic("asic-7nm", action)
    return first * (last / first) ** (log(45 / nm) / log(45 / 7))


def stillmaker_45nm(volt):
    return 1.103 * volt**2 - 0.362 * volt + 0.2767


HARD = {"int8_multiply", "int32_multiply", "fp16_multiply", "bf16_multiply", "fp32_multiply", "sram"}


@pytest.mark.parametrize(
    ("name", "nm", "voltage"), [("ecp5", 40, stillmaker_45nm(1.1) / stillmaker_45nm(0.9)), ("xcup", 16, 1)]
)
def test_prices_of_fpgas_are_as_derived(name, nm, voltage):
    tech = technology(name)
    for action, origin in tech.origins.items():
        if action in ("dram_bit", "static"):
            continue
        ratio = 7.1 if action in HARD else 14
        pj = origin.pj[0] if isinstance(origin, Sram) else origin.pj
        assert pj == three_digits(ratio * voltage * at_node(nm, action)), action
        assert origin.kind == "derived"


def test_prices_of_asics_are_as_derived():
    old, new = (technology(name).prices for name in ("asic-45nm", "asic-7nm"))
    assert old["bf16_multiply"].pj == three_digits(new["bf16_multiply"].pj * old["fp16_multiply"].pj / new["fp16_multiply"].pj)
    assert new["register_bit"].pj == three_digits(old["register_bit"].pj * new["int32_add"].pj / old["int32_add"].pj)
    for each in (old, new):
        assert each["comparison_bit"].pj == three_digits(each["int32_add"].pj / 32)
        assert each["fp32_divide"].pj == three_digits(7.1 * each["fp32_multiply"].pj)


def test_every_number_has_its_source():
    assert (*tables().technologies,) == NAMES
    for tech in tables().technologies.values():
        assert tech.name in NAMES
        assert {*tech.prices} == {*PRICES} - {"fp32_root"}  # no source found
        for origin in tech.origins.values():
            assert origin.source in tables().sources
    sources = " ".join(tables().sources.values())
    for doi in ("10.1109/ISSCC.2014.6757323", "10.1109/ISCA52012.2021.00010", "10.1109/TCAD.2006.884574"):
        assert doi in sources


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pj = 2,", "pj = 0,", "above 0, not 0.0"),
        ("pj = 2,", 'pj = "2",', "must be a number, not '2'"),
        ("node_nm = 1", "node_nm = 1.5", "must be an integer, not 1.5"),
        ("pj = 2,", "pj = 2, joule = 1,", "fp16_multiply has no field 'joule'"),
        ("about =", "abuot =", "no field 'abuot'"),
        ('kind = "asic"', 'kind = "paper"', "must be asic or fpga, not 'paper'"),
        (
            'pj = 2, kind = "sourced"',
            'pj = 2, kind = "guessed"',
            "must be one of sourced, derived, recalled, assumed, not 'guessed'",
        ),
        ('pj = 2, kind = "sourced"', 'pj = 2, kind = "derived"', "field 'formula' must be given"),
        ('pj = 2, kind = "sourced"', 'pj = 2, kind = "recalled"', "field 'confidence' must be given"),
        ('source = "here" }', 'source = "there" }', "source of 'fp16_multiply' must be one of here, not 'there'"),
        ("fp16_multiply", "fp17_multiply", "not of fp17_multiply"),
        ("kib = [1.0, 4.0]", "kib = [4.0, 1.0]", "field 'kib' must be rising sizes"),
        ("kib = [1.0, 4.0]", "kib = [4.0]", "field 'kib' must be rising sizes"),
        ("[technologies.one.sram]", "[technologies.one.rams]", "'sram' must be given"),
        ("node_nm = 1", 'node_nm = 1\nname = "two"', "has no field 'name'"),
    ],
)
def test_a_wrong_table_is_refused(old, new, message):
    assert old in TABLE
    with pytest.raises(ValueError, match=re.escape(message)):
        read_tables(TABLE.replace(old, new, 1))


def test_an_unknown_technology_is_refused():
    with pytest.raises(ValueError, match="Technology must be one of asic-45nm, asic-7nm, ecp5, xcup, not 'asic'"):
        energy(Actions(), 1, SAT, "asic")


def test_a_row_of_a_sweep():
    commands = [Load(op=0, engine=Engine.LOAD_WORK, slot=0, runs=3, run_bytes=100, waits=())]
    counted = actions(commands, SAT)
    row = columns(counted, 1000, SAT, 8)
    assert all(type(value) is float for value in row.values())
    assert {*row} == {
        f"{name.replace('-', '_')}_{what}"
        for name in NAMES
        for what in ("energy_uj", "energy_uj_per_image", "power_w", "edp_js", "unpriced")
    }
    found = energy(counted, 1000, SAT, "asic-7nm")
    assert row["asic_7nm_energy_uj"] == 1e6 * found.joules
    assert row["asic_7nm_energy_uj_per_image"] == 1e6 * found.joules_per(8)
    assert (row["asic_7nm_power_w"], row["asic_7nm_edp_js"]) == (found.watts, found.edp)
    adam = columns(replace(counted, update_roots=1), 1000, SAT, 8)
    assert (adam["xcup_unpriced"], row["xcup_unpriced"]) == (1.0, 0.0)


def test_neither_amaranth_nor_torch_nor_simpy_is_needed():
    code = "import sys, simulator.cost.energy; print(*({'amaranth', 'torch', 'simpy'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
