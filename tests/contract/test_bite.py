# amaranth: UnusedElaboratable=no
"""Is a fault in any one view found by comparing it with the others? Each is one line, planted in a copy of the project."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rtl_kit.require import need_rtl

need_rtl()

sys.path.append(str(Path(__file__).resolve().parents[1] / "machine"))
from machines import verilog_of_machine  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("workloads", "dataflows", "simulator", "rtl", "dse", "reports", "tests")

# what is wrong: (view, file, right text, wrong text)
MACHINE_FAULTS = {
    "nothing": ("none", "simulator/arch.py", "tree_levels + 1", "tree_levels + 1"),
    "spec: an addition too few in the PE's latency": ("spec", "simulator/arch.py", "tree_levels + 1", "tree_levels"),
    "spec: the pruner forgets to write its last round": ("spec", "simulator/arch.py", "+ pattern.keep - 1", "- 1"),
    "closed form: a column less of skew": ("timing", "simulator/timing.py", "array.rows + array.cols - 2", "array.rows + array.cols - 3"),
    "closed form: rows never behind": ("timing", "simulator/timing.py", "(array.rows - 1) * (hop - 1)", "0 * (hop - 1)"),
    "memory: the latency is free": ("simulator", "simulator/layout.py", "+ dram.latency_cycles(clock)", ""),
    "engine: tokens visible at once": ("simulator", "simulator/channel.py", "delay + self._latency", "delay"),
    "port: the newest request first": ("simulator", "simulator/memory.py", "(int(self._env.now), rank", "(-int(self._env.now), rank"),
    "counters: stores count as loads": (
        "simulator",
        "simulator/engines/dma.py",
        "isinstance(command, Load)",
        "isinstance(command, Store | Load)",
    ),
    "golden: lanes and beats in descending order": (
        "golden",
        "simulator/arithmetic.py",
        "for start in range(0, depth, lanes):",
        "for start in reversed(range(0, depth, lanes)):",
    ),
    "golden: results rounded toward zero": ("golden", "simulator/arithmetic.py", "half = values.astype(np.float16)", "half = np.trunc(values * 4).astype(np.float16) / np.float16(4)"),
    "golden: momentum after the step": ("golden", "simulator/arithmetic.py", "w = w - rate * v", "w = w - rate * velocity"),
    "golden: ties to the higher index": ("golden", "workloads/sparsity.py", 'kind="stable"', 'kind="stable"[::1]'),
    "interpreter: the mask's bits reversed": ("golden", "simulator/image.py", 'bitorder="little"', 'bitorder="big"'),
    "encoding: m and n exchanged": ("encoding", "simulator/binary.py", 'range(get["m"]), range(get["n"])', 'range(get["n"]), range(get["m"])'),
}  # fmt: skip
RTL_FAULTS = {
    "decoder: a slot too many": ("rtl/decoder.py", "get[name] >= buffer.slots", "get[name] > buffer.slots", "test_decoder.py"),
    "frame: a token too early": ("rtl/frame.py", "self.progress[engine.value] >= waits", "self.progress[engine.value] + 1 >= waits", "test_sequencer.py"),
    "sequencer: queues of one place more": ("rtl/frame.py", "(waiting != 0)) < self.depth", "(waiting != 0)) <= self.depth", "test_sequencer.py"),
}  # fmt: skip


def planted(tmp_path: Path, file: str, right: str, wrong: str) -> Path:
    """A copy of the project with the fault."""
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "zoo", "studies")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    source = (tmp_path / file).read_text()
    assert source.count(right) == 1, f"{file} must hold {right!r} once, not {source.count(right)} times"
    (tmp_path / file).write_text(source.replace(right, wrong))
    return tmp_path


@pytest.fixture(scope="module")
def verilog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("sound") / "machine.v"
    file.write_text(verilog_of_machine("fp16-3x4"))
    return file


@pytest.mark.parametrize("fault", MACHINE_FAULTS)
def test_found_on_the_whole_machine(fault: str, tmp_path: Path, verilog: Path):
    _, file, right, wrong = MACHINE_FAULTS[fault]
    checkout = planted(tmp_path, file, right, wrong)
    command = [sys.executable, "-P", str(ROOT / "tests/contract/bite_run.py"), str(checkout), str(verilog), str(ROOT / "tests")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if fault == "nothing":
        assert done.returncode == 0, done.stdout + done.stderr
    else:  # a difference, or a program that a view refuses
        assert done.returncode == 3 or "Error" in done.stderr, done.stdout + done.stderr[-2000:]
        assert "ImportError" not in done.stderr
        assert "SyntaxError" not in done.stderr


@pytest.mark.parametrize("fault", RTL_FAULTS)
def test_found_by_the_component(fault: str, tmp_path: Path):
    file, right, wrong, test = RTL_FAULTS[fault]
    checkout = planted(tmp_path, file, right, wrong)
    path = os.pathsep.join(str(checkout / each) for each in (".", "tests", "tests/contract"))
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--rootdir", str(checkout)]
    command += ["-c", str(ROOT / "pyproject.toml"), str(checkout / "tests/contract" / test)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]
    assert "AssertionError" in done.stdout, done.stdout[-2000:]


def test_every_view_has_its_faults():
    assert {view for view, *_ in MACHINE_FAULTS.values()} == {"none", "spec", "timing", "simulator", "golden", "encoding"}
    assert len(MACHINE_FAULTS) + len(RTL_FAULTS) > 12
