"""Which commands does each operation become, on which slots, after which tokens? Small cases, by hand."""

from dataclasses import replace

import pytest
from strategies import gemm, wide_machine

from dataflows.lower import Lowering
from dataflows.mapping import Mapping
from dataflows.tiling import Tiling
from simulator.arch import Buffer, Dataflow, Dram, Pe, Pruner, Updater, VectorUnit
from simulator.schedule import Engine, Load, Multiply, Prune, Store, Update, Vector, Wait
from workloads import ops
from workloads.gemm import Phase
from workloads.ops import OPTIMIZERS, Tensor, VectorKind
from workloads.sparsity import NM

PE = Pe(format="fp16", group=8, registers=8)


def machine(**fields):
    return wide_machine(PE, 2, 2, double=True, **fields)


def small(bytes_, **fields):
    """Two work slots of eight planes each, on a bus of 4 bytes; bursts of 16."""
    dram = Dram(bytes_per_second=4 * 200_000_000, latency_ns=10, burst_bytes=16, outstanding=64)
    plain = {"work_buffer": Buffer(bytes=bytes_, slots=2), "dram": dram, "vector": VectorUnit(lanes=2)}
    plain |= {"updater": Updater(lanes=1), "pruner": Pruner(lanes=2)}
    return machine(**plain | fields)


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


def test_each_tensor_has_its_command_and_its_plane():
    reads, writes = (Tensor("x", 100), Tensor("s", 7)), (Tensor("y", 100),)
    listed = commands(Lowering(machine(), Mapping()).vector(vector(reads=reads, writes=writes), 0))
    moves = [(c.engine.value, c.plane, c.runs, c.run_bytes) for c in listed if isinstance(c, Load | Store)]
    assert moves == [("load_work", 0, 1, 200), ("load_work", 1, 1, 14), ("store_work", 2, 1, 200)]
    assert [(c.x, c.y, c.out, c.waits) for c in listed if isinstance(c, Vector)] == [(0, 1, 2, (Wait(Engine.LOAD_WORK, 2),))]


def test_vector_in_chunks_that_fit():
    """200 bytes through planes of 64: four chunks of whole bursts, two slots in turn, the third waits for the first's store."""
    listed = commands(Lowering(small(1024), Mapping()).vector(vector(), 0))
    loads = [c for c in listed if isinstance(c, Load)]
    assert [c.slot for c in loads] == [0, 1, 0, 1]
    assert [c.run_bytes for c in loads] == [64, 64, 64, 8]
    assert [c.work for c in listed if isinstance(c, Vector)] == [32, 32, 32, 4]
    assert moved(listed) == [200, 200]
    assert loads[2].waits == (Wait(Engine.STORE_WORK, 1),)


def test_small_tensors_come_first_and_leave_last():
    """A sum of 100 elements: its scale comes with the first chunk, its result leaves with the last."""
    op = vector(VectorKind.REDUCE, reads=(Tensor("x", 100), Tensor("s", 8)), writes=(Tensor("y", 1),))
    listed = short(commands(Lowering(small(1024), Mapping()).vector(op, 0)))
    assert [name for name, _ in listed] == ["load_work"] * 2 + ["vector"] + ["load_work", "vector"] * 3 + ["store_work"]


@pytest.mark.parametrize(("bytes_", "factor"), [(2**20, 1), (1024, 2)])
def test_statistics_first_read_twice_unless_all_fits(bytes_, factor):
    listed = commands(Lowering(small(bytes_), Mapping()).vector(vector(VectorKind.BATCH_NORM, work=200), 0))
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
    assert [row[0] for row in short(listed)] == [*["load_work"] * 2, "update", "vector", "prune", "prune", *["store_work"] * 4]
    prunes = [c for c in listed if isinstance(c, Prune)]
    assert [c.elements for c in prunes] == [64, 64]
    assert [c.across for c in prunes] == [False, True]  # along the rows of W[O][I], and down them
    stores = [(c.plane, c.indices, c.entries, c.pattern) for c in listed if isinstance(c, Store) and c.pattern]
    assert stores == [(c.values, c.indices, 16, c.pattern) for c in prunes]
    listed = commands(Lowering(machine(), Mapping(pregenerate=False)).update(op, 0))
    assert [row[0] for row in short(listed)] == [*["load_work"] * 2, "update", "vector", *["store_work"] * 2]


def test_the_planes_of_an_update():
    op = update(optimizer=OPTIMIZERS["sgd-momentum"], decay=True, prune=(("ff", NM(2, 8)),))
    listed = commands(Lowering(machine(), Mapping()).update(op, 0))
    step, prune = (next(c for c in listed if isinstance(c, kind)) for kind in (Update, Prune))
    assert [c.plane for c in listed if isinstance(c, Load)] == [step.weight, step.velocity, step.gradient, step.mask]
    assert len({step.weight, step.velocity, step.gradient, step.mask, prune.values, prune.indices}) == 6
    assert (step.masked, prune.source) == (True, step.copy)
    assert [c.plane for c in listed if isinstance(c, Store)] == [step.weight, step.velocity, step.copy, prune.values]
    assert not step.adam


def test_the_planes_of_adam():
    """The mask's is the last one: what the second copy's pruning makes takes its place, after the update."""
    copies = (("ff", NM(2, 8)), ("bp", NM(1, 4)))
    op = update(optimizer=OPTIMIZERS["adamw"], decay=True, prune=copies)
    listed = commands(Lowering(machine(), Mapping()).update(op, 0))
    (step,), prunes = ([c for c in listed if isinstance(c, kind)] for kind in (Update, Prune))
    state = [step.weight, step.velocity, step.second]
    assert step.adam
    assert [c.plane for c in listed if isinstance(c, Load)] == [*state, step.gradient, step.mask]
    assert len({*state, step.copy, *(plane for c in prunes for plane in (c.values, c.indices))}) == 8
    assert {step.mask} & {*state, step.gradient, prunes[0].values, prunes[0].indices} == set()
    assert all(listed.index(step) < listed.index(c) and c.waits for c in prunes)
    stores = [c.plane for c in listed if isinstance(c, Store)]
    assert stores == [*state, step.copy, *(c.values for c in prunes)]


def test_a_backward_copy_is_pruned_in_whole_groups_of_rows():
    """W of 24 rows of 20, 1:8 down the rows: a plane of 640 bytes has room for 8 rows, one of 512 has not."""
    op = update(elements=24 * 20, prune=(("bp", NM(1, 8)),))
    for bytes_, rows, sizes in (
        (16 * 640, {"u": 20}, [160] * 3),
        (16 * 512, {"u": 20}, [120] * 4),
        (16 * 640, {}, [160] * 3),
    ):
        listed = commands(Lowering(small(bytes_), Mapping(), rows).update(op, 0))
        assert [c.elements for c in listed if isinstance(c, Prune)] == sizes
    listed = commands(Lowering(small(16 * 800), Mapping(), {"u": 20}).update(op, 0))
    assert [c.elements for c in listed if isinstance(c, Prune)] == [160] * 3  # 200 would fit, not in whole groups of rows
    assert {c.row_elements for c in listed if isinstance(c, Prune)} == {20}


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
    assert not any(c.across for c in listed if isinstance(c, Prune))
    listed = commands(Lowering(machine(), Mapping(), {"p": 8}).prune(op, 0))
    assert [(c.across, c.row_elements) for c in listed if isinstance(c, Prune)] == [(True, 8)]


@pytest.mark.parametrize("size", [512, 1024, 4096])
def test_work_tiles_fit_their_planes(size):
    """No part of a tensor exceeds its plane; exact bytes, whole bursts but for the last."""
    op = update(elements=1000, optimizer=OPTIMIZERS["adam"], decay=True, prune=(("ff", NM(2, 8)),))
    listed = commands(Lowering(small(16 * size), Mapping()).update(op, 0))
    parts = {}
    for c in listed:
        if isinstance(c, Load | Store):
            assert c.runs == 1
            parts.setdefault((type(c), c.plane), []).append(c.run_bytes)
    bits = {0: 32, 1: 32, 3: 32, 2: 16, 7: 1}
    for (kind, plane), sizes in parts.items():
        if plane in bits:
            assert max(sizes) <= size
            assert sum(sizes) == 1000 * bits[plane] // 8, (kind, plane)
            assert all(part % 16 == 0 for part in sizes[:-1])
    assert len(parts) == 5 + 4 + 1
