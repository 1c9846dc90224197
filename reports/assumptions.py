"""Where each field of the machines in a report comes from: a source, an assumption, or the sweep itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.inputs import Detail
from reports.values import setting

__all__ = ["FieldRow", "counts", "field_rows"]


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A field of the accelerator: its value by detail point, what kind of knowledge it is, and the note to it."""

    path: str
    values: tuple[str, ...]
    kind: str  # sourced, assumed, set here, unknown
    note: str


def _origin(path: str, details: Sequence[Detail]) -> tuple[str, str]:
    if any(f"accelerator.{path}" in detail.settings for detail in details):
        return "set here", "an axis or a setting of this sweep"
    for detail in details:
        if detail.provenance and path in detail.provenance:
            kind, note = detail.provenance[path]
            return kind, note
    return "unknown", "no provenance was given for this machine"


def field_rows(details: Sequence[Detail]) -> list[FieldRow]:
    """Every leaf field but the name, in the order of the description."""
    paths = dict.fromkeys(path for detail in details for path in detail.accelerator if path != "name")
    return [
        FieldRow(path, tuple(setting(path, detail.accelerator.get(path)) for detail in details), *_origin(path, details))
        for path in paths
    ]


def counts(rows: Sequence[FieldRow]) -> dict[str, int]:
    """Fields by kind; kinds without a field are left out."""
    kinds = ("sourced", "assumed", "set here", "unknown")
    known = {kind: sum(row.kind == kind for row in rows) for kind in kinds}
    known["unknown"] += sum(row.kind not in kinds for row in rows)
    return {kind: count for kind, count in known.items() if count}
