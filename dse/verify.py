"""One binary program on four views of a machine: RTL, simulator, golden interpreter; and the first thing that differs.

Values are compared byte by byte over the whole memory, cycles, counters and every event with ``==``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from rtl.native.machine import MachineModel, MachineRun, Stalls
from simulator.binary import program_of
from simulator.encoding import ENGINES, Fault
from simulator.interpreter import Registers, interpret
from simulator.machine import run
from simulator.result import Counters, Result

__all__ = ["Outcome", "verify"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a comparison found: nothing, if all is well."""

    differences: tuple[str, ...]
    cycles: int  # the RTL's
    commands: int
    macs: int


def verify(
    model: MachineModel,
    data: bytes,
    image: NDArray[np.uint8],
    registers: Registers | None = None,
    stalls: Stalls | None = None,
) -> Outcome:
    """Run a program on a copy of a memory image in every view. With `stalls` the memory is slower than the model's: then
    values and counters are compared, and times are not."""
    accelerator, coefficients = model.accelerator, registers or Registers()
    wanted, found = image.copy(), image.copy()
    golden = interpret(data, wanted, accelerator, coefficients)
    simulated = run(program_of(data), accelerator, record_events=True)
    ran = model.run(data, found, registers=_floats(coefficients), stalls=stalls)
    differences = [*_fault(ran), *_values(found, wanted), *_counters(ran.counters, golden, simulated.counters)]
    if stalls is None:
        differences += _events(ran, simulated)
        if ran.cycles != simulated.cycles:
            differences.append(f"cycles: RTL {ran.cycles}, simulator {simulated.cycles}")
    return Outcome(differences=tuple(differences), cycles=ran.cycles, commands=ran.counters.commands, macs=ran.counters.macs)


def _floats(registers: Registers) -> Mapping[str, float]:
    return {field.name: float(getattr(registers, field.name)) for field in fields(registers)}


def _fault(ran: MachineRun) -> list[str]:
    if ran.fault is Fault.NONE:
        return []
    return [f"RTL stopped at command {ran.fault_command} with {ran.fault.name}"]


def _values(found: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> list[str]:
    wrong = np.flatnonzero(found != wanted)
    if not len(wrong):
        return []
    at = int(wrong[0])
    return [f"memory: {len(wrong)} bytes differ, the first at {at:#x}: RTL {found[at]:#04x}, golden {wanted[at]:#04x}"]


def _counters(rtl: Counters, golden: Counters, simulated: Counters) -> list[str]:
    return [
        f"counter {name}: RTL {value}, simulator {simulated.as_dict()[name]}, golden {golden.as_dict()[name]}"
        for name, value in rtl.as_dict().items()
        if not value == simulated.as_dict()[name] == golden.as_dict()[name]
    ]


def _events(ran: MachineRun, simulated: Result) -> list[str]:
    """The earliest event in which an engine's sequences part."""
    first: list[tuple[int, str]] = []
    for engine in ENGINES:
        rtl = [each for each in ran.trace if each.engine is engine]
        model = [event for event in simulated.events if event.engine is engine]
        for number, (ours, theirs) in enumerate(zip(rtl, model, strict=False)):
            if (ours.start, ours.end) != (theirs.start, theirs.end):
                times = f"RTL {ours.start}..{ours.end}, simulator {theirs.start}..{theirs.end}"
                first.append((min(ours.start, theirs.start), f"{engine.value} command {number}: {times}"))
                break
        else:
            if len(rtl) != len(model):
                first.append((0, f"{engine.value}: RTL ran {len(rtl)} commands, simulator {len(model)}"))
    return [f"first event that differs: {min(first)[1]}"] if first else []
