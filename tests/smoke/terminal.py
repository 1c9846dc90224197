"""The real command line in a process of its own, for the tests that use it as a person does."""

import os
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["DSE", "children_of", "dse", "refused", "wait_until", "write_space"]

DSE = str(Path(sys.executable).with_name("dse"))
_SPACE = """
title = "small"
[base]
accelerator = "sat-vcu1525"
workload = "resnet18-cifar"
[axes]
method = ["dense", "bdwp:2:8"]
{axes}
[objectives]
minimize = ["latency_ms", "multipliers", "dram_bytes_per_image"]
"""


def dse(*arguments, cwd, timeout=120, **options):
    """Run `dse`; its standard output and error come as text."""
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    return subprocess.run(
        [DSE, *map(str, arguments)],
        cwd=cwd,
        timeout=timeout,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        **options,
    )


def refused(*arguments, cwd, saying, **options):
    """Run `dse` on what can't be: exit code 2, all that is said in words, each of `saying` among them."""
    ran = dse(*arguments, cwd=cwd, **options)
    text = ran.stdout + ran.stderr
    assert "Traceback" not in text
    assert ran.returncode == 2, text
    flat = " ".join(ran.stderr.replace("\N{BOX DRAWINGS LIGHT VERTICAL}", " ").split())
    for part in saying:
        assert part in flat, text
    messages = [
        line for line in ran.stderr.splitlines() if line.startswith(("error: ", "\N{BOX DRAWINGS LIGHT ARC DOWN AND RIGHT}"))
    ]
    assert len(messages) == 1, text
    return ran


def write_space(folder, axes='"accelerator.pe.interleave" = [4, 1]', name="space.toml"):
    path = folder / name
    path.write_text(_SPACE.format(axes=axes))
    return path


def wait_until(condition, seconds):
    """Wait until `condition()` holds; False where it does not in time."""
    end = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return held


def children_of(marker):
    """Ids of processes whose environment holds `marker`, zombies aside: whatever they were renamed or adopted by."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                environment = (folder / "environ").read_bytes()
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if marker.encode() in environment and state != "Z":
                found.append(int(folder.name))
    return found
