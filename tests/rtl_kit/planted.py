"""Planted faults: one text of a source file in place of another, in a copy of the project or in a module of its own."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["ROOT", "exchanged", "mutant", "planted_copy"]

ROOT = Path(__file__).resolve().parents[2]


def exchanged(file: str, *changes: tuple[str, str], once: bool = True) -> str:
    """The text of `file` (relative to the repository) with `wrong` in place of `right` for each (right, wrong).

    Raises AssertionError unless the file holds each right text: just once, or with ``once=False`` at least once.
    """
    source = (ROOT / file).read_text()
    for right, wrong in changes:
        count = source.count(right)
        assert count == 1 or (count and not once), f"{file} must hold {right!r} once, not {count} times"
        source = source.replace(right, wrong)
    return source


def planted_copy(
    folder: Path, file: str, right: str, wrong: str, *, packages: Sequence[str] = ("rtl",), once: bool = True
) -> Path:
    """A copy of packages of the project in `folder`, with the change in one of their files; returns the folder."""
    source = exchanged(file, (right, wrong), once=once)
    for package in packages:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "zoo"))
    (folder / file).write_text(source)
    return folder


def mutant(file: str, *changes: tuple[str, str], **names: Any) -> ModuleType:
    """The module of `file` (relative to the repository) with each (right, wrong) text exchanged, as a module of its own.

    `names` replace the module's globals afterwards: constants, and what it imported.
    """
    module = ModuleType(f"mutant of {file}")
    exec(compile(exchanged(file, *changes), str(ROOT / file), "exec"), module.__dict__)
    assert names.keys() <= module.__dict__.keys(), f"{file} must have the names {sorted(names)}"
    module.__dict__.update(names)
    return module
