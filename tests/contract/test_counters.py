# amaranth: UnusedElaboratable=no
"""Do the counters count what was accepted and moved, however closely it came? Is `least_occupancy` the simulator's?"""

import dataclasses
from itertools import product

import numpy as np
import pytest
from rtl_kit.require import need_rtl

need_rtl()

from port_rows import as_array  # noqa: E402
from rtl_kit import NativeModel  # noqa: E402

from rtl.counters import ROUND, Counters  # noqa: E402
from rtl.emit import verilog_of  # noqa: E402
from rtl.mac_counts import MacCounts, least_occupancy, most_outputs  # noqa: E402
from simulator.arch import Accelerator, Array, Dataflow, Pe  # noqa: E402
from simulator.encoding import ENGINES, FIELDS, HEADER, Opcode  # noqa: E402
from simulator.faults import limits_of  # noqa: E402
from simulator.layout import bus_bytes  # noqa: E402
from simulator.presets import PRESETS  # noqa: E402
from simulator.register_map import COUNTERS  # noqa: E402
from simulator.timing import multiply_time  # noqa: E402
from workloads.sparsity import DENSE, NM  # noqa: E402

ELEMENTS = {"pruned_elements": Opcode.PRUNE, "updated_elements": Opcode.UPDATE, "vector_operations": Opcode.VECTOR}
ROWS = {4: 1, 3: 2, 1: 4}  # of an array for which so many multipliers are needed


def machine(rows: int) -> Accelerator:
    base = PRESETS["sat-vcu1525"].accelerator
    pe = Pe(format="fp16", group=8, lanes=1, registers=8, accumulate_latency=1, interleave=1)
    return dataclasses.replace(base, pe=pe, array=Array(rows=rows, cols=2))


def packed(opcode: Opcode, fields: dict[str, int]) -> int:
    bits, at = 0, HEADER["op"]
    for name, width in FIELDS[opcode].items():
        bits |= fields.get(name, 0) << at
        at += width
    return bits


@pytest.mark.parametrize("multipliers", ROWS)
def test_sums(multipliers: int):
    """Commands as close as the array takes them, elements and bytes in every cycle; then all again after `clear`."""
    accelerator, rng = machine(ROWS[multipliers]), np.random.default_rng(multipliers)
    assert MacCounts(accelerator).multipliers == multipliers
    names = ["rst", "clear", "accepted", "read_bytes", "written_bytes", "word"]
    commands = {f"command_{opcode.engine.value}": opcode for opcode in (Opcode.ARRAY, *ELEMENTS.values())}
    model = NativeModel(verilog_of(Counters(accelerator), "counters"), "counters", [*names, *commands], ["value"])
    busy, idle = 500, 2 * ROUND + 10
    rows = 1 + busy + idle + ROUND * (ROUND + 2)
    for _ in range(3):
        want = dict.fromkeys(COUNTERS, 0)
        given = {name: np.zeros(rows, np.uint8) for name in (*names, "read_bytes", "written_bytes")}
        accepted, words = np.zeros(rows, np.uint16), {name: [0] * rows for name in commands}
        given["clear"][0] = 1
        free = 0
        for cycle in range(1, 1 + busy):
            for name in ("read_bytes", "written_bytes"):
                given[name][cycle] = rng.integers(bus_bytes(accelerator) + 1)
                want[f"dram_{name.replace('written', 'write')}"] += int(given[name][cycle])
            for number in range(len(ENGINES)):
                accepts = rng.random() < 0.9 and (number != ENGINES.index(Opcode.ARRAY.engine) or cycle >= free)
                accepted[cycle] |= accepts << number
                want["commands"] += accepts
            for name, opcode in ELEMENTS.items():
                elements = int(rng.integers(1, limits_of(opcode, accelerator)["elements"] + 1))
                words[f"command_{opcode.engine.value}"][cycle] = packed(opcode, {"elements": elements})
                want[name] += elements * (int(accepted[cycle]) >> ENGINES.index(opcode.engine) & 1)
            m = int(rng.integers(1, 60))
            n = int(rng.integers(1, most_outputs(accelerator) // m + 1)) & 0xFFFF or 1
            group = int(rng.choice([0, 2, 4, 8]))
            k, keep = int(rng.integers(1, 8000)) * max(1, group), int(rng.integers(1, max(1, group) + 1))
            words["command_array"][cycle] = packed(Opcode.ARRAY, {"m": m, "n": n, "k": k, "keep": keep, "group": group})
            if accepted[cycle] >> ENGINES.index(Opcode.ARRAY.engine) & 1:
                free = cycle + least_occupancy(accelerator) + int(rng.choice([0, 0, 0, 1, 2, 5]))
                want["dense_macs"] += m * n * k
                want["macs"] += m * n * (k // group * keep if group else k)
        given["accepted"] = accepted
        reads = 1 + busy + idle + np.arange(ROUND) * (ROUND + 2)
        for word, at in enumerate(reads):
            given["word"][at : at + ROUND + 2] = word
        wide = {name: as_array(values, HEADER["op"] + sum(FIELDS[commands[name]].values())) for name, values in words.items()}
        found = [int(value) for value in model.run(given | wide, restart=False)["value"][reads + ROUND + 1]]
        assert {name: found[2 * i] | found[2 * i + 1] << 32 for i, name in enumerate(COUNTERS)} == want


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
@pytest.mark.parametrize("dataflow", Dataflow)
def test_no_command_is_shorter(rows: int, dataflow: Dataflow):
    """Any small Multiply, dense or N:M on either side."""
    for interleave, latency in product((1, 2), (1, 3)):
        base = machine(rows)
        pe = dataclasses.replace(base.pe, interleave=interleave, accumulate_latency=latency)
        accelerator = dataclasses.replace(base, pe=pe, array=Array(rows=rows, cols=2, dataflows=(dataflow,)))
        times = [
            multiply_time(accelerator, dataflow, m, n, k, pattern, sparse, False).occupancy
            for m, n, k in product((1, 2, 3, 5), (1, 2, 3, 5), (8, 16))
            for pattern in (DENSE, NM(keep=1, group=8), NM(keep=2, group=4))
            for sparse in ("a", "b")
        ]
        assert min(times) >= least_occupancy(accelerator)
