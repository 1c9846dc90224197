"""What crosses the array's boundary: commands, requests to the buffers' ports, results; and what travels from row to row.

`u` and `v` are the dimensions of C along which rows (or time) and columns run: m and n in OS and WS, n and m in IS. Lines are
rows of A or columns of B; a step is a group, or `lanes` elements of a dense reduction. Every request says where its data lie
(docs/machine.md): the buffer's `slot`, and `entry`, the first one in the row's or column's bank, or `word` and `place` of a sum
in the column's bank. `line`, `step`, `beat`, `register`, `u`, `v` say what they are, for tests: no buffer needs them.
"""

# pyright: basic

from amaranth.lib import data

from rtl.pe import control_layout, register_bits, slot_bits, width
from simulator.arch import Accelerator, Dataflow, Pe, ceil_div
from simulator.encoding import DATAFLOWS, FIELDS, Opcode
from simulator.layout import result_places, result_words
from workloads.sparsity import NM, Pattern

__all__ = [
    "ENTRY_BITS",
    "SIZE_BITS",
    "arrival_layout",
    "buffer_slot_bits",
    "bundle_layout",
    "column_request",
    "check_array",
    "command_layout",
    "drain_layout",
    "encode",
    "left_bits",
    "longest_hop",
    "place_bits",
    "row_request",
    "sum_request",
    "sum_write",
    "word_bits",
]

SIZE_BITS = 16
ENTRY_BITS = FIELDS[Opcode.ARRAY]["a_stride"]


def group_bits(pe: Pe) -> int:
    return width(pe).bit_length()


def beat_bits(pe: Pe) -> int:
    return max(1, (ceil_div(pe.group, pe.lanes) - 1).bit_length())


def longest_hop(accelerator: Accelerator) -> int:
    """Cycles from a position's first beat in a row to its first in the row below, at most."""
    pe = accelerator.pe
    if set(accelerator.array.dataflows) == {Dataflow.OS} or accelerator.array.rows == 1:
        return 1
    beats = ceil_div(pe.group, pe.lanes)
    return (beats - 1) * max(pe.interleave, pe.accumulate_latency) + pe.accumulate_latency


def left_bits(accelerator: Accelerator) -> int:
    """Bits for the elements of a reduction that any row of the array is to tell from a beat's."""
    return min(SIZE_BITS, (accelerator.array.rows * width(accelerator.pe)).bit_length())


def buffer_slot_bits(accelerator: Accelerator) -> int:
    """Bits of the number of an operand or result buffer's slot."""
    slots = max(buffer.slots for buffer in (accelerator.a_buffer, accelerator.b_buffer, accelerator.c_buffer))
    return max(1, (slots - 1).bit_length())


def word_bits(accelerator: Accelerator) -> int:
    """Bits of the number of a word in a slot of a result bank."""
    return max(1, (result_words(accelerator) - 1).bit_length())


def place_bits(accelerator: Accelerator) -> int:
    """Bits of an accumulator's place in a result bank's word (one too many where a word holds one)."""
    return max(1, (result_places(accelerator) - 1).bit_length())


def command_layout(accelerator: Accelerator) -> data.StructLayout:
    """One multiplication ``C[m,n] (+)= A[m,k] B[k,n]`` of operands in the buffers."""
    pe, slot, strides = accelerator.pe, buffer_slot_bits(accelerator), ("a_stride", "b_stride", "c_stride")
    return data.StructLayout(
        {
            "dataflow": 2,  # position in DATAFLOWS
            "m": SIZE_BITS,
            "n": SIZE_BITS,
            "k": SIZE_BITS,
            "keep": group_bits(pe),
            "group": group_bits(pe),  # 0: dense
            "sparse_b": 1,
            "accumulate": 1,
            "a_slot": slot,
            "b_slot": slot,
            "c_slot": slot,
        }
        | {name: FIELDS[Opcode.ARRAY][name] for name in strides}
    )


def encode(
    accelerator: Accelerator, dataflow: Dataflow, m: int, n: int, k: int, pattern: Pattern, sparse: str, accumulate: bool
) -> dict[str, int]:
    """The fields of a command but slots and strides. Raises ValueError for one that this array can't execute."""
    pe = accelerator.pe
    for name, size in (("m", m), ("n", n), ("k", k)):
        if not 1 <= size < 1 << SIZE_BITS:
            raise ValueError(f"Command field {name!r} must be between 1 and {(1 << SIZE_BITS) - 1}, not {size!r}")
    if dataflow not in accelerator.array.dataflows:
        raise ValueError(f"Command field 'dataflow' must be one of the array's, not {dataflow!r}")
    nm = isinstance(pattern, NM)
    if nm and (pattern.group > pe.group or k % pattern.group):
        raise ValueError(f"Command field 'pattern' must fit groups of {pe.group} and divide k={k}, not {pattern}")
    stationary = {Dataflow.WS: "b", Dataflow.IS: "a"}.get(dataflow)
    if stationary:
        needed = pe.beats(pattern) * pe.lanes if nm and sparse == stationary else pe.depth(pattern)
        if needed > pe.registers:
            raise ValueError(f"Command field 'pattern' must need at most {pe.registers} stationary registers, not {needed}")
    return {
        "dataflow": DATAFLOWS.index(dataflow),
        "m": m,
        "n": n,
        "k": k,
        "keep": pattern.keep if nm else 0,
        "group": pattern.group if nm else 0,
        "sparse_b": int(nm and sparse == "b"),
        "accumulate": int(accumulate),
    }


def row_request(accelerator: Accelerator) -> data.StructLayout:
    """What a row takes in the next cycle: of a line of A (of B: `operand_b`) the step's group, or of kept values a beat."""
    return data.StructLayout(
        {
            "valid": 1,
            "operand_b": 1,
            "slot": buffer_slot_bits(accelerator),
            "entry": ENTRY_BITS,
            "kept": 1,
            "line": SIZE_BITS,
            "step": SIZE_BITS,
            "beat": beat_bits(accelerator.pe),
        }
    )


def column_request(accelerator: Accelerator) -> data.StructLayout:
    """What a column takes in the next cycle: the same of B (of A: `operand_a`), or of `word` one element of the step."""
    pe = accelerator.pe
    return data.StructLayout(
        {
            "valid": 1,
            "operand_a": 1,
            "slot": buffer_slot_bits(accelerator),
            "entry": ENTRY_BITS,
            "kept": 1,
            "word": 1,
            "line": SIZE_BITS,
            "step": SIZE_BITS,
            "beat": beat_bits(pe),
            "register": register_bits(pe),
        }
    )


def sum_request(accelerator: Accelerator) -> data.StructLayout:
    """The accumulator at (u, v) of C, as written before this cycle; in it, where multiplication and tree take no cycle."""
    return data.StructLayout({"valid": 1} | _sum_fields(accelerator))


def sum_write(accelerator: Accelerator) -> data.StructLayout:
    """A sum for (u, v) of C; `swapped` where u runs along n (IS)."""
    bits = accelerator.pe.number.accumulator_bits
    return data.StructLayout({"valid": 1} | _sum_fields(accelerator) | {"sum": bits})


def _sum_fields(accelerator: Accelerator) -> dict[str, int]:
    slot, word, place = buffer_slot_bits(accelerator), word_bits(accelerator), place_bits(accelerator)
    return {"swapped": 1, "slot": slot, "word": word, "place": place, "u": SIZE_BITS, "v": SIZE_BITS}


def bundle_layout(accelerator: Accelerator) -> data.StructLayout:
    """What a row does in a cycle; the row below gets it a hop later."""
    pe = accelerator.pe
    return data.StructLayout(
        {
            "start": 1,  # a command's first cycle: its hop holds from here
            "hop": range(longest_hop(accelerator) + 1),
            "control": control_layout(pe),  # but for the lanes of dense beats, and loads of other rows
            "dense": 1,
            "left": left_bits(accelerator),  # elements of the reduction from this step on, all ones: so many or more
            "depth": group_bits(pe),
            "swapped": 1,
            "kept_row": 1,
            "line": SIZE_BITS,
            "step": SIZE_BITS,
            "beat": beat_bits(pe),
            "turn": range(accelerator.array.rows + 1),  # rows above the one that the load is for
            "v": SIZE_BITS,
            "columns": range(accelerator.array.cols + 1),  # from v on, in C
            "slot": buffer_slot_bits(accelerator),  # of the row's operand
            "entry": ENTRY_BITS,
            "c_slot": buffer_slot_bits(accelerator),
            "c_word": word_bits(accelerator),
            "c_place": place_bits(accelerator),
        }
    )


def arrival_layout(accelerator: Accelerator) -> data.StructLayout:
    """A request to the c buffer, and where its sum goes: down `turn` rows (OS), or straight into row 0 (WS, IS)."""
    return data.StructLayout(
        {
            "request": sum_request(accelerator),
            "fill": 1,
            "turn": range(accelerator.array.rows + 1),
            "slot": slot_bits(accelerator.pe),
        }
    )


def drain_layout(accelerator: Accelerator) -> data.StructLayout:
    """OS: copy all sums; or the sum of row `turn` and `slot` leaves, for (u, v) of C unless beyond its end."""
    return data.StructLayout(
        {
            "copy": 1,
            "turn": range(accelerator.array.rows + 1),
            "slot": slot_bits(accelerator.pe),
            "valid": 1,
            "u": SIZE_BITS,
            "v": SIZE_BITS,
            "columns": range(accelerator.array.cols + 1),  # from v on, in C
            "c_slot": buffer_slot_bits(accelerator),
            "c_word": word_bits(accelerator),
            "c_place": place_bits(accelerator),
        }
    )


def check_array(spec: Accelerator) -> None:
    """Raise ValueError for an array that the RTL doesn't build: single buffered, or with ports that make it wait."""
    pe, array = spec.pe, spec.array
    if not array.double_buffered:
        raise ValueError("Array field 'double_buffered' must be True for the RTL, not False")
    bits, index = pe.number.operand_bits, (pe.group - 1).bit_length()
    beat = max(width(pe) * bits, pe.lanes * (bits + index))  # a dense group, or kept entries
    least = {"a": max(array.rows, array.cols) * beat, "b": max(array.rows, array.cols) * beat}
    least["c"] = array.cols * pe.number.accumulator_bits
    for name, bits in least.items():
        ports = getattr(spec, f"{name}_buffer").bits_per_cycle
        if ports < bits:
            raise ValueError(f"Buffer {name!r} must move {bits} bits per cycle for this array's RTL, not {ports}")
