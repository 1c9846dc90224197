"""The reference table: what a few points take, to the cycle. ``python -m tests.replay.regenerate`` writes it again.

The rule: these numbers have no other source than the model itself, so they say only that something changed. A change that moves
one must write the table again in the same commit, and that commit's message must say why each moved number moved.
"""

import json
import sys
from pathlib import Path
from typing import Any

from dse.evaluate import Run, evaluate
from dse.point import make_point

TABLE = Path(__file__).with_name("cycles.json")
POINTS: tuple[dict[str, Any], ...] = (
    {"accelerator": "sat-vcu1525", "workload": "resnet18-cifar", "method": "dense", "batch": 8},
    {"accelerator": "sat-vcu1525", "workload": "resnet18-cifar", "method": "bdwp:2:8", "batch": 8},
    {
        "accelerator": "sat-vcu1525",
        "workload": "resnet18-cifar",
        "method": "bdwp:2:8",
        "batch": 8,
        "mapping.pregenerate": False,
    },
    {"accelerator": "sat-vcu1525", "workload": "resnet18-cifar", "method": "srste:2:4", "batch": 8, "mapping.update": "end"},
    {"accelerator": "sat-vcu1525", "workload": "resnet18-cifar", "method": "sdgp:2:8", "batch": 8, "mapping.vector": "host"},
    {"accelerator": "sat-vcu1525", "workload": "resnet18-cifar", "method": "fst:2:4", "batch": 8, "mapping.dataflow": "ws"},
    {"accelerator": "sat-vcu1525", "workload": "vit-b16", "method": "bdwp:2:8", "batch": 1},
    {
        "accelerator": "sat-vcu1525",
        "workload": "vgg19-cifar",
        "method": "dense",
        "batch": 8,
        "accelerator.array.double_buffered": False,
    },
    {"accelerator": "tpu-like", "workload": "resnet18-cifar", "method": "dense", "batch": 8},
    {"accelerator": "a100-like-sm", "workload": "resnet18-cifar", "method": "bdwp:2:4", "batch": 8},
    {"accelerator": "edge-int8", "workload": "resnet18-cifar", "method": "bdwp:2:8", "batch": 1},
)


def row(settings: dict[str, Any]) -> dict[str, Any]:
    """A point's settings with the digest of its machine and what its run took."""
    point = make_point(settings)
    outcome = evaluate(point)
    if not isinstance(outcome, Run):
        raise ValueError(f"Point {settings!r} must run, not be unsupported: {outcome}")
    result = outcome.result
    return settings | {
        "digest": point.accelerator.digest,
        "cycles": result.cycles,
        "array_busy": result.engines["array"].busy,  # pyright: ignore[reportArgumentType]
        "port_busy": result.port_busy_cycles,
        "counters": result.counters.as_dict(),
        "stages": {str(stage): int(cycles) for stage, cycles in outcome.stages["cycles"].items()},
    }


def main() -> int:
    rows = [row(settings) for settings in POINTS]
    TABLE.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for each in rows:
        print(f"{each['cycles']:>14,}  {' '.join(str(value) for value in each.values() if isinstance(value, str | int))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
