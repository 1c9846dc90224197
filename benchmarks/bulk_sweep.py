"""What a point of a very large sweep costs, from a thousand points to a million: CPU time, and memory.

``python -m benchmarks.bulk_sweep [--jobs N] [--most POINTS] [--csv FILE.csv]`` (some minutes of CPU). Points are drawn from
the shipped space resnet18-wide: a full training step of ResNet-18 each, memory modelled, on machines and methods that differ in
eleven axes. Each size runs in a fresh process and a fresh folder, from nothing to the HTML report; the report's own event runs
are told apart, and no point is confirmed. CPU seconds are of the process and its workers; where others use the machine, the
clock on the wall says little.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

SPACE = "resnet18-wide"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--jobs", type=int, default=1, help="worker processes")
    arguments.add_argument("--most", type=int, default=10**6, help="points of the largest sweep")
    arguments.add_argument("--csv", type=Path, help="the table and its conditions; reports.studies.closed_form plots them")
    arguments.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.one:
        print(json.dumps(measured(options.one, options.jobs)))
        return
    console = Console(width=120)
    table = Table(title=f"Space {SPACE}, {options.jobs} job(s)", title_justify="left")
    for name in (
        "points",
        "CPU s",
        "us/point",
        "us/further",
        "points/CPU s",
        "wall s",
        "report CPU s",
        "its size MB",
        "folder MB",
        "peak RSS MB",
    ):
        table.add_column(name, justify="right")
    rows: list[dict[str, Any]] = []
    start = fresh(1, 1)["process_cpu_s"]
    for power in range(3, 7):
        if 10**power > options.most:
            break
        found = fresh(10**power, options.jobs)
        rows.append(found | {"start_cpu_s": start * found["workers"]})
        per_point = 1e6 * found["sweep_cpu_s"] / found["points"]
        before = rows[-2] if len(rows) > 1 else {"sweep_cpu_s": 0.0, "points": 0}
        further = 1e6 * (found["sweep_cpu_s"] - before["sweep_cpu_s"]) / (found["points"] - before["points"])
        table.add_row(
            f"{found['points']:,}",
            f"{found['sweep_cpu_s']:.1f}",
            f"{per_point:.0f}",
            f"{further:.0f}",
            f"{1e6 / per_point:,.0f}",
            f"{found['wall_s']:.0f}",
            f"{found['report_cpu_s']:.1f}",
            f"{found['report_mb']:.1f}",
            f"{found['folder_mb']:.0f}",
            f"{found['rss_mb']:.0f}",
        )
    console.print(table)
    console.print(
        f"CPU s: evaluation, files and front, tables of tilings, and what each process needs at first ({start:.1f} s)."
    )
    console.print(
        "us/further: of each point beyond those of the line above. Report: reading all of it, plots, and three event runs."
    )
    if options.csv:
        import pandas as pd

        pd.DataFrame(rows).to_csv(options.csv, index=False, float_format="%.2f")


def fresh(points: int, jobs: int) -> dict[str, Any]:
    """`measured` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bulk_sweep", "--one", str(points), "--jobs", str(jobs)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def cpu() -> float:
    """Seconds of this process and of its workers that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def measured(points: int, jobs: int) -> dict[str, Any]:
    """One sweep in this process, and what it took."""
    from multiprocessing import active_children

    from dse.bulk_outcome import bulk_outcome
    from dse.bulk_sweep import bulk_sweep, chunks_of
    from dse.folder import SweepFolder
    from dse.space import read_space
    from dse.store import Store

    space = read_space(SPACE, samples=points, seed=0)
    began, wall = cpu(), time.monotonic()
    with tempfile.TemporaryDirectory() as path:
        folder = SweepFolder(Path(path))
        bulk_sweep(space, folder, jobs=jobs, most=0, report=lambda _: None)
        for worker in active_children():
            worker.join()
        swept = cpu()
        with Store(folder.store) as store:
            outcome = bulk_outcome(space, chunks_of(space, folder), store, 0)
        folder.write_bulk_report(space, outcome, "benchmark")
        done = cpu()
        size = sum(file.stat().st_size for file in folder.path.rglob("*") if file.is_file())
        assert outcome.evaluated == points
        assert outcome.statuses == {"ok": points}
        rss = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return {
            "space": SPACE,
            "points": points,
            "jobs": jobs,
            "workers": min(jobs, len(chunks_of(space, folder).ranges)),
            "process_cpu_s": swept,
            "sweep_cpu_s": swept - began,
            "report_cpu_s": done - swept,
            "wall_s": time.monotonic() - wall,
            "report_mb": folder.report.stat().st_size / 1e6,
            "folder_mb": size / 1e6,
            "rss_mb": (rss[0] + jobs * rss[1] if jobs > 1 else rss[0]) / 1e3,
            "load": os.getloadavg()[0],
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            **{name: version(name) for name in ("numba", "numpy")},
        }


if __name__ == "__main__":
    main()
