"""A sweep as a person starts it, in a process group of its own, to be interrupted or killed at some moment."""

import os
import signal
import subprocess
import uuid

from terminal import DSE, children_of, wait_until

from dse.store import Store

__all__ = ["Sweep", "chunks_in", "rows_in"]


class Sweep:
    """A sweep in its own process group; every process that it starts carries its mark."""

    def __init__(self, folder, *command, quiet=True, jobs=2):
        self.folder, self.mark = folder, f"NMDSE_TEST={uuid.uuid4().hex}"
        name, _, value = self.mark.partition("=")
        self.process = subprocess.Popen(
            [DSE, *command, "-j", str(jobs), *(["-q"] if quiet else [])],
            cwd=folder, env={**os.environ, name: value}, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def workers(self):
        return [pid for pid in children_of(self.mark) if pid != self.process.pid]

    def end(self, timeout=300):
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
    """Points in the store of the sweep in `out`."""
    path = folder / "out" / "store.sqlite"
    if not path.exists():
        return 0
    with Store(path) as store:
        return len(store.keys())


def chunks_in(folder):
    """Whole files of the closed form in `out`."""
    return len(list((folder / "out" / "chunks").glob("*.parquet")))
