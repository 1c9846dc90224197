# amaranth: UnusedElaboratable=no
"""Does a tile multiply by its serial line what the golden arithmetic says, to the bit, in the cycles of `simulator.timing`?"""

import pickle
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pytest
from rtl_kit.require import need_rtl

need_rtl()

from rtl_kit import run_cocotb  # noqa: E402

from rtl.emit import verilog_of  # noqa: E402
from rtl.tile import Tile  # noqa: E402
from rtl.tile_host import TileHost  # noqa: E402
from simulator.arch import Accelerator, Array, Buffer, Dataflow, Dram, Pe  # noqa: E402
from workloads.sparsity import DENSE, NM, Pattern  # noqa: E402

DIVISOR, IDLE_CYCLES, CLOCK_HZ = 4, 1024, 10**8
OS, WS, IS = Dataflow.OS, Dataflow.WS, Dataflow.IS


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A multiplication."""

    dataflow: Dataflow
    m: int
    n: int
    k: int
    pattern: Pattern = DENSE
    sparse: Literal["a", "b"] = "b"


def small(rows: int, cols: int, dataflows: tuple[Dataflow, ...], **pe: int | str) -> Accelerator:
    buffer = Buffer(bytes=1024, banks=8, bank_bits=128, slots=1)
    return Accelerator(
        name="small",
        clock_hz=12_000_000,
        pe=Pe(**{"registers": 4, "group": 4, **pe}),
        array=Array(rows=rows, cols=cols, dataflows=dataflows),
        a_buffer=buffer,
        b_buffer=buffer,
        c_buffer=buffer,
        dram=Dram(bytes_per_second=12_000_000),
    )


def cases(dataflow: Dataflow, *patterns: Pattern) -> list[Case]:
    """Whole folds, edges in each size, a single sum, of each pattern on either side."""
    shapes = ((5, 3, 8), (4, 4, 16), (1, 1, 8), (3, 6, 24))
    each = [(pattern, side) for pattern in patterns for side in ("a", "b") if isinstance(pattern, NM) or side == "b"]
    return [
        Case(dataflow=dataflow, m=m, n=n, k=k, pattern=pattern, sparse=side)
        for number, (pattern, side) in enumerate(each)
        for m, n, k in (shapes[number % len(shapes)], shapes[(number + 1) % len(shapes)])
    ]


TILES = {
    # What fits an iCE40UP5K.
    "int8-os": (
        small(2, 2, (OS,), format="int8", multiply_latency=1, accumulate_latency=1, interleave=1),
        [*cases(OS, DENSE, NM(2, 4), NM(1, 2), NM(3, 4), NM(4, 4)), Case(dataflow=OS, m=7, n=5, k=13)],
    ),
    # All dataflows; sums that are asked for as they are written; several in flight.
    "int8-all": (
        small(2, 3, (OS, WS, IS), format="int8", multiply_latency=0, accumulate_latency=1, interleave=2),
        [
            *(case for flow in (OS, WS, IS) for case in cases(flow, DENSE, NM(2, 4), NM(1, 2))),
            Case(dataflow=WS, m=1, n=2, k=9),  # each part of the reduction waits for the sum of the one before
            Case(dataflow=IS, m=3, n=1, k=8),
        ],
    ),
    # Rounding, two lanes, places in a word of results.
    "fp16-lanes": (
        small(
            2, 1, (OS, WS), format="fp16", lanes=2, group=8, registers=8, multiply_latency=2, accumulate_latency=3, interleave=2
        ),
        [*(case for flow in (OS, WS) for case in cases(flow, DENSE, NM(2, 4), NM(2, 8))), Case(dataflow=OS, m=4, n=3, k=7)],
    ),
}


@pytest.mark.parametrize("name", TILES)
def test_multiplications_by_the_serial_line(name: str, tmp_path):
    """tile_cocotb.py: dense and N:M, each dataflow, edges."""
    accelerator, wanted = TILES[name]
    plan = tmp_path / "plan"
    plan.write_bytes(pickle.dumps((accelerator, tuple(wanted))))
    tile = Tile(accelerator, divisor=DIVISOR, clock_hz=CLOCK_HZ, idle_cycles=IDLE_CYCLES)
    run_cocotb(verilog_of(tile, "tile"), "tile", "tile_cocotb", {"PLAN": str(plan)})


@pytest.mark.parametrize(
    ("name", "shape", "pattern", "dataflow", "message"),
    [
        ("int8-os", (2, 2, 8), DENSE, WS, "'dataflow' must be one of os"),
        ("int8-os", (2, 2, 6), NM(1, 4), OS, "must have a power of two up to 4 that divides 6"),
        ("int8-os", (2, 2, 8), NM(1, 8), OS, "must have a power of two up to 4"),
        ("fp16-lanes", (2, 2, 8), NM(1, 4), OS, "must keep whole beats of 2"),
        ("int8-all", (2, 2, 8), NM(4, 4), IS, "must need at most 3 stationary registers, not 4"),
        ("int8-os", (3, 2, 300), DENSE, OS, "Matrix 'a' must need at most 512 entries of a bank, not 600"),
        ("int8-os", (40, 40, 4), DENSE, OS, "must need at most 128 words of a bank, not 800"),
    ],
)
def test_refused(name, shape, pattern, dataflow, message):
    """Before anything is written."""
    (m, n, k), accelerator = shape, TILES[name][0]
    if dataflow is IS:  # with too few registers
        accelerator = replace(accelerator, pe=replace(accelerator.pe, registers=3))
    a, b = (np.zeros(size, np.int8 if accelerator.pe.format == "int8" else np.float16) for size in ((m, k), (k, n)))
    with pytest.raises(ValueError, match=message):
        TileHost(None, accelerator).multiply(a, b, pattern, dataflow=dataflow)
