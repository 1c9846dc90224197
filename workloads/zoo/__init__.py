"""Shipped traces, read without PyTorch; `python -m workloads.zoo.regenerate` makes them again."""

from pathlib import Path

from workloads.formats.trace_file import Trace, TraceError, load_trace

__all__ = ["load_workload_trace", "zoo_names"]

_FOLDER = Path(__file__).parent
_SUFFIX = ".jsonl.gz"


def zoo_names() -> list[str]:
    """Names of the shipped traces."""
    return sorted(path.name.removesuffix(_SUFFIX) for path in _FOLDER.glob(f"*{_SUFFIX}"))


def load_workload_trace(name: str) -> Trace:
    """A shipped trace by name, or a trace file by path. Raises TraceError that lists the names."""
    if (path := _FOLDER / f"{name}{_SUFFIX}").exists():
        return load_trace(path)
    if Path(name).suffix:
        return load_trace(Path(name))
    raise TraceError(f"Workload {name!r} must be a trace file or one of: {', '.join(zoo_names())}")
