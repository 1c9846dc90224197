"""Does the golden model refuse wrong programs?"""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from simulator.arch import Accelerator, Dataflow, Pe
from simulator.golden import GoldenError, execute
from simulator.schedule import Engine, Load, Multiply, Program, Prune, Store, Tile, Wait
from workloads.gemm import Gemm, Operand, Phase, Role, Stage
from workloads.sparsity import DENSE, NM

MACHINE = Accelerator(name="t", pe=Pe(format="int8"))


def gemm(m, n, k, pattern):
    a, b = (Operand(tensor=side, role=Role.ACTIVATION) for side in "ab")
    b = replace(b, pattern=pattern)
    return Gemm(name="g", layer="l", stage=Stage.FF, phase=Phase.FORWARD, m=m, n=n, k=k, a=a, b=b, c="y")


def commands(op, m_size, n_size, k_size):
    """Tiles in m, n, k order, each loaded anew into slot 0 of a and b, summed in slot 1 of c."""
    spans = [
        [range(s, s + size) for s in range(0, total, size)] for size, total in ((m_size, op.m), (n_size, op.n), (k_size, op.k))
    ]
    mine, dma = {"op": 0, "waits": ()}, {"runs": 1, "run_bytes": 1}
    for m, n, k in itertools.product(*spans):
        tile = Tile(range(1), m, n, k)
        yield Load(engine=Engine.LOAD_A, slot=0, tile=tile, **dma, **mine)
        yield Load(engine=Engine.LOAD_B, slot=0, tile=tile, **dma, **mine)
        if isinstance(op.pattern, NM):
            yield Prune(buffer="b", slot=0, elements=n_size * k_size, pattern=op.pattern, tile=tile, **mine)
        slots = {"a_slot": 0, "b_slot": 0, "c_slot": 1}
        what = {"pattern": op.pattern, "sparse": "b", "accumulate": k.start > 0}
        yield Multiply(dataflow=Dataflow.OS, tile=tile, **what, **slots, **mine)
        if k.stop == op.k:
            yield Store(engine=Engine.STORE_C, slot=1, tile=tile, **dma, **mine)


def example(pattern=DENSE):
    op = gemm(4, 4, 16, pattern)
    return op, list(commands(op, 2, 2, 4))


def check(op, listed):
    listed = list(listed)
    tensors = {"a": np.ones((1, op.m, op.k), np.int8), "b": np.ones((1, op.k, op.n), np.int8)}
    return execute(Program(ops=(op,), choices=("os",), emit=lambda: iter(listed)), tensors, MACHINE)["y"]


@pytest.mark.parametrize("pattern", [DENSE, NM(2, 4)], ids=str)
def test_leaving_out_any_command_raises(pattern):
    op, listed = example(pattern)
    assert (check(op, listed) == 16 * pattern.density).all()
    for i, command in enumerate(listed):
        if not isinstance(command, Prune):  # without one, the load brings memory's compressed copy
            with pytest.raises(GoldenError):
                check(op, listed[:i] + listed[i + 1 :])


@pytest.mark.parametrize("kind", [Load, Multiply, Prune, Store])
def test_naming_another_tile_raises(kind):
    op, listed = example(NM(2, 4))
    i = next(i for i, command in enumerate(listed) if isinstance(command, kind))
    for wrong in (
        {"m": range(1, 3), "n": range(1, 3)},
        {"batch": range(1, 2)},
        {"m": range(0, 4, 2)},
        {"m": range(3, 5)},
    ):
        bad = replace(listed[i], tile=listed[i].tile._replace(**wrong))
        with pytest.raises(GoldenError):
            check(op, [*listed[:i], bad, *listed[i + 1 :]])


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (Multiply, {"a_slot": 1}, "must hold .* not an unloaded slot"),
        (Multiply, {"accumulate": True}, "must hold .* not an empty slot"),
        (Multiply, {"pattern": DENSE}, "must use the pattern 2:4 on b, not dense on b"),
        (Multiply, {"sparse": "a"}, "must use the pattern 2:4 on b, not 2:4 on a"),
        (Multiply, {"c_slot": 2}, "Slot of buffer 'c' must be below 2, not 2"),
        (Load, {"slot": -1}, "Slot of buffer 'a' must be below 2, not -1"),
        (Load, {"tile": None}, "Tile of Load must lie within Gemm 'g', not None"),
        (Prune, {"pattern": NM(1, 4)}, "must use its pattern 2:4, not 1:4"),
        (Prune, {"elements": 3}, "must count 8 elements, not 3"),
        (Prune, {"buffer": "a"}, "must use its pattern dense, not 2:4"),
        (Store, {"slot": 0}, "not an empty slot"),
        (Store, {"waits": (Wait(Engine.STORE_C, 1),)}, "must name commands before it"),
    ],
)
def test_wrong_fields_are_named(kind, change, message):
    op, listed = example(NM(2, 4))
    i = next(i for i, command in enumerate(listed) if isinstance(command, kind))
    with pytest.raises(GoldenError, match=message):
        check(op, [*listed[:i], replace(listed[i], **change), *listed[i + 1 :]])


def test_order_and_repetition_are_checked():
    op, listed = example(NM(2, 4))
    prunes, stores = ([i for i, c in enumerate(listed) if isinstance(c, kind)] for kind in (Prune, Store))
    with pytest.raises(GoldenError, match="must be dense for Prune, not pruned already"):
        check(op, [*listed[: prunes[0] + 1], *listed[prunes[0] :]])
    with pytest.raises(GoldenError, match="must be stored once"):
        check(op, listed + listed)
    first, second = [c for c in listed if isinstance(c, Multiply)][:2]
    with pytest.raises(GoldenError, match=r"up to k=16 for Store, not .* up to k=4"):
        check(op, [*listed[: listed.index(first) + 1], listed[stores[0]]])
    begin = replace(second, accumulate=False)
    with pytest.raises(GoldenError, match="must accumulate from k=4, not begin there"):
        check(op, [begin if c is second else c for c in listed])
    op = gemm(2, 2, 6, NM(1, 3))
    with pytest.raises(GoldenError, match="must split k into whole steps of 3"):
        check(op, commands(op, 2, 2, 2))
