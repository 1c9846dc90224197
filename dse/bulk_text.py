"""What a sweep of very many points has to say for itself, in sentences: for a report's notices and for the terminal."""

import math
from collections.abc import Iterator

from dse.bulk_outcome import BulkOutcome
from dse.confirm import NEAR, Agreement
from dse.figures import counted

__all__ = ["outcome_text"]

_CHANGES = 5  # points that are named


def outcome_text(outcome: BulkOutcome) -> Iterator[str]:
    """What was evaluated how, what is shown of it, and how far both fidelities agree."""
    ran, choice = outcome.statuses.get("ok", 0), outcome.choice
    of = "" if outcome.evaluated == outcome.total else f" of {outcome.total:,}; the sweep is not complete"
    were = "was" if outcome.evaluated == 1 else "were"
    yield f"{counted(outcome.evaluated, 'point')} {were} evaluated by the closed form{of}: {_counted(outcome.statuses)}."
    if not ran:
        return
    yield (
        f"On the closed form's front: {counted(len(choice.front), 'point')} with different objectives; "
        f"within {NEAR:.0%} of it, in what the closed form may be wrong about: {choice.near - len(choice.front):,} more."
    )
    if len(outcome.shown) < outcome.total:
        yield (
            f"Tables and plots show {len(outcome.shown):,} of these points: the front, those near it that were chosen, and "
            f"{outcome.sampled:,} drawn at random, of a grid also points that differ from those in one axis."
        )
    if outcome.agreement is None:
        yield "None was confirmed by the event-driven machine: the front is the closed form's."
    else:
        yield from _agreed(outcome.agreement, len(choice.front), len(choice.points))


def _counted(statuses: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {status}" for status, count in statuses.items()) or "none yet"


def _agreed(found: Agreement, front: int, chosen: int) -> Iterator[str]:
    yield (
        f"{found.points + len(found.refused):,} of {chosen:,} points chosen on and near the front were run again by the "
        f"event-driven machine; front and candidates are those of these runs (fidelity 'event')."
    )
    if found.front < front:
        yield f"Only {found.front:,} of the front's {front:,} points are among them."
    if found.refused:
        named = ", ".join(f"#{point}" for point in found.refused[:_CHANGES])
        yield f"{len(found.refused)} of them ran by the closed form only, first {named}."
    for name, largest in found.largest.items():
        if largest:
            ranks = (
                ""
                if math.isnan(found.kendall[name])
                else (f"; ranks agree to {found.kendall[name]:.3f} (Kendall) and {found.spearman[name]:.3f} (Spearman)")
            )
            yield f"The closed form's {name} is off by {largest:.2%} at most, {found.median[name]:.2%} in the median{ranks}."
        else:
            yield f"The closed form's {name} is exact."
    yield (
        f"{found.stayed} of the {found.front} points of the closed form's front stay on the front of the event runs; "
        f"{found.entered} others enter it."
    )
    for change in found.changes[:_CHANGES]:
        now = "stays on the front" if change.was_front and change.is_front else "leaves it" if change.was_front else "enters it"
        yield f"Point #{change.point} {now}: place {change.before} before, {change.after} after (off by {change.error:.2%})."
