"""Simulated cycles per CPU second: the RTL compiled, under cocotb and in Amaranth's simulator, beside the event-driven machine.

``python -m benchmarks.rtl_simulation`` (``make bench``; some minutes the first time, nearly all of them compiling, later half
a minute; ``--large`` adds a 16x16 array, and ten minutes of compiling). The array is busy with dense commands on random
operands, alike in every simulator, and every output is read in every cycle; what the simulators show is compared. Building
doesn't count and is shown; builds are kept in out/rtl.
"""

import pickle
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path += [str(Path("tests").absolute()), str(Path("tests/contract").absolute())]  # the array's bench top, and the cocotb kit

from array_tops import PlainPorts
from port_rows import as_array, as_integers
from rtl_kit import NativeModel, run_cocotb

from dataflows.compile import compile_workload
from dataflows.mapping import Mapping
from dataflows.place import place
from rtl.array_ports import command_layout, encode
from rtl.emit import verilog_of
from rtl.native.machine import MachineModel
from rtl.native.toolchain import ports_of
from rtl.top import Machine
from simulator.arch import Accelerator, Buffer, Dataflow
from simulator.binary import program_of
from simulator.encoding import encode as encode_program
from simulator.interpreter import interpret
from simulator.machine import run
from simulator.presets import PRESETS
from workloads.gemm import Gemm, Operand, Phase, Role, Stage
from workloads.graph import Workload
from workloads.sparsity import DENSE, NM, Pattern

Rows = dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Speed:
    """So many cycles in so much CPU time, after so much of it to build the model."""

    cycles: int
    seconds: float
    build_seconds: float

    @property
    def rate(self) -> float:
        return self.cycles / self.seconds


def main() -> None:
    console = Console(width=140)
    console.print(arrays([2, 8, 16] if "--large" in sys.argv[1:] else [2, 8]))
    console.print(machines([4]))


def machine_of(rows: int, cols: int) -> Accelerator:
    """The preset edge-int8 with another array, and operand ports that suffice for it."""
    base = PRESETS["edge-int8"].accelerator
    wide = Buffer(bytes=65536, banks=8, bank_bits=8 * max(rows, cols), slots=2)
    array = replace(base.array, rows=rows, cols=cols)
    return replace(base, array=array, a_buffer=wide, b_buffer=wide, c_buffer=replace(wide, bank_bits=4 * cols))


def arrays(sizes: list[int]) -> Table:
    """An array alone, in three simulators and, compiled, in some sizes."""
    table = new_table("int8 array alone, dense output-stationary commands back to back", "Amaranth's time / this")
    small, few = machine_of(2, 2), 4000
    inputs, outputs = stimuli(small, few)
    slow, seen = amaranth_speed(small, inputs, outputs)
    add(table, "2x2, Amaranth's simulator (pysim)", slow, slow)
    speed, also = cocotb_speed(small, inputs, outputs)
    assert also[1:] == seen[1:], "cocotb must see what Amaranth's simulator shows"  # row 0: before the first edge
    add(table, "2x2, cocotb on Verilator", speed, slow)
    _, also = native_speed(small, inputs, outputs)
    assert also[1:] == seen[1:], "The native model must show what Amaranth's simulator shows"
    for size in sizes:
        accelerator, count = machine_of(size, size), 800_000 // size**2
        speed, _ = native_speed(accelerator, *stimuli(accelerator, count))
        label = f"{size}x{size}, native Verilator model: {speed.rate * size**2 / 1e6:.1f} million PE cycles/s"
        add(table, label, speed, slow if size == 2 else None)
    return table


def machines(sizes: list[int]) -> Table:
    """A GEMM on a whole machine: values and cycles in the RTL, cycles in the event-driven simulator."""
    table = new_table("edge-int8, one GEMM 96x96x512, all transfers included; equal cycles in both", "RTL's time / this")
    for size in sizes:
        accelerator = machine_of(size, size)
        start = time.process_time()
        verilog = verilog_of(Machine(accelerator), "machine")
        elaborated = time.process_time() - start
        start = time.perf_counter()  # compiled by children, on every core
        model = MachineModel(verilog, "machine", accelerator)
        build = elaborated + time.perf_counter() - start
        for pattern in (DENSE, NM(2, 8)):
            data, image = program(accelerator, pattern)
            wanted = image.copy()
            golden = timed(lambda data=data, wanted=wanted, to=accelerator: interpret(data, wanted, to))[0]
            rtl_seconds, ran = timed(lambda data=data, image=image, model=model: model.run(data, image))
            assert np.array_equal(image, wanted), "The RTL's memory must be the interpreter's"
            tries = [timed(lambda data=data, to=accelerator: run(program_of(data), to)) for _ in range(3)]
            simpy_seconds, simulated = min(seconds for seconds, _ in tries), tries[0][1]
            assert ran.cycles == simulated.cycles, f"{ran.cycles} cycles of the RTL must be {simulated.cycles}"
            rtl, label = Speed(ran.cycles, rtl_seconds, build), f"{size}x{size} {pattern}"
            add(table, f"{label}, RTL: native Verilator model and memory", rtl, rtl)
            add(table, f"{label}, event-driven machine (SimPy)", Speed(simulated.cycles, simpy_seconds, 0.0), rtl)
            add(table, f"{label}, golden interpreter: values, no time", Speed(simulated.cycles, golden, 0.0), rtl)
    return table


def new_table(title: str, ratio: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("what", "cycles", "CPU s", "cycles/s", ratio, "build s"):
        table.add_column(name, justify="left" if name == "what" else "right")
    return table


def add(table: Table, label: str, speed: Speed, reference: Speed | None) -> None:
    ratio = f"{speed.rate / reference.rate:,.3g}x" if reference else ""
    build = f"{speed.build_seconds:.0f}" if speed.build_seconds else ""
    table.add_row(label, f"{speed.cycles:,}", f"{speed.seconds:.3g}", f"{speed.rate:,.0f}", ratio, build)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def stimuli(accelerator: Accelerator, cycles: int) -> tuple[Rows, list[str]]:
    """Random operands, and a command of two folds each way that is always there."""
    rows, cols = accelerator.array.rows, accelerator.array.cols
    ports = ports_of(verilog_of(PlainPorts(accelerator), "array_bench"), "array_bench")
    fields = encode(accelerator, Dataflow.OS, 2 * rows, 2 * cols, 256, DENSE, "b", accumulate=False)
    strides = {"a_stride": 512, "b_stride": 512, "c_stride": 2}
    command = command_layout(accelerator).const(fields | {"a_slot": 0, "b_slot": 0, "c_slot": 0} | strides).as_bits()
    rng = np.random.default_rng(0)
    inputs: Rows = {"en": [1] * cycles, "valid": [1] * cycles, "payload": [int(command)] * cycles}
    for name in ("row_data", "column_data", "sums_data"):
        size = -(-ports[name].bits // 8)
        data, mask = rng.bytes(size * cycles), (1 << ports[name].bits) - 1
        inputs[name] = [int.from_bytes(data[t * size : (t + 1) * size], "little") & mask for t in range(cycles)]
    return inputs, [name for name, port in ports.items() if port.direction == "output"]


def native_speed(accelerator: Accelerator, inputs: Rows, outputs: list[str]) -> tuple[Speed, list[list[int]]]:
    start = time.perf_counter()
    verilog = verilog_of(PlainPorts(accelerator), "array_bench")
    model = NativeModel(verilog, "array_bench", list(inputs), outputs)
    build, ports = time.perf_counter() - start, ports_of(verilog, "array_bench")
    arrays = {name: as_array(values, ports[name].bits) for name, values in inputs.items()}
    seconds, seen = timed(lambda: model.run(arrays))
    count = len(inputs["en"])
    few = [as_integers(seen[name][:5000]) for name in outputs]
    return Speed(count, seconds, build), [list(row) for row in zip(*few, strict=True)]


def cocotb_speed(accelerator: Accelerator, inputs: Rows, outputs: list[str]) -> tuple[Speed, list[list[int]]]:
    with tempfile.TemporaryDirectory() as folder:
        rows, seen = Path(folder) / "rows", Path(folder) / "seen"
        rows.write_bytes(pickle.dumps((inputs, outputs)))
        start = time.perf_counter()
        verilog = verilog_of(PlainPorts(accelerator), "array_bench")
        run_cocotb(verilog, "array_bench", "benchmarks.array_in_cocotb", {"ROWS": str(rows), "SEEN": str(seen)})
        took = time.perf_counter() - start
        seconds, values = pickle.loads(seen.read_bytes())
    return Speed(len(inputs["en"]), seconds, max(0.0, took - seconds)), values


def amaranth_speed(accelerator: Accelerator, inputs: Rows, outputs: list[str]) -> tuple[Speed, list[list[int]]]:
    from amaranth.sim import Simulator

    start = time.process_time()
    top, seen = PlainPorts(accelerator), []
    simulator = Simulator(top)
    build = time.process_time() - start

    def plain(name: str) -> Any:
        port = getattr(top, name)
        return port.as_value() if hasattr(port, "as_value") else port

    driven, read = [(plain(name), values) for name, values in inputs.items()], [plain(name) for name in outputs]

    async def bench(context: Any) -> None:
        for t in range(len(inputs["en"])):
            for port, values in driven:
                context.set(port, values[t])
            seen.append([context.get(port) for port in read])
            await context.tick()

    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    seconds, _ = timed(simulator.run)
    return Speed(len(inputs["en"]), seconds, build), seen


def program(accelerator: Accelerator, pattern: Pattern) -> tuple[bytes, np.ndarray]:
    """A GEMM, compiled and placed, on random bytes."""
    a, b = Operand(tensor="x", role=Role.ACTIVATION), Operand(tensor="w", role=Role.WEIGHT, pattern=pattern)
    gemm = Gemm(name="y", layer="y", stage=Stage.FF, phase=Phase.FORWARD, m=96, n=96, k=512, a=a, b=b, c="y")
    compiled = compile_workload(Workload(name="gemm", batch=1, ops=(gemm,)), accelerator, Mapping(fuse=False))
    placed = place(compiled, accelerator)
    return encode_program(placed.words), np.random.default_rng(0).integers(0, 256, placed.memory_bytes, np.uint8)


if __name__ == "__main__":
    main()
