"""How a column is called, in which unit it is shown, and how its values are written."""

import math
from dataclasses import dataclass

__all__ = [
    "DASH",
    "Quantity",
    "axis_title",
    "compact",
    "label_of",
    "label_within",
    "number",
    "quantity",
    "ratio",
    "setting",
    "show",
    "short_name",
]


DASH = "\N{EN DASH}"  # where there is no value


@dataclass(frozen=True, slots=True)
class Quantity:
    """A metric's name and unit; a stored value times `scale` is in that unit."""

    label: str
    unit: str
    scale: float = 1.0


_MIB = 1 / (8 * 2**20)
_KNOWN = {
    "cycles": Quantity("Cycles per step", "cycles"),
    "cycles_per_image": Quantity("Cycles per image", "cycles"),
    "latency_ms": Quantity("Time per step", "ms"),
    "images_per_second": Quantity("Throughput", "images/s"),
    "utilization": Quantity("Multiplier utilization", "%", 100),
    "dense_gops": Quantity("Dense-equivalent throughput", "GOPS, dense MACs"),
    "effective_gops": Quantity("Effective throughput", "GOPS, effective MACs"),
    "dram_bytes_per_image": Quantity("DRAM traffic", "MB/image", 1e-6),
    "dram_busy": Quantity("DRAM port busy", "%", 100),
    "mac_bound_speedup": Quantity("MAC bound of the speed-up", "x"),
    "multipliers": Quantity("Multipliers", ""),
    "storage_bits": Quantity("On-chip storage", "MiB", _MIB),
    "macs": Quantity("Effective MACs", ""),
    "dense_macs": Quantity("Dense MACs", ""),
}
_SUFFIXES = {
    "cycles": "cycles",
    "bits": "bits",
    "bytes": "bytes",
    "hz": "Hz",
    "pj": "pJ",
    "nj": "nJ",
    "uj": "µJ",
    "mj": "mJ",
    "j": "J",
    "mw": "mW",
    "w": "W",
    "um2": "µm²",
    "mm2": "mm²",
    "luts": "LUTs",
    "ms": "ms",
    "us": "µs",
    "usd": "USD",
}


def quantity(column: str) -> Quantity:
    """What a metric is called; a column that is not known by name is read by its suffix, as in ``area_um2``."""
    if column in _KNOWN:
        return _KNOWN[column]
    head, _, suffix = column.rpartition("_")
    unit = _SUFFIXES.get(suffix, "")
    words = (head if unit and head else column).replace("_", " ")
    return Quantity(words[:1].upper() + words[1:], unit)


def short_name(column: str) -> str:
    """A setting without the prefix that all of its kind share."""
    return column.removeprefix("accelerator.").removeprefix("mapping.")


def label_of(column: str) -> str:
    """A column's name in words: the metric's, or the setting's own."""
    return short_name(column) if "." in column else quantity(column).label


def label_within(column: str) -> str:
    """The name as it stands within a sentence: its first letter small, unless the word is an abbreviation or a setting."""
    label = label_of(column)
    return label if "." in column or label[:2].isupper() else label[:1].lower() + label[1:]


def axis_title(column: str) -> str:
    """A metric with its unit, as an axis or a table heading shows it."""
    item = quantity(column)
    return f"{item.label} ({item.unit})" if item.unit else item.label


def number(value: object, digits: int = 3) -> str:
    """At least `digits` significant digits, thousands separated; a dash where there is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        try:
            value = float(value)  # type: ignore[arg-type]  # numpy scalars
        except (TypeError, ValueError):
            return DASH
        if not math.isfinite(value):
            return DASH
    size = abs(value)
    if size >= 10 ** (digits - 1) or value == int(value):
        return f"{value:,.0f}"
    if size < 1e-3:
        return f"{value:.{digits - 1}e}"
    places = digits - 1 - math.floor(math.log10(size))
    return f"{value:,.{max(0, places)}f}"


def compact(value: float, unit: str = "") -> str:
    """Three significant digits with k, M, G or T."""
    if not math.isfinite(value):
        return DASH
    for factor, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{number(value / factor)} {letter}{unit}".rstrip()
    return f"{number(value)} {unit}".rstrip()


def show(column: str, value: object, *, unit: bool = True) -> str:
    """A metric's value in its unit."""
    item = quantity(column)
    try:
        scaled = float(value) * item.scale  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return DASH
    text = number(scaled)
    if not unit or not item.unit or text == DASH:
        return text
    return f"{text}{item.unit}" if item.unit in ("%", "x") else f"{text} {item.unit}"


def ratio(value: float) -> str:
    """A factor, as in 1.78x."""
    return f"{value:.2f}x" if math.isfinite(value) else DASH


def setting(column: str, value: object) -> str:
    """A setting's value as a person writes it: yes and no, MiB, GB/s, MHz."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return DASH
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
        return "yes" if value else "no"
    try:
        amount = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return str(value)
    leaf = column.rsplit(".", 1)[-1]
    if leaf == "bytes_per_second":
        return f"{amount / 1e9:,.4g} GB/s"
    if leaf.endswith("_hz"):
        return f"{amount / 1e6:,.5g} MHz"
    if leaf == "bytes" or leaf.endswith("_bytes"):
        for factor, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
            if amount >= factor:
                return f"{amount / factor:,.4g} {name}"
        return f"{amount:,.0f} B"
    return f"{amount:,.0f}" if amount == int(amount) else f"{amount:g}"
