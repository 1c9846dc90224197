"""Does every engine have all its faces: simulator, RTL, contract test, opcode, counter, checks?"""

from dataclasses import fields
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest

from simulator.arch import Accelerator, leaf_fields
from simulator.encoding import FIELDS, Opcode
from simulator.faults import NOT_ZERO, buffers_of
from simulator.presets import PRESETS
from simulator.result import Counters
from simulator.schedule import Engine

ROOT = Path(__file__).resolve().parents[2]

# Each engine: its model in simulator/engines, its hardware in rtl, and the tests that hold them together.
FACES = {
    Engine.LOAD_A: ("dma", ("dma", "operand_buffer"), ("dma", "operand_buffer")),
    Engine.LOAD_B: ("dma", ("dma", "operand_buffer"), ("dma", "operand_buffer")),
    Engine.LOAD_WORK: ("dma", ("dma", "work_buffer"), ("dma", "work_buffer")),
    Engine.ARRAY: ("array", ("array", "pe"), ("array", "pe")),
    Engine.PRUNE: ("streams", ("prune_engine", "pruner"), ("work_engines", "pruner")),
    Engine.UPDATE: ("streams", ("work_engines", "updater"), ("work_engines", "updater")),
    Engine.VECTOR: ("streams", ("work_engines", "vector"), ("work_engines", "vector")),
    Engine.STORE_C: ("dma", ("dma", "result_buffer"), ("dma", "result_buffer")),
    Engine.STORE_WORK: ("dma", ("dma", "work_store"), ("dma", "work_buffer")),
}
SHARED = {"frame": "sequencer"}  # in simulator/engines and in rtl under one name


@pytest.mark.parametrize("engine", Engine)
def test_every_engine_has_its_faces(engine: Engine):
    model, hardware, tests = FACES[engine]
    assert (ROOT / f"simulator/engines/{model}.py").is_file()
    for name in hardware:
        assert (ROOT / f"rtl/{name}.py").is_file()
    for name in tests:
        assert (ROOT / f"tests/contract/test_{name}.py").is_file()
    assert Opcode(list(Engine).index(engine) + 1).engine is engine


def test_the_same_names():
    """What the simulator and the RTL both have under one name is compared by a test."""
    models = {path.stem for path in (ROOT / "simulator/engines").glob("*.py")} - {"__init__"}
    hardware = {path.stem for path in (ROOT / "rtl").glob("*.py")}
    assert models == {model for model, *_ in FACES.values()} | set(SHARED)
    for name in SHARED:
        assert name in hardware
        assert (ROOT / f"tests/contract/test_{SHARED[name]}.py").is_file()


def test_every_opcode_is_checked():
    accelerator = PRESETS["edge-int8"].accelerator
    for opcode in Opcode:
        assert set(NOT_ZERO[opcode]) <= set(FIELDS[opcode])
        slots = {name for name in FIELDS[opcode] if name.endswith("slot")}
        assert slots == set(buffers_of(opcode, accelerator))


@pytest.mark.skipif(find_spec("amaranth") is None, reason="needs the rtl extra")
def test_registers_are_the_counters():
    from simulator.register_map import REGISTERS

    assert [field.name for field in fields(Counters)] == [name for name in REGISTERS if name in Counters().as_dict()]
    assert {"digest", "status", "start", "fault", "fault_command", "cycles"} <= set(REGISTERS)
    spans = sorted((register.address, register.address + register.bits // 8) for register in REGISTERS.values())
    assert all(stop <= start for (_, stop), (start, _) in pairwise(spans))


@pytest.mark.parametrize("field", sorted(leaf_fields(PRESETS["sat-vcu1525"].accelerator)))
def test_every_field_of_the_spec_is_used_by_a_view(field: str):
    """No field that is parsed and ignored: its name stands in the RTL, the simulator or the compiler, not only in the spec."""
    name = field.rpartition(".")[2]
    if name == "name":
        return
    sources = [path for package in ("rtl", "dataflows") for path in (ROOT / package).rglob("*.py")]
    sources += [path for path in (ROOT / "simulator").rglob("*.py") if path.name != "presets.py"]
    uses = sum(path.read_text().count(f".{name}") for path in sources)
    assert uses > 0, field
    assert isinstance(PRESETS["sat-vcu1525"].accelerator, Accelerator)
