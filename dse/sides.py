"""One side of a comparison: the points of a sweep's folder or of a store alone, each known by its settings.

A store of another release can be read too: points are found by what stands in their rows, not only by keys, which no release
but the one that wrote them can make.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from dse.accuracy import Accuracy
from dse.config import ConfigError
from dse.constraints import Constraint
from dse.folder import SweepFolder
from dse.space import Objective
from dse.store import Store
from dse.sweep import key_of

__all__ = ["Ident", "Side", "is_setting", "read_side"]

_SETTINGS = ("accelerator", "workload", "method", "batch", "fit")
_DIGITS = 6  # of a key, at least
_DEFAULTS = {"batch": "1"}  # as `dse.point.make_point`

Ident: TypeAlias = frozenset[tuple[str, str]]
"""A point's settings, as the store writes them."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One store's points, a row each."""

    path: Path
    frame: pd.DataFrame
    idents: tuple[Ident, ...]  # by row
    names: tuple[str, ...]  # by row: #N in a sweep's folder, else the first digits of the store's key that tell all apart
    objectives: tuple[Objective, ...] = ()  # of the sweep; a store alone has none, nor the two below
    constraints: tuple[Constraint, ...] = ()
    accuracies: tuple[Accuracy, ...] = ()
    current: int | None = None  # rows with the key that this release gives them; None where that can't be told
    missing: int = 0  # points of the sweep that the store has no row of
    ambiguous: tuple[str, ...] = ()  # points left out: several rows have their settings, none this release's key

    @property
    def counts(self) -> dict[str, int]:
        """Points by status."""
        return {str(status): int(count) for status, count in self.frame["status"].value_counts().items()}

    @cached_property
    def labels(self) -> dict[str, str]:
        """By name, what tells a point from the others: the settings that are not the same for all of them."""
        values: defaultdict[str, set[str]] = defaultdict(set)
        for ident in self.idents:
            for setting, value in ident:
                values[setting].add(value)
        given = Counter(setting for ident in self.idents for setting, _ in ident)
        varied = {name for name, own in values.items() if len(own) > 1 or given[name] < len(self.idents)}
        return {name: ", ".join(_told(ident, varied)) for name, ident in zip(self.names, self.idents, strict=True)}


def _told(ident: Ident, settings: Container[str]) -> list[str]:
    found = sorted((setting, value) for setting, value in ident if setting in settings)
    return [f"{setting.removeprefix('accelerator.').removeprefix('mapping.')} {value}" for setting, value in found]


def read_side(path: Path) -> Side:
    """A sweep's folder, with the points of its space, or a store file, with all of its rows.

    Raises ConfigError where there is neither, StoreError where the store can't be read.
    """
    if path.is_dir():
        return _of_folder(SweepFolder(path))
    if not path.is_file() or not path.stat().st_size:  # an empty file would become a store
        raise ConfigError(f"Argument {str(path)!r} must be the folder of a sweep or a store file in one, as in out/resnet18")
    frame = _frame(path)
    by_ident = _by_ident(frame)
    chosen = {rows[0]: ident for ident, rows in by_ident.items() if len(rows) == 1}
    kept = frame.iloc[list(chosen)].reset_index(drop=True)
    keys = [str(key) for key in frame["key"]]
    digits = next(n for n in range(_DIGITS, 100) if len({key[:n] for key in keys}) == len(keys))
    return Side(
        path=path,
        frame=kept,
        idents=tuple(chosen.values()),
        names=tuple(str(key)[:digits] for key in kept["key"]),
        ambiguous=tuple(str(frame["key"].iloc[rows[0]])[:digits] for rows in by_ident.values() if len(rows) > 1),
    )


def _of_folder(folder: SweepFolder) -> Side:
    space, _ = folder.load_space()
    if not folder.store.is_file() or not folder.store.stat().st_size:
        raise ConfigError(f"Folder {str(folder.path)!r} must hold a sweep, but it has no store.sqlite")
    frame = _frame(folder.store)
    by_key = {str(key): i for i, key in enumerate(frame["key"])}
    by_ident = _by_ident(frame)
    rows: list[int] = []
    idents: list[Ident] = []
    names: list[str] = []
    ambiguous: list[str] = []
    current = missing = 0
    for number, settings in enumerate(space):
        ident = _ident(settings.items())
        found = by_ident.get(ident, [])
        if (key := key_of(settings)) in by_key:
            current += 1
            found = [by_key[key]]
        if len(found) == 1:
            rows.append(found[0])
            idents.append(ident)
            names.append(f"#{number}")
        elif found:
            ambiguous.append(f"#{number}")
        else:
            missing += 1
    kept = frame.iloc[rows].reset_index(drop=True)
    asked = {name for limit in space.constraints for name in limit.names}
    for name in asked.intersection(space.names):  # as this space has them: a row may name a point otherwise
        kept[name] = [space.point_settings(int(number[1:]))[name] for number in names]
    return Side(
        path=folder.path,
        frame=kept,
        idents=tuple(idents),
        names=tuple(names),
        objectives=space.objectives,
        constraints=space.constraints,
        accuracies=space.accuracies,
        current=current,
        missing=missing,
        ambiguous=tuple(ambiguous),
    )


def _frame(path: Path) -> pd.DataFrame:
    with Store(path) as store:
        frame = store.frame()
    for name in ("status", "digest"):
        if name not in frame.columns:  # a store without a row
            frame[name] = pd.Series(dtype=object)
    return frame


def is_setting(column: str) -> bool:
    """Whether a store's column is what was asked for, not what came out."""
    return column in _SETTINGS or column.startswith(("accelerator.", "mapping."))


def _by_ident(frame: pd.DataFrame) -> dict[Ident, list[int]]:
    """Rows by the settings in them."""
    settings = frame[[column for column in frame.columns if is_setting(column)]]
    rows: defaultdict[Ident, list[int]] = defaultdict(list)
    for i, row in enumerate(settings.to_dict("records")):
        rows[_ident((str(name), value) for name, value in row.items())].append(i)
    return rows


def _ident(settings: Iterable[tuple[str, Any]]) -> Ident:
    """Settings that are given, as texts: lists as the store keeps them, and whole numbers whatever pandas made of them."""
    texts: dict[str, str] = dict(_DEFAULTS)
    for name, value in settings:
        if isinstance(value, list | tuple):
            texts[name] = " ".join(str(item) for item in value)
        elif value is not None and value == value and value != "":
            texts[name] = str(int(value)) if isinstance(value, bool | float) and value == int(value) else str(value)
    return frozenset(texts.items())
