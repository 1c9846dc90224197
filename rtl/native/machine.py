"""The whole machine's Verilog with a memory and a host around it, compiled: some 10^5 to 10^6 cycles per second."""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtl.native.model import build_shared
from rtl.native.toolchain import built
from simulator.arch import Accelerator
from simulator.encoding import COMMAND_BYTES, ENGINES, Fault
from simulator.layout import bus_bytes
from simulator.register_map import REGISTERS
from simulator.result import Counters
from simulator.schedule import Engine

__all__ = ["MachineModel", "MachineRun", "Stalls", "Trace"]

_HARNESS = """
#include "Vtop.h"
#include "verilated.h"
@MEMORY@
struct Machine {
  VerilatedContext context;
  Vtop top{&context};
  AxiMemory data, program;
  uint64_t first = 0;  // the cycle of time 0
  Machine(uint8_t* bytes, uint64_t size, unsigned latency, AxiMemory::Stalls stalls, uint8_t* code, uint64_t length,
          unsigned program_latency)
      : data(bytes, 0, size, @BUS@, latency, stalls), program(code, 0, length, @COMMAND@, program_latency) {}
};
struct Event { uint64_t time; uint32_t engine, kind; };
static void cycle(Machine& machine) {
  Vtop& top = machine.top;
  machine.data.before();
  machine.program.before();
  AXI_DRIVE_READ(machine.data, top, m_axi);
  AXI_DRIVE_WRITE(machine.data, top, m_axi);
  AXI_DRIVE_READ(machine.program, top, p_axi);
  top.eval();
  AXI_SAMPLE_READ(machine.data, top, m_axi);
  AXI_SAMPLE_WRITE(machine.data, top, m_axi);
  AXI_SAMPLE_READ(machine.program, top, p_axi);
}
static void edge(Machine& machine) {
  machine.data.after();
  machine.program.after();
  machine.top.clk = 1;
  machine.top.eval();
  machine.top.clk = 0;
}
extern "C" Machine* machine_new(uint8_t* bytes, uint64_t size, unsigned latency, const double* stalls, unsigned extra,
                                uint64_t seed, uint8_t* code, uint64_t length, unsigned program_latency) {
  AxiMemory::Stalls chances{stalls[0], stalls[1], stalls[2], stalls[3], stalls[4], extra, seed};
  Machine* machine = new Machine(bytes, size, latency, chances, code, length, program_latency);
  machine->top.eval();
  machine->top.rst = 1;
  cycle(*machine);
  machine->top.clk = 1;
  machine->top.eval();
  machine->top.clk = 0;
  machine->top.rst = 0;
  return machine;
}
extern "C" void machine_delete(Machine* machine) { delete machine; }
extern "C" unsigned machine_write(Machine* machine, unsigned address, uint32_t value) {
  Vtop& top = machine->top;
  top.s_axi_awaddr = address;
  top.s_axi_wdata = value;
  top.s_axi_wstrb = 15;
  top.s_axi_awvalid = top.s_axi_wvalid = top.s_axi_bready = 1;
  for (bool taken = false;;) {
    cycle(*machine);
    const bool now = top.s_axi_awready && top.s_axi_wready, answered = top.s_axi_bvalid;
    const unsigned response = top.s_axi_bresp;
    edge(*machine);
    if (now) top.s_axi_awvalid = top.s_axi_wvalid = 0;
    taken |= now;
    if (taken && answered) return top.s_axi_bready = 0, response;
  }
}
extern "C" unsigned machine_read(Machine* machine, unsigned address, uint32_t* value) {
  Vtop& top = machine->top;
  top.s_axi_araddr = address;
  top.s_axi_arvalid = top.s_axi_rready = 1;
  for (;;) {
    cycle(*machine);
    const bool now = top.s_axi_arready, answered = top.s_axi_rvalid;
    const unsigned response = top.s_axi_rresp;
    *value = top.s_axi_rdata;
    edge(*machine);
    if (now) top.s_axi_arvalid = 0;
    if (answered) return top.s_axi_rready = 0, response;
  }
}
// Runs until the machine is idle; returns the cycles, or `limit` if it never is. kind: 0 started, 1 ended, 2 done.
extern "C" uint64_t machine_run(Machine* machine, uint64_t limit, Event* events, uint64_t room, uint64_t* count) {
  Vtop& top = machine->top;
  uint64_t at = 0;
  bool begun = false, running = false;
  *count = 0;
  for (; at < limit; ++at) {
    cycle(*machine);
    if (!begun && top.trace_put) begun = true, machine->first = at + 1;
    const uint32_t seen[3] = {top.trace_started, top.trace_ended, top.trace_done};
    for (uint32_t kind = 0; kind < 3; ++kind)
      for (uint32_t bits = seen[kind]; bits; bits &= bits - 1)
        if (*count < room) events[(*count)++] = {at - machine->first, uint32_t(__builtin_ctz(bits)), kind};
    const bool busy = top.busy;
    edge(*machine);
    if (running && !busy) break;
    running |= busy;
  }
  return at;
}
extern "C" const char* machine_violation(Machine* machine) {
  return machine->data.violation ? machine->data.violation : machine->program.violation;
}
"""
_EVENT = np.dtype([("time", np.uint64), ("engine", np.uint32), ("kind", np.uint32)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalls:
    """A slower memory: chances of each signal being low though it could be high, and up to so many cycles more of latency."""

    arready: float = 0.0
    awready: float = 0.0
    wready: float = 0.0
    rvalid: float = 0.0
    bvalid: float = 0.0
    extra_latency: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One command as the RTL ran it: busy in cycles ``start <= t < end``, its result complete at `done`."""

    engine: Engine
    start: int
    end: int
    done: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRun:
    """What the machine's registers say after a run, and what its trace ports showed."""

    cycles: int
    counters: Counters
    fault: Fault
    fault_command: int
    status: int
    trace: tuple[Trace, ...]  # of each engine in order


class MachineModel:
    """Compiled Verilog of a machine (`rtl.top.Machine`, module `top`), for many runs.

    Raises RuntimeError where the machine doesn't come to an end, or breaks a rule of AXI.
    """

    def __init__(self, verilog: str, top: str, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        header = Path(__file__).with_name("memory_model.h").read_text()
        harness = _HARNESS.replace("@MEMORY@", header)
        harness = harness.replace("@BUS@", str(bus_bytes(accelerator))).replace("@COMMAND@", str(COMMAND_BYTES))
        folder = built("machine", [verilog, top, harness], lambda path: build_shared(path, verilog, top, harness))
        self._library = ctypes.CDLL(str(folder / "model.so"))
        self._library.machine_new.restype = ctypes.c_void_p
        self._library.machine_run.restype = ctypes.c_uint64
        self._library.machine_violation.restype = ctypes.c_char_p
        for name in ("delete", "write", "read", "run", "violation"):
            getattr(self._library, f"machine_{name}").argtypes = [ctypes.c_void_p, *_ARGUMENTS.get(name, ())]

    def run(
        self,
        program: bytes,
        memory: NDArray[np.uint8],
        *,
        registers: Mapping[str, float] | None = None,
        stalls: Stalls | None = None,
        length: int | None = None,
        limit: int = 50_000_000,
    ) -> MachineRun:
        """Run an encoded program on a byte image of memory, which changes in place. `registers`: lr, momentum, ...

        `length` is what the host says of the program's, if not the truth.
        """
        accelerator, slow = self.accelerator, stalls or Stalls()
        assert memory.flags.c_contiguous
        chances = np.array([slow.arready, slow.awready, slow.wready, slow.rvalid, slow.bvalid], np.float64)
        code = np.frombuffer(program, np.uint8).copy()
        handle = self._library.machine_new(
            ctypes.c_void_p(memory.ctypes.data),
            ctypes.c_uint64(memory.size),
            ctypes.c_uint(accelerator.dram.latency_cycles(accelerator.clock_hz)),
            ctypes.c_void_p(chances.ctypes.data),
            ctypes.c_uint(slow.extra_latency),
            ctypes.c_uint64(slow.seed),
            ctypes.c_void_p(code.ctypes.data),
            ctypes.c_uint64(code.size),
            ctypes.c_uint(8),
        )
        try:
            for name, value in (registers or {}).items():
                self._write(handle, name, int(np.array(value, np.float32).view(np.uint32)))
            self._write(handle, "program_length", len(program) // COMMAND_BYTES if length is None else length)
            events = np.zeros(3 * len(program) // COMMAND_BYTES + 16, _EVENT)
            count = ctypes.c_uint64()
            self._write(handle, "start", 1)
            pointer = ctypes.c_void_p(events.ctypes.data)
            ran = self._library.machine_run(handle, limit, pointer, len(events), ctypes.byref(count))
            if ran >= limit:
                raise RuntimeError(f"Machine must come to an end within {limit} cycles")
            if violation := self._library.machine_violation(handle):
                raise RuntimeError(f"Machine broke a rule of AXI: {violation.decode()}")
            return MachineRun(
                cycles=self._read(handle, "cycles"),
                counters=Counters(**{name: self._read(handle, name) for name in Counters().as_dict()}),
                fault=Fault(self._read(handle, "fault")),
                fault_command=self._read(handle, "fault_command"),
                status=self._read(handle, "status"),
                trace=_traced(events[: count.value]),
            )
        finally:
            self._library.machine_delete(handle)

    def _write(self, handle: int, name: str, value: int) -> None:
        if self._library.machine_write(handle, REGISTERS[name].address, value):
            raise RuntimeError(f"Register {name!r} must be writable")

    def _read(self, handle: int, name: str) -> int:
        register, value, found = REGISTERS[name], 0, ctypes.c_uint32()
        for word in range(register.bits // 32):
            if self._library.machine_read(handle, register.address + 4 * word, ctypes.byref(found)):
                raise RuntimeError(f"Register {name!r} must be readable")
            value |= found.value << 32 * word
        return value


_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "write": (ctypes.c_uint, ctypes.c_uint32),
    "read": (ctypes.c_uint, ctypes.c_void_p),
    "run": (ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p),
}


def _traced(events: NDArray[Any]) -> tuple[Trace, ...]:
    traces: list[Trace] = []
    for number, engine in enumerate(ENGINES):
        own = events[events["engine"] == number]
        start, end, done = (own["time"][own["kind"] == kind].astype(np.int64) for kind in range(3))
        for each in zip(start.tolist(), end.tolist(), done.tolist(), strict=True):
            traces.append(Trace(engine=engine, start=each[0], end=each[1] + 1, done=each[2]))
    return tuple(traces)
