"""Is a sweep safe to stop at any moment, by Ctrl-C or kill -9, and does the same command then finish it to the same table?"""

import os
import random
import re
import signal
import time
from pathlib import Path

import pytest
from running import Sweep, rows_in
from small import SMALL_TRACE, write_small_trace
from terminal import dse, wait_until, write_space

AXES = """
"accelerator.pe.multiply_latency" = [1, 2, 3, 4]
"accelerator.pe.interleave" = [1, 2, 4]
"mapping.pregenerate" = [true, false]
"""
POINTS = 48
SWEEP = ("sweep", "space.toml", "-o", "out", "--no-report")


def write_small_space(folder, batches):
    """Points of some milliseconds, 48 for each batch, so that a kill comes among many of them."""
    folder.mkdir()
    write_small_trace(folder)
    path = write_space(folder, f"{AXES}batch = {list(range(1, batches + 1))}")
    path.write_text(path.read_text().replace("resnet18-cifar", SMALL_TRACE))


def tables(folder):
    return {name: (folder / "out" / name).read_bytes() for name in ("results.csv", "results.parquet")}


def whole(folder, batches):
    """The tables of the sweep when nothing stops it."""
    write_small_space(folder, batches)
    assert dse(*SWEEP, "-q", "-j", "1", cwd=folder).returncode == 0
    return tables(folder)


@pytest.mark.parametrize(("times", "batches"), [(4, 4), pytest.param(20, 8, marks=pytest.mark.slow)])
def test_killed_again_and_again_it_ends_with_the_same_table(tmp_path, times, batches):
    folder, points = tmp_path / "killed", POINTS * batches
    write_small_space(folder, batches)
    luck, held, kills = random.Random(20240607), 0, 0
    for attempt in range(times):
        sweep = Sweep(folder, *SWEEP, jobs=2 - attempt % 2)
        # From before the store exists to after some points: a few at a time, so that there is work left for all attempts.
        target = held + luck.choice((0, 1, 2, 5, 10)) if attempt else 0
        wait_until(lambda goal=target, mine=sweep: rows_in(folder) >= goal or mine.process.poll() is not None, 30)
        time.sleep(luck.uniform(0, 1.5 if target == held else 0.05))
        kills += sweep.process.poll() is None
        sweep.kill(group=attempt % 4 < 2)
        assert sweep.all_ended(10), "workers outlive the sweep"
        now = rows_in(folder)
        assert now >= held, "rows were lost"
        held = now
    assert kills == times
    assert 0 < held < points
    last = Sweep(folder, *SWEEP)
    code, out, err = last.end()
    assert (code, err) == (0, "")
    assert f"{points} ok, of {points} points" in out
    assert tables(folder) == whole(tmp_path / "whole", batches)


def test_two_sweeps_at_once_share_a_store_and_lose_nothing(tmp_path):
    folder = tmp_path / "shared"
    write_small_space(folder, 2)
    both = [Sweep(folder, *SWEEP, jobs=1) for _ in range(2)]
    for sweep in both:
        code, out, err = sweep.end()
        assert (code, err) == (0, "")
        assert f"{2 * POINTS} ok, of {2 * POINTS} points" in out
    assert rows_in(folder) == 2 * POINTS
    assert tables(folder) == whole(tmp_path / "whole", 2)


@pytest.mark.parametrize("whom", ["group", "main process"])
def test_ctrl_c_ends_it_soon_and_says_how_to_continue(tmp_path, whom):
    write_space(tmp_path, AXES)
    sweep = Sweep(tmp_path, *SWEEP, quiet=False)
    assert wait_until(lambda: rows_in(tmp_path) >= 3, 60)
    begin = time.monotonic()
    if whom == "group":  # as a terminal does it
        os.killpg(sweep.process.pid, signal.SIGINT)
    else:
        sweep.process.send_signal(signal.SIGINT)
    code, out, err = sweep.end()
    assert code == 130, out + err
    assert time.monotonic() - begin < 5  # seconds; one on an idle machine
    assert "Traceback" not in out + err
    assert "KeyboardInterrupt" not in out + err
    kept = rows_in(tmp_path)
    assert f"stopped; {kept} of {POINTS} points are safe in out/store.sqlite" in out
    assert f"continue with: dse {' '.join(SWEEP)} -j 2" in out
    assert 3 <= kept < POINTS
    assert sweep.all_ended(10), "workers outlive the sweep"


def _ignores_ctrl_c(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [int(re.search(rf"{name}:\s*([0-9a-f]+)", status)[1], 16) for name in ("SigBlk", "SigIgn")]
    return any(mask >> (signal.SIGINT - 1) & 1 for mask in masks)


@pytest.mark.parametrize("delay", [0, 0.3, 0.6])
def test_ctrl_c_while_the_workers_start(tmp_path, delay):
    write_space(tmp_path, AXES)
    sweep = Sweep(tmp_path, *SWEEP)
    assert wait_until(lambda: len(sweep.workers()) >= 3, 60)  # with multiprocessing's resource tracker
    time.sleep(delay)  # into their imports
    assert sum(_ignores_ctrl_c(pid) for pid in sweep.workers()) >= 3, "a worker could print a traceback of its own"
    os.killpg(sweep.process.pid, signal.SIGINT)
    code, out, err = sweep.end()
    assert (code, err) == (130, "")
    assert "continue with: " in out
    assert sweep.all_ended(10), "workers outlive the sweep"
