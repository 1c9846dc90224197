"""Do the methods put patterns, prunes and update work where their papers put them, and say what they could not do?"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import product

import networkx as nx
import pytest

from workloads.gemm import Conv, Gemm, Operand, Phase, Role, Stage
from workloads.graph import Workload
from workloads.methods import METHODS, KeepDense, Method, apply_method, parse_method
from workloads.methods.fst import pattern_search
from workloads.methods.transposable import greedy_search
from workloads.ops import OPTIMIZERS, Prune, Tensor, Update, Vector, VectorKind
from workloads.sparsity import DENSE, NM, Producer

P28, P24 = NM(2, 8), NM(2, 4)


def linear(name: str, p: int, i: int, o: int, *, x: str, weight: str = "", layer: str = "") -> dict[Stage, list[Gemm]]:
    """The three GEMMs of a linear layer."""
    weight, layer = weight or f"{name}.weight", layer or name
    act = Operand(tensor=x, role=Role.ACTIVATION)
    grad = Operand(tensor=f"{name}:dy", role=Role.GRADIENT)
    w = Operand(tensor=weight, role=Role.WEIGHT, parameter=weight)
    common = {"layer": layer}
    return {
        Stage.FF: [
            Gemm(
                name=f"{name}/ff",
                stage=Stage.FF,
                phase=Phase.FORWARD,
                m=p,
                n=o,
                k=i,
                a=act,
                b=w,
                c=f"{name}:y",
                **common,
            )
        ],
        Stage.BP: [
            Gemm(
                name=f"{name}/bp",
                stage=Stage.BP,
                phase=Phase.BACKWARD,
                m=p,
                n=i,
                k=o,
                a=grad,
                b=w,
                c=f"{name}:dx",
                **common,
            )
        ],
        Stage.WU: [
            Gemm(
                name=f"{name}/wu",
                stage=Stage.WU,
                phase=Phase.BACKWARD,
                m=o,
                n=i,
                k=p,
                a=grad,
                b=act,
                c=f"{name}:dw",
                **common,
            )
        ],
    }


def conv(
    name: str, size: int, i: int, o: int, *, x: str, kernel: int = 3, stride: int = 1, groups: int = 1, images: int = 2
) -> dict[Stage, list[Gemm]]:
    """A convolution with its data gradient split into phases, as traces have it."""
    out = size // stride
    ig, og = i // groups, o // groups
    layer = linear(name, images * out * out, kernel * kernel * ig, og, x=x)

    def geometry(operand: str, at: int, channels: int, taps_h: int, taps_w: int, step: int) -> Conv:
        return Conv(
            operand=operand, images=images, height=at, width=at, channels=channels, taps_h=taps_h, taps_w=taps_w,
            stride=step, out_h=out, out_w=out,
        )  # fmt: skip

    full = (ig, kernel, kernel, stride)
    layer[Stage.FF] = [replace(g, batch=groups, conv=geometry("a", size, *full)) for g in layer[Stage.FF]]
    layer[Stage.WU] = [replace(g, batch=groups, conv=geometry("b", size, *full)) for g in layer[Stage.WU]]
    axis = [count for count in (len(range(phase, kernel, stride)) for phase in range(stride)) if count]
    layer[Stage.BP] = [
        replace(
            layer[Stage.BP][0], name=f"{name}/bp.{number}", batch=groups, n=ig, k=h * w * og,
            conv=geometry("a", out, og, h, w, 1),
        )
        for number, (h, w) in enumerate(product(axis, axis))
    ]  # fmt: skip
    return layer


def update(parameter: str, elements: int, gradient: str) -> Update:
    return Update(
        name=f"{parameter}/update",
        parameter=parameter,
        elements=elements,
        optimizer=OPTIMIZERS["sgd"],
        gradient=gradient,
    )


def step(*layers: dict[Stage, list[Gemm]], extra: Iterable[Vector] = (), frozen: tuple[str, ...] = ()) -> Workload:
    """Forward in order, then in reverse each layer's dY, bp (not for the first layer) and wu, then the updates."""
    ops = [gemm for layer in layers for gemm in layer[Stage.FF]]
    updates: dict[str, Update] = {"bn.weight": update("bn.weight", 16, "bn:dw")}
    back: list[Gemm | Vector] = list(extra)
    for number, layer in reversed(list(enumerate(layers))):
        wu = layer[Stage.WU][0]
        elements = wu.batch * wu.m * wu.k
        if wu.a.tensor not in {tensor.name for op in back if isinstance(op, Vector) for tensor in op.writes}:
            back.append(
                Vector(
                    name=f"{wu.name}/dy", layer=wu.layer, phase=Phase.BACKWARD, kind=VectorKind.MAP, operation="dy",
                    work=elements, reads=(), writes=(Tensor(wu.a.tensor, elements),),
                )
            )  # fmt: skip
        back += [*(layer[Stage.BP] if number else []), wu]
        parameter = layer[Stage.FF][0].b.parameter
        if parameter not in frozen:
            updates.setdefault(parameter, update(parameter, wu.batch * wu.m * wu.n, wu.c))
    return Workload(name="net", batch=2, ops=(*ops, *back, *updates.values()))


def net() -> Workload:
    """conv1 (3 channels) - conv2 (strided) - fc - head."""
    return step(
        conv("conv1", 8, 3, 16, x="x"),
        conv("conv2", 8, 16, 32, x="conv1:y", stride=2),
        linear("fc", 32, 32, 16, x="conv2:y"),
        linear("head", 32, 16, 10, x="fc:y"),
    )


def under(text: str, workload: Workload | None = None) -> Workload:
    return apply_method(parse_method(text), workload or net())


def gemms(workload: Workload, layer: str, stage: Stage) -> list[Gemm]:
    return [gemm for gemm in workload.gemms if gemm.layer == layer and gemm.stage is stage]


def only(workload: Workload, layer: str, stage: Stage) -> Gemm:
    (gemm,) = gemms(workload, layer, stage)
    return gemm


def update_of(workload: Workload, parameter: str) -> Update:
    return next(op for op in workload.ops if isinstance(op, Update) and op.parameter == parameter)


def prunes(workload: Workload) -> list[Prune]:
    return [op for op in workload.ops if isinstance(op, Prune)]


@pytest.mark.parametrize(
    "text",
    ["dense", "ste:2:4", "srste:2:8", "sdgp:1:16", "sdwp:4:4", "bdwp:2:8,keep_dense=none", "transposable:2:4,every=10",
     "fst:2:4,keep_dense=last,every=1", "bdwp:2:8,keep_dense=first"],
)  # fmt: skip
def test_canonical_text_reads_back(text: str) -> None:
    method = parse_method(text)
    assert str(method) == text
    assert parse_method(str(method)) == method


def test_defaults_are_not_written() -> None:
    assert str(parse_method("fst:2:4,every=40,keep_dense=first+last")) == "fst:2:4"
    assert str(parse_method("fst:2:4,every=5,keep_dense=none")) == "fst:2:4,keep_dense=none,every=5"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bwdp:2:8", "must be one of dense, ste, srste, sdgp, sdwp, bdwp, transposable, fst, written name"),
        ("", "must be one of dense"),
        ("bdwp", "must have a ratio N:M: bdwp:N:M"),
        ("bdwp:", "must have a ratio N:M"),
        ("bdwp:2", "must be written bdwp:N:M.*'2' must be written N:M"),
        ("bdwp:2:8:1", "must be written N:M"),
        ("bdwp:8:2", "1 <= N <= M"),
        ("bdwp:0:4", "1 <= N <= M"),
        ("bdwp:1:1", "group M of at least 2, not '1:1'"),
        ("bdwp:-1:4", "must be written N:M"),
        ("dense:2:4", "without a ratio, not with '2:4'"),
        ("dense,keep_dense=none", "options of 'dense' only .none., not 'keep_dense=none'"),
        ("bdwp:2:8,every=4", "options of 'bdwp' only .keep_dense., not 'every=4'"),
        ("bdwp:2:8,", "options of 'bdwp' only"),
        ("bdwp:2:8,keep_dense", "each option once"),
        ("bdwp:2:8,keep_dense=", "each option once"),
        ("bdwp:2:8,keep_dense=none,keep_dense=none", "each option once"),
        ("bdwp:2:8,keep_dense=all", "must be one of first.last, first, last, none, not 'all'"),
        ("fst:2:4,every=0", "positive number of steps, not '0'"),
        ("fst:2:4,every=x", "positive number of steps, not 'x'"),
    ],
)
def test_wrong_text_is_refused_with_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        parse_method(text)
    assert repr(text) in str(error.value)


def test_method_is_validated_without_parsing() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        Method(name="bdwp", pattern=NM(1, 1))
    with pytest.raises(ValueError, match="every must be a positive integer"):
        Method(name="fst", pattern=P24, every=0)
    with pytest.raises(ValueError, match="must be one of dense"):
        apply_method(Method(name="nothing"), net())
    with pytest.raises(ValueError, match="must have a ratio N:M, not 'dense'"):
        apply_method(Method(name="bdwp"), net())


def test_a_method_applies_once() -> None:
    with pytest.raises(ValueError, match="must be dense to take method 'ste:2:4', not 'bdwp:2:8'"):
        under("ste:2:4", under("bdwp:2:8"))


@pytest.mark.parametrize("name", METHODS)
def test_registry_describes_every_method(name: str) -> None:
    info = METHODS[name]
    assert info.name == name
    assert info.description
    assert "\n" not in info.description
    assert (info.source == "") == (name == "dense")
    assert info.usage.startswith(name)
    result = under(f"{name}:2:4" if info.takes_pattern else name)
    assert result.method == (f"{name}:2:4" if info.takes_pattern else name)
    assert nx.is_directed_acyclic_graph(result.graph)
    assert update_of(result, "bn.weight") == update_of(net(), "bn.weight")


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


def test_without_a_data_gradient_nothing_reads_the_dense_weight() -> None:
    made = update_of(under("ste:2:4,keep_dense=none", step(linear("a", 8, 8, 8, x="x"))), "a.weight")
    assert (made.prune, made.dense_copy) == ((("ff", P24),), False)


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
    assert (
        only(result, "head", Stage.FF).b.pattern == DENSE
    )  # 16 inputs would do for ff alone; the mask also needs 10 % 4
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
    result = under(
        "bdwp:2:4,keep_dense=none", step(linear("a", 8, 8, 8, x="x"), conv("dw", 8, 16, 16, x="a:y", groups=16))
    )
    assert {(n.stage, n.text.split(": ")[1].split(" along")[0]) for n in result.notices} == {
        ("ff", "1 input channels per group"),
        ("bp", "1 output channels per group"),
    }


def test_grouped_convolution_counts_all_groups_of_the_gradient() -> None:
    result = under(
        "sdgp:2:4,keep_dense=none", step(linear("a", 8, 8, 8, x="x"), conv("g", 8, 16, 32, x="a:y", groups=4))
    )
    (prune,) = (op for op in prunes(result) if op.layer == "g")
    assert prune.source.elements == 2 * 8 * 8 * 32


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


def test_policy_names() -> None:
    assert [str(policy) for policy in KeepDense] == ["first+last", "first", "last", "none"]
