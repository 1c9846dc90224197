"""The parts that area is counted in, and what of the description each one's size depends on.

A *driver* is an amount of something that takes cells: operand bits to select among for each lane, bits in registers for each
cycle of latency. Sizes are linear in the drivers; the factors come from synthesis (`simulator.cost.area`).
"""

from collections.abc import Callable, Mapping
from math import log2
from types import MappingProxyType
from typing import Literal

from simulator.arch import Accelerator, Dataflow, ceil_div
from simulator.cost.array_actions import entry_bits, operand_bus_bits
from simulator.layout import (
    bus_bytes,
    bus_elements,
    operand_banks,
    operand_words,
    plane_bytes,
    plane_word_bytes,
    result_places,
    result_words,
    word_elements,
)

__all__ = ["COMPONENTS", "Drivers", "instances"]

Drivers = Mapping[str, float]


def _resident(accelerator: Accelerator) -> float:
    """1 for an array with a stationary operand in some dataflow."""
    return float(set(accelerator.array.dataflows) != {Dataflow.OS})


def _pe(a: Accelerator) -> Drivers:
    pe = a.pe
    bits, wide = pe.number.operand_bits, pe.number.accumulator_bits
    resident = _resident(a)
    several = float(Dataflow.IS in a.array.dataflows)
    return {
        "one": 1,
        "lanes": pe.lanes,
        "select": pe.lanes * bits * (pe.group - 1),
        "index": pe.lanes * (pe.group - 1).bit_length(),
        "tree": pe.lanes - 1,
        "multiply_stages": pe.lanes * bits * pe.multiply_latency,
        "add_stages": pe.lanes * wide * pe.accumulate_latency,
        "accumulators": wide * (pe.interleave - 1),
        "resident": resident,
        "resident_lanes": resident * pe.lanes * entry_bits(pe),
        "registers": resident * pe.registers * entry_bits(pe),
        "held_select": several * pe.lanes * bits * pe.registers,
    }


def _array(a: Accelerator) -> Drivers:
    pe, rows, cols = a.pe, a.array.rows, a.array.cols
    count, operand = rows * cols, operand_bus_bits(pe)
    resident = _resident(a)
    return {
        "one": 1,
        "resident": resident,
        "rows": rows,
        "cols": cols,
        "pes": count,
        "operands": count * operand,
        "sums": count * pe.number.accumulator_bits,
        "words": resident * count * entry_bits(pe),
        "latency": pe.latency,
        "interleave": log2(2 * pe.interleave),
    }


def _operand_buffer(side: Literal["a", "b"]) -> Callable[[Accelerator], Drivers]:
    def drivers(a: Accelerator) -> Drivers:
        banks, word, entry = operand_banks(a), word_elements(a), entry_bits(a.pe)
        beat, lanes = bus_elements(a), a.pe.lanes
        words = operand_words(a, side) * (a.a_buffer if side == "a" else a.b_buffer).slots
        # A memory for each place of a word, or two for each bank: rtl/operand_buffer.py.
        by_place = float(beat > min(a.array.rows, a.array.cols) or 2 * max(beat, lanes) > word)
        blocks = banks * (word if by_place else 2 * ceil_div(word * entry // 2, 36)) * ceil_div(words, 512)
        return {
            "one": 1,
            "beat": beat * entry,
            "banks": banks,
            "rotate": banks * word * entry,
            "by_place": by_place * banks * word * entry * log2(2 * word),
            "scatter": banks * beat * entry,
            "blocks": blocks if words > _DISTRIBUTED else 0,
            "distributed": banks * word * entry * ceil_div(words, 16) if words <= _DISTRIBUTED else 0,
        }

    return drivers


_DISTRIBUTED = 32
"""Words up to which Yosys makes a memory of look-up tables rather than blocks; more or less, by its width."""


def _result_buffer(a: Accelerator) -> Drivers:
    cols, places = a.array.cols, result_places(a)
    wide = a.pe.number.accumulator_bits
    return {
        "one": 1,
        "beat": bus_bytes(a) * 8,
        "cols": cols,
        "gather": cols * places * wide,
        "depth": cols * places * wide * min(1.0, result_words(a) / 64),
    }


def _work(a: Accelerator) -> Drivers:
    has = float(max(a.pruner.lanes, a.updater.lanes, a.vector.lanes) > 0)
    return {
        "one": has,
        "word": has * plane_word_bytes(a),
        "bus": has * bus_bytes(a),
        "word_stages": has * plane_word_bytes(a) * log2(2 * plane_word_bytes(a)),
        "depth": has * min(1.0, plane_bytes(a) * a.work_buffer.slots / plane_word_bytes(a) / 64) * plane_word_bytes(a),
    }


def _prune(a: Accelerator) -> Drivers:
    lanes, bits = a.pruner.lanes, a.pe.number.operand_bits
    return {
        "one": float(lanes > 0),
        "lanes": lanes,
        "sort": lanes * a.pe.group * entry_bits(a.pe),
        "turn": float(lanes > 0) * a.pe.group * bits,
    }


def _update(a: Accelerator) -> Drivers:
    lanes = a.updater.lanes if a.pe.format != "int8" else 0
    adam = float("adam" in a.updater.optimizers)
    return {
        "one": float(lanes > 0),
        "lanes": lanes,
        "adam": lanes * adam,
        "stages": lanes * a.updater.latency,
        "adam_stages": lanes * adam * a.updater.latency,
    }


def _vector(a: Accelerator) -> Drivers:
    lanes = a.vector.lanes
    return {"one": float(lanes > 0), "lanes": lanes, "stages": lanes * a.vector.latency}


def _control(a: Accelerator) -> Drivers:
    """DMA, sequencer, decoder, frames, registers and counters."""
    queues = max(1.0, a.sequencer.queue_depth / 16)
    return {"one": 1, "queues": queues, "bus": bus_bytes(a), "bus_stages": bus_bytes(a) * log2(bus_bytes(a))}


COMPONENTS: Mapping[str, Callable[[Accelerator], Drivers]] = MappingProxyType(
    {
        "pe": _pe,
        "array": _array,
        "a_buffer": _operand_buffer("a"),
        "b_buffer": _operand_buffer("b"),
        "c_buffer": _result_buffer,
        "work_buffer": _work,
        "prune": _prune,
        "update": _update,
        "vector": _vector,
        "control": _control,
    }
)
"""Drivers by part. `array` is what is around the PEs; `control` all that is not named otherwise."""


def instances(accelerator: Accelerator, component: str) -> int:
    """How many there are of a part."""
    return accelerator.array.rows * accelerator.array.cols if component == "pe" else 1
