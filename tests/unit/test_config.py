"""Does every mistake in a configuration get a message with the field, the rule and the value?"""

import pytest

from dataflows.mapping import Mapping
from dse.config import ConfigError, accelerator_from, nested, parse_value, read_toml, structure
from simulator.arch import Dataflow, leaf_fields
from simulator.presets import PRESETS

SAT = PRESETS["sat-vcu1525"].accelerator


def said(changes, source="sat-vcu1525"):
    with pytest.raises(ConfigError) as caught:
        accelerator_from(source, changes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"pe.grup": 8}, ["no field 'pe.grup'", "did you mean 'group'?"]),
        ({"pee.group": 8}, ["no field 'pee'", "did you mean 'pe'?"]),
        ({"zzz": 8}, ["no field 'zzz'", "must be one of: name, clock_hz, pe, array"]),
        ({"dram.latency.ns": 8}, ["no field 'dram.latency'"]),
        ({"pe.group": "8"}, ["'pe.group'", "must be an integer", "'8'"]),
        ({"pe.group": 8.0}, ["'pe.group'", "must be an integer", "8.0"]),
        ({"pe.group": True}, ["'pe.group'", "must be an integer", "True"]),
        ({"pe.group": -8}, ["Pe field 'group'", "must be between 1 and 256", "-8"]),
        ({"pe.group": 0}, ["Pe field 'group'", "must be between 1 and 256", "0"]),
        ({"pe.format": 16}, ["'pe.format'", "must be a text", "16"]),
        ({"pe.format": "fp8"}, ["Pe field 'format'", "must be one of fp16, bf16, int8", "'fp8'"]),
        ({"array.double_buffered": 1}, ["'array.double_buffered'", "must be true or false", "1"]),
        ({"array.double_buffered": "yes"}, ["'array.double_buffered'", "must be true or false", "'yes'"]),
        ({"array.dataflows": ["os", "rs"]}, ["'array.dataflows'", "must be a list of os, ws, is", "['os', 'rs']"]),
        ({"array.dataflows": 3}, ["'array.dataflows'", "must be a list of os, ws, is", "3"]),
        ({"array.dataflows": []}, ["'dataflows'", "at least one"]),
        ({"pe.registers": 1, "pe.lanes": 2}, ["Pe field 'registers'", "at least lanes=2", "1"]),
        ({"clock_hz": 0}, ["Accelerator field 'clock_hz'", "between 1 and", "0"]),
        ({"name": ""}, ["'name'", "must not be empty"]),
        ({"pe": 3}, ["'pe'", "must be a table of fields"]),
    ],
)
def test_changes(changes, parts):
    message = said(changes)
    assert message.startswith(("Accelerator 'sat-vcu1525'", "Accelerator ''"))
    for part in parts:
        assert part in message


def test_all_mistakes_at_once():
    message = said({"pe.group": "x", "dram.burst_bytes": True, "arry": 1})
    assert all(part in message for part in ("'pe.group'", "'dram.burst_bytes'", "'arry'"))


@pytest.mark.parametrize("source", ["sat", "sat-vcu1525.yaml", ""])
def test_an_unknown_preset(source):
    message = said({}, source)
    assert repr(source) in message
    assert all(name in message for name in PRESETS)


@pytest.fixture
def write(tmp_path):
    def make(text, name="mine.toml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return make


def test_a_file_over_a_preset(write):
    path = write('base = "edge-int8"\nclock_hz = 5\n[pe]\ngroup = 4\n[array]\ndataflows = ["is"]\n')
    found = accelerator_from(path, {"pe.lanes": 2})
    want = leaf_fields(PRESETS["edge-int8"].accelerator)
    want |= {"name": "mine", "clock_hz": 5, "pe.group": 4, "pe.lanes": 2, "array.dataflows": (Dataflow.IS,)}
    assert leaf_fields(found) == want


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('base = "sat"\n', ["'base'", "must be one of", "'sat'"]),
        ("clock_hz = 5\n", ["'base'", "None"]),
        ('base = "edge-int8"\nclock_hz = 5\nclock_hz = 6\n', ["valid TOML with each key once"]),
        ('base = "edge-int8"\n[pe]\ngroup = 5\n[pe]\nlanes = 6\n', ["valid TOML with each key once"]),
        ('base = "edge-int8"\nclock_hz = \n', ["valid TOML"]),
        ('base = "edge-int8"\n[pe]\nwidth = 3\n', ["no field 'pe.width'"]),
    ],
)
def test_files(write, text, parts):
    message = said({}, write(text))
    for part in parts:
        assert part in message


def test_a_file_that_is_not_there(tmp_path):
    assert "must exist" in said({}, str(tmp_path / "none.toml"))


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="must be readable text"):
        read_toml(tmp_path / "x.toml")


def test_a_field_left_out():
    with pytest.raises(ConfigError, match=r"Thing field .*bytes must be given"):
        structure({"banks": 2}, type(SAT.a_buffer), "Thing")


def test_nothing_changed_is_the_preset():
    assert accelerator_from("sat-vcu1525", {}) is SAT


@pytest.mark.parametrize("name", sorted(set(leaf_fields(SAT)) - {"name", "array.dataflows"}))
def test_every_field_can_be_set_by_its_path(name):
    same = leaf_fields(SAT)[name]
    assert accelerator_from("sat-vcu1525", {name: same}) == SAT
    assert accelerator_from("sat-vcu1525", {"array.dataflows": "is", name: same}).array.dataflows == (Dataflow.IS,)


def test_nested():
    assert nested({"pe.group": 8, "pe": {"lanes": 2}, "x": 1}) == {"pe": {"group": 8, "lanes": 2}, "x": 1}
    assert nested({"a.b.c": 1, "a.b.d": 2}) == {"a": {"b": {"c": 1, "d": 2}}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("true", True),
        ("1.5", 1.5),
        ("fp16", "fp16"),
        ('"8"', "8"),
        ('["os"]', ["os"]),
        ("2:8", "2:8"),
        ("1_000", 1000),
    ],
)
def test_values(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_mappings_are_read_alike():
    with pytest.raises(ConfigError, match="Mapping has no field 'fuze'; did you mean 'fuse'"):
        structure({"fuze": True}, Mapping, "Mapping")
    with pytest.raises(ConfigError, match=r"'update' must be one of overlapped, end|'update' .*never"):
        structure({"update": "never"}, Mapping, "Mapping")
    with pytest.raises(ConfigError, match="Mapping field 'fuse' must be true or false, not 1"):
        structure({"fuse": 1}, Mapping, "Mapping")
