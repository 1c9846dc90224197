"""The store: an SQLite table of evaluated points, one row per key, appended in transactions.

A row is in the file or it is not, whenever the process dies; several processes may write to one store.
"""

import os
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd

__all__ = ["Store", "StoreError"]

_SCHEMA = 1
_WAIT_SECONDS = 60.0  # for another writer's transaction


class StoreError(Exception):
    """The store can't be opened, read or written."""


class Store:
    """Rows by key. Columns appear as rows bring them; a key's first row stays."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            read_only = path.exists() and not os.access(path, os.W_OK) and not path.with_name(path.name + "-wal").exists()
            # On a read-only disk SQLite can't make its locks; without a log file nobody else can be writing either.
            place = f"{path.resolve().as_uri()}?immutable=1" if read_only else path
            self._db = sqlite3.connect(place, timeout=_WAIT_SECONDS, isolation_level=None, uri=read_only)
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
        self._columns = {row[1] for row in self._db.execute("PRAGMA table_info(points)")}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._db.close()

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows in one transaction; a key that is there already keeps its row."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for row in rows:
                    self._add_columns(row)
                    names = ", ".join(_quoted(name) for name in row)
                    marks = ", ".join("?" * len(row))
                    self._db.execute(
                        f"INSERT OR IGNORE INTO points ({names}) VALUES ({marks})", [_plain(v) for v in row.values()]
                    )
                self._db.execute("COMMIT")
            except BaseException:
                self._columns.clear()  # a column that this transaction added is gone
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StoreError(f"Store {str(self.path)!r} must be writable, but: {error}; what it held is safe") from None

    def _add_columns(self, row: Mapping[str, Any]) -> None:
        if new := set(row) - self._columns:
            self._columns = {info[1] for info in self._db.execute("PRAGMA table_info(points)")}
            for name in sorted(new - self._columns):
                self._db.execute(f"ALTER TABLE points ADD COLUMN {_quoted(name)}")
                self._columns.add(name)

    def forget_failed(self) -> None:
        """Drop rows whose evaluation ended in an error, so that they are tried again."""
        if "status" in self._columns:
            try:
                self._db.execute("DELETE FROM points WHERE status = 'failed'")
            except sqlite3.Error as error:
                raise StoreError(f"Store {str(self.path)!r} must be writable, but: {error}; what it held is safe") from None

    def keys(self) -> set[str]:
        try:
            return {row[0] for row in self._db.execute('SELECT "key" FROM points')}
        except sqlite3.Error as error:
            raise StoreError(f"Store {str(self.path)!r} must be readable: {error}") from None

    def frame(self) -> pd.DataFrame:
        """All rows, ordered by key."""
        try:
            return pd.read_sql_query('SELECT * FROM points ORDER BY "key"', self._db)
        except (sqlite3.Error, pd.errors.DatabaseError) as error:
            raise StoreError(f"Store {str(self.path)!r} must be readable: {error}") from None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain(value: Any) -> Any:
    """As SQLite keeps it: lists, and integers of more than 64 bits, as text."""
    if isinstance(value, list | tuple):
        return " ".join(str(item) for item in value)
    return str(value) if type(value) is int and not -(2**63) <= value < 2**63 else value
