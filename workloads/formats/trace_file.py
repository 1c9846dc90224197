"""The trace format: gzip JSONL, a header line, then one operation a line; documented in docs/trace-format.md."""

import dataclasses
import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cattrs
from cattrs.strategies import configure_tagged_union

from workloads.affine import Affine
from workloads.graph import Workload
from workloads.ops import Op, Vector, streaming_work
from workloads.sparsity import NM, Dense, parse_pattern

__all__ = ["FORMAT", "VERSION", "Trace", "TraceError", "load_trace", "merge_batches", "op_record", "save_trace"]

FORMAT = "nmdse-trace"
VERSION = 1
_SIZES = {  # the integer fields that may grow with the batch
    "batch", "m", "n", "k", "images", "work", "elements",
}  # fmt: skip


class TraceError(ValueError):
    """A trace that can't be read, or can't be had at the batch that was asked for."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A workload with sizes as functions of the batch."""

    name: str
    batch: int  # the batch that was traced
    batch_scalable: bool
    optimizer: str
    dtype: str
    source: str  # the command or definition that it came from
    torch: str  # version
    saved_elements: str
    records: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...] = ()  # what a user of the trace must know, in sentences

    def bind(self, batch: int | None = None) -> Workload:
        """The workload at a batch (default: as traced). Raises TraceError where the trace allows no other batch."""
        wanted = self.batch if batch is None else batch
        if type(wanted) is not int or wanted < 1:
            raise TraceError(f"Trace {self.name!r}: batch must be a positive integer, not {wanted!r}")
        if wanted != self.batch and not self.batch_scalable:
            raise TraceError(
                f"Trace {self.name!r}: batch must be {self.batch}, not {wanted}: its operations change with the batch; "
                "trace the model again at the batch you want (dse trace --batch)"
            )
        ops = tuple(_structure(_bound(record, wanted)) for record in self.records)
        saved = Affine.parse(self.saved_elements).at(wanted)
        return Workload(name=self.name, batch=wanted, ops=ops, saved_elements=saved)


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(Dense | NM, lambda text, _: parse_pattern(text))
    converter.register_structure_hook(NM, lambda text, _: NM.parse(text))
    converter.register_unstructure_hook(Dense, str)
    converter.register_unstructure_hook(NM, str)
    converter.register_unstructure_hook(Dense | NM, str)
    configure_tagged_union(Op, converter, tag_name="op", tag_generator=lambda cls: cls.__name__.lower())
    return converter


_CONVERTER = _converter()


def _structure(record: Mapping[str, Any]) -> Op:
    if record["op"] == "vector" and "work" not in record:
        op = _structure({**record, "work": 0})
        assert isinstance(op, Vector)
        return replace(op, work=streaming_work(op.kind, op.reads, op.writes))
    return _CONVERTER.structure(record, Op)  # pyright: ignore[reportArgumentType]


def _bound(value: Any, batch: int, field: str = "") -> Any:
    """The record with every size evaluated."""
    if isinstance(value, Mapping):
        return {key: _bound(item, batch, str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_bound(item, batch) for item in value]
    if field in _SIZES and isinstance(value, str):
        return Affine.parse(value).at(batch)
    return value


def op_record(op: Op) -> dict[str, Any]:
    """An operation as JSON data, sizes as plain integers."""
    return _CONVERTER.unstructure(op, Op)  # pyright: ignore[reportArgumentType]


def _record_without_work(op: Op) -> dict[str, Any]:
    """Leave out work that follows from the tensors: as the larger of two sizes it isn't linear in the batch."""
    record = op_record(op)
    if isinstance(op, Vector) and op.work == streaming_work(op.kind, op.reads, op.writes):
        del record["work"]
    return record


def merge_batches(first: tuple[int, list[Op], int], second: tuple[int, list[Op], int]) -> tuple[list[dict[str, Any]], str]:
    """Fit every size through two traces (batch, operations, saved elements) of one model.

    Returns the records and the saved elements, as functions of the batch. Raises TraceError where the two differ in
    anything but sizes, or a size is not linear.
    """
    (b0, ops0, saved0), (b1, ops1, saved1) = first, second
    if len(ops0) != len(ops1):
        raise TraceError(f"the model runs {len(ops0)} operations at batch {b0} but {len(ops1)} at {b1}")
    try:
        records = [_fit(_record_without_work(x), _record_without_work(y), b0, b1) for x, y in zip(ops0, ops1, strict=True)]
        return records, str(Affine.fit((b0, saved0), (b1, saved1)))
    except ValueError as error:
        raise TraceError(str(error)) from error


def _fit(x: Any, y: Any, b0: int, b1: int, field: str = "") -> Any:
    if isinstance(x, dict) and isinstance(y, dict) and x.keys() == y.keys():
        return {key: _fit(x[key], y[key], b0, b1, key) for key in x}
    if isinstance(x, list | tuple) and isinstance(y, list | tuple) and len(x) == len(y):
        return [_fit(i, j, b0, b1) for i, j in zip(x, y, strict=True)]
    if field in _SIZES and type(x) is int and type(y) is int:
        return x if x == y else str(Affine.fit((b0, x), (b1, y)))
    if x != y:
        raise TraceError(f"{field} is {x!r} at batch {b0} but {y!r} at {b1}")
    return x


def save_trace(trace: Trace, path: Path) -> None:
    """Write a trace; the same trace gives the same bytes."""
    header = {"format": FORMAT, "version": VERSION, "operations": len(trace.records)}
    header |= {f.name: getattr(trace, f.name) for f in dataclasses.fields(trace) if f.name != "records"}
    lines = [json.dumps(record, separators=(",", ":")) for record in (header, *trace.records)]
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
        packed.write(("\n".join(lines) + "\n").encode())
    partial.replace(path)


def load_trace(path: Path) -> Trace:
    """Read a trace. Raises TraceError that names the file and what is wrong with it."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
    except FileNotFoundError:
        raise TraceError(f"Trace {str(path)!r} must be an existing file") from None
    except (EOFError, zlib.error, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TraceError(f"Trace {str(path)!r} must be whole, but it is truncated or damaged ({error})") from None
    except OSError as error:
        raise TraceError(f"Trace {str(path)!r} must be a readable gzip file ({error})") from None
    header = records.pop(0) if records and isinstance(records[0], dict) else {}
    if header.pop("format", None) != FORMAT:
        raise TraceError(f"Trace {str(path)!r} must begin with a header of format {FORMAT!r}")
    if (version := header.pop("version", None)) != VERSION:
        raise TraceError(f"Trace {str(path)!r}: version must be {VERSION}, not {version!r}: another release wrote it")
    if (count := header.pop("operations", None)) != len(records):
        raise TraceError(f"Trace {str(path)!r} must hold {count} operations, not {len(records)}: it is truncated")
    try:
        notes = tuple(header.pop("notes", ()))
        trace = Trace(**header, records=tuple(records), notes=notes)
        trace.bind()
    except (AttributeError, KeyError, TypeError, ValueError, cattrs.BaseValidationError) as error:
        raise TraceError(f"Trace {str(path)!r} is not valid: {_reason(error)}") from error
    return trace


def _reason(error: BaseException) -> str:
    """The first error inside a group of them: it names field, rule and value."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) and error.args else str(error)
