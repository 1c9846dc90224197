"""The bulk store: results of ranges of a space's points, a Parquet file each, whole or not there.

A file's name says all that its rows depend on: what the points are, the release and the prices (a digest), and which of them it
holds. So a run that is killed loses only the files under way, sweeps of the same points may share a folder at any time, folders
of several machines are merged by copying files, and what is missing can be told from the names. Pages carry checksums: a file
that is damaged counts as missing.
"""

import hashlib
import io
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dse.config import ConfigError, accelerator_from
from dse.grid import Space
from dse.point import MODEL, trace_digest
from dse.store import StoreError
from simulator.cost.area import prices_digest

__all__ = ["CHUNK", "Chunks", "packed", "points_digest"]

CHUNK = 20_000
"""Points of a file, at most: a few seconds of work and a few megabytes."""

_LEAST = 1000  # points of a file of a small space: enough that what they share is worked out rarely
_FILES = 16  # that a small space is cut into, so that several workers have something to do
_STALE_SECONDS = 3600.0  # after which a file that was never finished is no other sweep's work under way


def points_digest(space: Space) -> str:
    """Identity of a space's points and of all that their results depend on; not of what is wanted of them."""
    workloads, sources = _values(space, "workload"), _values(space, "accelerator")
    indices = space.indices
    which = len(indices) if isinstance(indices, range) else hashlib.sha256(np.array(indices, np.int64).tobytes()).hexdigest()
    data = {
        "base": space.base,
        "axes": space.axes,
        "points": which,
        "traces": {name: trace_digest(name) for name in workloads},
        "accelerators": {name: _machine(name) for name in sources},
        "model": MODEL,
        "prices": prices_digest(),
    }
    text = json.dumps(data, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _values(space: Space, name: str) -> list[str]:
    choices = [choice[name] for axis in space.axes for choice in axis if name in choice]
    return sorted({str(value) for value in choices or [space.base.get(name, "")]})


def _machine(source: str) -> str:
    try:
        return accelerator_from(source, {}).digest
    except ConfigError as error:  # its points will say so
        return str(error)


def packed(frame: pd.DataFrame, digest: str, start: int, stop: int) -> bytes:
    """A file of the points from start to stop (exclusive)."""
    text = pa.dictionary(pa.int32(), pa.string())  # also where no row has one: files must be alike
    plain = pa.Schema.from_pandas(frame, preserve_index=False)
    schema = pa.schema([(f.name, text if pa.types.is_dictionary(f.type) else f.type) for f in plain])
    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
    table = table.replace_schema_metadata(_marks(digest, start, stop))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def _marks(digest: str, start: int, stop: int) -> dict[bytes, bytes]:
    return {b"points": f"{digest} {start} {stop}".encode()}


@dataclass(frozen=True, slots=True)
class Chunks:
    """Files of the points of `digest` in a folder: all ranges of `size` points, and those that are there."""

    folder: Path
    digest: str
    size: int

    @property
    def ranges(self) -> list[tuple[int, int]]:
        step = min(CHUNK, max(_LEAST, -(-self.size // _FILES)))
        return [(start, min(start + step, self.size)) for start in range(0, self.size, step)]

    def path(self, start: int, stop: int) -> Path:
        return self.folder / f"{self.digest}-{start:012d}-{stop:012d}.parquet"

    def add(self, start: int, stop: int, data: bytes) -> None:
        """Put a file there, whole or not at all. Raises StoreError where that can't be."""
        path = self.path(start, stop)
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
            partial.replace(path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise StoreError(f"File {str(path)!r} must be writable: {error.strerror}") from None

    def tidy(self) -> None:
        """Remove what killed runs left unfinished."""
        for path in self.folder.glob("*.partial"):
            with suppress(OSError):  # another run may have been faster
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()

    def present(self) -> list[tuple[int, int]]:
        """Ranges whose file is there, by its name alone."""
        return [each for each in self.ranges if self.path(*each).exists()]

    def whole(self, start: int, stop: int) -> pd.DataFrame | None:
        """The rows of a file; None unless it is there and holds, undamaged, what its name says."""
        try:
            table = pq.read_table(self.path(start, stop), page_checksum_verification=True)
        except (OSError, pa.ArrowException):
            return None
        marks = table.schema.metadata or {}
        good = len(table) == stop - start and marks.items() >= _marks(self.digest, start, stop).items()
        return _frame([table]) if good else None

    def frames(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Files one after the other, in the order of points; of their columns those asked for, as far as they have them."""
        for start, stop in self.present():
            yield _frame([self._table(start, stop, columns)])

    def frame(self, columns: Sequence[str] | None = None, points: "np.ndarray[Any, Any] | None" = None) -> pd.DataFrame:
        """All of them as one table, sorted by point; of these points only, if given. Texts are categories.

        Raises StoreError where a file can't be read.
        """
        wanted = None if columns is None else list(dict.fromkeys(("point", *columns)))
        tables = (self._table(start, stop, wanted) for start, stop in self.present())
        if points is not None:
            tables = (table.filter(pa.array(np.isin(table["point"].to_numpy(), points))) for table in tables)
        found = _frame(list(tables)).sort_values("point", ignore_index=True)
        return found if columns is None else found[[name for name in columns if name in found.columns]]

    def _table(self, start: int, stop: int, columns: Sequence[str] | None) -> Any:
        path = self.path(start, stop)
        try:
            file = pq.ParquetFile(path, page_checksum_verification=True)
            known = file.schema_arrow.names
            return file.read(None if columns is None else [name for name in columns if name in known])
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"File {str(path)!r} must be readable: {error}; remove it and sweep again") from None


def _frame(tables: list[Any]) -> pd.DataFrame:
    if not tables:
        return pd.DataFrame({"point": np.zeros(0, np.int64)})
    # by name: a folder may hold files of an earlier state of this release, with columns in another order
    return pa.concat_tables(tables, promote_options="default").to_pandas(split_blocks=True, self_destruct=True)
