"""Does fusing vector operations save traffic, and nothing else?"""

from collections import Counter
from dataclasses import replace
from functools import cache

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.fuse import fuse_vectors, traffic_elements
from workloads.gemm import Gemm, Operand, Phase, Role, Stage
from workloads.graph import Workload, read_names, write_names
from workloads.methods import apply_method, parse_method
from workloads.ops import OPTIMIZERS, Op, Prune, Tensor, Update, Vector, VectorKind
from workloads.sparsity import NM
from workloads.zoo import load_workload_trace, zoo_names

MAP, NORM, BN = VectorKind.MAP, VectorKind.NORM, VectorKind.BATCH_NORM


def vector(
    name: str, reads: str, writes: str = "", *, kind: VectorKind = MAP, size: int = 64, phase: Phase = Phase.FORWARD
) -> Vector:
    """A vector operation; tensors are single letters of one size, or ``a=8`` with a size of their own."""

    def tensors(text: str) -> tuple[Tensor, ...]:
        parts = (part.partition("=") for part in text.split())
        return tuple(Tensor(name, int(elements or size)) for name, _, elements in parts)

    return Vector(
        name=name,
        layer=f"layer of {name}",
        phase=phase,
        kind=kind,
        operation=name,
        work=size,
        reads=tensors(reads),
        writes=tensors(writes or name.upper()),
    )


def gemm(name: str, reads: str) -> Gemm:
    a, b = (Operand(tensor=tensor, role=Role.ACTIVATION) for tensor in reads.split())
    return Gemm(name=name, layer="g", stage=Stage.AA, phase=Phase.FORWARD, m=8, n=8, k=8, a=a, b=b, c=name.upper())


def fused(*ops: Op) -> list[Op]:
    return list(fuse_vectors(Workload(name="w", batch=1, ops=ops)).ops)


def vectors(workload: Workload) -> list[Vector]:
    return [op for op in workload.ops if isinstance(op, Vector)]


def names(ops: list[Op]) -> list[str]:
    return [op.operation if isinstance(op, Vector) else op.name for op in ops]


def test_a_chain_becomes_one_operation() -> None:
    (op,) = fused(vector("a", "x", kind=BN), vector("b", "A y"), vector("c", "B"))
    assert op == Vector(
        name="a",
        layer="layer of a",
        phase=Phase.FORWARD,
        kind=BN,
        operation="a+b+c",
        work=192,
        reads=(Tensor("x", 64), Tensor("y", 64)),
        writes=(Tensor("C", 64),),
    )


def test_a_saved_intermediate_is_still_written() -> None:
    one, _, two = fused(vector("a", "x"), vector("b", "A"), gemm("g", "B B"), vector("later", "A G", phase=Phase.BACKWARD))
    assert isinstance(one, Vector)
    assert [t.name for t in one.writes] == ["A", "B"]
    assert two.name == "later"


def test_results_that_nothing_reads_are_still_written() -> None:
    (op,) = fused(vector("a", "x", "A mean=1", kind=NORM), vector("b", "A"))
    assert isinstance(op, Vector)
    assert op.writes == (Tensor("mean", 1), Tensor("B", 64))


def test_a_broadcast_operand_joins() -> None:
    (op,) = fused(vector("a", "x bias=8"), vector("b", "A scale=1"))
    assert isinstance(op, Vector)
    assert op.reads == (Tensor("x", 64), Tensor("bias", 8), Tensor("scale", 1))


def test_a_tensor_read_twice_is_read_once() -> None:
    (op,) = fused(vector("a", "x"), vector("b", "A x"))
    assert isinstance(op, Vector)
    assert op.reads == (Tensor("x", 64),)


def test_the_fused_operation_stands_where_its_last_member_stood() -> None:
    ops = fused(vector("a", "x"), gemm("g", "y y"), vector("b", "A G"), gemm("h", "B B"))
    assert names(ops) == ["g", "a+b", "h"]


def test_both_inputs_of_an_add_can_be_fused() -> None:
    (op,) = fused(vector("a", "x"), vector("b", "y"), vector("c", "A B"))
    assert isinstance(op, Vector)
    assert Counter(op.operation.split("+")) == Counter("abc")
    assert {t.name for t in op.reads} == {"x", "y"}


def test_of_two_heads_the_latest_takes_the_follower() -> None:
    ops = (vector("a", "x", kind=BN), vector("b", "y", kind=BN), vector("c", "A B"))
    assert names(fused(*ops)) == ["a", "b+c"]


@pytest.mark.parametrize(
    ("why", "ops"),
    [
        ("a path leaves and comes back", (vector("a", "x"), gemm("g", "A A"), vector("b", "A G"))),
        ("an outside reader comes before", (vector("a", "x"), gemm("g", "A A"), vector("b", "A"))),
        ("a prune reads it before", (
            vector("a", "x"),
            Prune(name="p", layer="", phase=Phase.FORWARD, pattern=NM(2, 4), source=Tensor("A", 64), target="P"),
            vector("b", "A"),
        )),
        ("an update reads it before", (
            vector("a", "x"),
            Update(name="u", parameter="w", elements=64, optimizer=OPTIMIZERS["sgd"], gradient="A"),
            vector("b", "A"),
        )),
        ("the follower is no map", (vector("a", "x"), vector("b", "A", kind=NORM))),
        ("the follower is a batch norm", (vector("a", "x"), vector("b", "A", kind=BN))),
        ("the head reduces", (vector("a", "x", "A=64", kind=VectorKind.REDUCE), vector("b", "A"))),
        ("the head pools", (vector("a", "x", kind=VectorKind.POOL), vector("b", "A"))),
        ("the head moves", (vector("a", "x", kind=VectorKind.MOVE), vector("b", "A"))),
        ("the phases differ", (vector("a", "x"), vector("b", "A", phase=Phase.BACKWARD))),
        ("the widths differ", (vector("a", "x", "A=8"), vector("b", "A=8", "B=8", size=8))),
        ("a part is read", (vector("a", "x"), vector("b", "A=32 y"))),
        ("two wrote it", (vector("a", "x", "T"), vector("a2", "x", "T"), vector("b", "T"))),
        ("a second pass would reread more than is saved", (
            vector("a", "x", kind=BN), vector("b", "A p q r"), gemm("g", "A B"),
        )),
    ],
)  # fmt: skip
def test_no_fusion_where(why: str, ops: tuple[Op, ...]) -> None:
    assert fused(*ops) == list(ops), why


def test_names_of_long_chains_are_counted() -> None:
    chain = [vector(f"v{i}", f"V{i - 1}" if i else "x", f"V{i}") for i in range(6)]
    ops = [replace(v, operation="add" if i % 2 else "mul") for i, v in enumerate(chain)]
    (op,) = fused(*ops)
    assert isinstance(op, Vector)
    assert op.operation == "3 mul+3 add"
    assert op.work == 6 * 64
    assert names(fused(*ops[:5])) == ["3 mul+2 add"]
    assert names(fused(*ops[:4])) == ["mul+add+mul+add"]


@st.composite
def programs(draw: st.DrawFn) -> Workload:
    """Random steps: vector operations of all kinds and two sizes between GEMMs and prunes."""
    tensors = [Tensor("x", 64), Tensor("y", 64), Tensor("z", 8)]
    ops: list[Op] = []
    count = draw(st.integers(1, 14))
    turn = draw(st.integers(0, count))
    for i in range(count):
        pick = draw(st.lists(st.sampled_from(tensors[-6:]), min_size=2, max_size=4, unique=True))
        what = draw(st.sampled_from(("vector", "vector", "vector", "gemm", "prune")))
        kind = draw(st.sampled_from((MAP, MAP, MAP, MAP, NORM, BN, VectorKind.REDUCE)))
        phase = Phase.FORWARD if i < turn else Phase.BACKWARD
        if what == "gemm":
            ops.append(gemm(f"t{i}", f"{pick[0].name} {pick[1].name}"))
            tensors.append(Tensor(f"T{i}", 64))
        elif what == "prune":
            ops.append(Prune(name=f"t{i}", layer="", phase=phase, pattern=NM(2, 4), source=pick[0], target=f"T{i}"))
            tensors.append(Tensor(f"T{i}", pick[0].elements))
        else:
            reads = pick[: draw(st.integers(1, 4))]
            size = max(t.elements for t in reads)
            writes = [Tensor(f"T{i}", size), *([Tensor(f"S{i}", 8)] if draw(st.booleans()) else [])]
            ops.append(
                Vector(
                    name=f"t{i}", layer="", phase=phase, kind=kind, operation=f"t{i}", work=size,
                    reads=tuple(reads), writes=tuple(writes),
                )
            )  # fmt: skip
            tensors += writes
    return Workload(name="random", batch=1, ops=tuple(ops))


def check(before: Workload) -> Workload:
    """Everything that fusing must keep."""
    after = fuse_vectors(before)
    others = [op for op in before.ops if not isinstance(op, Vector)]
    assert [op for op in after.ops if not isinstance(op, Vector)] == others
    assert after.effective_macs == before.effective_macs
    assert sum(op.work for op in vectors(after)) == sum(op.work for op in vectors(before))
    assert sum(map(traffic_elements, vectors(after))) <= sum(map(traffic_elements, vectors(before)))
    assert nx.is_directed_acyclic_graph(after.graph)
    assert fuse_vectors(after) == after
    # what the rest of the step reads, and what nothing reads, is there; nothing else is, and nobody reads what isn't
    read = {name for op in after.ops for name in read_names(op)}
    before_read = {name for op in before.ops for name in read_names(op)}
    written, before_written = ({n for op in w.ops for n in write_names(op)} for w in (after, before))
    assert written <= before_written
    assert read & before_written <= written
    assert before_written - before_read <= written
    assert {n for op in others for n in read_names(op)} & before_written <= written
    # whatever depended on an operation still does
    for op in others[:: max(1, len(others) // 40)]:
        old = {name for name in nx.ancestors(before.graph, op.name) if not isinstance(before.graph.nodes[name]["op"], Vector)}
        assert old <= nx.ancestors(after.graph, op.name)
    return after


@settings(max_examples=200, deadline=None)
@given(programs())
def test_random_programs_keep_their_meaning(before: Workload) -> None:
    after = check(before)
    members = Counter(name for op in vectors(after) for name in op.operation.split("+"))
    if all(count == 1 and not name.startswith(tuple("0123456789")) for name, count in members.items()):
        assert set(members) == {op.name for op in vectors(before)}


@cache
def shipped(name: str) -> Workload:
    return load_workload_trace(name).bind()


@pytest.mark.parametrize("name", zoo_names())
@pytest.mark.parametrize("method", ["dense", "sdgp:2:8", "fst:2:4"])
def test_shipped_traces_lose_traffic(name: str, method: str) -> None:
    before = apply_method(parse_method(method), shipped(name))
    after = check(before)
    assert len(vectors(after)) < len(vectors(before))
    assert sum(map(traffic_elements, vectors(after))) < 0.97 * sum(map(traffic_elements, vectors(before)))
