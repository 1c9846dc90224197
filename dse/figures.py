"""Numbers as a person reads them."""

from typing import Any

__all__ = ["counted", "joules", "number", "rate", "share", "si"]

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def si(value: float, digits: int = 3) -> str:
    """A number with a metric prefix, as in 1.81 G."""
    for scale, prefix in _UNITS:
        if abs(value) >= scale:
            return f"{value / scale:.{digits}g} {prefix}" if abs(value) < 1000 * scale else f"{value / scale:,.0f} {prefix}"
    return f"{value:.{digits}g}" if isinstance(value, float) and not value.is_integer() else f"{int(value)}"


def share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def rate(value: float) -> str:
    """A decimal of large ones, three digits of small ones."""
    return f"{value:,.1f}" if value >= 10 else f"{value:.3g}"


def counted(count: int, thing: str) -> str:
    """As in "1 point" and "2,000 points"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def joules(value: float) -> str:
    """An energy, from nanojoules up."""
    for scale, prefix in ((1.0, ""), (1e-3, "m"), (1e-6, "\N{GREEK SMALL LETTER MU}")):
        if value >= scale:
            return f"{value / scale:,.3g} {prefix}J"
    return f"{value / 1e-9:.3g} nJ"


def number(value: Any) -> str:
    """A result with four digits, or all that stand before the point."""
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{int(value):,}"
