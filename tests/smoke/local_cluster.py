"""A Dask cluster of processes of this machine, started as a person starts one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from distributed import Client
from terminal import wait_until

__all__ = ["LocalCluster"]

_DASK = str(Path(sys.executable).with_name("dask"))


class LocalCluster:
    """A scheduler, and workers of one thread each, in one folder; all of them end with the `with` block."""

    def __init__(self, folder):
        self.folder, self.file, self.processes = Path(folder), Path(folder) / "scheduler.json", []

    def __enter__(self):
        self.start_scheduler()
        return self

    def __exit__(self, *_):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait(10)

    def _start(self, *arguments):
        with (self.folder / "cluster.log").open("ab") as log:
            process = subprocess.Popen([_DASK, *arguments], cwd=self.folder, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def start_scheduler(self, port=0):
        self.file.unlink(missing_ok=True)
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--scheduler-file", str(self.file)
        )
        assert wait_until(lambda: self.file.exists() and self.file.read_text().endswith("}"), 60)

    def start_worker(self, *options):
        return self._start(
            "worker", "--scheduler-file", str(self.file), "--nthreads", "1", "--no-nanny", "--no-dashboard",
            "--local-directory", str(self.folder), *options,
        )  # fmt: skip

    def kill(self, process):
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)

    def address(self):
        return json.loads(self.file.read_text())["address"]

    def worker_names(self):
        """Of workers that are there now."""
        with Client(self.address(), set_as_default=False) as client:
            return [worker["name"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()]
