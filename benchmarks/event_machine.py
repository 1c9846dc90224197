"""One ResNet-18 training step on the event-driven machine, beside SCALE-Sim 3.0.0 on the forward pass alone.

``python -m benchmarks.event_machine`` (``make bench``; about ten minutes, nearly all of them SCALE-Sim's). SCALE-Sim is
installed into an environment of its own under out/, with a numpy that it works with. Both simulate a 32x32 array at batch 1,
224x224. CPU time and peak memory are those of the whole child process, its imports included; "step" is reading the trace,
compiling and simulating, without the imports.
"""

import json
import os
import resource
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from workloads.gemm import Gemm, Stage
from workloads.zoo import load_workload_trace

_PEER = ("scalesim==3.0.0", "numpy<2.4")  # 3.0.0 fails with numpy 2.4: SCALE-Sim issue 160
_FOLDER = Path("out/benchmarks")

_OURS = """
import json, time
from dse.evaluate import simulate
start = time.process_time()
run = simulate("resnet18", "sat-vcu1525", "{method}", batch=1)
step = time.process_time() - start
print(json.dumps({{"cycles": run.result.cycles, "commands": run.result.counters.commands, "step": step}}))
"""

_THEIRS = """
from scalesim.scale_sim import scalesim
tool = scalesim(save_disk_space=True, verbose=False, config="peer.cfg", topology="peer.csv", layout="peer_layout.csv",
                input_type_gemm=True)
tool.run_scale(top_path="peer_out")
"""

_CONFIG = """[general]
run_name = peer

[architecture_presets]
ArrayHeight: 32
ArrayWidth: 32
IfmapSramSzkB: 64
FilterSramSzkB: 64
OfmapSramSzkB: 64
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Bandwidth: 10
Dataflow: ws
ReadRequestBuffer: 32
WriteRequestBuffer: 32

[layout]
IfmapCustomLayout: False
FilterCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2

[sparsity]
SparsitySupport: false
SparseRep: ellpack_block
OptimizedMapping: false
BlockSize: 8
RandomNumberGeneratorSeed: 40

[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a child process took."""

    cpu_seconds: float
    peak_mib: float
    output: str


def main() -> None:
    console = Console(width=140)
    ours = {
        method: measured([sys.executable, "-c", _OURS.format(method=method)], Path.cwd()) for method in ("dense", "bdwp:2:8")
    }
    with console.status("SCALE-Sim on the forward pass (about eight minutes)"):
        theirs = scalesim()
    table = Table(title="ResNet-18, batch 1, 224x224, 32x32 array", title_justify="left")
    for name in ("what", "CPU s, process", "CPU s, step", "peak MiB", "SCALE-Sim's CPU / this process's"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for method, cost in ours.items():
        facts = json.loads(cost.output)
        label = f"nmdse, whole training step, {method}: {facts['commands']:,} commands, {facts['cycles']:,} cycles"
        ratio = f"{theirs.cpu_seconds / cost.cpu_seconds:,.0f}x"
        table.add_row(label, f"{cost.cpu_seconds:.2f}", f"{facts['step']:.2f}", f"{cost.peak_mib:.0f}", ratio)
    peer = "SCALE-Sim 3.0.0, forward pass only, WS dense"
    table.add_row(peer, f"{theirs.cpu_seconds:.1f}", "", f"{theirs.peak_mib:.0f}", "1x")
    console.print(table)


def scalesim() -> Cost:
    """SCALE-Sim on the forward GEMMs of the same trace, each of them, as it has no memory of equal layers."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    python = _FOLDER / "peer" / "bin" / "python"
    if not python.exists():
        venv.create(_FOLDER / "peer", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *_PEER], check=True)
    gemms = [op for op in load_workload_trace("resnet18").bind(1).ops if isinstance(op, Gemm) and op.stage is Stage.FF]
    rows = [f"{gemm.layer.replace('.', '_')},{gemm.m},{gemm.n},{gemm.k}," for gemm in gemms]
    (_FOLDER / "peer.csv").write_text("\n".join(["Layer,M,N,K,", *rows]) + "\n")
    layout = ["Layer," + ",".join(["dim"] * 14) + ","]
    layout += [f"{gemm.layer.replace('.', '_')}," + ",".join(["1"] * 14) + "," for gemm in gemms]
    (_FOLDER / "peer_layout.csv").write_text("\n".join(layout) + "\n")
    (_FOLDER / "peer.cfg").write_text(_CONFIG)
    return measured([str(python.absolute()), "-c", _THEIRS], _FOLDER)


def measured(command: list[str], folder: Path) -> Cost:
    """Run a child to its end. Raises CalledProcessError where it fails."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, env=os.environ | single)
    assert child.stdout is not None
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), command)
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
