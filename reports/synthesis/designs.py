"""Which machines are synthesised for the cost model: for each part, points spread over what its size depends on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtl.operand_scatter import blocks
from simulator.arch import Accelerator, Array, Buffer, Dataflow, Dram, Pe, Pruner, Sequencer, Updater, VectorUnit
from simulator.layout import bus_elements, operand_banks, result_places, word_elements

__all__ = ["COUNTS", "Design", "designs"]

COUNTS = {
    "pe": 90,
    "c_buffer": 27,
    "a_buffer": 23,
    "prune": 12,
    "vector": 9,
    "update": 6,
    "work_buffer": 9,
    "array": 38,
    "control": 6,
    "machine": 12,
}
"""Machines for each part; of every three, two make the fit and one tests it. All of `machine` test it, but the first."""

_FLOWS = ((Dataflow.OS,), (Dataflow.WS,), (Dataflow.OS, Dataflow.WS), tuple(Dataflow))
_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "format": ("int8", "fp16", "int8", "bf16"),
    "group": (1, 2, 4, 8, 16, 4, 8),
    "lanes": (1, 2, 1, 4),
    "registers": (1, 2),  # times the group
    "int8_latency": (0, 1, 2, 3),
    "multiply_latency": (2, 3, 4),
    "accumulate_latency": (3, 4, 5),
    "interleave": (0, 0, 1),  # above the accumulate latency
    "pe_accumulate": (1, 1, 2, 4),  # of int8; these three for PEs on their own, of which many are measured
    "pe_interleave": (0, 1, 0, 4, -1),
    "pe_registers": (1, 2, 1, 4),
    "flows": _FLOWS,
    "rows": (2, 3, 4, 5, 6, 8),
    "cols": (2, 3, 4, 5, 6, 8),
    "bus": (4, 4, 8, 8, 16),
    "kbytes": (2, 4, 8, 16, 32, 64),
    "work_kbytes": (2, 4, 8, 16, 32),
    "slots": (2, 2, 1),
    "pruner": (1, 2, 4, 8),
    "pruner_latency": (1, 2, 3),
    "updater": (1, 2),
    "updater_latency": (12, 16, 20, 24),
    "adam": (0, 0, 1),
    "vector": (1, 2, 1, 4),
    "vector_latency": (4, 6, 8, 10, 12),
    "burst": (16, 32, 64),
    "outstanding": (4, 8, 16),
    "queue": (4, 8, 16),
    "trains": (1, 1, 0),
}
"""Values of what is varied, each taken equally often."""
_CLOCK = 100_000_000
_SEEN_MACHINES = 6
"""The first whole machines were looked at while the drivers were written, and say what mapping in one piece saves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A machine of which `part` is measured. `held_out`: the fit may not see it."""

    part: str
    number: int
    accelerator: Accelerator

    @property
    def held_out(self) -> bool:
        return self.number >= _SEEN_MACHINES if self.part == "machine" else self.number % 3 == 2


def designs() -> Iterator[Design]:
    """All of them, always the same: more of a part change none of the others."""
    for part, count in COUNTS.items():
        for number in range(count):
            yield Design(part=part, number=number, accelerator=_machine(part, number))


def _machine(part: str, number: int) -> Accelerator:
    """Every value of a field comes once before one comes again, in an order of the field's own."""
    taken: dict[str, Any] = {}
    for name, values in _CHOICES.items():
        turn, at = divmod(number, len(values))
        order = np.random.default_rng([*f"{part} {name}".encode(), turn]).permutation(len(values))
        taken[name] = values[order[at]]
    return _small_enough(part, _built(part, taken), taken)


def _built(part: str, taken: Mapping[str, Any]) -> Accelerator:
    form = taken["format"]
    if part == "update" and form == "int8":  # which has none: its gradients are integers
        form = ("fp16", "bf16")[taken["bus"] > 4]
    group = taken["group"]
    lanes = min(group, taken["lanes"])
    accumulate, interleave, registers = taken["accumulate_latency"], taken["interleave"], taken["registers"]
    if form == "int8":
        accumulate = taken["pe_accumulate"] if part == "pe" else 1
    if part == "pe":
        interleave, registers = max(1 - accumulate, taken["pe_interleave"]), taken["pe_registers"]
    pe = Pe(
        format=form,
        group=group,
        lanes=lanes,
        registers=group * registers if part in ("array", "pe") else group,
        multiply_latency=taken["int8_latency"] if form == "int8" else taken["multiply_latency"],
        accumulate_latency=accumulate,
        interleave=accumulate + interleave,
    )
    trains = taken["trains"] or part not in ("control", "machine")
    return Accelerator(
        name="calibration",
        clock_hz=_CLOCK,
        pe=pe,
        array=Array(rows=taken["rows"], cols=taken["cols"], dataflows=taken["flows"]),
        a_buffer=_buffer(taken["kbytes"], taken["slots"]),
        b_buffer=_buffer(taken["kbytes"], taken["slots"]),
        c_buffer=_buffer(taken["kbytes"], taken["slots"]),
        work_buffer=_buffer(taken["work_kbytes"], 2),
        pruner=Pruner(lanes=taken["pruner"] if trains else 0, latency=taken["pruner_latency"]),
        updater=Updater(
            lanes=taken["updater"] if trains else 0,
            latency=taken["updater_latency"],
            optimizers=("sgd-momentum", "adam") if taken["adam"] else ("sgd-momentum",),
        ),
        vector=VectorUnit(lanes=taken["vector"] if trains else 0, latency=taken["vector_latency"]),
        dram=Dram(
            bytes_per_second=taken["bus"] * _CLOCK,
            latency_ns=150,
            burst_bytes=max(taken["burst"], taken["bus"]),
            outstanding=taken["outstanding"],
        ),
        sequencer=Sequencer(queue_depth=taken["queue"]),
    )


def _buffer(kbytes: int, slots: int) -> Buffer:
    return Buffer(bytes=kbytes * 2**10, banks=64, bank_bits=1024, slots=slots)


_WIDEST = {"a_buffer": 512, "machine": 256}
"""Choices of entries in an operand buffer beyond which it takes minutes to map."""


def _choices(machine: Accelerator) -> int:
    """Of each bank's places among the entries of a beat, for every run that it may get."""
    return operand_banks(machine) * word_elements(machine) * bus_elements(machine) * blocks(machine)


def _small_enough(part: str, machine: Accelerator, taken: Mapping[str, Any]) -> Accelerator:
    """The machine, with a smaller array or fewer lanes where synthesis would take long: sizes of these are linear."""
    changed = dict(taken)
    number = machine.pe.number
    if part == "pe":
        changed |= {"rows": 2, "cols": 2}
    if part == "array":
        changed |= {side: min(3, (taken[side] + 1) // 2) for side in ("rows", "cols")}
    if part == "machine":
        changed |= {"rows": taken["rows"] // 2 + 1, "cols": taken["cols"] // 2 + 1}
    if part == "prune":
        changed["pruner"] = max(1, min(taken["pruner"], 256 // (machine.pe.group * number.operand_bits)))
    if part == "vector":
        changed["vector"] = min(2, taken["vector"])
    if part == "c_buffer":
        changed["cols"] = min(taken["cols"], max(2, 16 // result_places(machine)))
    if part == "update":
        changed |= {"updater": 1 if taken["adam"] else taken["updater"]}
    if part in ("work_buffer", "machine", "control") or (part == "a_buffer" and number.operand_bits == 8):
        changed |= {"bus": min(8, taken["bus"])}
    if part == "work_buffer":
        changed |= {"bus": min(4 * min(taken["updater"], taken["trains"] + 1), taken["bus"])}
    if part in ("work_buffer", "machine"):  # whose planes all users take choices of
        changed |= {"updater": 1, "adam": 0 if part == "machine" else taken["adam"]}
        changed |= {"pruner": min(4, taken["pruner"]), "vector": min(taken["vector"], changed["bus"] // 4)}
    machine = _built(part, changed)
    while part in _WIDEST and _choices(machine) > _WIDEST[part]:
        if changed["bus"] > 4:
            changed["bus"] //= 2
        elif operand_banks(machine) > 3:
            changed |= {side: min(changed[side], operand_banks(machine) - 1) for side in ("rows", "cols")}
        else:
            changed["group"] //= 2
        machine = _built(part, changed)
    return machine
