"""What the sizes of the operand and result buffers depend on: the circuits of `rtl.operand_buffer` and `rtl.result_buffer`.

Most of both is choices: look-up tables that let one of two bits pass. How many a tree or a rotation takes is counted here.
"""

from collections.abc import Callable
from functools import cache
from math import log2
from typing import Literal

from simulator.arch import Accelerator, Dataflow
from simulator.cost.array_actions import entry_bits, operand_bus_bits
from simulator.cost.array_drivers import rows_with_either
from simulator.cost.memory_cells import memory_cells
from simulator.cost.sizes import Sizes, bits_below, memory_sizes
from simulator.layout import (
    bus_bytes,
    bus_elements,
    operand_banks,
    operand_words,
    result_places,
    result_words,
    word_elements,
)

__all__ = ["operand_buffer", "result_buffer", "rotation_choices"]

_FEW = 8  # elements of a beat up to which all banks that they may go to stand side by side (`rtl.operand_scatter`)


@cache
def rotation_choices(places: int, wanted: int) -> int:
    """Choices of a rotation of so many places, a power of two, bit by bit of the distance from the lowest, of which only the
    first `wanted` come out."""
    needed, choices, step = set(range(wanted)), 0, places // 2
    while step:
        choices += len(needed)
        needed |= {(place + step) % places for place in needed}
        step //= 2
    return choices


def operand_buffer(side: Literal["a", "b"]) -> Callable[[Accelerator, str], Sizes]:
    """Of the a or the b buffer."""

    def sizes(a: Accelerator, technology: str) -> Sizes:
        pe, banks, width, beat = a.pe, _banks_read(a, side), word_elements(a), bus_elements(a)
        by_mistake = rows_with_either(a) if side == "b" and Dataflow.IS not in a.array.dataflows else 0
        several = Dataflow.IS in a.array.dataflows or by_mistake > 0
        entry, bits = entry_bits(pe), pe.number.operand_bits
        slots, words = (a.a_buffer if side == "a" else a.b_buffer).slots, operand_words(a, side)
        place, word, lane = bits_below(width), max(1, bits_below(words)), bits_below(beat)
        at = place + word
        bank, rounds, extra = bits_below(operand_banks(a)), _rounds(a), bits_below(pe.group) + 1
        least = (2 * bus_bytes(a)).bit_length()
        longest = bits + bits_below(pe.group)
        runs = _runs(a)
        aligned = beat <= min(a.array.rows, a.array.cols)
        halves = aligned and 2 * max(beat, pe.lanes) <= width
        memories = 2 if halves else width
        cells = memory_cells(technology, entry, width // memories, (slots - 1 << word) + words)
        writes = banks * (beat * entry + width) + (banks * (2 if halves else beat) + 1) * word
        kept = memory_sizes(cells, banks * memories, writes, word, turns=False)
        if cells.blocks:  # places of one lane share the register that waits with what was written
            kept["ff"]["shown"] = banks * (beat * entry + width)
        per_run = lane + 2 * (at - lane) + (word if halves else 0)
        behind = (1 if pe.lanes > 1 else 0) if halves else (pe.lanes if aligned else width) - 1
        return {
            "lut": {
                "one": 250,
                "packed": 300 * (pe.group > 1),
                "marks": (beat + width) * (place + 1) + beat * log2(2 * beat) * (lane + place + 1),
                "origins": 2 * beat * at * (rounds + 2),
                "ahead": 4 * (beat + 1) * (place + bank + at),
                "banks_of": beat * (min(beat, _FEW) + 1) / 2 * (bank + bits_below(rounds + 1)),
                "least": beat * least * extra,
                "unpack": 8 * bus_bytes(a) * bits_below(longest) + beat * entry * (extra - 1),
                "runs": banks * runs * (beat - 1) * per_run,
                "lanes": banks * runs * beat * (2 * lane + (at - lane if not halves else place - lane)) + banks * width,
                "more_runs": 3 * banks * (runs - 1) * beat * (at - lane),
                "spread": banks * beat * (beat - 1) * entry,
                "found": banks * _found(a, width, aligned),
                "ports": banks * (behind * word + several * at + 2 * word),
                "either": by_mistake * operand_bus_bits(pe),
                **kept["lut"],
            },
            "ff": {
                "one": 120,
                "entries": beat * (bank + bits_below(rounds + 1) + at + least),
                "address": at,
                "points": place + bank + longest,
                "banks": banks * place + a.array.rows + several * a.array.cols,
                **kept["ff"],
            },
            "dsp": {},
            "bram": kept["bram"],
        }

    return sizes


def _banks_read(a: Accelerator, side: Literal["a", "b"]) -> int:
    """Banks that are read: rows take A and columns B, and only IS exchanges them; what nobody reads is not built, if Yosys sees
    that nobody does."""
    if Dataflow.IS in a.array.dataflows:
        return operand_banks(a)
    if side == "a":
        return a.array.rows
    return max(a.array.cols, a.array.rows) if rows_with_either(a) else a.array.cols


def _rounds(a: Accelerator) -> int:
    least = min(a.array.rows, a.array.cols)
    return (least - 1 + bus_elements(a)) // least


def _runs(a: Accelerator) -> int:
    """Runs of entries that a beat gives one bank, at most."""
    beat, least = bus_elements(a), min(a.array.rows, a.array.cols)
    return max((beat + unit - 2) // (least * unit) + 1 for unit in range(1, max(a.pe.group, a.pe.lanes) + 1))


def _found(a: Accelerator, width: int, aligned: bool) -> float:
    """Choices of a bank's answer: the entries from any place on, as far as they matter."""
    pe, bits = a.pe, a.pe.number.operand_bits
    index, values = entry_bits(pe) - bits, max(pe.group, pe.lanes)
    if not aligned:
        return rotation_choices(width, values) * bits + rotation_choices(width, pe.lanes) * index
    first = rotation_choices(width, pe.lanes) * entry_bits(pe)
    return first + sum(((width >> i.bit_length()) - 1) * bits for i in range(pe.lanes, values))


def result_buffer(a: Accelerator, technology: str) -> Sizes:
    """Of the c buffer."""
    cols, places, slots, words = a.array.cols, result_places(a), a.c_buffer.slots, result_words(a)
    pe, wide = a.pe, a.pe.number.accumulator_bits
    word, turns, column = max(1, bits_below(words)), bits_below(places), bits_below(cols)
    memories = slots * cols * places
    seen = pe.multiply_latency == 0 and pe.lanes == 1  # a sum may be asked for in the cycle in which it is written
    cells = memory_cells(technology, wide, 1, words, turns=not seen)
    kept = memory_sizes(cells, memories, cols * (wide + word + 1), word, turns=not seen)
    shifts = sum(min(places + (1 << column) - (2 << i), cols + places) for i in range(column))
    return {
        "lut": {
            "one": 250,
            "answers": cols * wide * (slots * places - 1) if slots * places > 1 else 0,
            "slots": cols * places * wide * (slots - 1),
            "turned": 1.7 * cols * places * wide * turns,
            "row": max(0, shifts) * wide,
            "line": cols * places * wide,
            "chosen": places * wide,
            "narrow fp16": 60 * places * (pe.format == "fp16"),
            "narrow bf16": 20 * places * (pe.format == "bf16"),
            "ports": memories * (word + 2),
            "words": places * word,
            "shown": memories * wide * float(cells.tables > 0),
            "at_once": 4 * memories * wide * seen,
            **kept["lut"],
        },
        "ff": {
            "one": 90,
            "at_once": memories * wide * seen,
            "beat": places * wide + 8 * bus_bytes(a),
            "columns": cols * (bits_below(slots) + max(1, turns)),
            "about": column + turns,
            "address": word,
            **kept["ff"],
        },
        "dsp": {},
        "bram": kept["bram"],
    }
