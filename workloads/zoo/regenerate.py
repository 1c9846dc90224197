"""Trace the zoo's models again, to the same bytes: ``python -m workloads.zoo.regenerate [name ...]``."""

import sys
import time
from pathlib import Path

from workloads.formats.trace_file import TraceError, save_trace
from workloads.trace import resolve_target, trace_step

__all__ = ["main", "regenerate"]


def regenerate(name: str, folder: Path) -> Path:
    """Trace one zoo model at batch 1 and write it into a folder. Raises TraceError for an unknown name."""
    _, build = resolve_target(name)
    from workloads.zoo.definitions import OPTIMIZER

    trace = trace_step(
        build,
        name=name,
        batch=1,
        optimizer=OPTIMIZER.get(name, "sgd-momentum"),
        source=f"python -m workloads.zoo.regenerate {name}",
    )
    path = folder / f"{name}.jsonl.gz"
    save_trace(trace, path)
    return path


def main(names: list[str]) -> int:
    """Trace the named models, all without a name; returns the exit status."""
    try:
        resolve_target("resnet18")
        from workloads.zoo.definitions import BUILDERS

        wanted = names or list(BUILDERS)
        for i, name in enumerate(wanted):
            start = time.perf_counter()
            path = regenerate(name, Path(__file__).parent)
            seconds = time.perf_counter() - start
            print(f"[{i + 1}/{len(wanted)}] {path.name}: {path.stat().st_size} bytes, {seconds:.1f} s", flush=True)
    except TraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
