"""Does the golden machine do with bytes what the contract says, and refuse programs that the machine must not be given?"""

from dataclasses import replace

import numpy as np
import pytest
from placed_kit import compiled, gemm, random_operand, small_machine, write

from dataflows.place import place
from simulator.arithmetic import sgd_momentum
from simulator.encoding import END, FIELDS, Opcode, Word, encode
from simulator.formats import FORMATS
from simulator.golden import GoldenError
from simulator.interpreter import Registers, interpret
from simulator.optimizers import adam, adam_coefficients
from simulator.result import Counters
from simulator.schedule import Engine
from workloads.gemm import Stage
from workloads.sparsity import DENSE, NM, Producer

MACHINE = small_machine()
ADAM = replace(MACHINE, updater=replace(MACHINE.updater, optimizers=("sgd-momentum", "adam")))
LOAD, PRUNE, UPDATE, VECTOR, STORE = Engine.LOAD_WORK, Engine.PRUNE, Engine.UPDATE, Engine.VECTOR, Engine.STORE_WORK


def word(opcode, waits=None, **fields):
    """Fields that are left out are 0."""
    return Word(opcode=opcode, waits=waits or {}, fields=dict.fromkeys(FIELDS[opcode], 0) | fields)


def load(address, size, plane, rows=1, pitch=None):
    return word(Opcode.LOAD_WORK, address=address, rows=rows, row_bytes=size, pitch=pitch or -(-size // 8) * 8, plane=plane)


def store(address, size, plane, waits, rows=1, **fields):
    pitch = -(-size // 8) * 8
    return word(Opcode.STORE_WORK, waits, address=address, rows=rows, row_bytes=size, pitch=pitch, plane=plane, **fields)


def run(memory, *words, machine=MACHINE, registers=None):
    return interpret(encode((*words, END)), memory, machine, registers or Registers())


def bits(memory, start, stop):
    return int.from_bytes(memory[start:stop].tobytes(), "little")


def test_nothing_to_do():
    assert run(np.zeros(0, np.uint8)) == Counters()


def test_rows_through_a_plane():
    """Three rows of 8 bytes at a pitch of 16, written as one row of 24."""
    memory = np.arange(128, dtype=np.uint8)
    counters = run(memory, load(0, 8, 5, rows=3, pitch=16), store(64, 24, 5, {LOAD: 1}))
    assert list(memory[64:88]) == [*range(8), *range(16, 24), *range(32, 40)]
    assert list(memory[88:]) == list(range(88, 128))
    assert counters == Counters(commands=2, dram_read_bytes=24, dram_write_bytes=24)


def test_pruning_along_the_rows():
    """fp16, 2 rows of 4, 1:4: entries of 18 bits; each row of memory has one."""
    memory = np.zeros(64, np.uint8)
    memory[:16] = np.array([1, -3, 2, 0, 0, 0, 5, -5], np.float16).view(np.uint8)
    pattern = {"row_elements": 4, "elements": 8, "keep": 1, "group": 4}
    counters = run(
        memory,
        load(0, 16, 0),
        word(Opcode.PRUNE, {LOAD: 1}, source=0, values=4, indices=5, **pattern),
        store(32, 3, 4, {PRUNE: 1}, rows=2, kept=1, indices=5, group=4, entries=1),
    )
    half = [int(np.float16(value).view(np.uint16)) for value in (-3, 5)]
    assert bits(memory, 32, 35) == half[0] | 1 << 16
    assert bits(memory, 40, 43) == half[1] | 2 << 16
    assert counters == Counters(commands=3, dram_read_bytes=16, dram_write_bytes=6, pruned_elements=8)


def test_pruning_down_the_rows():
    """int8, 4 rows of 2, 2:4: one row of memory, column after column two entries of 10 bits."""
    memory = np.zeros(64, np.uint8)
    memory[:8] = np.array([[1, 9], [-4, 0], [3, -9], [2, 1]], np.int8).reshape(-1).view(np.uint8)
    pattern = {"across": 1, "row_elements": 2, "elements": 8, "keep": 2, "group": 4}
    run(
        memory,
        load(0, 8, 0),
        word(Opcode.PRUNE, {LOAD: 1}, source=0, values=4, indices=5, **pattern),
        store(32, 5, 4, {PRUNE: 1}, kept=1, indices=5, group=4, entries=4),
        machine=small_machine("int8"),
    )
    entries = [(-4 & 255) | 1 << 8, 3 | 2 << 8, 9 | 0 << 8, (-9 & 255) | 2 << 8]
    assert bits(memory, 32, 37) == sum(entry << 10 * i for i, entry in enumerate(entries))


@pytest.mark.parametrize("optimizers", [("sgd-momentum",), ("adam", "sgd-momentum")])
@pytest.mark.parametrize("masked", [0, 1])
def test_an_update(masked, optimizers):
    """Five elements, the mask's first bit lowest; the copy takes the gradient's plane."""
    rng = np.random.default_rng(2)
    weight, velocity = rng.normal(size=(2, 5)).astype(np.float32)
    gradient, mask = rng.normal(size=5).astype(np.float16), np.array([True, False, False, True, True])
    memory = np.zeros(256, np.uint8)
    memory[0:20], memory[32:52] = weight.view(np.uint8), velocity.view(np.uint8)
    memory[64:74], memory[80] = gradient.view(np.uint8), 0b11001
    planes = {"weight": 0, "velocity": 1, "gradient": 2, "copy": 2, "mask": 3, "masked": masked, "elements": 5}
    registers = Registers(lr=0.1, momentum=0.9, weight_decay=0.01, decay=0.5)
    counters = run(
        memory,
        *(load(0, 20, 0), load(32, 20, 1), load(64, 10, 2), load(80, 1, 3)),
        word(Opcode.UPDATE, {LOAD: 4}, **planes),
        *(store(128, 20, 0, {UPDATE: 1}), store(160, 20, 1, {UPDATE: 1}), store(192, 10, 2, {UPDATE: 1})),
        registers=registers,
        machine=replace(MACHINE, updater=replace(MACHINE.updater, optimizers=optimizers)),
    )
    wanted = sgd_momentum(
        weight, velocity, gradient, FORMATS["fp16"], lr=0.1, momentum=0.9, weight_decay=0.01, decay=0.5,
        mask=mask if masked else None,
    )  # fmt: skip
    for start, values in zip((128, 160, 192), wanted, strict=True):
        assert memory[start : start + values.nbytes].tobytes() == values.tobytes()
    assert counters.updated_elements == 5


@pytest.mark.parametrize("masked", [0, 1])
def test_adam(masked):
    """Five elements, the fourth's second moment negative: no root, and the one NaN in weight and copy; a plane of its own."""
    rng = np.random.default_rng(3)
    weight, first, second = rng.normal(size=(3, 5)).astype(np.float32)
    second = np.abs(second) * np.array([1, 1, 1, -1, 1], np.float32)
    gradient, mask = rng.normal(size=5).astype(np.float16), np.array([True, False, False, True, True])
    memory = np.zeros(320, np.uint8)
    memory[0:20], memory[32:52], memory[224:244] = (each.view(np.uint8) for each in (weight, first, second))
    memory[64:74], memory[80] = gradient.view(np.uint8), 0b11001
    rates = adam_coefficients(3, lr=0.1, eps=1e-3, weight_decay=0.01, decoupled_decay=0.02, decay=0.5)
    planes = {"weight": 0, "velocity": 1, "gradient": 2, "copy": 2, "mask": 7, "masked": masked, "elements": 5}
    parts = ((128, 20, 0), (160, 20, 1), (256, 20, 6), (192, 10, 2))
    counters = run(
        memory,
        *(load(0, 20, 0), load(32, 20, 1), load(64, 10, 2), load(80, 1, 7), load(224, 20, 6)),
        word(Opcode.UPDATE, {LOAD: 5}, **planes, second=6, adam=1),
        *(store(start, size, plane, {UPDATE: 1}) for start, size, plane in parts),
        registers=Registers(**rates._asdict()),
        machine=ADAM,
    )
    wanted = adam(weight, first, second, gradient, FORMATS["fp16"], rates, mask if masked else None)
    assert [int(np.isnan(values).sum()) for values in wanted] == [1, 0, 0, 1]
    for start, values in zip((128, 160, 256, 192), wanted, strict=True):
        got = memory[start : start + values.nbytes].view(values.dtype)
        known = ~np.isnan(values)
        assert got[known].tobytes() == values[known].tobytes()
        assert {int(nan) for nan in got[~known].view(f"u{values.itemsize}")} <= {0x7FC00000, 0x7E00}
    assert counters.updated_elements == 5


def test_a_program_has_one_optimizer():
    """The coefficients are one set of registers, and the lanes take no two optimizers at once."""
    memory = np.zeros(64, np.uint8)
    loads = [load(0, 4, plane) for plane in range(4)]
    planes = {"weight": 0, "velocity": 1, "gradient": 2, "copy": 2, "second": 3, "elements": 1}
    updates = [word(Opcode.UPDATE, {LOAD: 4, UPDATE: i}, **planes, adam=each) for i, each in enumerate((1, 1, 0))]
    run(memory, *loads, *updates[:2], machine=ADAM)
    with pytest.raises(GoldenError, match="Field 'adam' must be the same in all of a program's updates, not 0"):
        run(memory, *loads, *updates, machine=ADAM)


def test_an_update_stores_the_one_nan():
    """Infinity minus infinity; whatever the host's NaN looks like."""
    memory = np.zeros(128, np.uint8)
    memory[0:4] = np.array([np.inf], np.float32).view(np.uint8)
    memory[8:12] = np.array([np.inf], np.float32).view(np.uint8)
    planes = {"weight": 0, "velocity": 1, "gradient": 2, "copy": 2, "elements": 1}
    run(
        memory,
        *(load(0, 4, 0), load(8, 4, 1), load(16, 2, 2)),
        word(Opcode.UPDATE, {LOAD: 3}, **planes),
        *(store(64, 4, 0, {UPDATE: 1}), store(72, 2, 2, {UPDATE: 1})),
        registers=Registers(lr=1.0, momentum=1.0),
    )
    assert bits(memory, 64, 68) == 0x7FC00000
    assert bits(memory, 72, 74) == 0x7E00


@pytest.mark.parametrize(
    ("operation", "scalar", "expected"),
    [
        (0, 0, [1.5, 1.0, -1.0]),
        (1, 0, [1.0, 0.0, 3.0]),
        (2, 0, [1.0, -2.0, 0.0]),
        (3, 0, [0.5, -6.0, -12.0]),
        (4, 0x40200000, [2.5, -5.0, 7.5]),  # times 2.5
        (5, 0, [1.0, -2.0, 3.0]),
    ],
)
def test_vector_operations(operation, scalar, expected):
    memory = np.zeros(64, np.uint8)
    memory[0:6], memory[8:14] = np.array([[1, -2, 3], [0.5, 3, -4]], np.float16).view(np.uint8)
    fields = {"operation": operation, "x": 0, "y": 1, "out": 7, "elements": 3, "scalar": scalar}
    counters = run(memory, load(0, 6, 0), load(8, 6, 1), word(Opcode.VECTOR, {LOAD: 2}, **fields), store(32, 6, 7, {VECTOR: 1}))
    assert memory[32:38].view(np.float16).tolist() == expected
    assert counters.vector_operations == 3


def vector(waits, elements=4, **planes):
    return word(Opcode.VECTOR, waits, operation=1, elements=elements, **planes)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([store(0, 8, 0, {})], "Plane 0 of work slot 0 must hold 8 bytes, not 0"),
        ([load(0, 6, 0), vector({LOAD: 1}, x=0, out=1)], "must hold 8 bytes, not 6"),
        ([load(0, 8, 0), vector({LOAD: 1}, x=1, out=2)], "Plane 1 of work slot 0 must hold 8 bytes, not 0"),
        ([load(64, 8, 0, rows=3)], "must end within the memory's 64 bytes, not at 88"),
        ([load(0, 6, 0, rows=2)], "Rows of a work load must be whole beats of 4 bytes, not 6"),
        ([load(0, 512, 0, rows=2)], "Transfer must end within|Plane 0 of work slot 0 must take at most"),
        ([load(0, 8, 0), vector({}, x=0, out=1)], "must know command 1 of 'load_work' finished, which used .'work', 0, 0"),
        ([load(0, 8, 0), load(8, 8, 1), vector({LOAD: 1}, x=1, out=2)], "command 2 of 'load_work' finished"),
        (
            [load(0, 8, 0), vector({LOAD: 1}, x=0, out=1), vector({}, x=1, out=2)],
            "Command 2 of 'vector' must know command 1 of 'vector' finished",
        ),
        (
            [load(0, 8, 0), vector({LOAD: 1}, x=0, out=1), load(0, 8, 0)],
            "Command 2 of 'load_work' must know command 1 of 'vector' finished",
        ),
        (
            [load(0, 8, 0), vector({LOAD: 1}, x=0, out=1), load(0, 8, 1)],
            "Command 2 of 'load_work' must know command 1 of 'vector' finished",
        ),
        (
            [load(0, 8, 0), store(8, 8, 0, {LOAD: 1}), load(8, 8, 1)],
            "must know command 1 of 'store_work' finished, which used bytes 0x8 to 0x10",
        ),
        (
            [load(0, 8, 0), load(8, 8, 1), store(8, 8, 0, {LOAD: 1})],
            "must know command 2 of 'load_work' finished, which used bytes 0x8 to 0x10",
        ),
        ([vector({LOAD: 1}, x=0, out=1)], "not a fault TOKEN"),
        ([load(4, 8, 0)], "not a fault ALIGNMENT"),
        (
            [load(0, 16, 0), word(Opcode.PRUNE, {LOAD: 1}, values=1, indices=2, row_elements=3, elements=8, keep=1, group=4)],
            "Field 'elements' must be whole rows of 3, not 8",
        ),
        (
            [load(0, 16, 0), word(Opcode.PRUNE, {LOAD: 1}, values=1, indices=2, row_elements=2, elements=8, keep=1, group=4)],
            "must split into groups of 4",
        ),
        (
            [
                load(0, 24, 0),
                word(Opcode.PRUNE, {LOAD: 1}, values=1, indices=2, across=1, row_elements=3, elements=12, keep=1, group=4),
            ],
            "whole beats of 2 lanes, not 3",
        ),
    ],
)
def test_what_the_work_buffer_must_not_be_given(words, message):
    with pytest.raises(GoldenError, match=message):
        run(np.zeros(64, np.uint8), *words)


def test_what_is_known_through_others_need_not_be_waited_for():
    """The store waits for the vector unit alone, which had waited for both loads; the last load knows all through the store."""
    memory = np.zeros(64, np.uint8)
    last = replace(load(8, 8, 0), waits={STORE: 1})
    words = (load(0, 8, 0), load(8, 8, 1), vector({LOAD: 2}, x=0, out=2), store(8, 8, 2, {VECTOR: 1}), last)
    assert run(memory, *words).commands == 5


def placed_gemm(dataflow="os", pattern=NM(2, 4)):  # noqa: B008
    """Four k tiles or so, several tiles of C, so that all slots are used again."""
    machine = small_machine(slot_bytes=512, burst=8)
    op = gemm(20, 16, 64, pattern=pattern, producer=Producer.STATIC, stage=Stage.FF)
    placed = place(compiled(machine, op, dataflow=dataflow), machine)
    image = np.zeros(placed.memory_bytes, np.uint8)
    rng = np.random.default_rng(4)
    for region in placed.tensors.values():
        if region.element.value == "fp16":
            write(image, region, random_operand("fp16", rng, (region.rows, region.row_elements)))
    return machine, placed, image


@pytest.mark.parametrize("dataflow", ["os", "ws", "is"])
@pytest.mark.parametrize("pattern", [DENSE, NM(2, 4)])
def test_every_token_of_a_gemm_is_needed(dataflow, pattern):
    """Without its tokens any command that has some starts too early; there are slots enough in use for each kind of hazard."""
    machine, placed, image = placed_gemm(dataflow, pattern)
    interpret(encode(placed.words), image.copy(), machine)
    waiting = [i for i, each in enumerate(placed.words) if each.waits]
    assert {placed.words[i].opcode for i in waiting} >= {Opcode.LOAD_A, Opcode.ARRAY, Opcode.STORE_C}
    for i in waiting:
        words = list(placed.words)
        words[i] = replace(words[i], waits={})
        with pytest.raises(GoldenError, match=f"Command {i} .* must know command"):
            interpret(encode(words), image.copy(), machine)


@pytest.mark.parametrize(
    ("opcode", "change", "message"),
    [
        (Opcode.LOAD_A, {"stride": 1}, "Field 'stride' must be"),
        (Opcode.LOAD_A, {"rows": 1}, "Fields 'rows', 'row_bytes' must be"),
        (Opcode.LOAD_B, {"row_bytes": 1}, "Fields 'rows', 'row_bytes' must be"),
        (Opcode.LOAD_A, {"banking": 1}, "Banking of slot 0 of buffer 'a' must be 0, not 1"),
        (Opcode.LOAD_A, {"lines": 10**4, "rows": 10**4}, "Tile of 10000 lines must fit the"),
        (Opcode.LOAD_B, {"keep": 1}, "Field 'stride' must be 8, not 16"),
        (Opcode.LOAD_A, {"group": 8}, "Pattern of slot 0 of buffer 'a' must be"),
        (Opcode.ARRAY, {"m": 1}, "Lines of slot 0 of buffer 'a' must be 1"),
        (Opcode.ARRAY, {"n": 1}, "Lines of slot 0 of buffer 'b'"),
        (Opcode.ARRAY, {"k": 4}, "K of slot 0 of buffer 'a' must be 4"),
        (Opcode.ARRAY, {"keep": 1}, "Pattern of slot 0 of buffer 'b' must be 1:4, not 2:4"),
        (Opcode.ARRAY, {"group": 0, "keep": 0}, "Pattern of slot 0 of buffer 'a' must be dense"),
        (Opcode.ARRAY, {"sparse_b": 0}, "Kept of slot 0 of buffer 'a' must be True"),
        (Opcode.ARRAY, {"a_stride": 1}, "Field 'a_stride' must be"),
        (Opcode.ARRAY, {"c_stride": 7}, "Field 'c_stride' must be"),
        (Opcode.ARRAY, {"accumulate": 1}, "Slot 0 of buffer 'c' must hold sums"),
        (Opcode.ARRAY, {"a_slot": 1}, "Slot 1 of buffer 'a' must be loaded"),
        (Opcode.ARRAY, {"dataflow": 1}, "Banking of slot 0 of buffer 'a' must be 2, not 0"),
        (Opcode.STORE_C, {"columns": 1}, "Shape, swapped, stride of slot 0 of buffer 'c' must be"),
        (Opcode.STORE_C, {"stride": 7}, "Shape, swapped, stride of slot 0 of buffer 'c' must be"),
        (Opcode.STORE_C, {"swapped": 1}, "Shape, swapped, stride of slot 0 of buffer 'c' must be"),
        (Opcode.STORE_C, {"row_bytes": 2}, "Fields 'rows', 'row_bytes' must be"),
        (Opcode.STORE_C, {"slot": 1}, "Slot 1 of buffer 'c' must hold sums"),
    ],
)
def test_fields_that_disagree_with_the_slots(opcode, change, message):
    machine, placed, image = placed_gemm()
    words = list(placed.words)
    at = next(i for i, each in enumerate(words) if each.opcode is opcode)
    words[at] = replace(words[at], fields=dict(words[at].fields) | change)
    with pytest.raises(GoldenError, match=message):
        interpret(encode(words), image, machine)
