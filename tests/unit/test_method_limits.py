"""Which layers stay dense, by policy or because the pattern does not fit, and is the second kind said?"""

from dataclasses import replace

import pytest
from layer_steps import conv, gemms, linear, only, prunes, step, under, update, update_of

from workloads.gemm import Phase, Stage
from workloads.graph import Workload
from workloads.ops import Tensor, Vector, VectorKind
from workloads.sparsity import DENSE, NM

P28, P24 = NM(2, 8), NM(2, 4)


def test_without_a_data_gradient_nothing_reads_the_dense_weight() -> None:
    made = update_of(under("ste:2:4,keep_dense=none", step(linear("a", 8, 8, 8, x="x"))), "a.weight")
    assert (made.prune, made.dense_copy) == ((("ff", P24),), False)


def test_fst_leaves_positions_that_do_not_divide() -> None:
    base = step(*(linear(name, 197, 8, 8, x=f"{name}:x") for name in "abc"))
    result = under("fst:2:4", base)
    assert prunes(result) == []
    assert only(result, "b", Stage.WU) == only(base, "b", Stage.WU)
    assert only(result, "b", Stage.BP).b.pattern == P24
    (notice,) = result.notices
    assert (notice.layer, notice.stage) == ("b", "wu")
    assert notice.text == "stays dense under 2:4: 197 positions along the reduction are not a multiple of M=4"


def test_a_lowered_gradient_is_not_pruned_along_positions() -> None:
    layer = conv("up", 8, 16, 16, x="x")
    wu = layer[Stage.WU][0]
    layer[Stage.WU] = [replace(wu, a=wu.b, b=wu.a, m=16, n=144)]  # a transposed convolution: dY is the lowered side
    wu = layer[Stage.WU][0]
    base = Workload(name="t", batch=2, ops=(*layer[Stage.FF], wu, update("up.weight", 2304, wu.c)))
    result = under("fst:2:4,keep_dense=none", base)
    assert only(result, "up", Stage.WU) == wu
    assert [(n.layer, n.stage) for n in result.notices if "lowered" in n.text] == [("up", "wu")]


@pytest.mark.parametrize(
    ("policy", "dense"),
    [("first+last", {"conv1", "head"}), ("first", {"conv1"}), ("last", {"head", "conv1"}), ("none", {"conv1"})],
)
def test_keep_dense_is_policy_and_divisibility_is_noticed(policy: str, dense: set[str]) -> None:
    result = under(f"bdwp:2:8,keep_dense={policy}")
    assert {g.layer for g in result.gemms if g.stage is Stage.FF and g.b.pattern == DENSE} == dense
    noticed = {(n.layer, n.stage) for n in result.notices}
    assert (("conv1", "ff") in noticed) == (policy in ("last", "none"))
    assert (("head", "bp") in noticed) == (policy in ("first", "none"))  # 10 outputs


def test_notices_hold_the_numbers_once() -> None:
    base = step(linear("a", 8, 8, 8, x="x"), conv("down", 8, 16, 12, x="a:y", stride=2))
    result = under("bdwp:2:8,keep_dense=none", base)
    (notice,) = result.notices  # four phases, one notice
    assert notice.text == "stays dense under 2:8: 12 output channels along the reduction are not a multiple of M=8"
    assert update_of(result, "down.weight").prune == (("ff", P28),)
    assert update_of(result, "down.weight").dense_copy


def test_groups_lie_along_channels_not_along_taps() -> None:
    base = step(linear("a", 8, 8, 8, x="x"), conv("b", 8, 4, 8, x="a:y", kernel=2))
    gemm = only(base, "b", Stage.FF)
    assert gemm.k % 8 == 0
    result = under("ste:2:8,keep_dense=none", base)
    assert only(result, "b", Stage.FF) == gemm
    assert result.notices[0].text.startswith("stays dense under 2:8: 4 input channels along")


def test_depthwise_has_one_channel() -> None:
    result = under("bdwp:2:4,keep_dense=none", step(linear("a", 8, 8, 8, x="x"), conv("dw", 8, 16, 16, x="a:y", groups=16)))
    assert {(n.stage, n.text.split(": ")[1].split(" along")[0]) for n in result.notices} == {
        ("ff", "1 input channels per group"),
        ("bp", "1 output channels per group"),
    }


def test_grouped_convolution_counts_all_groups_of_the_gradient() -> None:
    result = under("sdgp:2:4,keep_dense=none", step(linear("a", 8, 8, 8, x="x"), conv("g", 8, 16, 32, x="a:y", groups=4)))
    (prune,) = (op for op in prunes(result) if op.layer == "g")
    assert prune.source.elements == 2 * 8 * 8 * 32


def test_tied_weight_has_one_treatment() -> None:
    layers = (
        linear("a", 8, 16, 16, x="x"),
        linear("b", 8, 16, 16, x="a:y", weight="tied"),
        linear("c", 8, 16, 16, x="b:y"),
        linear("head", 8, 16, 16, x="c:y", weight="tied"),
    )
    base = step(*layers)
    for name in ("bdwp", "sdgp", "fst"):
        result = under(f"{name}:2:8", base)
        assert {g.layer for g in result.gemms if g.density < 1} == {"c"}
    assert update_of(under("bdwp:2:8", base), "tied") == update_of(base, "tied")
    both = update_of(under("bdwp:2:8,keep_dense=first", base), "tied")
    assert both.prune == (("ff", P28), ("bp", P28))  # each copy once, though two layers read it
    assert not both.dense_copy


def test_embedding_reads_the_dense_copy_of_a_tied_weight() -> None:
    base = step(linear("a", 8, 16, 16, x="x"), linear("head", 8, 16, 32, x="a:y"))
    lookup = Vector(
        name="embed", layer="embed", phase=Phase.FORWARD, kind=VectorKind.MOVE, operation="embedding", work=128,
        reads=(Tensor("head.weight", 128),), writes=(Tensor("e", 128),),
    )  # fmt: skip
    assert not update_of(under("bdwp:2:8,keep_dense=none", base), "head.weight").dense_copy
    tied = base.with_ops((lookup, *base.ops))
    assert update_of(under("bdwp:2:8,keep_dense=none", tied), "head.weight").dense_copy


def test_recomputed_forward_is_forward_but_not_last() -> None:
    base = step(*(linear(name, 8, 16, 16, x=f"{name}:x") for name in "abc"))
    again = replace(only(base, "b", Stage.FF), name="b/ff@", phase=Phase.RECOMPUTE, c="b:y@")
    base = base.with_ops((*base.ops[:3], again, *base.ops[3:]))
    result = under("ste:2:4", base)
    assert [g.b.pattern for g in gemms(result, "b", Stage.FF)] == [P24, P24]
    assert only(result, "c", Stage.FF).b.pattern == DENSE


def test_two_layers_without_a_name_are_told_apart_by_their_weights() -> None:
    layers = [linear(name, 8, 16, 16, x=f"{name}:x", layer="root") for name in "abc"]
    result = under("bdwp:2:4", step(*layers))
    assert {g.b.parameter for g in result.gemms if g.density < 1} == {"b.weight"}
    assert [g.name for g in under("fst:2:4", step(*layers)).gemms if g.density < 1] == ["b/ff", "b/bp", "b/wu"]


def test_frozen_weight_stays_dense_and_is_noticed() -> None:
    base = step(*(linear(name, 8, 16, 16, x=f"{name}:x") for name in "abc"), frozen=("b.weight",))
    result = under("bdwp:2:4", base)
    assert result.effective_macs == base.dense_macs()
    assert {(n.layer, n.stage) for n in result.notices} == {("b", "ff"), ("b", "bp")}
    assert all("no optimizer update trains 'b.weight'" in n.text for n in result.notices)


def test_names_stay_unique() -> None:
    base = step(*(linear(name, 8, 16, 16, x=f"{name}:x") for name in "abc"))
    trap = Vector(
        name="b.bp.prune", layer="", phase=Phase.FORWARD, kind=VectorKind.MAP, operation="x", work=1,
        reads=(), writes=(Tensor("b:dy.bp.2:4", 1),),
    )  # fmt: skip
    result = under("sdgp:2:4", base.with_ops((trap, *base.ops)))
    (prune,) = prunes(result)
    assert (prune.name, prune.target) == ("b.bp.prune.2", "b:dy.bp.2:4.2")
