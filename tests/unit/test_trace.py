"""Does the tracer find every matrix product of a step, with its stage, layer, weight and sizes?"""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402
from traced import gemms, trace  # noqa: E402

from workloads.gemm import Phase, Role, Stage  # noqa: E402
from workloads.ops import Update, Vector, VectorKind  # noqa: E402
from workloads.trace import resolve_target  # noqa: E402

pytestmark = pytest.mark.torch


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


def test_product_without_gradient_leaves_the_operation_before_it_alone():
    """A frozen layer makes no autograd node: its number is that of the attention product before it."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.frozen = nn.Linear(6, 6), nn.Linear(6, 6).requires_grad_(False)

        def forward(self, x):
            y = self.layer(x)
            scores = torch.bmm(y, y.transpose(1, 2))
            return scores, self.frozen(x)

    workload = trace(lambda batch: (Model(), torch.empty(batch, 3, 6)))
    backward = [(g.name, g.stage) for g in workload.gemms if g.phase is Phase.BACKWARD]
    assert backward == [("Model/aa1", Stage.AA), ("Model/aa2", Stage.AA), ("layer/wu", Stage.WU)]


def test_weight_of_several_parameters_is_the_one_of_its_size():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.weight = nn.Parameter(torch.empty(6, 1)), nn.Parameter(torch.empty(6, 8))

        def forward(self, x):
            return nn.functional.linear(x, self.scale * self.weight)

    workload = trace(lambda batch: (nn.Sequential(nn.Linear(8, 8), Scaled()), torch.empty(batch, 8)))
    assert gemms(workload)["1/ff"].b.parameter == gemms(workload)["1/bp"].b.parameter == "1.weight"


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
