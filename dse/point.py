"""A design point: an accelerator, a mapping, a method, a workload and a batch, with one key for all of it."""

import hashlib
import json
from collections.abc import Mapping as Dict
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from dataflows.mapping import Mapping
from dse.config import ConfigError, accelerator_from, nested, structure
from simulator.arch import Accelerator
from simulator.cost.area import calibration, prices_digest
from simulator.cost.devices import DEVICES
from workloads.formats.trace_file import Trace
from workloads.graph import Workload
from workloads.methods import apply_method, parse_method
from workloads.zoo import load_workload_trace

__all__ = ["MODEL", "Point", "check_fit", "make_point", "trace_digest", "trace_of", "workload_of"]

MODEL = version("nmdse")
"""The release; part of each point's key, so that a store never passes off another release's results as this one's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One thing to evaluate."""

    accelerator: Accelerator
    mapping: Mapping
    method: str  # canonical, as in "bdwp:2:8"
    workload: str  # a zoo name or a trace file
    batch: int
    fit: str = ""  # a device that the machine must fit, or none

    @property
    def key(self) -> str:
        """The same for equal points, whatever they are called: of machine, mapping, method, trace, batch, device, release."""
        data = {
            "accelerator": self.accelerator.digest,
            "mapping": asdict(self.mapping),
            "method": self.method,
            "trace": trace_digest(self.workload),
            "batch": self.batch,
            "fit": self.fit,
            "model": MODEL,
            "prices": prices_digest(),
        }
        text = json.dumps(data, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_point(settings: Dict[str, Any]) -> Point:
    """A point from flat settings: ``accelerator``, ``workload``, ``method``, ``batch``, ``accelerator.…`` and ``mapping.…``.

    Raises ConfigError that names the setting, the rule and the value.
    """
    changes = {key.removeprefix("accelerator."): value for key, value in settings.items() if key.startswith("accelerator.")}
    mapping = {key.removeprefix("mapping."): value for key, value in settings.items() if key.startswith("mapping.")}
    known = {"accelerator", "workload", "method", "batch", "fit"}
    if unknown := [key for key in settings if key not in known and not key.startswith(("accelerator.", "mapping."))]:
        raise ConfigError(
            f"Setting {unknown[0]!r} must be one of {', '.join(sorted(known))}, or begin with 'accelerator.' or 'mapping.'"
        )
    for name in ("accelerator", "workload", "method"):
        if not isinstance(settings.get(name), str):
            raise ConfigError(f"Setting {name!r} must be a text, not {settings.get(name)!r}")
    batch, device = settings.get("batch", 1), settings.get("fit", "")
    if isinstance(batch, list | dict):  # of all other kinds the trace says the same
        raise ConfigError(f"Trace {settings['workload']!r}: batch must be a positive integer, not {batch!r}")
    check_fit(device, "Setting 'fit'")
    try:
        method = str(parse_method(settings["method"]))
        _bound(settings["workload"], batch)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return Point(
        accelerator=accelerator_from(settings["accelerator"], changes),
        mapping=structure(nested(mapping), Mapping, "Mapping"),
        method=method,
        workload=settings["workload"],
        batch=batch,
        fit=device,
    )


def check_fit(device: Any, thing: str) -> None:
    """Raise ConfigError that begins with `thing`, unless it is a device of which areas are estimated, or ""."""
    known = [name for name, each in DEVICES.items() if each.technology in calibration()]
    if device == "" or device in known:
        return
    why = ""
    if isinstance(device, str) and device in DEVICES:
        why = f": nothing estimates {DEVICES[device].technology}; `dse build` says whether a machine fits it (docs/cost.md)"
    raise ConfigError(f"{thing} must be one of {', '.join(known)}, not {device!r}{why}")


@lru_cache(maxsize=64)
def trace_of(workload: str) -> Trace:
    return load_workload_trace(workload)


@lru_cache(maxsize=64)
def trace_digest(workload: str) -> str:
    """Digest of a trace's content, the same wherever the file lies."""
    trace = trace_of(workload)
    text = json.dumps([trace.batch, trace.optimizer, trace.saved_elements, *trace.records], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@lru_cache(maxsize=32)
def workload_of(workload: str, batch: int, method: str) -> Workload:
    """The training step that a point runs: the trace at its batch, rewritten by its method."""
    return apply_method(parse_method(method), _bound(workload, batch))


@lru_cache(maxsize=64, typed=True)  # True and 1.0 are no batch, though they equal 1
def _bound(workload: str, batch: int) -> Workload:
    return trace_of(workload).bind(batch)
