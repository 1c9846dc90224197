"""Run the drawn steps, and their operations one by one, on both machines: cycles, bounds, and how the port was shared."""

from collections.abc import Collection
from itertools import pairwise
from typing import Any

from dataflows.analytic.machines import Machines
from dataflows.analytic.plan import one_of_each
from dataflows.analytic.points import step_cycles
from dataflows.compile import compile_workload
from reports.studies.closed_form.points import CHOICES, LINKED, Drawn
from simulator.bounds import lower_bound
from simulator.machine import run
from simulator.result import Result
from simulator.schedule import Engine

__all__ = ["EVENT", "OPERATIONS", "event_row", "operation_rows", "step_row"]

OPERATIONS = 6
"""Steps whose operations are run one by one too."""

EVENT = ("event_cycles", "bound_cycles", "commands", "turns")
"""What an event run says."""

_SETTINGS = (*(name for choices in LINKED.values() for name in choices[0]), *CHOICES)
_GEMMS = {Engine.LOAD_A, Engine.LOAD_B, Engine.STORE_C}
_LOADS = {Engine.LOAD_A, Engine.LOAD_B, Engine.LOAD_WORK}
_TRANSFERS = {*_LOADS, Engine.STORE_C, Engine.STORE_WORK}


def event_row(step: Drawn) -> dict[str, int]:
    """`EVENT` of a drawn step: its cycles on the event-driven machine, those that no run can beat, the commands, and the turns
    between its two streams, GEMMs and the work between them with the updates."""
    accelerator, mapping = step.point.accelerator, step.point.mapping
    result = run(compile_workload(step.workload, accelerator, mapping), accelerator, record_events=True)
    bound = lower_bound(step.workload, accelerator, pregenerate=mapping.pregenerate, vector_on_chip=mapping.vector == "chip")
    return {
        "event_cycles": result.cycles,
        "bound_cycles": bound.cycles,
        "commands": result.counters.commands,
        "turns": _turns(result, _GEMMS),
    }


def step_row(step: Drawn, event: dict[str, int]) -> dict[str, Any]:
    """A line of the study's table."""
    settings = {name.removeprefix("accelerator."): _text(step.settings[name]) for name in _SETTINGS}
    error = step.cycles / event["event_cycles"] - 1
    return {"number": step.number, "error": error, "closed_cycles": step.cycles, **event, **settings}


def _text(value: Any) -> Any:
    return " ".join(value) if isinstance(value, tuple) else value


def _turns(result: Result, some: Collection[Engine]) -> int:
    """How often a transfer of `some` engines began in the very cycle in which one of the others' left the port, or the other
    way round: those that had to wait for one are among them."""
    grants = sorted((each.start, each.end, each.engine in some) for each in result.events if each.engine in _TRANSFERS)
    return sum(one[1] == two[0] and one[2] != two[2] for one, two in pairwise(grants))


def operation_rows(step: Drawn) -> list[dict[str, Any]]:
    """The operations of a drawn step, one of each shape, alone on its machine; turns are those between loads and stores."""
    accelerator, mapping = step.point.accelerator, step.point.mapping
    rows: list[dict[str, Any]] = []
    for op in one_of_each(step.workload):
        alone = step.workload.with_ops((op,))
        result = run(compile_workload(alone, accelerator, mapping), accelerator, record_events=True)
        if not result.cycles:  # vector operations on the host
            continue
        cycles = int(step_cycles(alone, Machines.of([accelerator]), mapping).cycles[0])
        rows.append(
            {
                "number": step.number,
                "operation": op.name,
                "kind": type(op).__name__.lower(),
                "error": cycles / result.cycles - 1,
                "closed_cycles": cycles,
                "event_cycles": result.cycles,
                "commands": result.counters.commands,
                "turns": _turns(result, _LOADS),
                "port_wait": sum(time.stalls.get("port", 0) for time in result.engines.values()),
            }
        )
    return rows
