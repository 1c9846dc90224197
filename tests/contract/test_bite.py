# amaranth: UnusedElaboratable=no
"""Is a fault in any one view found by comparing it with the others? Each is one line, planted in a copy of the project."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from rtl_kit.planted import ROOT, planted_copy
from rtl_kit.require import need_rtl

need_rtl()

sys.path.append(str(Path(__file__).resolve().parents[1] / "machine"))
from machines import verilog_of_machine  # noqa: E402

PACKAGES = ("workloads", "dataflows", "simulator", "rtl", "dse", "reports", "tests")

FAULTS = tomllib.loads((Path(__file__).parent / "bite_faults.toml").read_text())


def planted(folder: Path, fault: dict[str, str]) -> Path:
    """A copy of the project with the fault."""
    return planted_copy(folder, fault["file"], fault["right"], fault["wrong"], packages=PACKAGES)


@pytest.fixture(scope="module")
def verilog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("sound") / "machine.v"
    file.write_text(verilog_of_machine("fp16-3x4"))
    return file


@pytest.mark.parametrize("fault", FAULTS["machine"], ids=lambda fault: fault["name"])
def test_found_on_the_whole_machine(fault: dict[str, str], tmp_path: Path, verilog: Path):
    checkout = planted(tmp_path, fault)
    command = [sys.executable, "-P", str(ROOT / "tests/contract/bite_run.py"), str(checkout), str(verilog), str(ROOT / "tests")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if fault["name"] == "nothing":
        assert done.returncode == 0, done.stdout + done.stderr
    else:  # a difference, or a program that a view refuses
        assert done.returncode == 3 or "Error" in done.stderr, done.stdout + done.stderr[-2000:]
        assert "ImportError" not in done.stderr
        assert "SyntaxError" not in done.stderr


@pytest.mark.parametrize("fault", FAULTS["component"], ids=lambda fault: fault["name"])
def test_found_by_the_component(fault: dict[str, str], tmp_path: Path):
    checkout = planted(tmp_path, fault)
    path = os.pathsep.join(str(checkout / each) for each in (".", "tests", "tests/contract"))
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--rootdir", str(checkout)]
    command += ["-c", str(ROOT / "pyproject.toml"), str(checkout / "tests/contract" / fault["test"])]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]
    assert "AssertionError" in done.stdout, done.stdout[-2000:]


def test_every_view_has_its_faults():
    views = [fault["view"] for kind in FAULTS.values() for fault in kind]
    assert set(views) == {"none", "spec", "timing", "simulator", "golden", "encoding", "rtl"}
    assert len(views) - 1 >= 12
