"""Does the golden model compute the right bits?"""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.arch import Accelerator, Array, Dataflow, Pe
from simulator.arithmetic import quantize
from simulator.formats import FORMATS
from simulator.golden import GoldenError, execute
from simulator.schedule import Engine, Load, Multiply, Program, Prune, Store, Tile, Update, Vector
from workloads import ops
from workloads.gemm import Gemm, Operand, Phase, Role, Stage
from workloads.sparsity import DENSE, NM, Producer

F32 = np.float32


def gemm(m, n, k, batch=1, pattern=DENSE, sparse="b", name="g"):
    operands = {side: Operand(tensor=f"{name}.{side}", role=Role.ACTIVATION) for side in "ab"}
    operands[sparse] = replace(operands[sparse], pattern=pattern, producer=Producer.UPDATE)
    return Gemm(name=name, layer="l", stage=Stage.FF, phase=Phase.FORWARD, m=m, n=n, k=k, batch=batch, c="y", **operands)


def machine(number="fp16", lanes=1):
    pe = Pe(format=number, lanes=lanes, group=64, registers=64)
    return Accelerator(name="t", pe=pe, array=Array(rows=4, cols=4, dataflows=tuple(Dataflow)))


def commands(op, sizes, dataflow=Dataflow.OS, prune=False, index=0):
    """Tiles in m, n, k order; slots alternate; an operand that is still in its slot is not loaded again."""
    totals = (op.batch, op.m, op.n, op.k)
    spans = [[range(s, min(s + z, t)) for s in range(0, t, z)] for z, t in zip(sizes, totals, strict=True)]
    held, turn = {"a": [None, None], "b": [None, None]}, {"a": 0, "b": 0, "c": 0}
    mine, pattern, dma = {"op": index, "waits": ()}, op.pattern, {"runs": 1, "run_bytes": 1}
    for tile in itertools.starmap(Tile, itertools.product(*spans)):
        for side, positions in (("a", tile.m), ("b", tile.n)):
            key = (tile.batch, positions, tile.k)
            if key in held[side]:
                turn[side] = held[side].index(key)
                continue
            turn[side] = slot = 1 - turn[side]
            held[side][slot] = key
            yield Load(engine=Engine(f"load_{side}"), slot=slot, tile=tile, **dma, **mine)
            if prune and isinstance(pattern, NM) and op.sparse_operand == side:
                count = len(tile.batch) * len(positions) * len(tile.k)
                yield Prune(buffer=side, slot=slot, elements=count, pattern=pattern, tile=tile, **mine)
        turn["c"] ^= tile.k.start == 0
        slots = {f"{name}_slot": slot for name, slot in turn.items()}
        product = {"pattern": pattern, "sparse": op.sparse_operand, "accumulate": tile.k.start > 0}
        yield Multiply(dataflow=dataflow, tile=tile, **product, **slots, **mine)
        if tile.k.stop == op.k:
            yield Store(engine=Engine.STORE_C, slot=turn["c"], tile=tile, **dma, **mine)


def program(op, listed):
    listed = list(listed)
    return Program(ops=op if isinstance(op, tuple) else (op,), choices=("os",), emit=lambda: iter(listed))


def run(op, a, b, accelerator, sizes, dataflow=Dataflow.OS, prune=False):
    listed = program(op, commands(op, sizes, dataflow, prune))
    return execute(listed, {op.a.tensor: a, op.b.tensor: b}, accelerator)[op.c]


def operands(op, number, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    shapes = (op.batch, op.m, op.k), (op.batch, op.k, op.n)
    if number == "int8":
        return tuple(rng.integers(-128, 128, shape).astype(np.int8) for shape in shapes)
    return tuple(quantize(FORMATS[number], rng.normal(size=shape) * scale) for shape in shapes)


def kept_positions(op, row):
    """Positions that the machine multiplies along one row of the sparse operand: sorted, not by `NM.mask`."""
    kept = []
    for start in range(0, len(row), op.pattern.group):
        order = sorted(range(start, start + op.pattern.group), key=lambda i: (-abs(float(row[i])), i))
        kept.append(sorted(order[: op.pattern.keep]))
    return kept


def masked(op, a, b):
    """Both operands as int64 with the dropped elements zero."""
    a, b = a.astype(np.int64), b.astype(np.int64)
    if isinstance(op.pattern, NM):
        rows = a if op.sparse_operand == "a" else b.transpose(0, 2, 1)
        for at in np.ndindex(rows.shape[:2]):
            rows[at][np.setdiff1d(np.arange(op.k), kept_positions(op, rows[at]))] = 0
    return a, b


def halving(terms, width):
    """A balanced tree over `width` lanes (a power of two), written top down; absent halves pass."""
    if len(terms) == 1:
        return terms[0]
    half = width // 2
    left, right = terms[:half], terms[half:]
    return F32(halving(left, half) + halving(right, half)) if right else halving(left, half)


def scalar_reference(op, a, b, lanes):
    """Three loops over np.float32 scalars in the documented order, before the rounding to the result."""
    out = np.empty((op.batch, op.m, op.n), F32)
    width = 1 << (lanes - 1).bit_length()
    for e, i, j in np.ndindex(out.shape):
        if isinstance(op.pattern, NM):
            steps = kept_positions(op, a[e, i] if op.sparse_operand == "a" else b[e, :, j])
        else:
            steps = [range(op.k)]
        total = F32(0)
        for step in steps:
            for start in range(0, len(step), lanes):
                terms = [F32(F32(a[e, i, p]) * F32(b[e, p, j])) for p in step[start : start + lanes]]
                total = F32(total + halving(terms, width))
        out[e, i, j] = total
    return out


CASES = [  # m, n, k, batch, pattern, sparse, tile sizes (batch, m, n, k)
    (5, 7, 9, 1, DENSE, "b", (1, 5, 7, 9)),
    (5, 7, 9, 2, DENSE, "b", (1, 2, 3, 4)),
    (5, 7, 9, 2, NM(2, 3), "a", (2, 5, 7, 3)),
    (5, 7, 9, 1, NM(4, 9), "b", (1, 3, 2, 9)),
    (33, 17, 65, 1, DENSE, "b", (1, 16, 8, 32)),
    (33, 17, 65, 1, NM(2, 5), "b", (1, 16, 8, 20)),
    (33, 17, 65, 1, NM(6, 13), "a", (1, 10, 17, 26)),
    (3, 4, 16, 3, NM(1, 8), "b", (2, 3, 4, 8)),
    (3, 4, 16, 1, NM(8, 8), "a", (1, 1, 1, 8)),
]


@pytest.mark.parametrize("dataflow", list(Dataflow))
@pytest.mark.parametrize("case", CASES, ids=str)
def test_int8_is_the_integer_product_of_the_masked_operands(case, dataflow):
    *shape, pattern, sparse, sizes = case
    op = gemm(*shape, pattern, sparse)
    a, b = operands(op, "int8", seed=1)
    expected = np.matmul(*masked(op, a, b)).astype(np.int32)
    for lanes, prune in ((1, False), (2, True), (4, False)):
        result = run(op, a, b, machine("int8", lanes), sizes, dataflow, prune)
        assert result.dtype == np.int32
        assert (result == expected).all()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_int8_for_any_shape_pattern_and_tiling(data):
    group, groups = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 4))
    pattern = data.draw(st.one_of(st.just(DENSE), st.builds(NM, st.integers(1, group), st.just(group))))
    m, n, batch = (data.draw(st.integers(1, 7)) for _ in range(3))
    lanes = data.draw(st.integers(1, 5))
    op = gemm(m, n, group * groups, batch, pattern, data.draw(st.sampled_from("ab")))
    step = group if isinstance(pattern, NM) else lanes
    sizes = (*(data.draw(st.integers(1, size)) for size in (batch, m, n)), step * data.draw(st.integers(1, groups)))
    a, b = operands(op, "int8", data.draw(st.integers(0, 99)))
    result = run(op, a, b, machine("int8", lanes), sizes, prune=data.draw(st.booleans()))
    assert (result == np.matmul(*masked(op, a, b))).all()


def test_int8_sums_wrap():
    op = gemm(1, 1, 2**17 + 8)
    a, b = np.full((1, 1, op.k), -128, np.int8), np.full((1, op.k, 1), -128, np.int8)
    assert run(op, a, b, machine("int8", 64), (1, 1, 1, op.k)).item() == -(2**31) + 8 * 2**14


@pytest.mark.parametrize("lanes", [1, 2, 4, 7])
@pytest.mark.parametrize("number", ["fp16", "bf16"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_floats_equal_scalar_loops_in_schedule_order(case, number, lanes, monkeypatch):
    *shape, pattern, sparse, sizes = case
    op = gemm(*shape, pattern, sparse)
    if pattern is DENSE:
        sizes = (*sizes[:3], -(-sizes[3] // lanes) * lanes)
    a, b = operands(op, number, seed=lanes)
    sums = scalar_reference(op, a, b, lanes)
    rounded = sums.astype(np.float16) if number == "fp16" else quantize(FORMATS["bf16"], sums)
    for expected in (rounded, sums):  # the store's rounding hides most wrong orders, so look before it too
        for dataflow in Dataflow:
            result = run(op, a, b, machine(number, lanes), sizes, dataflow, prune=dataflow is Dataflow.WS)
            assert result.dtype == expected.dtype
            assert result.tobytes() == expected.tobytes()
        monkeypatch.setattr("simulator.golden.to_result", lambda _, raw: raw.copy())


@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize("number", ["fp16", "bf16"])
@pytest.mark.parametrize("pattern", [DENSE, NM(3, 4)], ids=str)
def test_specials_pass_as_in_ieee_754(pattern, number, lanes):
    op = gemm(6, 6, 8, 2, pattern)
    rng = np.random.default_rng(lanes)
    choices = np.array([0.0, -0.0, 1.0, -1.0, 1e-7, -3e-6, 1e-40, 6e4, -3e38, np.inf, 2.0**-14])
    a, b = (quantize(FORMATS[number], rng.choice(choices, shape)) for shape in ((2, 6, 8), (2, 8, 6)))
    a[0, 0, 0] = np.nan
    with np.errstate(all="ignore"):
        expected = quantize(FORMATS[number], scalar_reference(op, a, b, lanes))
    assert run(op, a, b, machine(number, lanes), (1, 4, 6, 4)).tobytes() == expected.tobytes()


def test_accumulators_start_from_plus_zero():
    op = gemm(1, 1, 1)
    a, b = np.full((1, 1, 1), -0.0, np.float16), np.ones((1, 1, 1), np.float16)
    assert not np.signbit(run(op, a, b, machine(), (1, 1, 1, 1))).any()


@pytest.mark.parametrize("number", ["fp16", "bf16"])
def test_floats_are_near_float64(number):
    op = gemm(33, 17, 65)
    a, b = operands(op, number, seed=5)
    result = run(op, a, b, machine(number, 2), (1, 16, 8, 32)).astype(np.float64)
    exact, size = (np.matmul(f(a.astype(np.float64)), f(b.astype(np.float64))) for f in (np.asarray, np.abs))
    unit = 2.0**-11 if number == "fp16" else 2.0**-8
    assert (np.abs(result - exact) <= unit * np.abs(exact) * 1.01 + 66 * 2.0**-24 * size).all()


def test_unfit_tensors_are_refused():
    op = gemm(2, 2, 4)
    a, b = operands(op, "bf16", seed=0)
    for tensors, message in (
        ({"g.a": a}, "Tensor 'g.b' must be given"),
        ({"g.a": a, "g.b": b[:, :3]}, r"must be float32 of shape \(1, 4, 2\)"),
        ({"g.a": a.astype(np.float16), "g.b": b}, "must be float32"),
        ({"g.a": a + F32(1e-3), "g.b": b}, "must hold only bf16 values"),
    ):
        with pytest.raises(ValueError, match=message):
            execute(program(op, commands(op, (1, 2, 2, 4))), tensors, machine("bf16"))


def test_several_operations_share_slots_memory_and_work_buffer():
    first, second = gemm(3, 2, 4, name="one"), gemm(2, 3, 4, name="two")
    weight = Operand(tensor="w", role=Role.WEIGHT)
    first, second = replace(first, b=weight), replace(second, a=weight)  # one tensor, lowered differently
    vector = ops.Vector(
        name="v", layer="l", phase=Phase.FORWARD, kind=ops.VectorKind.MAP, operation="x", work=8, reads=(), writes=()
    )
    update = ops.Update(name="u", parameter="p", elements=8, optimizer=ops.OPTIMIZERS["sgd"], gradient="d")
    everything = (first, vector, update, second)
    dma = {"slot": 0, "waits": (), "runs": 1, "run_bytes": 8}
    work = [
        Load(op=1, engine=Engine.LOAD_WORK, **dma),
        Vector(op=1, slot=0, work=8, waits=()),
        Store(op=1, engine=Engine.STORE_WORK, **dma),
        Load(op=2, engine=Engine.LOAD_WORK, **dma),
        Update(op=2, slot=0, elements=8, waits=()),
        Prune(op=2, buffer="work", slot=0, elements=8, pattern=NM(2, 4), waits=()),
    ]
    sizes = (1, 3, 3, 4)
    listed = [*commands(first, sizes), *work, *commands(second, sizes, index=3)]
    (a, w), (_, b) = operands(first, "int8", 1), operands(second, "int8", 2)
    tensors = {"one.a": a, "w": w, "two.a": w.transpose(0, 2, 1), "two.b": b}
    outputs = execute(program(everything, listed), tensors, machine("int8"))
    wide = {key: value.astype(np.int64) for key, value in tensors.items()}
    assert (outputs["one"] == wide["one.a"] @ wide["w"]).all()  # both write parts of "y"
    assert (outputs["two"] == wide["two.a"] @ wide["two.b"]).all()
    with pytest.raises(GoldenError, match="buffer 'work' must hold operation 2"):
        execute(program(everything, [c for c in listed if c is not work[3]]), tensors, machine("int8"))
    with pytest.raises(GoldenError, match="Operation 'v' must be a Gemm, not 'Vector'"):
        execute(program(everything, [replace(listed[0], op=1)]), tensors, machine("int8"))
