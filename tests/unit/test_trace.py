"""Does the tracer find every operation of a step, with the right stage, layer, weight, sizes and order?"""

import subprocess
import sys
from math import prod

import networkx as nx
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from workloads.formats.trace_file import TraceError, save_trace  # noqa: E402
from workloads.gemm import Gemm, Phase, Role, Stage  # noqa: E402
from workloads.graph import Workload  # noqa: E402
from workloads.ops import Update, Vector, VectorKind  # noqa: E402
from workloads.trace import resolve_target, trace_step  # noqa: E402
from workloads.zoo import load_workload_trace, zoo_names  # noqa: E402

pytestmark = pytest.mark.torch


def trace(build, *, batch=2, at=None, **options) -> Workload:
    return trace_step(build, name="model", batch=batch, **options).bind(at)


def gemms(workload: Workload) -> dict[str, Gemm]:
    return {gemm.name: gemm for gemm in workload.gemms}


def vectors(workload: Workload) -> dict[str, Vector]:
    return {op.name: op for op in workload.ops if isinstance(op, Vector)}


def counted_macs(build, batch: int) -> int:
    """Multiplications of forward and backward by PyTorch's own counter, on fake tensors."""
    from workloads.trace.example import build_example, fake_example
    from workloads.trace.run import fake_mode, total_loss, tracing

    example = build_example(build, name="model", batch=batch, input_shape=None, real=False)
    mode, counter = fake_mode(), FlopCounterMode(display=False)
    example = fake_example(example, mode, name="model", batch=None)
    with tracing(mode, counter):
        total_loss(example.module(*example.args, **example.kwargs)).backward()
    return counter.get_total_flops() // 2


# ---- the zoo -----------------------------------------------------------------------------------------------------


def test_resnet18_counts():
    """1.814 GMAC forward (torchvision's figure); backward lacks the first layer's data gradient, 64*147*112*112 MACs."""
    workload = load_workload_trace("resnet18").bind()
    first_layer = 64 * 147 * 112 * 112
    assert workload.dense_macs(Stage.FF) == workload.dense_macs(Stage.WU) == 1_814_073_344
    assert workload.dense_macs(Stage.BP) == 1_814_073_344 - first_layer
    assert workload.dense_macs() == 5_324_206_080
    assert workload.parameters == 11_689_512


ZOO = {  # forward GMAC of weights, of attention; parameters in millions: public figures, as in each model's paper or card
    "resnet18": (1.8141, 0, 11.69),
    "resnet50": (4.0892, 0, 25.56),
    "resnet18-cifar": (0.5554, 0, 11.17),
    "vgg19-cifar": (0.3982, 0, 20.08),
    "vit-b16": (16.8485, 0.7153, 86.57),
    "bert-base": (13.9476, 0.3020, 109.51),
    "gpt2": (126.4968, 19.3274, 124.44),
    "llama-1b": (2118.4926, 377.9571, 1100.05),
}


@pytest.mark.parametrize("name", ZOO)
def test_zoo_counts(name):
    workload = load_workload_trace(name).bind()
    forward = [gemm for gemm in workload.gemms if gemm.phase is Phase.FORWARD]
    weights, attention, parameters = ZOO[name]
    assert sum(g.dense_macs for g in forward if g.stage is Stage.FF) / 1e9 == pytest.approx(weights, abs=1e-4)
    assert sum(g.dense_macs for g in forward if g.stage is Stage.AA) / 1e9 == pytest.approx(attention, abs=1e-4)
    assert workload.parameters / 1e6 == pytest.approx(parameters, abs=0.01)
    assert workload.dense_macs(Stage.WU) == workload.dense_macs(Stage.FF)
    assert workload.dense_macs(Stage.AA) == 3 * sum(g.dense_macs for g in forward if g.stage is Stage.AA)


def test_zoo_is_complete():
    assert set(zoo_names()) == set(ZOO)


SLOW = {"resnet50", "vit-b16", "bert-base", "gpt2", "llama-1b"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in ZOO])
def test_agrees_with_the_flop_counter(name):
    if name not in {"resnet18", "resnet18-cifar", "vgg19-cifar"}:
        pytest.importorskip("transformers")
    _, build = resolve_target(name)
    for batch in (1, 3):
        assert load_workload_trace(name).bind(batch).dense_macs() == counted_macs(build, batch)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in ZOO])
def test_regenerates_to_the_same_bytes(name, tmp_path):
    from workloads.zoo import _FOLDER
    from workloads.zoo.regenerate import regenerate

    shipped = load_workload_trace(name)
    if shipped.torch != torch.__version__.partition("+")[0]:
        pytest.skip(f"shipped traces were made by torch {shipped.torch}")
    assert regenerate(name, tmp_path).read_bytes() == (_FOLDER / f"{name}.jsonl.gz").read_bytes()


@pytest.mark.parametrize("batch", [1, 4, 7])
def test_batch_is_a_parameter(batch):
    """The trace made at 1 gives at any batch what a trace made there gives."""
    _, build = resolve_target("resnet18-cifar")
    bound = load_workload_trace("resnet18-cifar").bind(batch)
    direct = trace_step(build, name="resnet18-cifar", batch=batch).bind()
    assert bound == direct


# ---- stages, names, sizes ----------------------------------------------------------------------------------------


def test_linear_stages_are_canonical():
    """Y = XW, dX = dY W', dW = dY'X with 6 positions, 8 inputs, 4 outputs; whatever way the weight is stored."""

    class Transposed(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.empty(8, 4))

        def forward(self, x):
            return x @ self.weight

    for layer in (nn.Linear(8, 4, bias=False), Transposed()):
        found = gemms(trace(lambda batch, layer=layer: (nn.Sequential(nn.Linear(8, 8), layer), torch.empty(batch, 3, 8))))
        ff, bp, wu = found["1/ff"], found["1/bp"], found["1/wu"]
        assert [(g.m, g.k, g.n) for g in (ff, bp, wu)] == [(6, 8, 4), (6, 4, 8), (4, 6, 8)]
        assert [(g.a.role, g.b.role) for g in (ff, bp, wu)] == [
            (Role.ACTIVATION, Role.WEIGHT),
            (Role.GRADIENT, Role.WEIGHT),
            (Role.GRADIENT, Role.ACTIVATION),
        ]
        assert ff.b.parameter == bp.b.parameter == "1.weight"
        assert wu.b.tensor == ff.a.tensor
        assert "0/bp" not in found  # the input needs no gradient


@pytest.mark.parametrize(
    ("kernel", "stride", "taps"),
    [(3, 1, [9]), (3, 2, [4, 2, 2, 1]), (1, 2, [1]), (7, 2, [16, 12, 12, 9]), (2, 2, [1, 1, 1, 1]), (3, 3, [1] * 9)],
)
def test_strided_data_gradient_by_phases(kernel, stride, taps):
    """Every tap belongs to one phase: a kernel of R taps at stride s has ceil((R-p)/s) of them in phase p."""
    layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, kernel, stride=stride, padding=kernel // 2, bias=False))
    workload = trace(lambda batch: (layers, torch.empty(batch, 3, 15, 15)))
    out = (15 + 2 * (kernel // 2) - kernel) // stride + 1
    parts = [gemm for gemm in workload.gemms if gemm.layer == "1" and gemm.stage is Stage.BP]
    assert [(g.m, g.k, g.n) for g in parts] == [(2 * out * out, count * 6, 4) for count in taps]
    assert [g.name for g in parts] == ["1/bp", *(f"1/bp.{i}" for i in range(1, len(taps)))]
    assert {g.c for g in parts} == {"1/bp:out"}
    assert sum(g.dense_macs for g in parts) == 2 * out * out * kernel * kernel * 4 * 6
    for gemm, count in zip(parts, taps, strict=True):
        assert gemm.conv.taps_h * gemm.conv.taps_w == count
        assert (gemm.conv.height, gemm.conv.channels, gemm.conv.stride, gemm.conv.operand) == (out, 6, 1, "a")


def test_convolution_geometry():
    layers = nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=4))
    found = gemms(trace(lambda batch: (layers, torch.empty(batch, 8, 9, 9))))
    ff, wu = found["1/ff"], found["1/wu"]
    assert (ff.batch, ff.m, ff.n, ff.k) == (4, 2 * 25, 4, 9 * 2)
    assert (wu.batch, wu.m, wu.n, wu.k) == (4, 4, 9 * 2, 2 * 25)
    assert (ff.conv.operand, wu.conv.operand) == ("a", "b")
    for conv in (ff.conv, wu.conv):
        assert (conv.images, conv.height, conv.channels, conv.stride, conv.out_h) == (2, 9, 2, 2, 5)


CONVOLUTIONS = {  # layer, input: 1, 2 and 3 dimensions, groups, depthwise, dilation, unequal strides, transposed
    "1d": (lambda: nn.Conv1d(4, 6, 5, stride=2), (4, 17)),
    "2d": (lambda: nn.Conv2d(4, 6, 3, padding=1), (4, 7, 9)),
    "3d": (lambda: nn.Conv3d(4, 6, (2, 3, 3), stride=(1, 2, 2)), (4, 5, 7, 7)),
    "no taps in depth": (lambda: nn.Conv3d(4, 6, (1, 3, 3)), (4, 5, 7, 7)),
    "dilated": (lambda: nn.Conv2d(4, 6, 3, stride=2, dilation=2), (4, 11, 11)),
    "unequal strides": (lambda: nn.Conv2d(4, 6, (3, 5), stride=(2, 1)), (4, 11, 11)),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, stride=2, groups=2), (4, 8, 8)),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4), (4, 8, 8)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1), (4, 5, 5)),
    "transposed, grouped": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), (4, 5, 5)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_macs(name):
    """Each of the three stages multiplies every weight once per position of the side that the stride does not widen."""
    make, shape = CONVOLUTIONS[name]
    with torch.device("meta"):
        layer = make()
        out = layer(torch.empty(2, *shape)).shape
    groups, transposed = layer.groups, layer.transposed
    positions = 2 * prod(shape[1:] if transposed else out[2:])
    expected = positions * layer.weight.numel()
    workload = trace(lambda batch: (nn.Sequential(nn.Tanh(), nn.PReLU(), make()), torch.empty(batch, *shape)))
    for stage in (Stage.FF, Stage.BP, Stage.WU):
        found = [gemm for gemm in workload.gemms if gemm.stage is stage]
        assert sum(gemm.dense_macs for gemm in found) == expected
        assert {gemm.batch for gemm in found} == {groups}
        for gemm in found:  # the geometry describes the operand: positions by depth of the reduction
            if gemm.conv is not None:
                depth = gemm.n if stage is Stage.WU else gemm.k
                assert gemm.conv.images * gemm.conv.out_h * gemm.conv.out_w == positions
                assert gemm.conv.taps_h * gemm.conv.taps_w * gemm.conv.channels == depth
    assert (next(workload.gemms).conv is None) == (name in {"3d", "unequal strides"})
    if groups == 1:  # the counter takes a grouped weight gradient for an ungrouped one
        build = lambda batch: (nn.Sequential(nn.Tanh(), nn.PReLU(), make()), torch.empty(batch, *shape))  # noqa: E731
        assert workload.dense_macs() == counted_macs(build, 2)


def test_attention_is_activation_by_activation():
    """One head layer of 2 heads, 5 tokens, 8 wide: QK' and PV forward, two gradients of each backward."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    workload = trace(lambda batch: (layer, torch.empty(batch, 5, 16)), batch=3)
    attention = [gemm for gemm in workload.gemms if gemm.stage is Stage.AA]
    assert [gemm.name for gemm in attention] == [f"self_attn/aa{i}" for i in range(6)]
    assert [gemm.phase for gemm in attention] == [Phase.FORWARD] * 2 + [Phase.BACKWARD] * 4
    assert {gemm.batch for gemm in attention} == {6}
    assert all(gemm.dense_macs == 6 * 5 * 5 * 8 for gemm in attention)
    assert all((gemm.a.parameter, gemm.b.parameter) == ("", "") for gemm in attention)


def test_custom_function_and_tied_weight(tmp_path, monkeypatch):
    """A user's file: BDWP's two masks (arXiv:2309.13015) inside an autograd function, and an embedding tied to the head."""
    file = tmp_path / "mine.py"
    file.write_text(USER_FILE)
    name, build = resolve_target(f"{file}:tiny")
    assert name == "tiny"
    workload = trace(build, batch=4)
    found = gemms(workload)
    assert {(g.name, g.a.parameter or g.b.parameter) for g in workload.gemms} == {
        ("blocks.0/ff", "blocks.0.weight"), ("blocks.0/bp", "blocks.0.weight"), ("blocks.0/wu", ""),
        ("blocks.1/ff", "blocks.1.weight"), ("blocks.1/bp", "blocks.1.weight"), ("blocks.1/wu", ""),
        ("head/ff", "embedding.weight"), ("head/bp", "embedding.weight"), ("head/wu", ""),
    }  # fmt: skip
    masked = found["blocks.0/ff"].b.tensor
    writer = next(op for op in workload.ops if isinstance(op, Vector) and masked in {t.name for t in op.writes})
    assert writer.operation == "mul"
    assert found["blocks.0/bp"].b.tensor != masked  # the other mask
    updates = {op.parameter: op for op in workload.ops if isinstance(op, Update)}
    assert set(updates) == {"embedding.weight", "blocks.0.weight", "blocks.1.weight"}
    assert updates["blocks.0.weight"].gradient == found["blocks.0/wu"].c
    total = next(
        op for op in workload.ops if isinstance(op, Vector) and op.writes[0].name == updates["embedding.weight"].gradient
    )
    assert {t.name for t in total.reads} == {"head/wu:out", "embedding/embedding_dense_backward:out"}
    monkeypatch.syspath_prepend(tmp_path)
    assert trace(resolve_target("mine:tiny")[1], batch=4) == workload


USER_FILE = """
import torch
from torch import nn

def masked(w, dim):
    groups = w.detach().transpose(dim, -1).reshape(-1, 8)
    mask = torch.zeros_like(groups).scatter(1, groups.abs().topk(2, dim=1).indices, 1.0)
    return (groups * mask).reshape(w.transpose(dim, -1).shape).transpose(dim, -1)

class Bdwp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ masked(w, 1).t()

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ masked(w, 0), g.reshape(-1, g.shape[-1]).t() @ x.reshape(-1, x.shape[-1])

class Sparse(nn.Linear):
    def forward(self, x):
        return Bdwp.apply(x, self.weight)

class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(32, 16)
        self.blocks = nn.ModuleList([Sparse(16, 16, bias=False) for _ in range(2)])
        self.head = nn.Linear(16, 32, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids):
        x = self.embedding(ids)
        for block in self.blocks:
            x = torch.relu(block(x))
        return self.head(x)

def tiny(batch=2):
    return Tiny(), torch.zeros(batch, 8, dtype=torch.long)
"""


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_is_recomputation(reentrant):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 4)
            self.block = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU())

        def forward(self, x):
            return self.last(checkpoint(self.block, self.first(x), use_reentrant=reentrant))

    workload = trace(lambda batch: (Model(), torch.empty(batch, 8)))
    again = [gemm for gemm in workload.gemms if gemm.phase is Phase.RECOMPUTE]
    assert [(g.name, g.stage, g.b.parameter) for g in again] == [
        ("block.0/ff@recompute", Stage.FF, "block.0.weight"),
        ("block.2/ff@recompute", Stage.FF, "block.2.weight"),
    ]
    found = gemms(workload)
    assert {f"{layer}/{s}" for layer in ("block.0", "block.2", "last") for s in ("ff", "bp", "wu")} <= found.keys()
    assert found["block.2/wu"].b.tensor.endswith("#2:out")  # the recomputed activation, not the one let go


def test_autocast_keeps_the_weights_name():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    workload = trace(lambda batch: (model, torch.empty(batch, 8)), dtype="bf16")
    found = gemms(workload)
    assert [found[name].b.parameter for name in ("0/ff", "2/ff", "2/bp")] == ["0.weight", "2.weight", "2.weight"]
    casts = [op for op in workload.ops if isinstance(op, Vector) and op.operation == "_to_copy"]
    assert {op.kind for op in casts} == {VectorKind.MAP}
    assert found["2/ff"].b.tensor in {t.name for op in casts for t in op.writes}
    update = next(op for op in workload.ops if isinstance(op, Update) and op.parameter == "2.weight")
    assert update.gradient in {t.name for op in casts for t in op.writes}  # cast back for the FP32 master


def test_frozen_and_low_rank_layers():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.frozen, self.base = nn.Linear(6, 6).requires_grad_(False), nn.Linear(6, 6).requires_grad_(False)
            self.down, self.up = nn.Parameter(torch.empty(6, 2)), nn.Parameter(torch.empty(2, 6))

        def forward(self, x):
            with torch.no_grad():
                x = self.frozen(x)
            return nn.functional.linear(x, self.base.weight + self.down @ self.up)

    workload = trace(lambda batch: (Model(), torch.empty(batch, 6)))
    forward = [gemm for gemm in workload.gemms if gemm.phase is Phase.FORWARD]
    assert [gemm.b.parameter for gemm in forward] == ["frozen.weight", "up", "base.weight"]
    assert {gemm.layer for gemm in workload.gemms if gemm.phase is Phase.BACKWARD} == {"Model"}
    assert {op.parameter for op in workload.ops if isinstance(op, Update)} == {"down", "up"}


# ---- vector operations and order ---------------------------------------------------------------------------------


def test_vector_work():
    """2 images, 4 channels of 8x8, pooled to 4x4: a norm counts twice, pooling by window, a bias by outputs."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    found = vectors(trace(lambda batch: (model, torch.empty(batch, 3, 8, 8))))
    outputs, pooled = 2 * 4 * 8 * 8, 2 * 4 * 4 * 4
    bias, norm = found["0/bias_add"], found["1/native_batch_norm"]
    assert (bias.kind, bias.writes[0].elements) == (VectorKind.MAP, outputs)
    assert (norm.kind, norm.work) == (VectorKind.NORM, 2 * (outputs + 4 * 4))
    assert (found["2/relu"].kind, found["2/relu"].work) == (VectorKind.MAP, outputs)
    pool = found["3/max_pool2d_with_indices"]
    assert (pool.kind, pool.work) == (VectorKind.POOL, 9 * pooled)
    assert [t.elements for t in pool.writes] == [pooled, pooled]
    backward = found["2/threshold_backward"]
    assert (backward.work, [t.elements for t in backward.reads]) == (2 * outputs, [outputs, outputs])
    gradient = found["0/bias_gradient"]
    assert (gradient.kind, gradient.work, gradient.writes[0].elements) == (VectorKind.REDUCE, outputs, 4)


def test_views_cost_nothing_and_writes_in_place_make_new_names():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 6, bias=False)

        def forward(self, x):
            y = self.layer(x)
            left, right = y.t().reshape(6, -1).t().chunk(2, dim=1)
            y = left * right
            y.mul_(2)
            return y.view(-1).expand(3, -1) * 1.0

    workload = trace(lambda batch: (Model(), torch.empty(batch, 6)))
    forward = [op for op in workload.ops if isinstance(op, Vector) and op.phase is Phase.FORWARD]
    assert [op.operation for op in forward] == ["mul", "mul_", "mul", "sum"]
    product, scaled, expanded, _ = forward
    assert [(t.name, t.elements) for t in product.reads] == [("layer/ff:out", 12)]  # two halves of one storage
    assert scaled.reads[0].name == product.writes[0].name != scaled.writes[0].name
    assert (expanded.reads[0].elements, expanded.writes[0].elements) == (6, 18)


def test_gradients_depend_on_what_comes_after_in_forward():
    workload = load_workload_trace("resnet18").bind()
    graph = workload.graph
    before = nx.ancestors(graph, "layer1.0.conv1/bp")
    assert {"layer1.0.conv2/bp", "layer4.1.conv2/bp", "fc/bp", "fc/ff", "conv1/ff"} <= before
    assert "layer1.0.conv1/wu" not in before
    assert "layer1.0.conv1/bp" in nx.ancestors(graph, "conv1/wu")
    assert {f"layer2.0.conv1/bp{part}" for part in ("", ".1", ".2", ".3")} <= before
    for op in workload.ops:
        if isinstance(op, Update):
            assert list(graph.predecessors(op.name)), op.name


def test_saved_for_backward():
    """Linear, ReLU, Linear save the two inputs of the linears; the ReLU's output is the second of them."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    assert trace(lambda batch: (model, torch.empty(batch, 8)), batch=5).saved_elements == 5 * (8 + 16)


# ---- the batch ---------------------------------------------------------------------------------------------------


def test_batch_without_keyword():
    found = trace_step(lambda: (nn.Linear(6, 2), torch.empty(4, 6)), name="model", batch=3)
    assert found.batch_scalable
    assert next(found.bind(9).gemms).m == 9


def test_model_of_one_batch_says_why():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 2)

        def forward(self, x):
            return self.layer(x.reshape(4, 6))

    found = trace_step(lambda: (Fixed(), torch.empty(4, 2, 3)), name="model", batch=4)
    assert not found.batch_scalable
    assert "batch 4 only" in found.notes[0]
    with pytest.raises(TraceError, match="batch must be 4, not 5"):
        found.bind(5)
    with pytest.raises(TraceError, match="takes no batch, and its example inputs have 4"):
        trace_step(lambda: (Fixed(), torch.empty(4, 2, 3)), name="model", batch=2)


def test_size_that_is_quadratic_in_the_batch():
    class Contrastive(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 2)

        def forward(self, x):
            return self.layer(x) @ self.layer(x).t()

    found = trace_step(lambda batch: (Contrastive(), torch.empty(batch, 6)), name="model", batch=4)
    assert (found.batch_scalable, next(found.bind().gemms).m) == (False, 4)


def test_batch_of_one_that_needs_fewer_copies():
    """Also checks work at a third batch: of a layer norm, what is read is more at 1 and what is written more at 4."""

    def build(batch):
        return nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True), torch.empty(batch, 5, 16)

    found = trace_step(build, name="model", batch=1)
    assert found.batch_scalable
    assert "vector operations less" in found.notes[0]
    assert found.bind(4) == trace_step(build, name="model", batch=4).bind()


def test_real_tensors_and_unregistered_ones():
    """A builder that reads values (so that it can't run without data), hidden constants, a fixed mask on a weight."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 6)
            self.mask, self.scales = torch.ones(6, 6), [torch.ones(6)]
            constant = torch.ones(6)
            self.shift = lambda x: x + constant
            self.width = int(torch.ones(6).sum().item())

        def forward(self, x, y):
            return self.shift(nn.functional.linear(x, self.layer.weight * self.mask) * self.scales[0]) + y

    workload = trace(lambda: (Model(), {"x": torch.ones(4, 6), "y": torch.ones(6)}), batch=4)
    assert gemms(workload)["Model/ff"].b.parameter == "layer.weight"
    assert [op.parameter for op in workload.ops if isinstance(op, Update)] == ["layer.weight"]


def test_same_trace_twice(tmp_path):
    _, build = resolve_target("resnet18-cifar")
    for name in ("a", "b"):
        save_trace(trace_step(build, name="x", batch=2), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# ---- errors ------------------------------------------------------------------------------------------------------


class FailsBackward(torch.autograd.Function):
    @staticmethod
    def forward(_ctx, x):
        return x * 2

    @staticmethod
    def backward(_ctx, _gradient):
        raise ArithmeticError("no gradient today")


class Failing(nn.Module):
    def forward(self, x):
        return FailsBackward.apply(x)


class Reads(nn.Module):
    def forward(self, x):
        return x if x.sum().item() > 0 else -x


FAILURES = {
    "forward": (
        nn.Sequential(nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 4), nn.Linear(5, 4))),
        r"forward at layer '1.1': RuntimeError: .*reduction dim",
    ),
    "backward": (
        nn.Sequential(nn.Linear(6, 6), Failing(), nn.Linear(6, 6)),
        "backward at layer '1': ArithmeticError: no gradient today",
    ),
    "values": (nn.Sequential(nn.Linear(6, 6), Reads()), "layer '1': DataDependentOutputException.*without values"),
    "no output": (nn.Identity(), "must return a floating-point tensor that depends on its parameters"),
    "frozen": (nn.Linear(6, 6).requires_grad_(False), "must return a floating-point tensor"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failing_model(name, caplog, capfd):
    module, message = FAILURES[name]
    with pytest.raises(TraceError, match=message):
        trace(lambda batch: (module, torch.empty(batch, 6)))
    captured = capfd.readouterr()
    assert (captured.out, captured.err, caplog.text) == ("", "", "")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: 5, r"must return \(module, example inputs\), not int"),
        (lambda: (nn.Linear(2, 2), "x"), "Example inputs of 'model' must be a tensor, .* not str"),
        (lambda: (1, 2, 3), r"not tuple of \(int, int, int\)"),
        (lambda: nn.Linear(2, 2), "or be given an input shape"),
        (lambda: 1 // 0, "could not be built: ZeroDivisionError"),
        (lambda: (nn.LazyLinear(2), torch.empty(2, 2)), "lazy parameters"),
    ],
)
def test_wrong_builder(build, message):
    with pytest.raises(TraceError, match=message):
        trace(build)


def test_module_with_input_shape():
    assert next(trace(lambda: nn.Linear(6, 2), input_shape=(3, 6), batch=5).gemms).m == 15


def test_wrong_options():
    def build(batch):
        return nn.Linear(2, 2), torch.empty(batch, 2)

    for options, message in (
        ({"batch": 0}, "batch must be a positive integer, not 0"),
        ({"dtype": "int3"}, "dtype must be one of fp32, bf16, fp16, not 'int3'"),
        ({"optimizer": "x"}, "optimizer must be one of sgd, .* not 'x'"),
    ):
        with pytest.raises(TraceError, match=message):
            trace(build, **options)


def test_targets_that_are_not_there(tmp_path):
    bad, broken = tmp_path / "bad.py", tmp_path / "broken.py"
    bad.write_text("x = 3\n")
    broken.write_text("import no_such_package\n")
    for text, message in (
        ("no-such-model", "must be a zoo model .*bert-base.*vit-b16"),
        (f"{tmp_path}/none.py:f", "must be an existing file"),
        (f"{bad}:f", "must have an attribute 'f'"),
        (f"{bad}:x", "must be callable, not int"),
        (f"{broken}:f", "failed when run: ModuleNotFoundError: No module named 'no_such_package'"),
        ("no_such_module.at.all:f", "must be importable: there is no 'no_such_module'"),
        ("math:no_such_function", "must have an attribute"),
        ("math:", "must be written"),
    ):
        with pytest.raises(TraceError, match=message):
            resolve_target(text)


def test_without_torch():
    """Shipped traces load, and a target says what to install, in an interpreter where torch can't be found."""
    code = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == 'torch':
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == 'torch' else real(name, package)
import workloads.trace, workloads.zoo.regenerate
from workloads.zoo import load_workload_trace
from workloads.formats.trace_file import TraceError
assert load_workload_trace('resnet18').bind().parameters == 11689512
for call in (lambda: workloads.trace.resolve_target('resnet18'), lambda: workloads.trace.trace_step(int, name='x', batch=1)):
    try:
        call()
    except TraceError as error:
        assert 'install nmdse[torch]' in str(error)
    else:
        raise SystemExit('no error')
assert 'torch' not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
