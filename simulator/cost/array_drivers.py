"""What the sizes of a PE, of the array around the PEs, and of the control depend on: `rtl.pe`, `rtl.array`, `rtl.top`."""

from simulator.arch import Accelerator, Dataflow, Pe, ceil_div
from simulator.cost.array_actions import entry_bits, operand_bus_bits
from simulator.cost.memory_cells import Cells, register_file
from simulator.cost.sizes import Sizes, bits_below
from simulator.cost.work_drivers import has_engines, updater_lanes
from simulator.layout import bus_bytes, operand_words, result_places, result_words, word_elements

__all__ = ["array", "control", "pe", "rows_with_either"]


_SIZE_BITS = 16
"""Of a matrix's sizes in a command."""


def _flows(a: Accelerator) -> tuple[bool, bool]:
    """Whether operands come by the columns (OS), and whether they are in the PEs (WS, IS)."""
    flows = set(a.array.dataflows)
    return Dataflow.OS in flows, flows != {Dataflow.OS}


def _longest_hop(a: Accelerator) -> int:
    spec = a.pe
    if not _flows(a)[1] or a.array.rows == 1:
        return 1
    return (ceil_div(spec.group, spec.lanes) - 1) * max(spec.interleave, spec.accumulate_latency) + spec.accumulate_latency


def rows_with_either(a: Accelerator) -> int:
    """Rows whose operand may come from either operand buffer, as far as Yosys can tell: all with IS. Without it, none where the
    rows' control passes through registers; where it passes through memories, whose contents it doesn't follow, all below the
    first."""
    if Dataflow.IS in a.array.dataflows:
        return a.array.rows
    return a.array.rows - 1 if _longest_hop(a) > 1 else 0


def _sums(spec: Pe, streams: bool, holds: bool, technology: str) -> tuple[Cells, int]:
    """Accumulators of a PE: their memories as look-up tables, and registers for a sum."""
    wide, late = spec.number.accumulator_bits, spec.interleave > spec.accumulate_latency
    slots, registers, tables, rows = 1 << max(1, bits_below(spec.interleave)), 0, 0, 1
    if spec.interleave == spec.accumulate_latency == 1 and streams:
        registers += 1
    elif streams or late:
        deep = register_file(technology, wide, 2 * slots)
        tables, rows = 2 * deep.tables, deep.rows  # two are read
    if streams or (holds and late):  # an earlier sum waits
        if spec.interleave == 1:
            registers += 1
        else:
            tables += register_file(technology, wide, slots).tables
    return Cells(bits=wide, rows=rows, tables=tables), registers


def pe(a: Accelerator, technology: str) -> Sizes:
    """One PE.

    A choice between a group's elements takes least where the index is there early: where a register file gives it, Yosys spends
    tables on speed, the more the deeper that memory is.
    """
    spec, form = a.pe, a.pe.format
    streams, holds = _flows(a)
    bits, wide, width, lanes = spec.number.operand_bits, spec.number.accumulator_bits, max(spec.group, spec.lanes), spec.lanes
    index = entry_bits(spec) - bits
    selects = spec.group > 1
    held = register_file(technology, entry_bits(spec), 2 << (max(1, bits_below(spec.registers)) if selects else 0))
    sums, registers = _sums(spec, streams, holds, technology)
    late = spec.interleave > spec.accumulate_latency
    stages = max(0, spec.accumulate_latency - 1)
    whole = form == "int8"
    adder, product = "int8" if whole else "float", {"int8": 10, "fp16": 150, "bf16": 80}[form]
    selected = selects * lanes * width * bits * 0.7
    return {
        "lut": {
            "one": 30,
            f"multiply {form}": lanes * product,
            f"multiply_stages {form}": 5 * lanes * spec.multiply_latency,
            f"tree {adder}": (lanes - 1) * (40 if whole else 700),
            f"add {adder}": 40 if whole else 700,
            f"add_stages {adder}": 10 * lanes * stages,
            "selected": selected,
            "selected_column": selected * streams,
            "selected_held": selected * holds,
            "selected_both": selected * streams * holds,
            "selected_deep": selected * holds * bits_below(held.rows),
            "indices": lanes * index * 2,
            "held": lanes * held.bits * holds,
            f"late {adder}": wide * late,
            f"late_held {adder}": wide * late * holds,
            f"both {adder}": wide * streams * holds,
            "sum_rows": wide * (sums.rows - 1),
            "tables": holds * lanes * held.tables + sums.tables,
        },
        "ff": {
            "one": 5,
            "fields": (4 + bits_below(spec.interleave)) * (spec.latency + spec.accumulate_latency),
            f"multiply_stages {form}": lanes * spec.multiply_latency * (2 if whole else 25),
            f"add {adder}": wide * lanes,
            f"add_stages {adder}": lanes * stages * 40,
            "sums": registers * wide,
            "lanes": lanes * spec.multiply_latency,
        },
        "dsp": {"multipliers": lanes},
        "bram": {},
    }


def _additions(factor: int) -> int:
    """Of a product with a constant."""
    return max(0, factor.bit_count() - 1)


def _result_walks(a: Accelerator, *, streams: bool) -> dict[str, float]:
    """Addresses of sums: strides of some lines at once, and what moves on by them (`rtl.array_walk`)."""
    rows, interleave = a.array.rows, a.pe.interleave
    word, place = max(1, bits_below(result_words(a))), bits_below(result_places(a))
    lines = {rows * interleave, interleave, 1} | ({rows} if streams else set[int]())
    strides = sum(word * (1 + _additions(each >> place)) for each in lines if each >> place > 1)
    moves = (4 + 4 * (interleave > 1)) if streams else 2 + (interleave > 1)
    return {"strides": strides * (1.5 if streams else 1), "walks": 2 * word * moves}


def array(a: Accelerator, technology: str) -> Sizes:
    """What is around the PEs."""
    spec, rows, cols = a.pe, a.array.rows, a.array.cols
    streams, holds = _flows(a)
    wide, bus, entry = spec.number.accumulator_bits, operand_bus_bits(spec), entry_bits(spec)
    slot, register = max(1, bits_below(spec.interleave)), max(1, bits_below(spec.registers))
    several = len(a.array.dataflows) > 1
    at = max(bits_below(word_elements(a)) + max(1, bits_below(operand_words(a, side))) for side in ("a", "b"))
    place = max(1, bits_below(result_places(a))) + max(1, bits_below(result_words(a))) + 1
    hop = _longest_hop(a)
    depth = 1 << max(1, bits_below(hop))
    pointer = max(1, bits_below(hop))
    rings = holds and rows > 1 and hop > 1
    left = min(16, (rows * max(spec.group, spec.lanes)).bit_length())
    field = 5 + spec.lanes + slot + holds * (6 + 2 * register)
    bundle = field + left + at + place + bits_below(spec.group + 1) + 8
    words = register_file(technology, entry, depth)
    lines = register_file(technology, bundle, depth)
    below, deep = rows - 1, streams and spec.interleave > 1
    return {
        "lut": {
            "one": 800,
            "grouped": 200 * (spec.group > 1),
            "resident": 500 * holds,
            "streams": 300 * streams,
            "several": 150 * several,
            "addresses": 6 * at + 6 * place,
            "groups": 60 * bits_below(spec.group),
            "lanes": 20 * spec.lanes,
            "rows": 20 * rows,
            "cols": 12 * cols,
            "below": below * 25 * holds,
            "below_rings": below * (left * 3 + 25) * rings,
            "drained_choices": streams * below * cols * wide,
            "results": streams * holds * cols * wide,
            "indices": rows * spec.lanes * (entry - spec.number.operand_bits),
            "turns": streams * rows * 6,
            "waits": 60 * bits_below(spec.interleave) * holds * (spec.interleave > spec.accumulate_latency),
            "interleaved": 50 * bits_below(spec.interleave),
            "interleaved_both": 100 * bits_below(spec.interleave) * streams * holds,
            "in_fold": deep * (spec.interleave - 1) * _SIZE_BITS * (1 if rows == cols else 1.5),
            "scaled": deep * 2 * at * (1 + _additions(spec.interleave)),
            **_result_walks(a, streams=streams),
            "hop_rows": rings * below * (bundle * (lines.rows - 1) + cols * entry * (words.rows - 1)),
            "tables": rings * (below * lines.tables + below * cols * words.tables),
        },
        "ff": {
            "one": 400,
            "resident": 200 * holds,
            "streams": 100 * streams,
            "addresses": 6 * at + 6 * place,
            "groups": 10 * bits_below(spec.group),
            "operands": rows * (cols - 1) * bus + streams * below * cols * bus,
            "fields": rows * cols * field,
            "words": holds * below * cols * (2 * pointer if rings else entry),
            "bundles": below * (2 * pointer if rings else bundle),
            "drained": streams * cols * wide * (below + max(0, rows - 2)),
            "turns": streams * (rows * cols * (slot + 3) + rows * (2 * bits_below(rows) + slot + 4)),
            "results": cols * (place + bits_below(cols + 1) + 2),
            "late": spec.latency
            * (holds * (place + bits_below(cols + 1) + 3) + streams * (place + 2 * bits_below(rows + 1) + slot + 4)),
            "columns": cols * (at + 4) + cols * (place + slot + 4 + bits_below(rows + 1)),
            "interleaved": 120 * streams * (spec.interleave > 1),
            "done": rows + cols + spec.latency + streams * rows * spec.interleave,
        },
        "dsp": {"multipliers": int(holds and spec.interleave > spec.accumulate_latency)},  # beats by turns
        "bram": {},
    }


def _least_occupancy(a: Accelerator) -> int:
    """Cycles for which any Multiply holds the array (`rtl.mac_counts`)."""
    output = max(a.pe.accumulate_latency, a.array.rows * a.pe.interleave)
    return min(output if flow is Dataflow.OS else 2 * a.array.rows for flow in a.array.dataflows)


def control(a: Accelerator, technology: str) -> Sizes:  # noqa: ARG001
    """DMA, sequencer, decoder, frames, registers and counters, and the choice between both operand buffers' answers."""
    bus, updates = bus_bytes(a), float(updater_lanes(a) > 0)
    trains, adam = float(has_engines(a)), float("adam" in a.updater.optimizers)
    frames = 4 + trains * 4 + updates
    queues = ceil_div(a.sequencer.queue_depth + 1, 16)
    least = _least_occupancy(a)
    counts = 1 if least >= 4 else 3 if least >= 2 else 4
    return {
        "lut": {
            "one": 4500,
            "trains": 3000 * trains,
            "updates": 800 * updates,
            "adam": 200 * updates * adam,
            "queues": 2 * frames * (110 + 24 * frames) * (queues - 1),
            "depth": 8 * frames * bits_below(a.sequencer.queue_depth),
            "bus": 8 * bus * 6,
            "operands": (a.array.rows + a.array.cols) * operand_bus_bits(a.pe) * (Dataflow.IS in a.array.dataflows),
            "counts": 100 * counts,
            "groups": 50 * bits_below(a.pe.group),
        },
        "ff": {
            "one": 1800,
            "trains": 600 * trains,
            "updates": 200 * updates,
            "adam": 160 * updates * adam,
            "depth": 4 * frames * bits_below(a.sequencer.queue_depth),
            "bus": 8 * bus * 2,
            "counts": 40 * counts,
        },
        "dsp": {"counts": counts},
        "bram": {},
    }
