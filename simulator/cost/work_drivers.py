"""What the sizes of the work buffer and its engines depend on: `rtl.work_buffer`, `rtl.prune_engine`, `rtl.work_engines`.

Users of the planes take aligned sub-words, each of its own width (`rtl.work_ports`).
"""

from simulator.arch import Accelerator
from simulator.cost.memory_cells import memory_cells
from simulator.cost.sizes import Sizes, bits_below, memory_sizes
from simulator.encoding import PLANES
from simulator.layout import bus_bytes, bus_elements, plane_bytes, plane_word_bytes

__all__ = ["has_engines", "prune", "update", "updater_lanes", "vector", "work_buffer"]

_NOTHING: Sizes = {"lut": {}, "ff": {}, "dsp": {}, "bram": {}}


def has_engines(a: Accelerator) -> bool:
    """Whether there is anything that works on planes: else there are none."""
    return max(a.pruner.lanes, updater_lanes(a), a.vector.lanes) > 0


def updater_lanes(a: Accelerator) -> int:
    """An int8 machine has none: its gradients have no FP32 update."""
    return 0 if a.pe.format == "int8" else a.updater.lanes


def _odd(factor: int) -> float:
    """Whether a product with it needs a multiplier."""
    return float(factor & (factor - 1) != 0)


def _wide_products(technology: str) -> int:
    """Multipliers for a product of FP32 significands: 24 bits each, of 18 or 16 by as many, or of 27 by 18."""
    return 2 if technology == "xcup" else 4


def _users(a: Accelerator) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes of the sub-words that readers and writers take."""
    operand, result = a.pe.number.operand_bits // 8, a.pe.number.result_bits // 8
    pruner, updater, vector_lanes = a.pruner.lanes, updater_lanes(a), a.vector.lanes
    readers = {"values": bus_bytes(a), "source": pruner * operand, "x": vector_lanes * result, "y": vector_lanes * result}
    writers = {"load": bus_bytes(a), "values": pruner * operand, "indices": pruner, "out": vector_lanes * result}
    if updater:
        state = ("weight", "velocity", "second") if "adam" in a.updater.optimizers else ("weight", "velocity")
        readers |= dict.fromkeys(state, 4 * updater) | {"gradient": updater * result, "mask": max(1, updater // 8)}
        writers |= dict.fromkeys(state, 4 * updater) | {"copy": updater * operand}
    return readers, writers


def work_buffer(a: Accelerator, technology: str) -> Sizes:
    """Planes, their users' choices, and the way out of packed rows (`rtl.work_store`)."""
    if not has_engines(a):
        return _NOTHING
    word, bus, planes = plane_word_bytes(a), bus_bytes(a), PLANES * a.work_buffer.slots
    words = plane_bytes(a) // word
    address, index = max(1, bits_below(words)), bits_below(a.pe.group)
    readers, writers = _users(a)
    bits, item, entries = 8 * word, 8 + index, bus_elements(a)
    cells = memory_cells(technology, 8, word, words, turns=True)
    kept = memory_sizes(cells, planes, planes * (bits + word + address), address, turns=True)
    shown = bits * len(readers) + bits * index // 8  # bits of words that are chosen from all planes
    width = bus * item
    return {
        "lut": {
            "one": 400,
            "written": planes * bits * len(writers) / 2,
            "enabled": planes * word * len(writers) / 2,
            "placed": sum(word for _ in writers),
            "addressed": planes * address * (len(readers) + len(writers)) / 2,
            "decoded": planes * (len(readers) + len(writers)) * 2,
            "shown": 0.7 * planes * shown,
            "parts": sum(8 * width * (word // width - 1) for width in readers.values() if width),
            "gathered": 3 * width * bits_below(bus + 1),
            "packed": 8 * bus * index + width,
            "joined": 2 * 8 * bus * bits_below(8 * bus),
            "sizes": 12 * plane_bytes(a).bit_length(),
            **kept["lut"],
        },
        "ff": {
            "one": 150,
            "store": width * 2 + entries * (a.pe.number.operand_bits + index) * 2,
            "sizes": 4 * plane_bytes(a).bit_length() + 2 * address,
            "users": 5 * len(readers),
            **kept["ff"],
        },
        "dsp": {"multipliers": sum(_odd(bits) for bits in range(3, index + 1))},
        "bram": kept["bram"],
    }


def prune(a: Accelerator, technology: str) -> Sizes:  # noqa: ARG001
    """Selectors, the turn of groups that lie along rows, and the packing of a round's entries."""
    lanes, group, bits, later = a.pruner.lanes, a.pe.group, a.pe.number.operand_bits, a.pruner.latency - 1
    if not lanes:
        return _NOTHING
    index = max(1, bits_below(group))
    entry, slots = bits + index, lanes * group
    return {
        "lut": {
            "one": 300,
            "sizes": 70 * bits_below(group),
            "compared": 1.2 * slots * bits,
            "moved": 1.3 * slots * (entry + index),
            "ranked": slots * 5 * index + lanes * group,
            "magnitudes": slots * bits * (a.pe.format == "int8"),
            "turned": 4 * slots * bits,
            "held": slots * entry,
            "chosen": 1.2 * lanes * (slots - 1) * entry,
            "places": 10 * lanes * (index + bits_below(lanes)),
            "table": lanes * group,
            "at_once": 3 * slots * bits * (later == 0 and group > 1),
        },
        "ff": {
            "one": 200,
            "sizes": 12 * bits_below(group),
            "slots": slots * (entry + index),
            "turned": 2 * slots * bits,
            "held": slots * entry,
            "later": later * (slots * entry + lanes),
            "places": lanes * (2 * index + 2 * lanes.bit_length()),
        },
        "dsp": {},
        "bram": {},
    }


def vector(a: Accelerator, technology: str) -> Sizes:
    """Lanes of an adder and a multiplier each, and the walk over the elements."""
    lanes, latency = a.vector.lanes, a.vector.latency
    if not lanes:
        return _NOTHING
    whole, half = float(a.pe.format == "int8"), float(a.pe.format == "fp16")
    return {
        "lut": {
            "one": 150,
            "int8": 1100 * lanes * whole,
            "floats": 1100 * lanes * (1 - whole),
            "fp16": 350 * lanes * half,
            "stages": 8 * lanes * latency,
        },
        "ff": {
            "one": 120,
            "places": 20 * latency,
            "int8": 200 * lanes * whole,
            "floats": 150 * lanes * (1 - whole),
            "fp16": 30 * lanes * half,
            "stages int8": 75 * lanes * latency * whole,
            "stages": 40 * lanes * latency * (1 - whole),
        },
        "dsp": {"multipliers": lanes * (_wide_products(technology) + 3 * whole)},
        "bram": {},
    }


def update(a: Accelerator, technology: str) -> Sizes:
    """Lanes of FP32 adders and multipliers, and Adam's divider and root."""
    lanes, latency = updater_lanes(a), a.updater.latency
    if not lanes:
        return _NOTHING
    adam = float("adam" in a.updater.optimizers)
    half = float(a.pe.format == "fp16")
    return {
        "lut": {"one": 200, "lanes": 4500 * lanes, "fp16": 200 * lanes * half, "adam": 9000 * lanes * adam},
        "ff": {
            "one": 120,
            "places": (25 + 5 * adam) * latency,
            "lanes": 400 * lanes,
            "stages": 70 * lanes * latency,
            "adam": 400 * lanes * adam,
            "adam_stages": 80 * lanes * adam * latency,
        },
        "dsp": {"multipliers": lanes * (9 if adam else 4) * _wide_products(technology)},
        "bram": {},
    }
