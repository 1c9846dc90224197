"""Does a sweep with a point that kills its worker finish all others, say of that one why, and try it again the next time?"""

import os
from pathlib import Path

import pytest
from small import SMALL_TRACE, write_small_trace
from terminal import dse, write_space

AXES = """
"accelerator.pe.multiply_latency" = [1, 2, 3, 4, 5]
"accelerator.pe.interleave" = [1, 2, 4]
"""  # 30 points with the methods
KILL = """
import sys
if "--multiprocessing-fork" in sys.orig_argv:
    import os
    import dse.sweep

    whole = dse.sweep.evaluate_settings

    def evaluate_settings(settings):
        if settings["accelerator.pe.multiply_latency"] == 3 and settings["accelerator.pe.interleave"] == 2:
            os._exit(9)
        return whole(settings)

    dse.sweep.evaluate_settings = evaluate_settings
"""
WHY = "its worker process died twice, with nothing beside it the second time, perhaps for lack of memory"


@pytest.fixture
def folder(tmp_path):
    write_small_trace(tmp_path)
    path = write_space(tmp_path, AXES)
    path.write_text(path.read_text().replace("resnet18-cifar", SMALL_TRACE))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(KILL)
    return tmp_path


@pytest.mark.parametrize("how", [(), ("--search", "nsga2", "--points", "30", "--population", "10", "--baselines", "0")])
def test_a_point_that_kills_its_worker_is_one_that_failed(folder, how, monkeypatch):
    sweep = ("sweep", "space.toml", "-o", "out", "--no-report", "-q", "-j", "2", *how)
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPATH", os.pathsep.join([str(folder / "site"), os.environ.get("PYTHONPATH", "")]))
        ran = dse(*sweep, cwd=folder)
    assert (ran.returncode, ran.stderr) == (0, "")
    text = " ".join(ran.stdout.split())
    assert "28 ok, 2 failed, of 30 points" in text
    assert f"failed: 2 x {WHY}" in text
    ran = dse(*sweep, cwd=folder)
    assert ran.returncode == 0
    assert "30 ok, of 30 points" in " ".join(ran.stdout.split())
    assert Path(folder / "out" / "results.csv").read_text().count(",ok,") >= 30
