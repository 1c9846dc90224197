"""A trace of which a point takes some milliseconds, for the tests that need many points more than large ones."""

import gzip
import json
from pathlib import Path

import workloads.zoo

__all__ = ["SMALL_TRACE", "write_small_trace"]

SMALL_TRACE = "small.jsonl.gz"
_SHIPPED = Path(workloads.zoo.__file__).parent / "resnet18-cifar.jsonl.gz"


def write_small_trace(folder, layers=("fc",), name=SMALL_TRACE):
    """Some layers of a shipped trace."""
    with gzip.open(_SHIPPED, "rt") as file:
        header, *lines = (json.loads(line) for line in file)
    kept = [line for line in lines if line.get("layer", line.get("parameter", "").rpartition(".")[0]) in layers]
    with gzip.open(Path(folder) / name, "wt") as file:
        file.writelines(json.dumps(line) + "\n" for line in ({**header, "operations": len(kept)}, *kept))
