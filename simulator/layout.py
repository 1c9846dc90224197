"""How tiles lie in memory rows, on the bus and in the buffers: the numbers of docs/machine.md, derived from the spec alone."""

from enum import IntEnum
from fractions import Fraction
from typing import Any, Literal

from simulator.arch import Accelerator, Dataflow, ceil_div
from workloads.sparsity import NM, Pattern

__all__ = [
    "Banking",
    "banking",
    "burst_beats",
    "burst_slot",
    "bus_bytes",
    "bus_elements",
    "entries_of_line",
    "entries_of_step",
    "lines_of_bank",
    "operand_bytes",
    "result_bytes",
    "operand_banks",
    "operand_slot_bytes",
    "operand_words",
    "pitch",
    "plane_bytes",
    "plane_word_bytes",
    "power_of_two",
    "result_places",
    "result_slot_bytes",
    "result_words",
    "transfer_complete",
    "word_elements",
]


class Banking(IntEnum):
    """Which bank of an operand buffer an element goes to."""

    LINE_ROWS = 0  # line % rows
    LINE_COLS = 1  # line % cols
    STEP_ROWS = 2  # step % rows


def power_of_two(least: int) -> int:
    """The least power of two not below `least`."""
    return 1 << max(0, least - 1).bit_length()


def bus_bytes(accelerator: Accelerator) -> int:
    """Width of the memory bus: a power of two, at least the memory's bytes per cycle, 4, and an operand."""
    return power_of_two(max(4, ceil_div(accelerator.dram.bytes_per_second, accelerator.clock_hz)))


def bus_elements(accelerator: Accelerator) -> int:
    """Operands in a bus beat."""
    return bus_bytes(accelerator) * 8 // accelerator.pe.number.operand_bits


def burst_slot(accelerator: Accelerator) -> Fraction:
    """Cycles from one burst of a transfer to the next."""
    return accelerator.dram.burst_slot(accelerator.clock_hz)


def burst_beats(accelerator: Accelerator) -> int:
    """Beats of a burst on the bus; at least one."""
    return ceil_div(accelerator.dram.burst_bytes, bus_bytes(accelerator))


def transfer_complete(accelerator: Accelerator, runs: Any, run_bytes: Any) -> Any:
    """Cycles from the grant of the port until a transfer of `runs` runs is complete: the last burst's data are there, or its
    write is answered. Where the memory is far slower than the bus that is before the port is free again."""
    dram, clock = accelerator.dram, accelerator.clock_hz
    return dram.last_request(runs, run_bytes, clock) + burst_beats(accelerator) + dram.latency_cycles(clock)


def pitch(accelerator: Accelerator, row_bytes: Any) -> Any:
    """Bytes from a row of a tensor to the next: whole bursts."""
    return ceil_div(row_bytes, accelerator.dram.burst_bytes) * accelerator.dram.burst_bytes


def operand_banks(accelerator: Accelerator) -> int:
    return max(accelerator.array.rows, accelerator.array.cols)


def word_elements(accelerator: Accelerator) -> int:
    """Entries of a bank's word: a group, the lanes, or a bus beat."""
    return power_of_two(max(accelerator.pe.group, accelerator.pe.lanes, bus_elements(accelerator)))


def operand_words(accelerator: Accelerator, side: Literal["a", "b"]) -> int:
    """Words of each bank in a slot of an operand buffer; at least one."""
    buffer = accelerator.a_buffer if side == "a" else accelerator.b_buffer
    word_bits = operand_banks(accelerator) * word_elements(accelerator) * accelerator.pe.number.operand_bits
    return max(1, 8 * buffer.slot_bytes // word_bits)


def banking(dataflow: Dataflow, side: Literal["a", "b"]) -> Banking:
    """How the operand lies for a Multiply in this dataflow."""
    match dataflow, side:
        case Dataflow.OS, "a":
            return Banking.LINE_ROWS
        case (Dataflow.WS, "a") | (Dataflow.IS, "b"):
            return Banking.STEP_ROWS
        case _:
            return Banking.LINE_COLS


def entries_of_step(accelerator: Accelerator, pattern: Pattern, *, kept: bool) -> int:
    """Entries that a bank keeps for a step of one line (D): N, or the step's elements."""
    if kept:
        assert isinstance(pattern, NM)
        return pattern.keep
    return accelerator.pe.depth(pattern)


def entries_of_line(accelerator: Accelerator, how: Banking, pattern: Pattern, k: Any, *, kept: bool, across: bool) -> Any:
    """Entries from a line to the next of the same bank (stride): the line's own. Where lines lie side by side in memory
    (`across`) and a bus beat has more of them than there are banks, as many more as keep a bank's in different places."""
    steps = ceil_div(k, accelerator.pe.depth(pattern))
    per_step = entries_of_step(accelerator, pattern, kept=kept)
    if how is Banking.STEP_ROWS:
        return ceil_div(steps, accelerator.array.rows) * per_step
    banks = accelerator.array.rows if how is Banking.LINE_ROWS else accelerator.array.cols
    if not across or bus_elements(accelerator) <= banks:
        return steps * per_step
    unit = per_step if kept else 1  # entries of a line that follow each other in a beat of lines side by side
    units, modulus = steps * per_step // unit, 2 if unit & (unit - 1) == 0 else word_elements(accelerator)
    return unit * (units + (1 - units) % modulus)


def lines_of_bank(accelerator: Accelerator, how: Banking, lines: Any) -> Any:
    """Lines that share a bank, at most."""
    match how:
        case Banking.LINE_ROWS:
            return ceil_div(lines, accelerator.array.rows)
        case Banking.LINE_COLS:
            return ceil_div(lines, accelerator.array.cols)
        case Banking.STEP_ROWS:
            return lines


def operand_bytes(
    accelerator: Accelerator,
    dataflow: Dataflow,
    side: Literal["a", "b"],
    pattern: Pattern,
    lines: Any,
    k: Any,
    *,
    kept: bool,
    across: bool,
) -> Any:
    """Bytes of a slot that a tile of `lines` x `k` takes up: whole words of every bank, values only."""
    how = banking(dataflow, side)
    entries = lines_of_bank(accelerator, how, lines) * entries_of_line(accelerator, how, pattern, k, kept=kept, across=across)
    return ceil_div(entries, word_elements(accelerator)) * _operand_word_bytes(accelerator)


def operand_slot_bytes(accelerator: Accelerator, side: Literal["a", "b"]) -> int:
    """Bytes of a slot of an operand buffer, of which a tile may take up all."""
    return operand_words(accelerator, side) * _operand_word_bytes(accelerator)


def _operand_word_bytes(accelerator: Accelerator) -> int:
    """A word of every bank."""
    return operand_banks(accelerator) * word_elements(accelerator) * accelerator.pe.number.operand_bits // 8


def result_places(accelerator: Accelerator) -> int:
    """Accumulators in a word of a bank of the result buffer: the results of a bus beat."""
    return power_of_two(bus_bytes(accelerator) * 8 // accelerator.pe.number.result_bits)


def result_words(accelerator: Accelerator) -> int:
    """Words of each bank in a slot of the result buffer; at least one."""
    word_bits = accelerator.array.cols * result_places(accelerator) * accelerator.pe.number.accumulator_bits
    return max(1, 8 * accelerator.c_buffer.slot_bytes // word_bits)


def result_bytes(accelerator: Accelerator, dataflow: Dataflow, m: Any, n: Any) -> Any:
    """Bytes of a slot that an m x n tile of sums takes up."""
    u, v = (n, m) if dataflow is Dataflow.IS else (m, n)
    words = ceil_div(u, result_places(accelerator)) * ceil_div(v, accelerator.array.cols)
    return words * _result_word_bytes(accelerator)


def result_slot_bytes(accelerator: Accelerator) -> int:
    """Bytes of a slot of the result buffer, of which a tile may take up all."""
    return result_words(accelerator) * _result_word_bytes(accelerator)


def _result_word_bytes(accelerator: Accelerator) -> int:
    """A word of every bank."""
    return accelerator.array.cols * result_places(accelerator) * accelerator.pe.number.accumulator_bits // 8


def plane_word_bytes(accelerator: Accelerator) -> int:
    """Width of a work plane: a bus beat, or a cycle's elements of the widest unit."""
    number = accelerator.pe.number
    units = (
        4 * accelerator.updater.lanes,
        accelerator.vector.lanes * number.result_bits // 8,
        accelerator.pruner.lanes * number.operand_bits // 8,
    )
    return power_of_two(max(bus_bytes(accelerator), *units))


def plane_bytes(accelerator: Accelerator) -> int:
    """Bytes of each of a work slot's planes: an eighth of the slot, in whole words; at least one."""
    word = plane_word_bytes(accelerator)
    return max(1, accelerator.work_buffer.slot_bytes // 8 // word) * word
