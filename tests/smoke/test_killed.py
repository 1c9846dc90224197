"""Does a search, and a sweep by the closed form, that is killed at any moment end with the tables of one that ran through?"""

import random
import time

import pytest
from running import Sweep, chunks_in, rows_in
from small import SMALL_TRACE, write_small_trace
from terminal import dse, wait_until, write_space

AXES = """
"accelerator.pe.multiply_latency" = [1, 2, 3, 4]
"accelerator.pe.interleave" = [1, 2, 4]
"accelerator.vector.lanes" = [8, 16, 32, 64]
"mapping.pregenerate" = [true, false]
"""
SEARCH = ("--search", "nsga2", "--points", "60", "--population", "12", "--seed", "4")
CLOSED = ("--fidelity", "analytic")


MANY_AXES = """
"accelerator.sequencer.queue_depth" = { start = 8, stop = 34, step = 1 }
"""  # 5,184 points: 6 files of the closed form


def write_small_space(folder, axes):
    folder.mkdir()
    write_small_trace(folder)
    path = write_space(folder, AXES + axes)
    path.write_text(path.read_text().replace("resnet18-cifar", SMALL_TRACE))


def killed(folder, axes, how, moments, wanted, whole):
    """Sweep a new space with kills at these moments (what the folder holds then, as a goal), then to the end: equal tables."""
    luck, sweep = random.Random(20240607), ("sweep", "space.toml", "-o", "out", "--no-report", *how)
    write_small_space(folder, axes)
    for attempt, (held, goal) in enumerate(moments):
        running = Sweep(folder, *sweep, jobs=2 - attempt % 2)
        reached = wait_until(lambda what=held, at=goal: what(folder) >= at, 120)
        time.sleep(luck.uniform(0, 0.05))
        assert reached
        assert running.process.poll() is None, running.end()
        running.kill(group=attempt % 2 == 0)
        assert running.all_ended(10), "workers outlive the sweep"
    code, _, err = Sweep(folder, *sweep).end()
    assert (code, err) == (0, "")
    write_small_space(whole, axes)
    ran = dse(*sweep, "-q", "-j", "1", cwd=whole)
    assert ran.returncode == 0, ran.stderr
    for name in wanted:
        assert (folder / "out" / name).read_bytes() == (whole / "out" / name).read_bytes(), name


FEW, MANY = ((rows_in, 5), (rows_in, 31)), tuple((rows_in, count) for count in (0, 1, 4, 12, 13, 30, 48, 59, 64, 90))


@pytest.mark.parametrize("moments", [FEW, pytest.param(MANY, marks=pytest.mark.slow)], ids=["few", "many"])
def test_a_search_that_is_killed_asks_for_the_same_points_again(tmp_path, moments):
    """And so does the random search beside it, whose rows are in the same store."""
    tables = ("results.csv", "results.parquet", "search.csv")
    killed(tmp_path / "killed", "batch = [1, 2]", SEARCH, moments, tables, tmp_path / "whole")


FILES = ((chunks_in, 2), (rows_in, 4))
MORE_FILES = (*((chunks_in, count) for count in (0, 1, 2, 3, 5, 6)), *((rows_in, count) for count in (1, 2, 4, 5)))


@pytest.mark.parametrize("moments", [FILES, pytest.param(MORE_FILES, marks=pytest.mark.slow)], ids=["few", "many"])
def test_a_sweep_by_the_closed_form_that_is_killed_goes_on(tmp_path, moments):
    """While files are written, and while the best points are confirmed."""
    killed(tmp_path / "killed", MANY_AXES, CLOSED, moments, ("results.csv", "results.parquet"), tmp_path / "whole")
