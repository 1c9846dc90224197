"""SCALE-Sim 3.0.0 and ZigZag 3.9.1 on some dense GEMMs, each in a process and an environment of its own under out/.

Both get a 32x32 array. SCALE-Sim has no memory of equal layers, so it runs all of them; ZigZag gets each distinct shape once,
on the hardware and mapping called "tpu_like" that it comes with. CPU time and peak memory are those of the whole child
process, its imports included.
"""

import os
import subprocess
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workloads.gemm import Gemm

__all__ = ["Cost", "measured", "scalesim", "zigzag"]

_FOLDER = Path("out/benchmarks")
_SCALESIM = ("scalesim==3.0.0", "numpy<2.4")  # 3.0.0 fails with numpy 2.4: SCALE-Sim issue 160
_ZIGZAG = ("zigzag-dse==3.9.1", "six")  # imports six without asking for it

_RUN_SCALESIM = """
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


_RUN_ZIGZAG = """
import logging
from pathlib import Path
import zigzag
from zigzag.api import get_hardware_performance_zigzag
logging.disable(logging.CRITICAL)
inputs = Path(zigzag.__file__).parent / "inputs"
get_hardware_performance_zigzag("zigzag.yaml", str(inputs / "hardware/tpu_like.yaml"), str(inputs / "mapping/tpu_like.yaml"),
                                opt="latency", dump_folder="zigzag_out", loma_show_progress_bar=False)
"""

_ZIGZAG_LAYER = """- id: {number}
  operator_type: Gemm
  equation: O[b][k]+=I[b][c]*W[c][k]
  dimension_relations: []
  loop_dims: [B, C, K]
  loop_sizes: [{m}, {k}, {n}]
  operand_precision: {{W: 8, I: 8, O: 16, O_final: 8}}
  operand_source: {{I: {number}, W: {number}}}
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a child process took."""

    cpu_seconds: float
    peak_mib: float
    output: str


def scalesim(gemms: Sequence[Gemm]) -> Cost:
    """SCALE-Sim on these GEMMs, one after the other, weight stationary."""
    python = _environment("peer", _SCALESIM)
    rows = [f"{gemm.layer.replace('.', '_')},{gemm.m},{gemm.n},{gemm.k}," for gemm in gemms]
    (_FOLDER / "peer.csv").write_text("\n".join(["Layer,M,N,K,", *rows]) + "\n")
    layout = ["Layer," + ",".join(["dim"] * 14) + ","]
    layout += [f"{gemm.layer.replace('.', '_')}," + ",".join(["1"] * 14) + "," for gemm in gemms]
    (_FOLDER / "peer_layout.csv").write_text("\n".join(layout) + "\n")
    (_FOLDER / "peer.cfg").write_text(_CONFIG)
    return measured([str(python.absolute()), "-c", _RUN_SCALESIM], _FOLDER)


def zigzag(gemms: Sequence[Gemm]) -> Cost:
    """ZigZag on the distinct shapes among these GEMMs, the temporal mapping searched for latency."""
    python = _environment("zigzag", _ZIGZAG)
    shapes = dict.fromkeys((gemm.m, gemm.n, gemm.k) for gemm in gemms)
    layers = [_ZIGZAG_LAYER.format(number=number, m=m, n=n, k=k) for number, (m, n, k) in enumerate(shapes)]
    (_FOLDER / "zigzag.yaml").write_text("\n".join(layers))
    return measured([str(python.absolute()), "-c", _RUN_ZIGZAG], _FOLDER)


def _environment(name: str, packages: Sequence[str]) -> Path:
    """The Python of an environment with these packages, made if it isn't there."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    python = _FOLDER / name / "bin" / "python"
    if not python.exists():
        venv.create(_FOLDER / name, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


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
