"""The assumptions that no source settles, and the values that each could reasonably have."""

from typing import Any

__all__ = ["BASE", "METHODS", "NETWORKS", "PAPER_AVERAGE", "VARIANTS"]

PAPER_AVERAGE = 1.75  # arXiv:2309.13015, abstract: average speed-up over dense training at 2:8, networks not named there

NETWORKS = ("resnet18", "resnet50", "vgg19-cifar", "vit-b16")
METHODS = ("dense", "bdwp:2:4", "bdwp:2:8", "bdwp:2:16")

BASE: dict[str, Any] = {"accelerator": "sat-vcu1525", "batch": 16}

# By assumption: the changes to the base, by a label that a person reads. The base's own value is left out.
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "DRAM bandwidth (base 19.2 GB/s: one of four channels)": {
        "9.6 GB/s": {"accelerator.dram.bytes_per_second": 9_600_000_000},
        "38.4 GB/s": {"accelerator.dram.bytes_per_second": 38_400_000_000},
        "76.8 GB/s": {"accelerator.dram.bytes_per_second": 76_800_000_000},
    },
    "batch (base 16)": {"1": {"batch": 1}, "4": {"batch": 4}, "64": {"batch": 64}},
    "accumulate latency, 4 accumulators (base 4)": {
        "1": {"accelerator.pe.accumulate_latency": 1},
        "6": {"accelerator.pe.accumulate_latency": 6},
        "11": {"accelerator.pe.accumulate_latency": 11},  # AMD answer record 62859: FP32 adder at its default latency
    },
    "pre-generation (base on)": {"off": {"mapping.pregenerate": False}},
    "dataflow (base: best of OS and WS per layer and stage)": {
        "OS only": {"mapping.dataflow": "os"},
        "WS only": {"mapping.dataflow": "ws"},
    },
    "work between GEMMs (base: on chip, 32 lanes)": {
        "on the host, free": {"mapping.vector": "host"},
        "8 lanes": {"accelerator.vector.lanes": 8},
        "128 lanes": {"accelerator.vector.lanes": 128},
    },
    "on-chip buffers (base 9 MiB)": {
        "a quarter": {
            "accelerator.a_buffer.bytes": 2**19,
            "accelerator.b_buffer.bytes": 2**19,
            "accelerator.c_buffer.bytes": 2**20,
            "accelerator.work_buffer.bytes": 2**18,
        },
        "twice": {
            "accelerator.a_buffer.bytes": 2**22,
            "accelerator.b_buffer.bytes": 2**22,
            "accelerator.c_buffer.bytes": 2**23,
            "accelerator.work_buffer.bytes": 2**21,
        },
    },
    "layers kept dense (base: first and last)": {"none": {"keep_dense": "none"}},
    "update (base: overlapped with backward)": {"at the end": {"mapping.update": "end"}},
}
