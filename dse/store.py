"""The store: an SQLite table of evaluated points, one row per key, appended in transactions.

A row is in the file or it is not, whenever the process dies; several processes may write to one store.
"""

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from types import NoneType, TracebackType
from typing import Any, Self, TypeAlias

import numpy as np
import pandas as pd

__all__ = ["RELEASE", "Store", "StoreError", "place_of", "quoted"]

RELEASE = "_release"
"""The column that says which release of this package added a row. It is not in frames unless it is asked for."""

_MODEL = version("nmdse")
_SCHEMA = 1
_CHUNK = 10_000  # rows that are Python objects at a time
_WAIT_SECONDS = 60.0  # for another writer's transaction


class StoreError(Exception):
    """The store can't be opened, read or written."""


class Store:
    """Rows by key. Columns appear as rows bring them; a key's first row stays."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            place, read_only = place_of(path)
            self._db = sqlite3.connect(place, timeout=_WAIT_SECONDS, isolation_level=None, uri=True)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"Store {str(path)!r} must be a writable store: {error}") from None
        try:
            self._open(read_only=read_only)
        except sqlite3.Error as error:
            self._db.close()
            raise StoreError(f"Store {str(path)!r} must be a writable store: {error}") from None
        except StoreError:
            self._db.close()
            raise

    def _open(self, *, read_only: bool) -> None:
        """Check the version before anything is written; make the table, version and all, in one transaction."""
        self._db.execute("BEGIN" if read_only else "BEGIN IMMEDIATE")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        tables = {row[0] for row in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if version != _SCHEMA and (version or tables):
            raise StoreError(f"Store {str(self.path)!r}: schema must be {_SCHEMA}, not {version}: written by another release")
        if not read_only:
            self._db.execute('CREATE TABLE IF NOT EXISTS points ("key" TEXT PRIMARY KEY) WITHOUT ROWID')
            self._db.execute(f"PRAGMA user_version={_SCHEMA}")
        self._db.execute("COMMIT")
        if not read_only:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
        self._columns = set(self._stored_columns())
        if "points" in tables and "key" not in self._columns:
            raise StoreError(f"Store {str(self.path)!r} must have a key for each point: another program made this table")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._db.close()

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows in one transaction; a key that is there already keeps its row."""
        try:
            try:
                self._db.execute("BEGIN IMMEDIATE")  # in here: Ctrl-C may come right behind it, before another statement
                for names, group in groupby(rows, key=tuple):
                    self._add_columns(names)
                    columns = ", ".join(quoted(name) for name in (RELEASE, *names))
                    marks = ", ".join("?" * (len(names) + 1))
                    values = ([_MODEL, *map(_plain, row.values())] for row in group)
                    self._db.executemany(f"INSERT OR IGNORE INTO points ({columns}) VALUES ({marks})", values)
                self._db.execute("COMMIT")
            except BaseException:
                self._columns = set()  # a column that this transaction added is gone
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StoreError(f"Store {str(self.path)!r} must be writable, but: {error}; what it held is safe") from None

    def _add_columns(self, names: Sequence[str]) -> None:
        if {RELEASE, *names} - self._columns:
            self._columns = set(self._stored_columns())
            for name in sorted({RELEASE, *names} - self._columns):
                self._db.execute(f"ALTER TABLE points ADD COLUMN {quoted(name)}")
                self._columns.add(name)

    def _stored_columns(self) -> list[str]:
        return [info[1] for info in self._db.execute("PRAGMA table_info(points)")]

    def forget_failed(self) -> None:
        """Drop rows whose evaluation ended in an error, or of which nobody knows how it ended, so that they are tried again."""
        if "status" in self._columns:
            try:
                self._db.execute("DELETE FROM points WHERE status = 'failed' OR status IS NULL")
            except sqlite3.Error as error:
                raise StoreError(f"Store {str(self.path)!r} must be writable, but: {error}; what it held is safe") from None

    def keys(self) -> set[str]:
        try:
            return {row[0] for row in self._db.execute('SELECT "key" FROM points')}
        except sqlite3.Error as error:
            raise StoreError(f"Store {str(self.path)!r} must be readable: {error}") from None

    def releases(self) -> set[str]:
        """Those whose rows it holds, as far as the rows tell: they came to do so after the first."""
        if RELEASE not in self._stored_columns():
            return set()
        found = self._db.execute(f"SELECT DISTINCT {quoted(RELEASE)} FROM points")
        return {row[0] for row in found if row[0] is not None}

    def frame(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """All rows, ordered by key. With `columns`, only those are read; one that no row has is empty.

        Integers with gaps are floats, as everywhere in pandas. 100,000 rows of 70 columns take some 2 s and 150 MB.
        """
        try:
            self._db.execute("BEGIN")
            try:
                there = self._stored_columns()
                names = [name for name in there if name != RELEASE] if columns is None else list(dict.fromkeys(columns))
                read = [name for name in names if name in there]
                found = self._read(read)
            finally:
                self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"Store {str(self.path)!r} must be readable: {error}") from None
        return found.reindex(columns=names) if len(read) < len(names) else found

    def _read(self, names: list[str]) -> pd.DataFrame:
        """Columns of all rows, ordered by key, a chunk of rows at a time: as Python's objects they take many times the room."""
        chunks: list[list[_Chunk]] = [[] for _ in names]
        count = 0
        columns = ", ".join(map(quoted, names)) or "NULL"
        cursor = self._db.execute(f'SELECT {columns} FROM points ORDER BY "key"')
        while rows := cursor.fetchmany(_CHUNK):
            count += len(rows)
            for chunk, values in zip(chunks, zip(*rows, strict=True), strict=False):
                chunk.append(_chunk(values))
        found: dict[str, pd.Series[Any]] = {}
        for name in names:
            found[name] = _series(chunks.pop(0))
        return pd.DataFrame(found, index=pd.RangeIndex(count), copy=False)


_Chunk: TypeAlias = "np.ndarray[Any, Any] | pd.Series[Any] | int"
"""Some of a column's values: numbers, texts, a number of gaps, or whatever else as objects."""


def _chunk(values: tuple[Any, ...]) -> _Chunk:
    kinds = set(map(type, values))
    if kinds == {int}:
        return np.array(values, dtype=np.int64)
    if kinds == {NoneType}:
        return len(values)
    if kinds <= {int, float, NoneType}:
        return np.array(values, dtype=np.float64)  # None becomes NaN
    if kinds <= {str, NoneType}:
        return pd.Series(values, dtype="str")
    return np.array(values, dtype=object)


def _series(chunks: list[_Chunk]) -> "pd.Series[Any]":
    """One column of chunks, of one type where they can be."""
    if not chunks:
        return pd.Series([], dtype="object")
    some = [chunk for chunk in chunks if not isinstance(chunk, int)]
    if some and all(isinstance(chunk, pd.Series) for chunk in some):
        texts = [pd.Series([None] * chunk, dtype="str") if isinstance(chunk, int) else pd.Series(chunk) for chunk in chunks]
        return pd.concat(texts, ignore_index=True)
    mixed = not some or any(chunk.dtype.kind not in "if" for chunk in some)
    gap = None if mixed else np.nan
    return pd.Series(np.concatenate([np.full(c, gap) if isinstance(c, int) else np.asarray(c) for c in chunks]))


def place_of(path: Path) -> tuple[str, bool]:
    """The address that SQLite opens a store by, and whether it can only be read."""
    read_only = path.exists() and not os.access(path, os.W_OK) and not path.with_name(path.name + "-wal").exists()
    # On a read-only disk SQLite can't make its locks; without a log file nobody else can be writing either.
    return path.resolve().as_uri() + ("?immutable=1" if read_only else ""), read_only


def quoted(name: str) -> str:
    """A column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def _plain(value: Any) -> Any:
    """As SQLite keeps it: lists, and integers of more than 64 bits, as text."""
    if type(value) is float or type(value) is str:
        return value
    if isinstance(value, list | tuple):
        return " ".join(str(item) for item in value)
    return str(value) if type(value) is int and not -(2**63) <= value < 2**63 else value
