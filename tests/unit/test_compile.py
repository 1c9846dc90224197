"""Are operations ordered as their data and the mapping say?"""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from strategies import accelerators, gemm, mappings, wide_machine, workloads

from dataflows.compile import compile_workload, prepared
from dataflows.mapping import Mapping
from dse.point import workload_of
from simulator.arch import Buffer, Dataflow, Pe, Pruner, Updater, VectorUnit
from simulator.presets import PRESETS
from simulator.schedule import Engine, Prune, UnsupportedError
from workloads import ops
from workloads.gemm import Gemm, Stage
from workloads.graph import Workload
from workloads.ops import OPTIMIZERS, Tensor, VectorKind
from workloads.sparsity import NM, Producer

MACHINE = wide_machine(Pe(group=8, registers=8), 2, 2, double=True)


def order(program):
    """Operations by their first command."""
    return list(dict.fromkeys(program.ops[command.op].name for command in program))


@given(workload=workloads(), accelerator=accelerators(kib=(2, 8)), mapping=mappings())
@settings(max_examples=60)
def test_each_operation_runs_after_those_that_it_reads(workload, accelerator, mapping):
    workload = prepared(workload, mapping)
    try:
        program = compile_workload(workload, accelerator, mapping)
    except UnsupportedError:
        assume(False)
    first, last = {}, {}
    for at, command in enumerate(program):
        name = workload.ops[command.op].name
        first.setdefault(name, at)
        last[name] = at
    for before, after in workload.graph.edges:
        if before in last and after in first:
            assert last[before] < first[after]
    missing = {op.name for op in workload.ops} - set(first)
    hosted = {op.name for op in workload.ops if isinstance(op, ops.Vector)} if mapping.vector == "host" else set()
    assert missing == hosted
    for op in workload.ops:  # an update's stores are emitted after every reader of the old weight
        if isinstance(op, ops.Update):
            readers = [g.name for g in workload.gemms if op.parameter in (g.a.parameter, g.b.parameter)]
            assert all(last[name] < first[op.name] for name in readers)


def test_choices_name_the_dataflow_of_each_product():
    update = ops.Update(name="u", parameter="p", elements=8, optimizer=OPTIMIZERS["sgd"], gradient="g.c")
    program = compile_workload(Workload(name="w", batch=1, ops=(gemm(4, 4, 8), update)), MACHINE, Mapping(dataflow="is"))
    assert program.choices == ("is", "")
    assert {c.dataflow for c in program if c.engine is Engine.ARRAY} == {Dataflow.IS}


def test_updates_overlap_or_come_last():
    """Two layers' gradients: the first update runs beside the second product, or after it in the workload's order."""
    first, second = gemm(64, 64, 64, name="f"), gemm(64, 64, 64, name="s")
    updates = [
        ops.Update(name=f"u{op.name}", parameter=f"p{op.name}", elements=64, optimizer=OPTIMIZERS["sgd"], gradient=op.c)
        for op in (first, second)
    ]
    workload = Workload(name="w", batch=1, ops=(first, second, *updates))
    small = replace(MACHINE, a_buffer=replace(MACHINE.a_buffer, bytes=4096), b_buffer=replace(MACHINE.b_buffer, bytes=4096))
    commands = [workload.ops[c.op].name for c in compile_workload(workload, small, Mapping(update="overlapped"))]
    assert commands.index("uf") < len(commands) - 1 - commands[::-1].index("s")
    assert order(compile_workload(workload, small, Mapping(update="end")))[-2:] == ["uf", "us"]


def test_independent_work_runs_beside_products():
    """A vector operation that needs nothing is not left until all products are done."""
    vector = ops.Vector(
        name="v",
        layer="",
        phase=gemm(1, 1, 1).phase,
        kind=VectorKind.MAP,
        operation="",
        work=8,
        reads=(Tensor("q", 8),),
        writes=(Tensor("r", 8),),
    )
    workload = Workload(name="w", batch=1, ops=(gemm(64, 64, 64, name="f"), gemm(64, 64, 64, name="s"), vector))
    names = order(compile_workload(workload, MACHINE, Mapping()))
    assert names.index("v") < names.index("s")


def test_a_program_can_be_read_again():
    program = compile_workload(Workload(name="w", batch=1, ops=(gemm(9, 9, 9),)), MACHINE, Mapping())
    assert list(program) == list(program)
    assert list(program)


def test_what_can_not_run_is_said_before_anything_runs():
    with pytest.raises(UnsupportedError, match=r"pe.group for pattern 2:16: needs 16, has 8"):
        compile_workload(Workload(name="w", batch=1, ops=(gemm(4, 4, 16, pattern=NM(2, 16)),)), MACHINE, Mapping())


@pytest.mark.parametrize(
    ("without", "constraint"),
    [
        ({"vector": VectorUnit(lanes=0)}, "vector.lanes"),
        ({"updater": Updater(lanes=0)}, "updater.lanes"),
        ({"pruner": Pruner(lanes=0)}, "pruner.lanes"),
    ],
)
def test_an_engine_that_the_machine_lacks_is_missed_only_by_those_who_need_it(without, constraint):
    step = workload_of("resnet18-cifar", 1, "bdwp:2:8")
    machine = replace(PRESETS["sat-vcu1525"].accelerator, **without)
    with pytest.raises(UnsupportedError, match=f"{constraint}: needs 1, has 0"):
        compile_workload(step, machine, Mapping())
    products = Workload(name="w", batch=1, ops=(gemm(4, 4, 16, pattern=NM(2, 16)),))
    assert len(list(compile_workload(products, machine, Mapping()))) > 0


def test_prepared_fuses_only_where_asked():
    def chain(i):
        return ops.Vector(
            name=f"v{i}",
            layer="",
            phase=gemm(1, 1, 1).phase,
            kind=VectorKind.MAP,
            operation="add",
            work=8,
            reads=(Tensor(f"t{i}", 8),),
            writes=(Tensor(f"t{i + 1}", 8),),
        )

    workload = Workload(name="w", batch=1, ops=(chain(0), chain(1)))
    assert len(prepared(workload, Mapping(fuse=True)).ops) == 1
    assert prepared(workload, Mapping(fuse=False)) is workload
    assert not any(isinstance(op, Gemm) for op in workload.ops)


@pytest.mark.parametrize(
    ("changes", "constraint"), [({"m": 2**40, "k": 64}, "in one GEMM"), ({"m": 2**36}, "tiles in one program")]
)
def test_a_program_that_would_never_end_is_unsupported(changes, constraint):
    endless = Workload(name="w", batch=1, ops=(gemm(**({"m": 4, "n": 64, "k": 64} | changes)),))
    with pytest.raises(UnsupportedError) as caught:
        compile_workload(endless, wide_machine(Pe(), 4, 4, double=True, c_buffer=Buffer(bytes=2**12)), Mapping())
    assert constraint in caught.value.reason.constraint
    assert caught.value.reason.demand > caught.value.reason.limit


def test_rows_of_weights_and_of_what_is_pruned_down_them():
    """W[O][I] as the forward pass reads it; dY[P][O], pruned along the positions of the weight gradient."""
    forward = gemm(12, 8, 16, name="f")
    update = ops.Update(
        name="u", parameter="f.w", elements=128, optimizer=OPTIMIZERS["sgd"], gradient="g.c", prune=(("bp", NM(2, 4)),)
    )
    prune = ops.Prune(name="p", layer="", phase=forward.phase, pattern=NM(2, 4), source=Tensor("dy", 12 * 8), target="g.a")
    gradient = gemm(8, 16, 12, stage=Stage.WU, pattern=NM(2, 4), sparse="a", producer=Producer.ONLINE)
    program = compile_workload(Workload(name="w", batch=1, ops=(forward, prune, gradient, update)), MACHINE, Mapping())
    prunes = {program.ops[c.op].name: c for c in program if isinstance(c, Prune)}
    assert {name: (c.across, c.row_elements) for name, c in prunes.items()} == {"p": (True, 8), "u": (True, 16)}
