"""How often a run of a program makes each part of the machine act: exact counts, in closed form from the commands alone.

Counted is what `rtl` does, not what the mathematics needs (docs/energy.md): a request to an operand buffer reads the whole word
of a bank, rows and columns of PEs beyond the matrices' edges multiply what the buffers hold there, a store shows every place
of the result buffer for each bus beat. Equal commands are counted once, so that a training step takes well under a second.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from simulator.arch import Accelerator, Dataflow, ceil_div
from simulator.cost.array_actions import MultiplyShape, entry_bits, multiply_actions
from simulator.encoding import COMMAND_BITS
from simulator.layout import bus_bytes, plane_word_bytes, result_places
from simulator.schedule import Command, Engine, Load, Multiply, Prune, Store, Update, Vector
from workloads.sparsity import NM, Pattern

__all__ = ["Actions", "Kinds", "Tally", "actions", "line_entries", "update_operations", "vector_operations"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """Totals of a run. Bits are those that memories read and write and that registers take."""

    multiplications: int = 0  # of the matrices' elements: `Counters.macs`, in the machine's format
    accumulations: int = 0  # their additions, in adder trees and accumulators
    padded_multiplications: int = 0  # in PEs and lanes beyond the matrices' edges
    padded_accumulations: int = 0
    accumulator_bits: int = 0  # sums written into accumulators, and their copies that leave (OS)
    stationary_bits: int = 0  # words written into stationary registers
    operand_hop_bits: int = 0  # operands and stationary words, from PE to PE
    sum_hop_bits: int = 0  # sums between PEs, and from the result buffer into the array
    operand_used_bits: int = 0  # of what the operand buffers read: groups and kept entries of the step, and stationary words
    a_read_bits: int = 0
    a_write_bits: int = 0
    b_read_bits: int = 0
    b_write_bits: int = 0
    c_read_bits: int = 0
    c_write_bits: int = 0
    work_read_bits: int = 0
    work_write_bits: int = 0
    pruned_elements: int = 0
    comparison_bits: int = 0  # operands' bits that the pruner's comparators take
    turn_bits: int = 0  # written into the registers that turn groups
    update_multiplications: int = 0  # these six: FP32
    update_additions: int = 0
    update_divisions: int = 0
    update_roots: int = 0
    vector_multiplications: int = 0
    vector_additions: int = 0
    vector_integer_multiplications: int = 0  # INT32
    vector_integer_additions: int = 0
    updated_elements: int = 0
    vector_elements: int = 0  # element operations
    dram_read_bits: int = 0  # of tensors: `Counters.dram_read_bytes`
    dram_write_bits: int = 0
    dram_burst_bits: int = 0  # of whole bursts, both ways, the program's own included: what the memory moves
    commands: int = 0

    def as_dict(self) -> dict[str, int]:
        return {item.name: getattr(self, item.name) for item in fields(self)}


def update_operations(accelerator: Accelerator) -> dict[str, int]:
    """FP32 operations of an updater's lane per element. A lane of both optimizers does all of Adam's for SGD too, and every
    lane does SR-STE's decay for elements that the mask keeps: results that aren't wanted are passed by (`rtl.optimizer`)."""
    if "adam" in accelerator.updater.optimizers:
        return {"multiplications": 9, "additions": 7, "divisions": 1, "roots": 1}
    return {"multiplications": 4, "additions": 4, "divisions": 0, "roots": 0}


def vector_operations(accelerator: Accelerator) -> dict[str, int]:
    """Operations of a vector lane per element operation: product and sum are both made, and one is chosen (`rtl.vector`)."""
    if accelerator.pe.format == "int8":
        return {"multiplications": 1, "additions": 0, "integer_multiplications": 1, "integer_additions": 1}
    return {"multiplications": 1, "additions": 1, "integer_multiplications": 0, "integer_additions": 0}


def line_entries(pattern: Pattern, k: Any, *, kept: bool) -> Any:
    """Entries that k elements of the reduction are in an operand buffer: the kept ones of an operand that has the pattern."""
    return ceil_div(k, pattern.group) * pattern.keep if kept and isinstance(pattern, NM) else k


def actions(commands: Iterable[Command], accelerator: Accelerator) -> Actions:
    """Count a run of commands in program order: a `Program`, a `BinaryProgram` or a list."""
    tally = Tally(accelerator)
    for command in commands:
        tally.add(command)
    return tally.total()


class Tally:
    """Counts the actions of commands as they pass, in program order.

    A tile is written into its operand buffer as the first Multiply or Prune that takes it says (dense or kept, lines times
    elements of the reduction): one that nothing takes isn't counted there.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._counts = Counter[tuple[object, ...]]()  # of equal commands
        self._waiting: set[tuple[str, int]] = set()  # tiles that are loaded and not yet used

    def add(self, command: Command) -> None:
        """Count one more command."""
        counts, waiting = self._counts, self._waiting
        match command:
            case Load(engine=Engine.LOAD_WORK):
                counts["load_work", command.runs, command.run_bytes] += 1
            case Load():
                waiting.add(("a" if command.engine is Engine.LOAD_A else "b", command.slot))
                counts["load", command.runs, command.run_bytes] += 1
            case Store(engine=Engine.STORE_C):
                counts["store_c", command.runs, command.run_bytes] += 1
            case Store():
                counts["store_work", command.runs, command.run_bytes, command.entries, command.pattern is not None] += 1
            case Multiply():
                self._multiply(command)
            case Prune():
                if (command.buffer, command.slot) in waiting:
                    waiting.remove((command.buffer, command.slot))
                    counts["fill", command.buffer, command.elements] += 1
                counts["prune", command.buffer, command.elements, command.pattern, command.across] += 1
            case Update():
                counts["update", command.elements, command.masked, command.adam] += 1
            case Vector():
                counts["vector", command.work, command.y != command.x] += 1

    def _multiply(self, command: Multiply) -> None:
        tile, pattern = command.tile, command.pattern
        batch, m, n, k = (len(part) for part in tile)
        shape: MultiplyShape = (command.dataflow, m, n, k, pattern, command.sparse, command.accumulate)
        self._counts["multiply", batch, *shape] += 1
        for side, slot, lines in (("a", command.a_slot, m), ("b", command.b_slot, n)):
            if (side, slot) in self._waiting:
                self._waiting.remove((side, slot))
                kept = command.sparse == side
                self._counts["fill", side, batch * lines * line_entries(pattern, k, kept=kept)] += 1

    def total(self) -> Actions:
        """What has been counted so far."""
        total = Counter[str]()
        kinds = Kinds(self._accelerator)
        for (kind, *what), count in self._counts.items():
            for name, each in getattr(kinds, str(kind))(*what).items():
                total[name] += count * each
        total["commands"] = sum(count for (kind, *_), count in self._counts.items() if kind != "fill")
        total["dram_burst_bits"] += COMMAND_BITS * total["commands"]
        return Actions(**total)


class Kinds:
    """A method for each kind of command: the actions of one. Sizes may be numpy integer arrays."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.spec, self.bus, self.entry = accelerator, bus_bytes(accelerator), entry_bits(accelerator.pe)
        self.word = 8 * plane_word_bytes(accelerator)  # what a read of a plane takes out of its memory, however much is wanted

    def _transfer(self, way: str, runs: Any, run_bytes: Any) -> dict[str, Any]:
        burst = self.spec.dram.burst_bytes
        return {way: 8 * runs * run_bytes, "dram_burst_bits": 8 * runs * ceil_div(run_bytes, burst) * burst}

    def load(self, runs: Any, run_bytes: Any) -> dict[str, Any]:
        return self._transfer("dram_read_bits", runs, run_bytes)

    def load_work(self, runs: Any, run_bytes: Any) -> dict[str, Any]:
        return self._transfer("dram_read_bits", runs, run_bytes) | {"work_write_bits": 8 * runs * run_bytes}

    def fill(self, side: str, entries: Any) -> dict[str, Any]:
        """A tile into an operand buffer: a value and an index each."""
        return {f"{side}_write_bits": entries * self.entry}

    def store_c(self, runs: Any, run_bytes: Any) -> dict[str, Any]:
        """Each bus beat reads all places of a word of each bank."""
        beat = self.spec.array.cols * result_places(self.spec) * self.spec.pe.number.accumulator_bits
        return self._transfer("dram_write_bits", runs, run_bytes) | {"c_read_bits": runs * ceil_div(run_bytes, self.bus) * beat}

    def store_work(self, runs: Any, run_bytes: Any, entries: Any, packed: bool) -> dict[str, Any]:
        """Parts of the plane of the bus's width, each once; of packed entries (so many a row) beside them indices."""
        row = entries * self.spec.pe.number.operand_bits // 8 if packed else run_bytes
        reads = ceil_div(runs * row, self.bus) * (2 if packed else 1)
        return self._transfer("dram_write_bits", runs, run_bytes) | {"work_read_bits": reads * self.word}

    def multiply(
        self,
        batch: Any,
        dataflow: Dataflow,
        *shape: object,
    ) -> dict[str, Any]:
        one = multiply_actions(self.spec, (dataflow, *shape))  # pyright: ignore[reportArgumentType]
        return {name: batch * each for name, each in one.items()}

    def prune(self, buffer: str, elements: Any, pattern: NM, across: bool) -> dict[str, Any]:
        """In the work buffer as `rtl.prune_engine`; in an operand buffer, which the RTL doesn't do, an entry at a time."""
        pe, pruner = self.spec.pe, self.spec.pruner
        bits, kept = pe.number.operand_bits, ceil_div(elements, pattern.group) * pattern.keep
        reads = pruner.cycles(elements, pattern)
        found = {"pruned_elements": elements, "comparison_bits": elements * pe.group * bits}
        if buffer != "work":
            found |= {f"{buffer}_read_bits": elements * self.entry, f"{buffer}_write_bits": kept * self.entry}
            return found | {"turn_bits": 0 if across else elements * bits}
        found |= {"work_read_bits": reads * self.word, "work_write_bits": kept * (bits + 8)}
        return found | {"turn_bits": reads * pruner.lanes * bits}  # words are written there across too

    def update(self, elements: Any, masked: bool, adam: bool) -> dict[str, Any]:
        number = self.spec.pe.number
        steps = self.spec.updater.cycles(elements)
        reads = 3 + masked + adam  # weight, velocity, gradient; mask; second moment
        written = 32 * (2 + adam) + number.operand_bits
        found = {f"update_{name}": elements * each for name, each in update_operations(self.spec).items()}
        return found | {
            "updated_elements": elements,
            "work_read_bits": steps * reads * self.word,
            "work_write_bits": elements * written,
        }

    def vector(self, work: Any, two: bool) -> dict[str, Any]:
        """Each element operation reads its operands from their planes and writes its result."""
        steps = self.spec.vector.cycles(work)
        found = {f"vector_{name}": work * each for name, each in vector_operations(self.spec).items()}
        return found | {
            "vector_elements": work,
            "work_read_bits": steps * (1 + two) * self.word,
            "work_write_bits": work * self.spec.pe.number.result_bits,
        }
