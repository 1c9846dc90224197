"""Is a trace a function of the batch, and does it say so where it can't be?"""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from workloads.formats.trace_file import TraceError, save_trace  # noqa: E402
from workloads.trace import resolve_target, trace_step  # noqa: E402
from workloads.zoo import load_workload_trace  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("batch", [1, 4, 7])
def test_batch_is_a_parameter(batch):
    """The trace made at 1 gives at any batch what a trace made there gives."""
    _, build = resolve_target("resnet18-cifar")
    bound = load_workload_trace("resnet18-cifar").bind(batch)
    direct = trace_step(build, name="resnet18-cifar", batch=batch).bind()
    assert bound == direct


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


def test_same_trace_twice(tmp_path):
    _, build = resolve_target("resnet18-cifar")
    for name in ("a", "b"):
        save_trace(trace_step(build, name="x", batch=2), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
