"""What a run yields: cycles, where they went, and what was done."""

from dataclasses import dataclass, field, fields
from fractions import Fraction

from simulator.events import Event
from simulator.schedule import Engine

__all__ = ["ArrayCauses", "Counters", "EngineTime", "OpTime", "Result"]


@dataclass(slots=True, kw_only=True)
class Counters:
    """Actions performed. The RTL's performance counters have the same names."""

    commands: int = 0
    macs: int = 0  # multiplications done: zeros that a pattern skips are not among them
    dense_macs: int = 0  # m*n*k of the same GEMMs
    dram_read_bytes: int = 0
    dram_write_bytes: int = 0
    pruned_elements: int = 0
    updated_elements: int = 0
    vector_operations: int = 0

    def as_dict(self) -> dict[str, int]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(slots=True, kw_only=True)
class ArrayCauses:
    """Busy cycles of the array by cause, as in `simulator.timing.MultiplyTime`."""

    compute: int = 0
    latency: int = 0
    bandwidth: int = 0
    shift: int = 0
    fill: int = 0

    def as_dict(self) -> dict[str, int]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(slots=True, kw_only=True)
class EngineTime:
    """One engine's account of the run. A stall's cause is the engine whose token it waited for, or whose full queue held up
    the sequencer before it came to this engine's next command; or:

    "command": the sequencer's own dispatch; "port": the memory port served another; "drained": no more work. The array waits
    for "array", itself, where it takes up partial sums, and where results of an output-stationary command still shift out.
    """

    busy: int = 0
    stalls: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def total(self) -> int:
        return self.busy + sum(self.stalls.values())


@dataclass(slots=True, kw_only=True)
class OpTime:
    """One operation's part of the run."""

    start: int = -1  # first cycle in which an engine worked on it; -1 if it had no commands
    end: int = 0
    cycles: int = 0  # by how much it moved the end of the program: these add up to the total
    macs: int = 0
    busy: dict[Engine, int] = field(default_factory=dict[Engine, int])
    array: ArrayCauses = field(default_factory=ArrayCauses)
    array_stalls: dict[str, int] = field(default_factory=dict[str, int])  # of the array, before this operation's commands
    dram_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A run of a program on an accelerator. Raises ValueError where an engine's account does not add up."""

    accelerator: str  # digest
    cycles: int
    multipliers: int
    clock_hz: int
    counters: Counters
    engines: dict[Engine, EngineTime]
    ops: tuple[OpTime, ...]
    port_busy_cycles: int
    events: tuple[Event, ...] = ()

    def __post_init__(self) -> None:
        for engine, time in self.engines.items():
            if time.total != self.cycles:
                raise ValueError(f"Engine {engine.value!r}: busy + stalls must be {self.cycles} cycles, not {time.total}")
        if sum(op.cycles for op in self.ops) != self.cycles:
            raise ValueError(f"Operations must add up to {self.cycles} cycles, not {sum(op.cycles for op in self.ops)}")

    @property
    def seconds(self) -> float:
        return self.cycles / self.clock_hz

    @property
    def utilization(self) -> Fraction:
        """Multiplications done, of those that the multipliers could have done."""
        return Fraction(self.counters.macs, max(1, self.cycles * self.multipliers))

    @property
    def effective_ops_per_second(self) -> float:
        """Two per multiplication done."""
        return 2 * self.counters.macs / self.seconds if self.cycles else 0.0

    @property
    def dense_ops_per_second(self) -> float:
        """Two per multiplication of the dense workload: what a dense machine would have to do in the same time."""
        return 2 * self.counters.dense_macs / self.seconds if self.cycles else 0.0
