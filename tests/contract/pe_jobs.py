"""Random jobs for one PE as rows of port values, with what its outputs must be in each cycle by `simulator.arithmetic`."""

from dataclasses import dataclass, field

import numpy as np

from simulator.arch import Dataflow, Pe
from simulator.arithmetic import accumulator_dtype, compress, multiply_dense, multiply_sparse, quantize
from simulator.formats import FORMATS
from workloads.sparsity import DENSE, NM

__all__ = ["PATTERNS", "Rows", "accumulator_bits", "operand_bits", "pack", "random_operands", "random_rows", "random_sums"]

PATTERNS = (DENSE, NM(1, 4), NM(2, 4), NM(3, 8), NM(2, 8), NM(4, 4))


def operand_bits(name, values):
    """Operands as raw bits."""
    if name == "bf16":
        return values.view(np.uint32) >> np.uint32(16)
    return values.view(np.uint16 if name == "fp16" else np.uint8)


def accumulator_bits(values):
    """Accumulators as raw bits, with the one NaN of the circuits."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return np.where(np.isnan(values), np.uint32(0x7FC00000), bits) if values.dtype.kind == "f" else bits


def random_operands(rng, name, shape):
    """Mostly ordinary numbers; also zeros, subnormals, infinities and NaNs."""
    number = FORMATS[name]
    if name == "int8":
        return rng.integers(-128, 128, shape, dtype=np.int8)
    wild = rng.integers(0, 1 << 16, shape, dtype=np.uint16)
    wild = wild.view(np.float16) if name == "fp16" else (wild.astype(np.uint32) << np.uint32(16)).view(np.float32)
    kind = rng.random(shape)
    plain = np.where(kind < 0.1, np.copysign(0.0, kind - 0.05), rng.normal(size=shape))
    with np.errstate(all="ignore"):
        return quantize(number, np.where(kind > 0.97, wild.astype(np.float32), plain.astype(np.float32)))


def random_sums(rng, name, shape):
    wide = accumulator_dtype(FORMATS[name])
    if wide.kind == "i":
        return rng.integers(-(2**31), 2**31, shape, dtype=np.int32)
    return rng.normal(size=shape).astype(np.float32)


def pack(layout, fields):
    """The bits of a struct layout from a dict of its fields; a list for an array."""
    total = 0
    for name, at in layout:
        value = fields.get(name, 0)
        if isinstance(value, (list, tuple, np.ndarray)):
            each = at.width // at.shape.length
            value = sum(int(v) << (i * each) for i, v in enumerate(value))
        assert 0 <= int(value) < 1 << at.width, (name, value)
        total |= int(value) << at.offset
    return total


@dataclass
class Rows:
    """Fields of the ports by cycle; what must be seen by cycle."""

    ports: dict = field(default_factory=dict)  # (port, cycle) -> fields
    leaving: dict = field(default_factory=dict)  # cycle -> (slot, bits)
    drained: dict = field(default_factory=dict)  # cycle -> bits
    jobs: list = field(default_factory=list)
    length: int = 0

    def put(self, port, cycle, **fields):
        held = self.ports.setdefault((port, cycle), {})
        assert not held.keys() & fields.keys(), f"two uses of {port} in cycle {cycle}: {held} and {fields}"
        held.update(fields)


def random_rows(pe: Pe, jobs: int, seed: int, dataflows=tuple(Dataflow), *, fill_in_time: bool = False) -> Rows:
    """Jobs as an array of these dataflows gives them; `fill_in_time`: fills may come in the cycle of their addition."""
    rng = np.random.default_rng(seed)
    rows, free, bank, load_from = Rows(), 1, 0, 0  # a fill comes a cycle before its beat
    while len(rows.jobs) < jobs:
        pattern = PATTERNS[rng.integers(len(PATTERNS))]
        resident, kept = bool(rng.integers(2)), bool(rng.integers(2))
        if not (set(dataflows) - {Dataflow.OS} if resident else Dataflow.OS in dataflows):
            continue
        nm = isinstance(pattern, NM)
        if (nm and pattern.group > pe.group) or (resident and pe.registers < max(pe.depth(pattern), pe.lanes)):
            continue
        start, free = _job(pe, rows, rng, free, pattern, resident, kept and nm, bank, load_from, fill_in_time)
        if resident:  # the other copy's beats have all begun
            bank, load_from = 1 - bank, start
        rows.jobs.append((str(pattern), resident, kept and nm))
    rows.length = free + 2 * pe.latency + pe.interleave
    return rows


def _job(pe, rows, rng, start, pattern, resident, kept, bank, load_from, fill_in_time):
    """Write one job's control, operands and results; returns when it starts, at `start` or later, and ends."""
    nm, lag = isinstance(pattern, NM), pe.accumulate_latency
    depth, beats = pe.depth(pattern), pe.beats(pattern)
    count = int(rng.integers(1, pe.interleave + 1))
    steps = 1 if resident else int(rng.integers(1, 4))
    k = steps * depth if nm else int(rng.integers((steps - 1) * depth + 1, steps * depth + 1))
    turn = count if resident and beats == 1 else max(count, lag)
    length = max(steps * beats * turn, pe.interleave)  # a fold's results leave before the next fold's are there

    # Operand "row" of each output, and "other": the column's, or one stationary operand for all.
    row = random_operands(rng, pe.format, (count, 1, k))
    other = random_operands(rng, pe.format, (1 if resident else count, k, 1))
    every = np.broadcast_to(other, (count, k, 1))
    begin, fresh = random_sums(rng, pe.format, (count, 1, 1)), bool(rng.integers(2))
    sums = np.zeros_like(begin) if fresh else begin
    number = pe.number
    if not nm:
        sums = multiply_dense(number, pe.lanes, sums, row, every)
    elif kept:
        packed = compress(np.ascontiguousarray(every.transpose(0, 2, 1)), pattern, 2)
        sums = multiply_sparse(number, pe.lanes, sums, packed, row.transpose(0, 2, 1), pattern)
    else:
        packed = compress(row, pattern, 2)
        sums = multiply_sparse(number, pe.lanes, sums, packed, every, pattern)
    want = accumulator_bits(sums)[:, 0, 0]
    bits = {"row": operand_bits(pe.format, row)[:, 0], "column": operand_bits(pe.format, np.ascontiguousarray(every))[:, :, 0]}

    def kept_beat(q, step, beat):
        at = [step * pattern.keep + i for i in range(beat * pe.lanes, min((beat + 1) * pe.lanes, pattern.keep))]
        values = operand_bits(pe.format, np.ascontiguousarray(packed.values))[q, 0, at]
        return {"values": values, "index": packed.indices[q, 0, at]}

    def dense(side, q, step):
        return {"values": bits[side][q, step * depth : (step + 1) * depth]}

    if resident:  # the stationary operand, some time before
        if kept:
            words = [kept_beat(0, 0, beat) for beat in range(beats)]
            values = [
                (beat * pe.lanes + i, v) for beat, w in enumerate(words) for i, v in enumerate(zip(*w.values(), strict=True))
            ]
        else:
            values = [(i, (v, 0)) for i, v in enumerate(bits["column"][0, :depth])]
        for at, (register, (value, index)) in enumerate(values, start=load_from):
            rows.put("word", at, value=value, index=index)
            rows.put("control", at, load=1, load_bank=bank, load_at=register)
        start = max(start, load_from + len(values))
    late = pe.latency - lag
    for step in range(steps):
        for beat in range(beats):
            for q in range(count):
                t = start + (step * beats + beat) * turn + q
                left = pattern.keep - beat * pe.lanes if nm else k - step * pe.lanes
                first, last = step == 0 and beat == 0, step == steps - 1 and beat == beats - 1
                rows.put(
                    "control",
                    t,
                    beat=1,
                    lanes=(1 << min(left, pe.lanes)) - 1,
                    resident=resident,
                    kept=kept,
                    bank=bank,
                    base=beat * pe.lanes if resident and kept else 0,
                    slot=q,
                    first=first,
                    fresh=fresh,
                    last=last,
                )
                moving = kept_beat(q, step, beat) if nm and not kept else dense("row", q, step)
                rows.put("row", t, **({"index": list(range(pe.lanes))} | moving if not nm else moving))
                if not resident:
                    rows.put("column", t, **(kept_beat(q, step, beat) if kept else dense("column", q, step)))
                if first and not fresh:
                    arrives = t + late - int(rng.integers(0, q + 1))  # in time, or waiting in its slot
                    if resident and pe.interleave <= lag:
                        arrives = t + late
                    elif not resident and not fill_in_time:
                        arrives -= 1
                    port = "arriving" if resident else "fill"
                    while (port, arrives) in rows.ports:
                        arrives += 1
                    assert arrives <= t + late - (not resident and not fill_in_time)
                    rows.put(port, arrives, valid=1, slot=q, sum=int(accumulator_bits(begin)[q, 0, 0]))
                if last and resident:
                    rows.leaving[t + pe.latency] = (q, int(want[q]))
    if not resident:
        end = start + length + pe.latency
        rows.put("copy", end - 1, copy=1)
        for i in range(count):
            rows.put("drain_slot", end + i, slot=i)
            rows.drained[end + i] = int(want[i])
    return start, start + length
