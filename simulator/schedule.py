"""The program of an accelerator: commands that the golden model, the simulator and the RTL all interpret."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple, Protocol, TypeAlias

from simulator.arch import Dataflow
from workloads.ops import Op
from workloads.sparsity import NM, Pattern

__all__ = [
    "Command",
    "Commands",
    "Engine",
    "Load",
    "Multiply",
    "Program",
    "Prune",
    "Store",
    "Tile",
    "Unsupported",
    "UnsupportedError",
    "Update",
    "Vector",
    "Wait",
]


class Engine(StrEnum):
    """Units that execute commands, each strictly in order. A DMA channel per buffer shares the one memory port."""

    LOAD_A = "load_a"
    LOAD_B = "load_b"
    LOAD_WORK = "load_work"
    ARRAY = "array"
    PRUNE = "prune"
    UPDATE = "update"
    VECTOR = "vector"
    STORE_C = "store_c"
    STORE_WORK = "store_work"


class Wait(NamedTuple):
    """A dependency token: the command starts once `engine` has finished `commands` commands of this program."""

    engine: Engine
    commands: int


class Tile(NamedTuple):
    """A box of a GEMM's iteration space. Ranges are half open and never empty."""

    batch: range
    m: range
    n: range
    k: range


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Bring `runs` contiguous runs of `run_bytes` from memory into a buffer slot."""

    op: int  # position in Program.ops
    engine: Literal[Engine.LOAD_A, Engine.LOAD_B, Engine.LOAD_WORK]
    slot: int
    runs: int
    run_bytes: int
    waits: tuple[Wait, ...]
    tile: Tile | None = None  # the part of the GEMM's operand; None for work tiles
    plane: int = 0  # of a work slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiply:
    """Multiply the tile of A in `a_slot` by the tile of B in `b_slot` into `c_slot`."""

    op: int
    dataflow: Dataflow
    tile: Tile
    pattern: Pattern
    sparse: Literal["a", "b"]  # the operand that carries the pattern
    accumulate: bool  # whether the slot's partial sums come first, or zero
    a_slot: int
    b_slot: int
    c_slot: int
    waits: tuple[Wait, ...]

    engine = Engine.ARRAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Top-N of M over `elements` elements of a slot: in an operand buffer in place, in the work buffer from plane to planes."""

    op: int
    buffer: Literal["a", "b", "work"]
    slot: int
    elements: int
    pattern: NM
    waits: tuple[Wait, ...]
    tile: Tile | None = None
    across: bool = False  # groups lie down the rows in memory, not along them
    row_elements: int = 0  # of a work plane: elements of a row; 0: not known
    source: int = 0  # planes of a work slot
    values: int = 0
    indices: int = 0

    engine = Engine.PRUNE


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The optimizer step on `elements` elements of a work slot's planes."""

    op: int
    slot: int
    elements: int
    waits: tuple[Wait, ...]
    weight: int = 0
    velocity: int = 0
    gradient: int = 0
    copy: int = 0  # the new weights in operand format
    mask: int = 0
    masked: bool = False
    second: int = 0  # Adam's second moment; its first one is `velocity`
    adam: bool = False

    engine = Engine.UPDATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """`work` element operations on a work slot's planes."""

    op: int
    slot: int
    work: int
    waits: tuple[Wait, ...]
    operation: str = ""  # the workload's name of it
    x: int = 0
    y: int = 0
    out: int = 0

    engine = Engine.VECTOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Write a slot's results to memory: sums rounded to the result format, a work plane's bytes, or what a Prune packed."""

    op: int
    engine: Literal[Engine.STORE_C, Engine.STORE_WORK]
    slot: int
    runs: int
    run_bytes: int
    waits: tuple[Wait, ...]
    tile: Tile | None = None
    plane: int = 0  # of a work slot
    pattern: NM | None = None  # of packed entries: their values in `plane`, their indices in `indices`
    indices: int = 0
    entries: int = 0


Command: TypeAlias = Load | Multiply | Prune | Update | Vector | Store


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Why a design point cannot run a workload: a row of the sweep, not a failure of the tool."""

    constraint: str
    demand: int
    limit: int

    def __str__(self) -> str:
        return f"{self.constraint}: needs {self.demand:,}, has {self.limit:,}"


class UnsupportedError(Exception):
    """Carries an `Unsupported` out of the compiler."""

    def __init__(self, reason: Unsupported) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Commands(Protocol):
    """What the machine runs: commands in program order, the same at each iteration, whose `op` is below `tags`."""

    @property
    def tags(self) -> int: ...

    def __iter__(self) -> Iterator[Command]: ...


@dataclass(frozen=True, kw_only=True)
class Program:
    """Commands of a whole workload in program order, made afresh for each iteration.

    Program order is a topological order of the waits, so that in-order dispatch through bounded queues never deadlocks.
    """

    ops: tuple[Op, ...]
    choices: tuple[str, ...]  # by operation: the dataflow chosen for a GEMM, "" for others
    emit: Callable[[], Iterator[Command]]

    @property
    def tags(self) -> int:
        return len(self.ops)

    def __iter__(self) -> Iterator[Command]:
        return self.emit()
