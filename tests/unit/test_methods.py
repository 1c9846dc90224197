"""Do the methods put patterns, prunes and update work where their papers put them?"""

from dataclasses import replace
from itertools import product

import pytest
from layer_steps import gemms, linear, net, only, prunes, step, under, update_of

from workloads.gemm import Gemm, Operand, Phase, Role, Stage
from workloads.methods import METHODS
from workloads.methods.fst import pattern_search
from workloads.methods.transposable import greedy_search
from workloads.ops import Tensor, Update
from workloads.sparsity import DENSE, NM, Producer

P28, P24 = NM(2, 8), NM(2, 4)


def test_dense_changes_nothing() -> None:
    assert under("dense") == net()


@pytest.mark.parametrize(("name", "decay"), [("ste", False), ("srste", True)])
def test_ste_prunes_the_forward_weight_alone(name: str, decay: bool) -> None:
    result = under(f"{name}:2:8")
    for layer in ("conv2", "fc"):
        weight = only(result, layer, Stage.FF).b
        assert (weight.pattern, weight.producer) == (P28, Producer.UPDATE)
        others = gemms(result, layer, Stage.BP) + gemms(result, layer, Stage.WU)
        assert others == gemms(net(), layer, Stage.BP) + gemms(net(), layer, Stage.WU)
        made = update_of(result, f"{layer}.weight")
        assert (made.prune, made.dense_copy, made.decay, made.mask_search) == ((("ff", P28),), True, decay, 0)
    assert prunes(result) == []


def test_sdwp_prunes_the_backward_weight_alone() -> None:
    result = under("sdwp:2:8")
    assert only(result, "fc", Stage.FF) == only(net(), "fc", Stage.FF)
    assert only(result, "fc", Stage.BP).b.pattern == P28
    assert [gemm.b.pattern for gemm in gemms(result, "conv2", Stage.BP)] == [P28] * 4
    made = update_of(result, "conv2.weight")
    assert (made.prune, made.dense_copy, made.decay) == ((("bp", P28),), True, False)


def test_bdwp_prunes_both_and_keeps_no_dense_copy() -> None:
    result = under("bdwp:2:8")
    for layer in ("conv2", "fc"):
        for stage in (Stage.FF, Stage.BP):
            for gemm in gemms(result, layer, stage):
                assert (gemm.b.pattern, gemm.b.producer, gemm.a.pattern) == (P28, Producer.UPDATE, DENSE)
        assert only(result, layer, Stage.WU) == only(net(), layer, Stage.WU)
        made = update_of(result, f"{layer}.weight")
        assert (made.prune, made.dense_copy, made.decay) == ((("ff", P28), ("bp", P28)), False, False)
    assert result.notices == ()


def test_sdgp_prunes_the_gradient_once_for_all_phases() -> None:
    result = under("sdgp:2:8")
    conv2, fc = (next(op for op in prunes(result) if op.layer == layer) for layer in ("conv2", "fc"))
    assert len(prunes(result)) == 2
    assert conv2.source == Tensor("conv2:dy", 2 * 4 * 4 * 32)  # the map, not its lowered form
    assert fc.source == Tensor("fc:dy", 32 * 16)
    assert conv2.rescale
    assert conv2.pattern == P28
    assert conv2.phase is Phase.BACKWARD
    phases = gemms(result, "conv2", Stage.BP)
    assert len(phases) == 4
    for gemm in phases:
        assert gemm.a == Operand(tensor=conv2.target, role=Role.GRADIENT, pattern=P28, producer=Producer.ONLINE)
        assert gemm.b.pattern == DENSE
    assert only(result, "conv2", Stage.WU) == only(net(), "conv2", Stage.WU)
    assert [op for op in result.ops if isinstance(op, Update)] == [op for op in net().ops if isinstance(op, Update)]
    position = {op.name: i for i, op in enumerate(result.ops)}
    assert position[conv2.name] == position[phases[0].name] - 1


def test_each_layer_prunes_its_own_part_of_a_shared_gradient() -> None:
    def reading(name: str) -> dict[Stage, list[Gemm]]:
        layer = linear(name, 8, 8, 16, x="x")
        shared = Operand(tensor="a:dy", role=Role.GRADIENT)
        return {stage: [replace(g, a=shared) if stage is not Stage.FF else g for g in layer[stage]] for stage in layer}

    base = step(linear("z", 8, 8, 8, x="x"), reading("a"), reading("b"))
    result = under("sdgp:2:4,keep_dense=none", base)
    assert [op.layer for op in prunes(result)] == ["b", "a"]
    assert len({op.target for op in prunes(result)}) == 2
    assert {op.source for op in prunes(result)} == {Tensor("a:dy", 8 * 16)}


def test_transposable_needs_both_axes() -> None:
    result = under("transposable:2:4,keep_dense=none")
    assert only(result, "fc", Stage.FF).b.pattern == P24
    assert only(result, "fc", Stage.BP).b.pattern == P24
    assert update_of(result, "fc.weight").prune == (("ff", P24), ("bp", P24))
    assert not update_of(result, "fc.weight").dense_copy
    assert not update_of(result, "fc.weight").decay
    assert only(result, "head", Stage.FF).b.pattern == DENSE  # 16 inputs would do for ff alone; the mask also needs 10 % 4
    assert ("head", "ff") in {(n.layer, n.stage) for n in result.notices}
    assert "10 across" in next(n.text for n in result.notices if (n.layer, n.stage) == ("head", "ff"))
    assert only(under("bdwp:2:4,keep_dense=none"), "head", Stage.FF).b.pattern == P24


def merge_comparisons(count: int) -> int:
    """Worst case of merge sort by its recurrence."""
    if count < 2:
        return 0
    return merge_comparisons(count // 2) + merge_comparisons(count - count // 2) + count - 1


@pytest.mark.parametrize("group", [2, 4, 8, 16])
def test_greedy_search_is_a_merge_sort_and_two_tests_an_entry(group: int) -> None:
    assert greedy_search(NM(1, group)) == merge_comparisons(group**2) + 2 * group**2


def test_pattern_search_scores_every_pattern() -> None:
    rows = [row for row in product((0, 1), repeat=4) if sum(row) == 2]
    patterns = [m for m in product(rows, repeat=4) if all(sum(column) == 2 for column in zip(*m, strict=True))]
    assert pattern_search(P24) == len(patterns) * 16 + (len(patterns) - 1)
    assert pattern_search(P28) == greedy_search(P28)


@pytest.mark.parametrize("every", [1, 7, 40, 10**6])
def test_the_search_is_spread_over_the_steps_between_refreshes(every: int) -> None:
    blocks = 32 * 16 // 16
    found = update_of(under(f"fst:2:4,every={every}"), "fc.weight").mask_search
    assert found == -(-blocks * 1529 // every)
    found = update_of(under(f"transposable:2:4,every={every}"), "fc.weight").mask_search
    assert found == -(-blocks * 81 // every)


def test_fst_prunes_weights_and_the_gradient_along_positions() -> None:
    result = under("fst:2:4")
    assert {op.layer for op in prunes(result)} == {"conv2", "fc"}
    for layer in ("conv2", "fc"):
        (prune,) = (op for op in prunes(result) if op.layer == layer)
        wu = only(result, layer, Stage.WU)
        assert wu.a == Operand(tensor=prune.target, role=Role.GRADIENT, pattern=P24, producer=Producer.ONLINE)
        assert prune.source == Tensor(f"{layer}:dy", wu.m * wu.k)
        assert not prune.rescale
        assert all(g.b.pattern == P24 and g.a.tensor == f"{layer}:dy" for g in gemms(result, layer, Stage.BP))
        assert update_of(result, f"{layer}.weight").decay
    assert result.notices == ()


def test_attention_stays_dense() -> None:
    scores = Gemm(
        name="aa", layer="attention", stage=Stage.AA, phase=Phase.FORWARD, m=8, n=8, k=8, batch=4,
        a=Operand(tensor="q", role=Role.ACTIVATION), b=Operand(tensor="k", role=Role.ACTIVATION), c="s",
    )  # fmt: skip
    backward = replace(scores, name="aa.b", phase=Phase.BACKWARD, a=Operand(tensor="ds", role=Role.GRADIENT), c="dq")
    base = net()
    base = base.with_ops((scores, *base.ops, backward))
    for name in METHODS.keys() - {"dense"}:
        result = under(f"{name}:2:4,keep_dense=none", base)
        assert [g for g in result.gemms if g.stage is Stage.AA] == [scores, backward]
