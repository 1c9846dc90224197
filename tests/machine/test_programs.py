# amaranth: UnusedElaboratable=no
"""Do simulator, golden interpreter and RTL agree on whole programs: every byte, cycle, counter and event?"""

import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from rtl_kit.require import need_rtl

need_rtl()

from machines import MACHINES, model_of, verilog_of_machine  # noqa: E402

from dse.verify import verify  # noqa: E402
from dse.verify_programs import Case, cases  # noqa: E402
from rtl.emit import check  # noqa: E402
from rtl.native.machine import Stalls  # noqa: E402
from rtl.native.toolchain import lint  # noqa: E402
from simulator.encoding import COMMAND_BYTES, Fault, Opcode, decode  # noqa: E402
from simulator.faults import opcodes_of  # noqa: E402

SLOW = ("bf16-2x3-slow",)
NAMES = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in MACHINES]
STALLS = Stalls(arready=0.3, awready=0.4, wready=0.3, rvalid=0.3, bvalid=0.3, extra_latency=25)


def cases_of(name: str, seed: int = 0) -> list[Case]:
    return [case for case in cases(MACHINES[name], seed=seed) if isinstance(case, Case)]


@pytest.mark.parametrize("name", NAMES)
def test_all_that_the_machine_does(name: str):
    """GEMMs of odd sizes in every dataflow, dense and N:M on either side, in one tile and many; gradients whose operands lie
    across; vector operations; optimizer steps with both pruned copies."""
    found = cases_of(name)
    never = {Opcode.PRUNE} if MACHINES[name].pe.format == "int8" else set[Opcode]()  # of int8 tensors nothing is pruned online
    assert {word.opcode for case in found for word in decode(case.data)} == opcodes_of(MACHINES[name]) - never
    for case in found:
        outcome = verify(model_of(name), case.data, case.image, case.registers)
        assert not outcome.differences, (case.name, outcome.differences)


@pytest.mark.parametrize("name", NAMES)
def test_slow_memory(name: str):
    """Every signal of the memory stalls at random: the same values and counters."""
    for case in cases_of(name, seed=1):
        outcome = verify(model_of(name), case.data, case.image, case.registers, STALLS)
        assert not outcome.differences, (case.name, outcome.differences)


@pytest.mark.parametrize("name", NAMES)
def test_text_is_sound(name: str):
    """No latch, loop or undriven net for Yosys, no warning from Verilator."""
    check(verilog_of_machine(name), "machine")
    lint(verilog_of_machine(name), "machine")


def test_the_text_is_the_same_in_every_process(monkeypatch):
    """Another hash seed, another process: the same bytes."""
    here = Path(__file__).parent
    code = "import zlib; from machines import verilog_of_machine as v; print(zlib.crc32(v('int8-2x2').encode()))"
    monkeypatch.setenv("PYTHONHASHSEED", "12345")
    monkeypatch.setenv("PYTHONPATH", f"{here}:{here.parent.parent}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == zlib.crc32(verilog_of_machine("int8-2x2").encode())


def test_errors_stop_the_machine():
    """A refused command, an error of the memory, of the program's memory, a wrong length: the fault, and no hang."""
    name = "int8-2x2"
    model, case = model_of(name), cases_of(name)[1]
    count = len(case.data) // COMMAND_BYTES
    for position in (0, count // 2):
        bad = bytearray(case.data)
        bad[position * COMMAND_BYTES] = 10  # no such opcode
        ran = model.run(bytes(bad), case.image.copy())
        assert (ran.fault, ran.fault_command, ran.status) == (Fault.OPCODE, position, 6)
        assert ran.counters.commands == position
    ran = model.run(case.data, case.image.copy(), length=count - 1)
    assert (ran.fault, ran.fault_command) == (Fault.LENGTH, count - 1)
    ran = model.run(case.data, case.image.copy(), length=count + 40)
    assert ran.fault in (Fault.NONE, Fault.PROGRAM_READ)
    ran = model.run(case.data, case.image[:64].copy())  # tensors beyond the memory
    assert ran.fault in (Fault.MEMORY_READ, Fault.MEMORY_WRITE)
    found = case.image.copy()
    again = model.run(case.data, found)
    assert (again.fault, again.status) == (Fault.NONE, 2)


def test_it_notices(monkeypatch):
    """A wrong byte, a wrong counter and a wrong time are found and named."""
    import dse.verify

    name = "int8-2x2"
    case = cases_of(name)[0]

    def wrong_byte(data, image, *rest):
        counters = real(data, image, *rest)
        image[np.flatnonzero(image != case.image)[0]] ^= 1
        return counters

    real = dse.verify.interpret
    monkeypatch.setattr(dse.verify, "interpret", wrong_byte)
    (difference,) = verify(model_of(name), case.data, case.image).differences
    assert difference.startswith("memory: 1 bytes differ")
