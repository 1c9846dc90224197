"""Are vector operations counted and ordered right, views free, and saved activations known?"""

import networkx as nx
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from traced import trace, vectors  # noqa: E402

from workloads.gemm import Phase  # noqa: E402
from workloads.ops import Update, Vector, VectorKind  # noqa: E402
from workloads.zoo import load_workload_trace  # noqa: E402

pytestmark = pytest.mark.torch


def test_vector_work():
    """2 images, 4 channels of 8x8, pooled to 4x4: a norm counts twice, pooling by window, a bias by outputs."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    found = vectors(trace(lambda batch: (model, torch.empty(batch, 3, 8, 8))))
    outputs, pooled = 2 * 4 * 8 * 8, 2 * 4 * 4 * 4
    bias, norm = found["0/bias_add"], found["1/native_batch_norm"]
    assert (bias.kind, bias.writes[0].elements) == (VectorKind.MAP, outputs)
    assert (norm.kind, norm.work) == (VectorKind.BATCH_NORM, 2 * outputs)
    assert (found["2/relu"].kind, found["2/relu"].work) == (VectorKind.MAP, outputs)
    pool = found["3/max_pool2d_with_indices"]
    assert (pool.kind, pool.work) == (VectorKind.POOL, 9 * pooled)
    assert [t.elements for t in pool.writes] == [pooled, pooled]
    backward = found["2/threshold_backward"]
    assert (backward.work, [t.elements for t in backward.reads]) == (outputs, [outputs, outputs])
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
