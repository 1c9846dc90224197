"""Is the hardware description plain data that refuses what no machine can be?"""

from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from enum import Enum
from typing import get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.arch import (
    Accelerator,
    Array,
    Buffer,
    Dataflow,
    Dram,
    Pe,
    Pruner,
    Sequencer,
    Updater,
    VectorUnit,
    ceil_div,
    leaf_fields,
)
from simulator.formats import FORMATS
from workloads.sparsity import DENSE, NM

DEFAULT = Accelerator(name="x")
LEAVES = sorted(set(leaf_fields(DEFAULT)) - {"name"})


def walk(kind, path="Accelerator"):
    for name, hint in get_type_hints(kind).items():
        yield f"{path}.{name}", hint
        if is_dataclass(hint):
            yield from walk(hint, f"{path}.{name}")


@pytest.mark.parametrize(("path", "kind"), list(walk(Accelerator)))
def test_fields_are_plain_data(path, kind):
    """Lock 2: int, str, bool, enum, tuple of these, nested spec, and nothing else."""
    if get_origin(kind) is tuple:
        assert all(issubclass(item, Enum | int | str) for item in get_args(kind) if item is not Ellipsis), path
    else:
        assert kind in (int, str, bool) or is_dataclass(kind) or issubclass(kind, Enum), path


@pytest.mark.parametrize("spec", [Accelerator, Pe, Array, Buffer, Pruner, Updater, VectorUnit, Dram, Sequencer])
def test_specs_are_frozen_and_keyword_only(spec):
    assert spec.__dataclass_params__.frozen
    assert all(field.kw_only for field in fields(spec))
    made = spec(**({"name": "x"} if spec is Accelerator else {"bytes": 64} if spec is Buffer else {}))
    with pytest.raises(FrozenInstanceError):
        setattr(made, fields(spec)[0].name, 1)


def changed(spec, path):
    """The spec with one leaf field altered to another valid value."""
    name, _, rest = path.partition(".")
    value = getattr(spec, name)
    if rest:
        return replace(spec, **{name: changed(value, rest)})
    match value:
        case bool():
            other = not value
        case int():
            other = value + 1
        case str():
            other = "int8"
        case ("sgd-momentum",):
            other = ("adam",)
        case _:
            other = (Dataflow.IS,)
    return replace(spec, **{name: other})


@pytest.mark.parametrize("path", LEAVES)
def test_every_field_is_in_the_digest(path):
    assert changed(DEFAULT, path).digest != DEFAULT.digest


def test_renaming_does_not_make_other_hardware():
    assert replace(DEFAULT, name="y").digest == DEFAULT.digest
    assert len(DEFAULT.digest) == 12


def test_digests_of_all_single_changes_differ():
    assert len({changed(DEFAULT, path).digest for path in LEAVES}) == len(LEAVES)


def integer_fields(spec, prefix=()):
    for item in fields(spec):
        value = getattr(spec, item.name)
        if is_dataclass(value):
            yield from integer_fields(value, (*prefix, item.name))
        elif type(value) is int:
            yield spec, item.name


@pytest.mark.parametrize(
    ("spec", "name"), list(integer_fields(DEFAULT)), ids=lambda x: x if isinstance(x, str) else type(x).__name__
)
@pytest.mark.parametrize("value", [-1, True, 1.5, "4", None, 2**63])
def test_integer_fields_refuse(spec, name, value):
    with pytest.raises(ValueError) as caught:
        replace(spec, **{name: value})
    text = str(caught.value)
    assert type(spec).__name__ in text
    assert repr(name) in text
    assert repr(value) in text
    assert " must be " in text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pe(format="fp8"), "'format' must be one of fp16, bf16, int8, not 'fp8'"),
        (lambda: Pe(lanes=4, registers=3), "'registers' must be at least lanes=4, not 3"),
        (lambda: Array(dataflows=()), "'dataflows' must name at least one dataflow, each once"),
        (lambda: Array(dataflows=(Dataflow.OS, Dataflow.OS)), "each once"),
        (lambda: Updater(optimizers=()), "'optimizers' must be a choice of sgd-momentum, adam, each once, not "),
        (lambda: Updater(optimizers=("adam", "adam")), "each once"),
        (lambda: Updater(optimizers=("sgd",)), "must be a choice of sgd-momentum, adam"),
        (lambda: Accelerator(name=""), "'name' must not be empty"),
    ],
)
def test_other_rules(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@given(a=st.integers(0, 10**12), b=st.integers(1, 10**6))
def test_ceil_div(a, b):
    q = ceil_div(a, b)
    assert (q - 1) * b < a <= q * b
    assert ceil_div(np.array([a]), b).tolist() == [q]


@pytest.mark.parametrize(
    ("lanes", "levels"),
    [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4)],
)
def test_latency_counts_each_register_once(lanes, levels):
    """A multiplier, the levels of the adder tree, the accumulator."""
    pe = Pe(lanes=lanes, multiply_latency=3, accumulate_latency=5)
    assert pe.latency == 3 + 5 * levels + 5


def test_steps_and_beats():
    pe = Pe(lanes=2)
    assert [pe.depth(p) for p in (DENSE, NM(2, 8), NM(3, 4))] == [2, 8, 4]
    assert [pe.beats(p) for p in (DENSE, NM(2, 8), NM(3, 4), NM(1, 4))] == [1, 1, 2, 1]
    assert [pe.stored_bits(p) for p in (DENSE, NM(2, 8), NM(3, 4), NM(1, 5))] == [16, 19, 18, 19]


def test_unit_rates():
    assert Pruner(lanes=4).cycles(100, NM(2, 8)) == 4 * 8  # 13 groups on 4 lanes: 4 rounds of 8 cycles
    assert Updater(lanes=32).cycles(33) == 2
    assert VectorUnit(lanes=8).cycles(8) == 1


def test_buffers():
    buffer = Buffer(bytes=1000, banks=4, bank_bits=32, slots=3)
    assert (buffer.slot_bytes, buffer.bits_per_cycle) == (333, 128)


def test_machine_totals():
    machine = Accelerator(
        name="x",
        clock_hz=10**9,
        pe=Pe(format="int8", group=8, lanes=2, registers=8, interleave=3),
        array=Array(rows=4, cols=5, double_buffered=True),
        **{f"{name}_buffer": Buffer(bytes=100) for name in ("a", "b", "c", "work")},
    )
    assert machine.multipliers == 40
    assert machine.peak_dense_flops == 80 * 10**9
    # two copies of 8 registers of value and 3-bit index, and of 3 accumulators of 32 bits, in 20 PEs
    assert machine.storage_bits == 8 * 400 + 20 * 2 * (8 * (8 + 3) + 3 * 32)
    single = replace(machine, array=replace(machine.array, double_buffered=False))
    assert single.storage_bits == 8 * 400 + 20 * (8 * (8 + 3) + 3 * 32)


def test_formats_are_whole():
    assert all(name == number.name for name, number in FORMATS.items())
    assert all(number.accumulator_bits == 32 for number in FORMATS.values())
