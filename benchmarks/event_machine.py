"""One ResNet-18 training step on the event-driven machine, beside SCALE-Sim 3.0.0 on the forward pass alone.

``python -m benchmarks.event_machine`` (``make bench``; about ten minutes, nearly all of them SCALE-Sim's). SCALE-Sim is
installed into an environment of its own under out/, with a numpy that it works with. Both simulate a 32x32 array at batch 1,
224x224. CPU time and peak memory are those of the whole child process, its imports included; "step" is reading the trace,
compiling and simulating, without the imports.
"""

import json
import resource
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.peers import measured, scalesim
from workloads.gemm import Gemm, Stage
from workloads.zoo import load_workload_trace

_OURS = """
import json, time
from dse.evaluate import simulate
start = time.process_time()
run = simulate("resnet18", "sat-vcu1525", "{method}", batch=1)
step = time.process_time() - start
print(json.dumps({{"cycles": run.result.cycles, "commands": run.result.counters.commands, "step": step}}))
"""


def main() -> None:
    console = Console(width=140)
    ours = {
        method: measured([sys.executable, "-c", _OURS.format(method=method)], Path.cwd()) for method in ("dense", "bdwp:2:8")
    }
    with console.status("SCALE-Sim on the forward pass (about eight minutes)"):
        theirs = scalesim(forward_gemms())
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


def forward_gemms() -> list[Gemm]:
    """Of one image, from the same trace."""
    return [op for op in load_workload_trace("resnet18").bind(1).ops if isinstance(op, Gemm) and op.stage is Stage.FF]


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
