"""The random training steps on which the closed form is held against the event-driven machine: drawn from wide choices."""

import hashlib
import random
from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dataflows.analytic.machines import Machines
from dataflows.analytic.points import step_cycles
from dataflows.compile import prepared
from dataflows.mapping import Mapping
from dse.point import Point, make_point, workload_of
from workloads.graph import Workload

__all__ = ["BASE", "CHOICES", "DRAW", "LINKED", "LONGEST", "NETWORKS", "POINTS", "SEED", "Drawn", "drawn"]

POINTS, SEED = 500, 7

BASE: dict[str, Any] = {"accelerator": "sat-vcu1525", "accelerator.updater.optimizers": ("sgd-momentum", "adam")}
"""What all have: any method may ask for any optimizer."""

NETWORKS = (
    ("resnet18", 1),
    ("resnet18", 2),
    ("resnet18-cifar", 4),
    ("resnet18-cifar", 16),
    ("vgg19-cifar", 4),
    ("vgg19-cifar", 16),
)
"""Workload and batch."""

LONGEST = 30_000
"""Commands of a program that is run: less than a second on the event-driven machine."""

_MIB, _GB = 2**20, 10**9
LINKED: dict[str, Sequence[Table[str, Any]]] = {
    "network": [{"workload": name, "batch": batch} for name, batch in NETWORKS],
    "array": [
        {"accelerator.array.rows": rows, "accelerator.array.cols": cols}
        for rows, cols in ((8, 8), (8, 16), (16, 16), (16, 32), (32, 16), (32, 32), (64, 32), (64, 64), (128, 64))
    ],
}
"""What is drawn together."""

CHOICES: dict[str, Sequence[Any]] = {
    "method": ("dense", "bdwp:2:4", "bdwp:2:8", "bdwp:2:16", "srste:2:8", "sdgp:2:4", "transposable:2:4", "fst:2:4"),
    "mapping.dataflow": ("best", "best", "best", "os", "ws"),
    "mapping.pregenerate": (True, True, False),
    "mapping.update": ("overlapped", "overlapped", "end"),
    "mapping.vector": ("chip", "chip", "chip", "host"),
    "mapping.fuse": (True, True, False),
    "accelerator.clock_hz": (100_000_000, 200_000_000, 300_000_000, 500_000_000),
    "accelerator.pe.format": ("fp16", "fp16", "bf16", "int8"),
    "accelerator.pe.lanes": (1, 1, 2),
    "accelerator.pe.multiply_latency": (1, 2, 3),
    "accelerator.pe.accumulate_latency": (2, 4, 6),
    "accelerator.pe.interleave": (2, 4, 8),
    "accelerator.array.dataflows": (("os", "ws"), ("os", "ws"), ("os", "ws", "is")),
    "accelerator.array.double_buffered": (True, True, False),
    "accelerator.a_buffer.bytes": tuple(_MIB * 2**power // 4 for power in range(5)),
    "accelerator.b_buffer.bytes": tuple(_MIB * 2**power // 4 for power in range(5)),
    "accelerator.c_buffer.bytes": tuple(_MIB * 2**power // 2 for power in range(5)),
    "accelerator.work_buffer.bytes": tuple(_MIB * 2**power // 4 for power in range(4)),
    "accelerator.work_buffer.slots": (2, 2, 4),
    "accelerator.pruner.lanes": (16, 32, 64),
    "accelerator.updater.lanes": (8, 16, 32, 64),
    "accelerator.vector.lanes": (8, 16, 32, 64),
    "accelerator.dram.bytes_per_second": tuple(_GB * rate // 10 for rate in (96, 192, 384, 768)),
    "accelerator.dram.latency_ns": (50, 100, 200, 300),
    "accelerator.dram.burst_bytes": (64, 128),
    "accelerator.dram.outstanding": (16, 64, 128),
    "accelerator.sequencer.dispatch_cycles": (1, 2),
    "accelerator.sequencer.queue_depth": (8, 16, 32, 64),
    "accelerator.sequencer.token_latency": (1, 2, 4),
    "accelerator.implicit_im2col": (True, True, True, False),
}
"""What is drawn by itself. A value that stands twice is drawn twice as often."""


DRAW = hashlib.sha256(repr((SEED, BASE, LINKED, CHOICES, LONGEST)).encode()).hexdigest()[:12]
"""What a point's number stands for: the same as long as nothing here changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A training step on a machine that can run it."""

    number: int
    settings: Table[str, Any]  # as `dse run` takes them
    point: Point
    workload: Workload  # prepared
    cycles: int  # the closed form's


def drawn(number: int) -> Drawn:
    """Point `number`: by itself the same, whatever else was drawn. Steps that the machine can't run, and long ones, are passed
    over."""
    rng = random.Random(f"{SEED} {number}")
    while True:
        settings = dict(BASE)
        for values in LINKED.values():
            settings |= rng.choice(values)
        settings |= {name: rng.choice(values) for name, values in CHOICES.items()}
        point = make_point(settings)
        workload = _prepared(point.workload, point.batch, point.method, point.mapping)
        found = step_cycles(workload, Machines.of([point.accelerator]), point.mapping, actions=True)
        assert found.actions is not None  # asked for
        if found.supported[0] and found.actions["commands"][0] <= LONGEST:
            return Drawn(number=number, settings=settings, point=point, workload=workload, cycles=int(found.cycles[0]))


@lru_cache(maxsize=64)
def _prepared(workload: str, batch: int, method: str, mapping: Mapping) -> Workload:
    return prepared(workload_of(workload, batch, method), mapping)
