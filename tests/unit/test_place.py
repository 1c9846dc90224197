"""Does a placed program compute what the compiled one does, in the same time, and is what the RTL can't do refused?"""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from placed_kit import (
    check_gemm,
    compiled,
    gemm,
    golden_operands,
    interpreted,
    random_operand,
    replace,
    same_bits,
    small_machine,
)

from dataflows.place import place
from dataflows.place_regions import kept_name
from dataflows.regions import Region, read, write
from simulator.arch import Dataflow
from simulator.binary import program_of
from simulator.encoding import END, Opcode, encode
from simulator.golden import execute
from simulator.image import Element
from simulator.machine import run
from simulator.schedule import Engine, UnsupportedError, Wait
from workloads.gemm import Conv, Gemm, Operand, Phase, Role, Stage
from workloads.sparsity import DENSE, NM, Producer


def gemm_of(m, n, k, pattern=DENSE, sparse="b", stage=Stage.FF):
    return gemm(m, n, k, pattern=pattern, sparse=sparse, producer=Producer.STATIC, stage=stage)


@pytest.mark.parametrize("number", ["fp16", "bf16", "int8"])
@pytest.mark.parametrize("dataflow", Dataflow)
@pytest.mark.parametrize(("shape", "slot_bytes"), [((5, 7, 16), 4096), ((33, 17, 64), 4096), ((33, 18, 64), 1024)])
def test_one_gemm(number, dataflow, shape, slot_bytes):
    """Dense and 2:4 and 3:8 on either side; whole in the buffers, or in tiles of every dimension."""
    for pattern, sparse in ((DENSE, "b"), (NM(2, 4), "a"), (NM(2, 4), "b"), (NM(3, 8), "b")):
        program, placed, counters = check_gemm(
            small_machine(number, slot_bytes=slot_bytes), gemm_of(*shape, pattern, sparse), dataflow=dataflow
        )
        assert placed.words[-1] == END
        assert counters.commands == len(placed.words) - 1 == len(list(program))
        if slot_bytes == 1024:
            assert sum(word.opcode is Opcode.STORE_C for word in placed.words) > 1


@pytest.mark.parametrize(("m", "n", "k"), [(5, 7, 9), (33, 17, 65), (1, 1, 1), (4, 40, 3)])
@pytest.mark.parametrize("lanes", [1, 4])
def test_odd_dense_sizes(m, n, k, lanes):
    for dataflow in Dataflow:
        check_gemm(small_machine(lanes=lanes, slot_bytes=2048), gemm_of(m, n, k), dataflow=dataflow)


@pytest.mark.parametrize("number", ["fp16", "int8"])
@pytest.mark.parametrize(("pattern", "sparse"), [(DENSE, "b"), (NM(1, 4), "a"), (NM(3, 8), "b")])
def test_lines_fastest(number, pattern, sparse):
    """A weight gradient reads both operands across; OS does, in tiles of each dimension too."""
    for slot_bytes in (1536, 8192):
        _, placed, _ = check_gemm(
            small_machine(number, slot_bytes=slot_bytes), gemm_of(22, 19, 64, pattern, sparse, Stage.WU), dataflow="os"
        )
        loads = [word for word in placed.words if word.opcode in (Opcode.LOAD_A, Opcode.LOAD_B)]
        assert all(word.fields["across"] for word in loads)


@pytest.mark.parametrize("dataflow", ["os", "ws"])
@pytest.mark.parametrize("pattern", [DENSE, NM(2, 8)])
def test_weights_of_a_data_gradient_lie_across(dataflow, pattern):
    """B stands still in WS, so that its rows of memory may be steps of the reduction."""
    _, placed, _ = check_gemm(small_machine(slot_bytes=1024), gemm_of(9, 21, 48, pattern, "b", Stage.BP), dataflow=dataflow)
    assert {word.fields["across"] for word in placed.words if word.opcode is Opcode.LOAD_B} == {1}
    assert {word.fields["across"] for word in placed.words if word.opcode is Opcode.LOAD_A} == {0}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_gemm_on_any_small_machine(data):
    number = data.draw(st.sampled_from(("fp16", "bf16", "int8")))
    accelerator = small_machine(
        number,
        rows=data.draw(st.integers(1, 5)),
        cols=data.draw(st.integers(1, 5)),
        lanes=data.draw(st.sampled_from((1, 2, 4))),
        slot_bytes=data.draw(st.sampled_from((512, 1024, 8192))),
        burst=data.draw(st.sampled_from((4, 16, 64))),
        slots=data.draw(st.integers(1, 3)),
    )
    pattern = data.draw(st.sampled_from((DENSE, NM(1, 2), NM(2, 4), NM(3, 8), NM(8, 8))))
    unit = pattern.group if isinstance(pattern, NM) else 1
    shape = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30)), unit * data.draw(st.integers(1, 60 // unit))
    op = gemm_of(*shape, pattern, data.draw(st.sampled_from("ab")), data.draw(st.sampled_from((Stage.FF, Stage.BP, Stage.WU))))
    try:
        program, placed, counters = check_gemm(accelerator, op, dataflow=data.draw(st.sampled_from(Dataflow)))
    except UnsupportedError:
        assume(False)  # pragma: no cover
    assert run(program_of(encode(placed.words)), accelerator).counters == counters
    assert [type(each) for each in program_of(encode(placed.words))] == [type(each) for each in program]


@pytest.mark.parametrize("number", ["fp16", "int8"])
@pytest.mark.parametrize("dataflow", Dataflow)
@pytest.mark.parametrize("pattern", [DENSE, NM(2, 8)])
def test_the_machine_takes_as_long(number, dataflow, pattern):
    """Cycles, stalls and counters of the decoded bytes equal those of the program that was placed."""
    for op in (gemm_of(22, 19, 64, pattern), gemm_of(22, 19, 64, pattern, stage=Stage.WU)):
        if op.stage is Stage.WU and dataflow is not Dataflow.OS:
            continue
        accelerator = small_machine(number, slot_bytes=1536)
        program, placed, counters = check_gemm(accelerator, op, dataflow=dataflow)
        wanted = run(program, accelerator, record_events=True)
        assert run(program_of(encode(placed.words)), accelerator, record_events=True) == wanted
        assert wanted.counters == counters


def chain(rows, wide, inner, narrow):
    """Y = X W0', Z = Y W1', then with dZ = Z the data gradient through W1 and its weight gradient: tensors shared."""
    x, y, z = (Operand(tensor=name, role=Role.ACTIVATION) for name in ("x", "y", "z"))
    w0, w1 = (Operand(tensor=name, role=Role.WEIGHT, parameter=name) for name in ("w0", "w1"))

    def one(name, stage, m, n, k, a, b, c):
        return Gemm(name=name, layer=name, stage=stage, phase=Phase.FORWARD, m=m, n=n, k=k, a=a, b=b, c=c)

    return (
        one("ff0", Stage.FF, rows, inner, wide, x, w0, "y"),
        one("ff1", Stage.FF, rows, narrow, inner, y, w1, "z"),
        one("bp1", Stage.BP, rows, inner, narrow, z, w1, "dy"),
        one("wu1", Stage.WU, narrow, inner, rows, z, y, "dw1"),
    )


def test_gemms_share_tensors():
    """One region per tensor; results are operands of the next GEMM, read along and across; golden executes GEMM by GEMM."""
    accelerator = small_machine(rows=4, slot_bytes=1024, burst=8)
    program = compiled(accelerator, *chain(12, 16, 20, 24), wu="os", bp="ws")
    placed = place(program, accelerator)
    assert sorted(placed.tensors) == ["dw1", "dy", "w0", "w1", "x", "y", "z"]
    rng = np.random.default_rng(3)
    given = {name: random_operand("fp16", rng, shape) for name, shape in (("x", (12, 16)), ("w0", (20, 16)), ("w1", (24, 20)))}
    image, _ = interpreted(placed, accelerator, given)
    tensors = dict(given)
    for op in program.ops:
        single = compiled(accelerator, op, dataflow=Dataflow(program.choices[program.ops.index(op)]))
        tensors[op.c] = execute(single, golden_operands(placed, single, tensors), accelerator)[op.c][0]
        same_bits(read(image, placed.tensors[op.c]), tensors[op.c])
    for name, matrix in given.items():
        same_bits(read(image, placed.tensors[name]), matrix)


def test_regions_do_not_overlap_and_begin_at_bursts():
    accelerator = small_machine(rows=4, burst=64)
    placed = place(compiled(accelerator, gemm_of(22, 18, 64)), accelerator, base=100)
    spans = sorted((region.address, region.address + region.size_bytes) for region in placed.tensors.values())
    assert spans[0][0] == 128
    assert all(start % 64 == 0 for start, _ in spans)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert spans[-1][1] == placed.memory_bytes


def test_tiles_of_kept_operands_get_panels():
    """k in tiles whose entries end within a burst: each tile has rows of its own."""
    accelerator = small_machine(slot_bytes=1024, burst=64)
    program, placed, _ = check_gemm(accelerator, gemm_of(22, 24, 96, NM(2, 8), "b"), dataflow="os")
    depths = {len(command.tile.k) for command in program if command.engine.value == "load_b"}
    assert placed.tensors[kept_name("g.b", NM(2, 8), across=False)].panel == max(depths) < 96


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize(("pattern", "element"), [(None, Element.FP32), (None, Element.MASK), (NM(3, 8), Element.BF16)])
@pytest.mark.parametrize("panel", [8, 24])
def test_write_then_read(across, pattern, element, panel):
    rng = np.random.default_rng(1)
    region = Region(
        address=32, rows=16, row_elements=24, element=element, burst_bytes=16, panel=panel, pattern=pattern, across=across
    )
    if element is Element.MASK:
        matrix = rng.random((16, 24)) < 0.5
    elif element is Element.FP32:
        matrix = rng.normal(size=(16, 24)).astype(np.float32)
    else:
        matrix = random_operand("bf16", rng, (16, 24))
    image = np.full(32 + region.size_bytes + 16, 0xA5, np.uint8)
    write(image, region, matrix)
    wanted = matrix
    if pattern is not None:
        groups = matrix.T if across else matrix
        wanted = np.where(pattern.mask(groups), groups, np.float32(0))
        wanted = wanted.T if across else wanted
    same_bits(np.ascontiguousarray(read(image, region)), np.ascontiguousarray(wanted))
    assert set(image[:32]) == set(image[-16:]) == {0xA5}


def test_a_kept_row_bit_by_bit():
    """1:4 of int8 along a row: entries of 10 bits, value low, first entry lowest; padded with zeros to a burst of 4."""
    region = Region(
        address=0, rows=1, row_elements=12, element=Element.INT8, burst_bytes=4, panel=12, pattern=NM(1, 4), across=False
    )
    image = np.full(4, 0xFF, np.uint8)
    write(image, region, np.array([[0, 5, 0, 0, -3, 0, 0, 0, 1, 1, 1, 127]], np.int8))
    assert int.from_bytes(image.tobytes(), "little") == (5 | 1 << 8) | (0xFD | 0 << 8) << 10 | (127 | 3 << 8) << 20


def test_a_kept_step_bit_by_bit():
    """1:2 of int8 down two rows: for each column one entry of 9 bits."""
    region = Region(
        address=0, rows=2, row_elements=3, element=Element.INT8, burst_bytes=4, panel=3, pattern=NM(1, 2), across=True
    )
    image = np.full(4, 0xFF, np.uint8)
    write(image, region, np.array([[1, 2, 3], [4, -1, 5]], np.int8))
    assert int.from_bytes(image.tobytes(), "little") == (4 | 1 << 8) | (2 | 0 << 8) << 9 | (5 | 1 << 8) << 18


def conv_of(op):
    geometry = Conv(operand="a", images=1, height=4, width=4, channels=4, taps_h=1, taps_w=1, stride=1, out_h=4, out_w=4)
    return replace(op, conv=geometry)


@pytest.mark.parametrize(
    ("op", "mapping", "message"),
    [
        (gemm(4, 4, 8, batch=2), {}, "entries in a batch of GEMM 'g' in the RTL: needs 2, has 1"),
        (conv_of(gemm(16, 4, 4)), {}, "implicit im2col of GEMM 'g'"),
        (gemm_of(4, 4, 12, NM(2, 6)), {}, "a group that is a power of two for GEMM 'g' in the RTL: needs 6, has 4"),
        (gemm(4, 4, 8, pattern=NM(2, 4)), {"pregenerate": False}, "Prune"),
        (gemm_of(4, 4, 8, stage=Stage.WU), {"dataflow": "ws"}, "operand a of 'g' streaming in dataflow ws .*map it to os"),
        (gemm_of(4, 4, 8, stage=Stage.BP), {"dataflow": "is"}, "operand b of 'g' streaming in dataflow is"),
    ],
)
def test_what_the_rtl_does_not_do_is_refused(op, mapping, message):
    accelerator = small_machine()
    with pytest.raises(UnsupportedError, match=message):
        place(compiled(accelerator, op, **mapping), accelerator)


def test_machines_that_the_rtl_does_not_build_are_refused():
    plain = small_machine()
    for accelerator, message in (
        (replace(plain, pe=replace(plain.pe, lanes=3)), "PE lanes that are a power of two in the RTL: needs 3, has 2"),
        (replace(plain, dram=replace(plain.dram, burst_bytes=2)), "one beat of the bus in the RTL: needs 4, has 2"),
        (replace(plain, dram=replace(plain.dram, burst_bytes=24)), "bytes of a burst that are a power of two"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            place(compiled(accelerator, gemm_of(4, 4, 8)), accelerator)


def test_int8_results_are_no_operands():
    """They are int32: another GEMM can't read them before a vector operation has made them int8."""
    accelerator = small_machine("int8")
    with pytest.raises(UnsupportedError, match="matrices for tensor 'y'"):
        place(compiled(accelerator, *chain(4, 4, 4, 4)[:2]), accelerator)


def test_a_compressed_copy_has_a_region_of_its_own():
    """One tensor, dense for one GEMM and 2:4 for another."""
    sparse = gemm_of(5, 6, 8, NM(2, 4))
    dense = replace(gemm_of(5, 6, 8), name="h", c="h.c")
    placed = place(compiled(small_machine(), sparse, dense), small_machine())
    assert sorted(placed.tensors) == ["g.a", "g.b", kept_name("g.b", NM(2, 4), across=False), "g.c", "h.c"]


@pytest.mark.parametrize(("side", "sizes"), [("a", (2**16, 4, 4)), ("b", (4, 2**16, 4))])
def test_sizes_beyond_a_field_are_refused(side, sizes):
    """A load of 65536 lines at once, on a machine whose slots would take it."""
    wide = small_machine(slot_bytes=2**21)
    program = compiled(wide, gemm_of(*sizes), dataflow="os")
    commands = list(program)
    at = next(i for i, command in enumerate(commands) if command.engine.value == f"load_{side}")
    whole = {"m" if side == "a" else "n": range(2**16)}
    commands[at] = replace(commands[at], tile=commands[at].tile._replace(**whole))
    with pytest.raises(UnsupportedError, match=f"bits of field 'lines' of LOAD_{side.upper()}: needs 17, has 16"):
        place(replace(program, emit=lambda: iter(commands)), wide)


def test_tokens_beyond_a_field_are_refused():
    accelerator = small_machine()
    program = compiled(accelerator, gemm_of(4, 4, 8), dataflow="os")
    commands = [replace(command, waits=(Wait(Engine.ARRAY, 2**24),)) for command in program]
    with pytest.raises(UnsupportedError, match="bits of a token of 'array': needs 25, has 24"):
        place(replace(program, emit=lambda: iter(commands)), accelerator)
