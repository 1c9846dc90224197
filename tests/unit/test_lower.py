"""Which commands does each operation become, on which slots, after which tokens? Small cases, by hand."""

from dataclasses import replace

import pytest
from strategies import gemm, wide_machine

from dataflows.lower import Lowering
from dataflows.mapping import Mapping
from dataflows.tiling import Tiling
from simulator.arch import Buffer, Dataflow, Pe
from simulator.schedule import Engine, Load, Multiply, Prune, Store, Wait
from workloads import ops
from workloads.gemm import Phase
from workloads.ops import OPTIMIZERS, Tensor, VectorKind
from workloads.sparsity import NM

PE = Pe(format="fp16", group=8, registers=8)


def machine(**fields):
    return wide_machine(PE, 2, 2, double=True, **fields)


def tiling(m, n, k, order="mn", batch=1):
    return Tiling(dataflow=Dataflow.OS, batch=batch, m=m, n=n, k=k, order=order, array_cycles=9, memory_cycles=9, cycles=9)


def commands(steps):
    return [command for step, _ in steps for command in step]


def short(listed):
    """("load_a", slot), ("array", a, b, c, accumulate), ("store_c", slot) ..."""
    rows = []
    for c in listed:
        slots = (c.a_slot, c.b_slot, c.c_slot, c.accumulate) if isinstance(c, Multiply) else (c.slot,)
        rows.append((c.engine.value, *slots))
    return rows


def test_one_tile():
    listed = commands(Lowering(machine(), Mapping()).gemm(gemm(2, 3, 4), 0, tiling(2, 3, 4)))
    assert short(listed) == [("load_b", 0), ("load_a", 0), ("array", 0, 0, 0, False), ("store_c", 0)]
    assert [c.waits for c in listed] == [(), (), (Wait(Engine.LOAD_A, 1), Wait(Engine.LOAD_B, 1)), (Wait(Engine.ARRAY, 1),)]


def test_an_operand_tile_stays_while_it_is_used():
    """m outer: A's tile is loaded once per m, B's two tiles stay in the two slots."""
    listed = commands(Lowering(machine(), Mapping()).gemm(gemm(4, 4, 4), 0, tiling(2, 2, 4)))
    assert [row for row in short(listed) if row[0] != "store_c"] == [
        ("load_b", 0),
        ("load_a", 0),
        ("array", 0, 0, 0, False),
        ("load_b", 1),
        ("array", 0, 1, 1, False),
        ("load_a", 1),
        ("array", 1, 0, 0, False),
        ("array", 1, 1, 1, False),
    ]


def test_the_least_recently_used_slot_is_taken_when_free():
    """Three tiles of B through two slots: the third waits for the product that used the first."""
    listed = commands(Lowering(machine(), Mapping()).gemm(gemm(2, 6, 4), 0, tiling(2, 2, 4)))
    loads = [c for c in listed if c.engine is Engine.LOAD_B]
    assert [c.slot for c in loads] == [0, 1, 0]
    assert loads[2].waits == (Wait(Engine.ARRAY, 1),)


def test_partial_sums_stay_in_their_slot_and_are_stored_once():
    listed = commands(Lowering(machine(), Mapping()).gemm(gemm(2, 2, 12), 0, tiling(2, 2, 4)))
    products = [c for c in listed if isinstance(c, Multiply)]
    assert [(c.c_slot, c.accumulate, c.tile.k.start) for c in products] == [(0, False, 0), (0, True, 4), (0, True, 8)]
    assert [Wait(Engine.ARRAY, n) in c.waits for n, c in enumerate(products)] == [False, True, True]
    assert [c.waits for c in listed if isinstance(c, Store)] == [(Wait(Engine.ARRAY, 3),)]


def test_a_result_slot_waits_for_its_store():
    one_slot = machine(c_buffer=Buffer(bytes=2**20, slots=1))
    listed = commands(Lowering(one_slot, Mapping()).gemm(gemm(2, 4, 4), 0, tiling(2, 2, 4)))
    assert Wait(Engine.STORE_C, 1) in [c for c in listed if isinstance(c, Multiply)][1].waits


@pytest.mark.parametrize("side", "ab")
def test_pruned_at_use_between_load_and_product(side):
    op = gemm(2, 3, 8, pattern=NM(2, 8), sparse=side)
    listed = commands(Lowering(machine(), Mapping(pregenerate=False)).gemm(op, 0, tiling(2, 3, 8)))
    prune = next(c for c in listed if isinstance(c, Prune))
    assert (prune.buffer, prune.elements, prune.waits) == (
        side,
        8 * (2 if side == "a" else 3),
        (Wait(Engine(f"load_{side}"), 1),),
    )
    assert Wait(Engine.PRUNE, 1) in next(c for c in listed if isinstance(c, Multiply)).waits
    assert not any(isinstance(c, Prune) for c in commands(Lowering(machine(), Mapping()).gemm(op, 0, tiling(2, 3, 8))))


X, Y = (Tensor("x", 100),), (Tensor("y", 100),)


def vector(kind=VectorKind.MAP, reads=X, writes=Y, work=100):
    return ops.Vector(name="v", layer="", phase=Phase.FORWARD, kind=kind, operation="", work=work, reads=reads, writes=writes)


def moved(listed):
    return [sum(c.runs * c.run_bytes for c in listed if isinstance(c, kind)) for kind in (Load, Store)]


def test_vector_in_one_chunk():
    listed = commands(Lowering(machine(), Mapping()).vector(vector(), 0))
    assert short(listed) == [("load_work", 0), ("vector", 0), ("store_work", 0)]
    assert moved(listed) == [200, 200]


def test_vector_in_chunks_that_fit():
    """400 bytes through slots of 100: four chunks, two slots in turn, the third waits for the first's store."""
    small = machine(work_buffer=Buffer(bytes=200, slots=2))
    listed = commands(Lowering(small, Mapping()).vector(vector(), 0))
    assert [c.slot for c in listed if isinstance(c, Load)] == [0, 1, 0, 1]
    assert moved(listed) == [200, 200]
    assert [c for c in listed if isinstance(c, Load)][2].waits == (Wait(Engine.STORE_WORK, 1),)


@pytest.mark.parametrize(("bytes_", "factor"), [(2**20, 1), (200, 2)])
def test_statistics_first_read_twice_unless_all_fits(bytes_, factor):
    small = machine(work_buffer=Buffer(bytes=bytes_, slots=2))
    listed = commands(Lowering(small, Mapping()).vector(vector(VectorKind.BATCH_NORM, work=200), 0))
    assert moved(listed) == [factor * 200, 200]
    work = sum(c.work for c in listed if c.engine is Engine.VECTOR)
    assert work == 200


def test_vector_without_inputs_or_results():
    assert short(commands(Lowering(machine(), Mapping()).vector(vector(reads=()), 0))) == [("vector", 0), ("store_work", 0)]
    assert short(commands(Lowering(machine(), Mapping()).vector(vector(writes=()), 0))) == [("load_work", 0), ("vector", 0)]


def test_readers_wait_for_the_store_of_what_they_read():
    lowering = Lowering(machine(), Mapping())
    list(lowering.vector(vector(writes=(Tensor("g.a", 8),)), 0))
    loads = [c for c in commands(lowering.gemm(gemm(2, 3, 4), 1, tiling(2, 3, 4))) if isinstance(c, Load)]
    assert {c.engine: c.waits for c in loads} == {Engine.LOAD_B: (), Engine.LOAD_A: (Wait(Engine.STORE_WORK, 1),)}


def test_what_the_host_makes_is_there_with_its_inputs():
    lowering = Lowering(machine(), Mapping(vector="host"))
    list(lowering.gemm(gemm(2, 3, 4, name="first"), 0, tiling(2, 3, 4)))
    lowering.skip(vector(reads=(Tensor("first.c", 6),), writes=(Tensor("g.a", 6),)))
    loads = [c for c in commands(lowering.gemm(gemm(2, 3, 4), 2, tiling(2, 3, 4))) if c.engine is Engine.LOAD_A]
    assert Wait(Engine.STORE_C, 1) in loads[0].waits


def update(**fields):
    plain = {"name": "u", "parameter": "g.w", "elements": 64, "optimizer": OPTIMIZERS["sgd"], "gradient": "dw"}
    return ops.Update(**plain | fields)


def test_update_then_the_copies():
    op = update(prune=(("ff", NM(2, 8)), ("bp", NM(1, 4))), mask_search=64)
    listed = commands(Lowering(machine(), Mapping()).update(op, 0))
    assert [row[0] for row in short(listed)] == ["load_work", "update", "vector", "prune", "prune", "store_work"]
    assert [c.elements for c in listed if isinstance(c, Prune)] == [64, 64]
    listed = commands(Lowering(machine(), Mapping(pregenerate=False)).update(op, 0))
    assert [row[0] for row in short(listed)] == ["load_work", "update", "vector", "store_work"]


def test_new_weights_wait_for_the_readers_of_the_old():
    lowering = Lowering(machine(), Mapping())
    list(lowering.gemm(gemm(2, 6, 4), 0, tiling(2, 2, 4)))
    store = commands(lowering.update(update(), 1))[-1]
    assert Wait(Engine.LOAD_B, 3) in store.waits


def test_online_prune_and_its_rescaling():
    op = ops.Prune(name="p", layer="", phase=Phase.BACKWARD, pattern=NM(2, 8), source=Tensor("x", 64), target="y")
    listed = commands(Lowering(machine(), Mapping()).prune(op, 0))
    assert [row[0] for row in short(listed)] == ["load_work", "prune", "store_work"]
    listed = commands(Lowering(machine(), Mapping()).prune(replace(op, rescale=True), 0))
    assert [(c.engine.value, getattr(c, "work", 0)) for c in listed][2] == ("vector", 128)  # two passes over 64


def test_work_tiles_fit_their_slots():
    """Chunks of an update: what is in a slot at once is no more than its share in and out."""
    for size in (300, 1000, 4096):
        small = machine(work_buffer=Buffer(bytes=2 * size, slots=2))
        listed = commands(Lowering(small, Mapping()).update(update(elements=1000, optimizer=OPTIMIZERS["adam"]), 0))
        load = max(c.run_bytes * c.runs for c in listed if isinstance(c, Load))
        store = max(c.run_bytes * c.runs for c in listed if isinstance(c, Store))
        assert load + store <= size + 2 * (5 + 4)  # a byte of rounding per run
