"""Is a sweep safe to stop at any moment, by Ctrl-C or kill -9, and does the same command then finish it to the same table?"""

import os
import random
import re
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from terminal import DSE, children_of, dse, wait_until, write_space

from dse.store import Store

AXES = """
"accelerator.pe.multiply_latency" = [1, 2, 3, 4]
"accelerator.pe.interleave" = [1, 2, 4]
"mapping.pregenerate" = [true, false]
"""
POINTS = 48
SWEEP = ("sweep", "space.toml", "-o", "out", "-j", "2", "--no-report")


class Sweep:
    """A sweep in its own process group; every process that it starts carries its mark."""

    def __init__(self, folder, *, quiet=True):
        self.folder, self.mark = folder, f"NMDSE_TEST={uuid.uuid4().hex}"
        name, _, value = self.mark.partition("=")
        self.process = subprocess.Popen(
            [DSE, *SWEEP, *(["-q"] if quiet else [])], cwd=folder, env={**os.environ, name: value}, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def workers(self):
        return [pid for pid in children_of(self.mark) if pid != self.process.pid]

    def end(self, timeout=60):
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err

    def kill(self, *, group):
        if group:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()
        self.process.stderr.close()

    def all_ended(self, seconds):
        return wait_until(lambda: not children_of(self.mark), seconds)


def rows_in(folder):
    path = folder / "out" / "store.sqlite"
    if not path.exists():
        return 0
    with Store(path) as store:
        return len(store.keys())


@pytest.fixture
def whole(tmp_path):
    """The tables of the sweep when nothing stops it."""
    folder = tmp_path / "whole"
    folder.mkdir()
    write_space(folder, AXES)
    assert dse(*SWEEP, "-q", cwd=folder).returncode == 0
    return {name: (folder / "out" / name).read_bytes() for name in ("results.csv", "results.parquet")}


def test_killed_ten_times_over_it_ends_with_the_same_table(tmp_path, whole):
    folder = tmp_path / "killed"
    folder.mkdir()
    write_space(folder, AXES)
    luck, held, kills = random.Random(20240607), 0, 0
    for attempt in range(10):
        sweep = Sweep(folder)
        # From before the store exists to after some points: at most four a time, so that there is work left for all ten.
        target = held + luck.choice((0, 1, 2, 3, 4)) if attempt else 0
        wait_until(lambda goal=target, mine=sweep: rows_in(folder) >= goal or mine.process.poll() is not None, 30)
        time.sleep(luck.uniform(0, 0.6 if target == held else 0.05))
        kills += sweep.process.poll() is None
        sweep.kill(group=attempt % 2 == 0)
        assert sweep.all_ended(10), "workers outlive the sweep"
        now = rows_in(folder)
        assert now >= held, "rows were lost"
        held = now
    assert kills == 10
    assert 0 < held < POINTS
    last = Sweep(folder)
    code, out, err = last.end()
    assert (code, err) == (0, "")
    assert f"{POINTS} ok, of {POINTS} points" in out
    assert {name: (folder / "out" / name).read_bytes() for name in whole} == whole


@pytest.mark.parametrize("whom", ["group", "main process"])
def test_ctrl_c_ends_it_soon_and_says_how_to_continue(tmp_path, whom):
    write_space(tmp_path, AXES)
    sweep = Sweep(tmp_path, quiet=False)
    assert wait_until(lambda: rows_in(tmp_path) >= 3, 60)
    begin = time.monotonic()
    if whom == "group":  # as a terminal does it
        os.killpg(sweep.process.pid, signal.SIGINT)
    else:
        sweep.process.send_signal(signal.SIGINT)
    code, out, err = sweep.end()
    assert code == 130
    assert time.monotonic() - begin < 5  # seconds; one on an idle machine
    assert "Traceback" not in out + err
    assert "KeyboardInterrupt" not in out + err
    kept = rows_in(tmp_path)
    assert f"stopped; {kept} of {POINTS} points are safe in out/store.sqlite" in out
    assert f"continue with: dse {' '.join(SWEEP)}" in out
    assert 3 <= kept < POINTS
    assert sweep.all_ended(10), "workers outlive the sweep"


def _ignores_ctrl_c(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [int(re.search(rf"{name}:\s*([0-9a-f]+)", status)[1], 16) for name in ("SigBlk", "SigIgn")]
    return any(mask >> (signal.SIGINT - 1) & 1 for mask in masks)


@pytest.mark.parametrize("delay", [0, 0.3, 0.6])
def test_ctrl_c_while_the_workers_start(tmp_path, delay):
    write_space(tmp_path, AXES)
    sweep = Sweep(tmp_path)
    assert wait_until(lambda: len(sweep.workers()) >= 3, 60)  # with multiprocessing's resource tracker
    time.sleep(delay)  # into their imports
    assert sum(_ignores_ctrl_c(pid) for pid in sweep.workers()) >= 3, "a worker could print a traceback of its own"
    os.killpg(sweep.process.pid, signal.SIGINT)
    code, out, err = sweep.end()
    assert (code, err) == (130, "")
    assert "continue with: " in out
    assert sweep.all_ended(10), "workers outlive the sweep"
