"""Does a model that can't be traced fail with one sentence that names the layer and the cause?"""

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from traced import trace  # noqa: E402

from workloads.formats.trace_file import TraceError  # noqa: E402
from workloads.trace import resolve_target  # noqa: E402

pytestmark = pytest.mark.torch


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
