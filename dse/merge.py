"""Merge stores of several machines into one: each key's first row stays, and rows that contradict it are counted."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from dse.config import ConfigError
from dse.sides import is_setting
from dse.store import RELEASE, Store, StoreError, place_of, quoted

__all__ = ["Merged", "check_sources", "merge_stores"]

_GOOD = "status IS NOT 'failed'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What came of one of the stores."""

    path: Path
    rows: int  # that it holds
    added: int
    different: tuple[str, ...]  # keys that were there already, with other results; those stay

    @property
    def known(self) -> int:
        """Rows that were there already, and the same."""
        return self.rows - self.added - len(self.different)


def merge_stores(sources: Sequence[Path], target: Path) -> list[Merged]:
    """Add the rows of each source, in order, to `target`, which is made where it is not there.

    A row that failed makes room for one that did not. Names of a point may differ between rows of one key, results
    may not. Each source comes whole or not at all; the same call finishes what was killed. Raises ConfigError for a source
    that is no store and for stores with rows of different releases, StoreError where one can't be read or written.
    """
    check_sources(sources, target)
    with Store(target):  # makes it, and looks at its version
        pass
    try:
        with closing(sqlite3.connect(place_of(target)[0], uri=True, timeout=60, isolation_level=None)) as db:
            return [_add(db, source) for source in sources]
    except sqlite3.Error as error:
        raise StoreError(f"Store {str(target)!r} must be writable, but: {error}; what it held is safe") from None


def check_sources(sources: Sequence[Path], target: Path) -> None:
    """Raise as `merge_stores` does for what can't be merged, before anything is made of it."""
    for source in sources:
        if not source.is_file() or not source.stat().st_size:  # an empty file would become a store
            raise ConfigError(f"Store {str(source)!r} must be an existing store, as in out/resnet18/store.sqlite")
        if target.exists() and source.samefile(target):
            raise ConfigError(f"Option '--out' must name another store than those to merge, not {str(target)!r}")
    _check_releases([target, *sources] if target.is_file() else sources)


def _check_releases(stores: Sequence[Path]) -> None:
    of: dict[str, Path] = {}
    for path in stores:
        with Store(path) as store:
            of |= dict.fromkeys(store.releases(), path)
    if len(of) > 1:
        said = ", ".join(f"{release} in {str(path)!r}" for release, path in sorted(of.items()))
        raise ConfigError(f"Stores must hold rows of one release of nmdse, not several: {said}; sweep again with one of them")


def _add(db: sqlite3.Connection, source: Path) -> Merged:
    """One source's rows, in one transaction."""
    db.execute("ATTACH ? AS other", (place_of(source)[0],))
    try:
        db.execute("BEGIN IMMEDIATE")
        try:
            found = _added(db, source)
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
    finally:
        db.execute("DETACH other")
    return found


def _added(db: sqlite3.Connection, source: Path) -> Merged:
    theirs = _columns(db, "other")
    for name in [name for name in theirs if name not in _columns(db, "main")]:
        db.execute(f"ALTER TABLE main.points ADD COLUMN {quoted(name)}")
    ours = _columns(db, "main")
    both = "main.points AS a JOIN other.points AS b ON a.key = b.key"
    if "status" in theirs:
        db.execute(f"DELETE FROM main.points WHERE status = 'failed' AND key IN (SELECT key FROM other.points WHERE {_GOOD})")
    good = [f"{side}.{_GOOD}" for side, names in (("a", ours), ("b", theirs)) if "status" in names]
    results = [name for name in ours if name not in ("key", RELEASE) and not is_setting(name)]
    differ = [f"a.{quoted(name)} IS NOT {'b.' + quoted(name) if name in theirs else 'NULL'}" for name in results]
    where = " AND ".join([*good, f"({' OR '.join(differ) or '0'})"])
    different = db.execute(f"SELECT a.key FROM {both} WHERE {where} ORDER BY a.key").fetchall()
    names = ", ".join(map(quoted, theirs))
    added = db.execute(f"INSERT OR IGNORE INTO main.points ({names}) SELECT {names} FROM other.points").rowcount
    rows = db.execute("SELECT count(*) FROM other.points").fetchone()[0]
    return Merged(path=source, rows=rows, added=added, different=tuple(key for (key,) in different))


def _columns(db: sqlite3.Connection, schema: str) -> list[str]:
    return [info[1] for info in db.execute(f"PRAGMA {schema}.table_info(points)")]
