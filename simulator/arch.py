"""The one hardware description. Pure data: integers, strings, enums, tuples and nested specs; all else is derived."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import Any

from simulator.formats import FORMATS, NumberFormat
from workloads.sparsity import NM, Pattern

__all__ = [
    "OPTIMIZERS",
    "Accelerator",
    "Array",
    "Buffer",
    "Dataflow",
    "Dram",
    "Pe",
    "Pruner",
    "Sequencer",
    "Updater",
    "VectorUnit",
    "ceil_div",
    "leaf_fields",
]


OPTIMIZERS = ("sgd-momentum", "adam")


def ceil_div(a: Any, b: Any) -> Any:
    """The least integer not below a/b, for integers and for numpy integer arrays."""
    return -(-a // b)


def _check(spec: object, **limits: tuple[int, int]) -> None:
    """Raise ValueError unless every named field is an integer within its limits (inclusive)."""
    thing = type(spec).__name__
    for name, (low, high) in limits.items():
        value = getattr(spec, name)
        if type(value) is not int:
            raise ValueError(f"{thing} field {name!r} must be an integer, not {value!r}")
        if not low <= value <= high:
            raise ValueError(f"{thing} field {name!r} must be between {low} and {high}, not {value!r}")


class Dataflow(StrEnum):
    """Which GEMM dimensions run along rows, along columns, and in time."""

    OS = "os"  # output stationary: m, n | k
    WS = "ws"  # weight (B operand) stationary: k, n | m
    IS = "is"  # input (A operand) stationary: k, m | n


@dataclass(frozen=True, slots=True, kw_only=True)
class Pe:
    """Processing element: `lanes` multipliers behind group:1 operand selectors, an adder tree, and accumulators.

    Value-serial (SAT's USPE): the kept values of an N:M group pass one beat of `lanes` values at a time.
    """

    format: str = "fp16"
    group: int = 16  # the widest group (M) that the operand selector reaches; 1 is a plain dense PE
    lanes: int = 1  # multipliers: values taken in a beat
    registers: int = 16  # stationary operands (value and index) that fit in a PE, per copy
    multiply_latency: int = 2  # cycles
    accumulate_latency: int = 4  # cycles from an addition to the next that depends on it; the output register included
    interleave: int = 4  # accumulators: independent outputs in flight, to hide the accumulate latency

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"Pe field 'format' must be one of {', '.join(FORMATS)}, not {self.format!r}")
        _check(
            self,
            group=(1, 256),
            lanes=(1, 64),
            registers=(1, 1024),
            multiply_latency=(0, 64),
            accumulate_latency=(1, 64),
            interleave=(1, 256),
        )
        if self.registers < self.lanes:
            raise ValueError(f"Pe field 'registers' must be at least lanes={self.lanes}, not {self.registers}")

    @property
    def number(self) -> NumberFormat:
        return FORMATS[self.format]

    @property
    def latency(self) -> int:
        """Cycles from a beat's operands to the accumulator that holds their sum."""
        tree_levels = (self.lanes - 1).bit_length()
        return self.multiply_latency + (tree_levels + 1) * self.accumulate_latency

    def depth(self, pattern: Pattern) -> int:
        """Elements of the reduction that one step covers: a group, or the lanes of a dense beat."""
        return pattern.group if isinstance(pattern, NM) else self.lanes

    def beats(self, pattern: Pattern) -> int:
        """Beats of one step."""
        return ceil_div(pattern.keep, self.lanes) if isinstance(pattern, NM) else 1

    def stored_bits(self, pattern: Pattern) -> int:
        """Bits of one stored element of an operand with this pattern: its value, and its index within the group."""
        index = pattern.index_bits if isinstance(pattern, NM) else 0
        return self.number.operand_bits + index


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """Rows x columns of PEs whose interconnect switches between dataflows per GEMM (SAT's STCE)."""

    rows: int = 32
    cols: int = 32
    dataflows: tuple[Dataflow, ...] = (Dataflow.OS, Dataflow.WS)
    double_buffered: bool = True  # stationary operands load, and results shift out, while the next fold streams

    def __post_init__(self) -> None:
        _check(self, rows=(1, 4096), cols=(1, 4096))
        if not self.dataflows or len(set(self.dataflows)) != len(self.dataflows):
            raise ValueError(f"Array field 'dataflows' must name at least one dataflow, each once, not {self.dataflows!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """Banked on-chip memory, split into `slots` equal parts that fill and drain in turn (2: double buffering)."""

    bytes: int
    banks: int = 32
    bank_bits: int = 128  # bits that a bank reads, and writes, per cycle
    slots: int = 2

    def __post_init__(self) -> None:
        _check(self, bytes=(1, 2**40), banks=(1, 2**16), bank_bits=(1, 2**16), slots=(1, 16))

    @property
    def slot_bytes(self) -> int:
        return self.bytes // self.slots

    @property
    def bits_per_cycle(self) -> int:
        return self.banks * self.bank_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruner:
    """Streaming top-N of M selectors, one group of M in M cycles per lane (SAT's SORE)."""

    lanes: int = 32  # 0: the machine has none, and prunes nothing
    latency: int = 2  # cycles from a group's last element to its packed values

    def __post_init__(self) -> None:
        _check(self, lanes=(0, 65536), latency=(1, 1024))

    def cycles(self, elements: Any, pattern: NM) -> Any:
        """Cycles in which the lanes accept `elements` elements."""
        return ceil_div(ceil_div(elements, pattern.group), self.lanes) * pattern.group

    def busy(self, elements: Any, pattern: NM, *, across: bool) -> Any:
        """Cycles of a whole command, to its last packed entry: `lanes` of them are written at a time. Groups that lie along
        rows (not `across`) are turned in registers first, a round ahead of the lanes."""
        turned = 0 if across else pattern.group
        return turned + self.cycles(elements, pattern) + self.latency + pattern.keep - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Updater:
    """Pipelined FP32 optimizer, one element per lane and cycle (SAT's WUVE)."""

    lanes: int = 32  # 0: the machine has none
    latency: int = 16  # cycles through the update's chain of FP32 operations
    optimizers: tuple[str, ...] = ("sgd-momentum",)  # those that the lanes can do; a command takes one of them

    def __post_init__(self) -> None:
        _check(self, lanes=(0, 65536), latency=(1, 4096))
        if not self.optimizers or len({*self.optimizers}) != len(self.optimizers) or not {*self.optimizers} <= {*OPTIMIZERS}:
            raise ValueError(
                f"Updater field 'optimizers' must be a choice of {', '.join(OPTIMIZERS)}, each once, not {self.optimizers!r}"
            )

    def cycles(self, elements: Any) -> Any:
        return ceil_div(elements, self.lanes)


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorUnit:
    """Element-wise unit for the work between GEMMs, one element operation per lane and cycle."""

    lanes: int = 32  # 0: the machine has none
    latency: int = 8

    def __post_init__(self) -> None:
        _check(self, lanes=(0, 65536), latency=(1, 4096))

    def cycles(self, work: Any) -> Any:
        return ceil_div(work, self.lanes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dram:
    """Memory behind one port, granted to one command at a time in order of request."""

    bytes_per_second: int = 19_200_000_000
    latency_ns: int = 100  # first data after a request
    burst_bytes: int = 64
    outstanding: int = 64  # bursts in flight

    def __post_init__(self) -> None:
        _check(self, bytes_per_second=(10**6, 10**15), latency_ns=(1, 10**6), burst_bytes=(1, 2**20), outstanding=(1, 2**20))

    def latency_cycles(self, clock_hz: int) -> int:
        return max(1, ceil_div(self.latency_ns * clock_hz, 10**9))

    def burst_slot(self, clock_hz: int) -> Fraction:
        """Cycles from one burst of a transfer to the next: at the peak rate or as many in flight as the port allows, whichever
        is slower."""
        return _burst_slot(self, clock_hz)

    def bursts(self, runs: Any, run_bytes: Any) -> Any:
        """Whole bursts of `runs` contiguous runs, each of which begins with one. Sizes here may be numpy integer arrays."""
        return runs * ceil_div(run_bytes, self.burst_bytes)

    def transfer_cycles(self, runs: Any, run_bytes: Any, clock_hz: int) -> Any:
        """Cycles that a transfer of `runs` contiguous runs holds the port."""
        slot = self.burst_slot(clock_hz)
        return ceil_div(self.bursts(runs, run_bytes) * slot.numerator, slot.denominator)

    def last_request(self, runs: Any, run_bytes: Any, clock_hz: int) -> Any:
        """Cycles from the grant of the port to the request of the transfer's last burst."""
        slot = self.burst_slot(clock_hz)
        return (self.bursts(runs, run_bytes) - 1) * slot.numerator // slot.denominator


@lru_cache(maxsize=4096)
def _burst_slot(dram: Dram, clock_hz: int) -> Fraction:
    rate = Fraction(dram.burst_bytes * clock_hz, dram.bytes_per_second)
    return max(rate, Fraction(dram.latency_cycles(clock_hz), dram.outstanding))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequencer:
    """Dispatches commands in program order to the engines' queues; engines meet through tokens."""

    dispatch_cycles: int = 1  # cycles per command
    queue_depth: int = 32  # commands that wait before an engine
    token_latency: int = 1  # cycles until a finished command is visible to those that wait for it

    def __post_init__(self) -> None:
        _check(self, dispatch_cycles=(1, 1024), queue_depth=(1, 65536), token_latency=(1, 1024))


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """Everything that the simulator, the golden model, the cost counts and the RTL share."""

    name: str
    clock_hz: int = 200_000_000
    pe: Pe = field(default_factory=Pe)
    array: Array = field(default_factory=Array)
    a_buffer: Buffer = field(default_factory=lambda: Buffer(bytes=2 * 2**20, banks=64))
    b_buffer: Buffer = field(default_factory=lambda: Buffer(bytes=2 * 2**20, banks=64))
    c_buffer: Buffer = field(default_factory=lambda: Buffer(bytes=4 * 2**20))
    work_buffer: Buffer = field(default_factory=lambda: Buffer(bytes=2**20))
    pruner: Pruner = field(default_factory=Pruner)
    updater: Updater = field(default_factory=Updater)
    vector: VectorUnit = field(default_factory=VectorUnit)
    dram: Dram = field(default_factory=Dram)
    sequencer: Sequencer = field(default_factory=Sequencer)
    implicit_im2col: bool = True  # convolutions load each feature-map element once per tile, not once per tap

    def __post_init__(self) -> None:
        _check(self, clock_hz=(1, 10**11))
        if not self.name:
            raise ValueError("Accelerator field 'name' must not be empty")

    @property
    def digest(self) -> str:
        """Identity of the hardware: every result and every netlist made from this description carries it."""
        data = asdict(self)
        del data["name"]  # a label: renaming does not make other hardware
        text = json.dumps(data, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def multipliers(self) -> int:
        return self.array.rows * self.array.cols * self.pe.lanes

    @property
    def buffers(self) -> tuple[Buffer, Buffer, Buffer, Buffer]:
        return (self.a_buffer, self.b_buffer, self.c_buffer, self.work_buffer)

    @property
    def storage_bits(self) -> int:
        """On-chip storage: buffers, the PEs' stationary registers (both copies where double buffered) and accumulators."""
        copies = 2 if self.array.double_buffered else 1
        index_bits = (self.pe.group - 1).bit_length()
        per_pe = copies * self.pe.registers * (self.pe.number.operand_bits + index_bits)
        per_pe += copies * self.pe.interleave * self.pe.number.accumulator_bits
        return 8 * sum(buffer.bytes for buffer in self.buffers) + self.array.rows * self.array.cols * per_pe

    @property
    def peak_dense_flops(self) -> int:
        """Floating-point (or integer) operations per second without sparsity: two per multiplier and cycle."""
        return 2 * self.multipliers * self.clock_hz


def leaf_fields(spec: object, prefix: str = "") -> dict[str, object]:
    """Every leaf field of a spec by its dotted path, as in ``{"pe.group": 16}``."""
    leaves: dict[str, object] = {}
    for item in fields(spec):  # pyright: ignore[reportArgumentType]
        value = getattr(spec, item.name)
        if hasattr(value, "__dataclass_fields__"):
            leaves |= leaf_fields(value, f"{prefix}{item.name}.")
        else:
            leaves[prefix + item.name] = value
    return leaves
