"""Do the zoo's traces hold the published counts, and do they agree with PyTorch's own counter?"""

import pytest

torch = pytest.importorskip("torch")


from traced import counted_macs  # noqa: E402

from workloads.gemm import Phase, Stage  # noqa: E402
from workloads.trace import resolve_target  # noqa: E402
from workloads.zoo import load_workload_trace, zoo_names  # noqa: E402

pytestmark = pytest.mark.torch


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
