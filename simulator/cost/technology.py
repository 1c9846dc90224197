"""Technologies: prices of actions, read from `energy_tables.toml`, each with where it comes from."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import log
from typing import Any

import cattrs
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

from simulator.strict import exactly

__all__ = ["PRICES", "Price", "Sram", "Static", "Tables", "Technology", "read_tables", "tables", "technology"]

PRICES = (
    "int8_multiply",
    "fp16_multiply",
    "bf16_multiply",
    "fp32_multiply",
    "int32_multiply",
    "int32_add",
    "fp32_add",
    "fp32_divide",
    "fp32_root",
    "comparison_bit",
    "register_bit",
    "dram_bit",
)
"""Actions that a technology may have a price of; memories on the chip have `Sram`."""

_KINDS = ("sourced", "derived", "recalled", "assumed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a number comes from; `source` is a name of `Tables.sources`."""

    kind: str
    source: str
    formula: str = ""
    confidence: str = ""

    def check(self, *values: float) -> None:
        """Raise ValueError unless all values are positive and their origin is complete."""
        name, kind = type(self).__name__, self.kind
        for value in values:
            if not value > 0:
                raise ValueError(f"{name} values must be above 0, not {value!r}")
        if kind not in _KINDS:
            raise ValueError(f"{name} field 'kind' must be one of {', '.join(_KINDS)}, not {kind!r}")
        for kind_of, field in (("derived", "formula"), ("recalled", "confidence")):
            if kind == kind_of and not getattr(self, field):
                raise ValueError(f"{name} field {field!r} must be given where 'kind' is {kind_of!r}, not {''!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price(Origin):
    """Picojoules of one action."""

    pj: float

    def __post_init__(self) -> None:
        self.check(self.pj)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sram(Origin):
    """Picojoules of a read of `bits` bits from memories of `kib` KiB; of one size where that doesn't matter."""

    kib: tuple[float, ...]
    pj: tuple[float, ...]
    bits: int

    def __post_init__(self) -> None:
        self.check(*self.kib, *self.pj, self.bits)
        if not self.kib or len(self.kib) != len(self.pj) or list(self.kib) != sorted({*self.kib}):
            raise ValueError(f"Sram field 'kib' must be rising sizes, one for each of {list(self.pj)}, not {list(self.kib)}")

    def pj_per_bit(self, kib: float) -> float:
        """A power law from size to size. Below the smallest as for it; above the largest as between the last two."""
        if len(self.kib) == 1 or kib <= self.kib[0]:
            return self.pj[0] / self.bits
        last = next((i for i, size in enumerate(self.kib) if kib <= size), len(self.kib) - 1)
        (low, high), (least, most) = self.kib[last - 1 : last + 1], self.pj[last - 1 : last + 1]
        return least * (most / least) ** (log(kib / low) / log(high / low)) / self.bits

    def covers(self, kib: float) -> bool:
        return len(self.kib) == 1 or self.kib[0] <= kib <= self.kib[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Static(Origin):
    """Watts that the chip takes whatever it does."""

    watts: float

    def __post_init__(self) -> None:
        self.check(self.watts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Technology:
    """What actions cost in one kind of chip. What is not among `prices` has no price, and `static` may not be known."""

    about: str
    kind: str  # "asic" or "fpga"
    node_nm: int
    assumptions: tuple[str, ...]
    prices: Mapping[str, Price]
    sram: Sram
    static: Static | None = None
    name: str = ""  # its key in the tables

    def __post_init__(self) -> None:
        if self.kind not in ("asic", "fpga"):
            raise ValueError(f"Technology field 'kind' must be asic or fpga, not {self.kind!r}")
        if unknown := sorted({*self.prices} - {*PRICES}):
            raise ValueError(f"Technology field 'prices' must have prices of {', '.join(PRICES)}, not of {', '.join(unknown)}")

    @property
    def origins(self) -> Mapping[str, Origin]:
        """Every number's, by the action."""
        return {**self.prices, "sram": self.sram} | ({"static": self.static} if self.static else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The sources by name, and the technologies that cite them."""

    sources: Mapping[str, str]
    technologies: Mapping[str, Technology]

    def __post_init__(self) -> None:
        for name, each in self.technologies.items():
            for action, origin in each.origins.items():
                if origin.source not in self.sources:
                    known = ", ".join(self.sources)
                    raise ValueError(f"Technology {name!r}: source of {action!r} must be one of {known}, not {origin.source!r}")


def _number(value: Any, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number, not {value!r}")
    return float(value)


def read_tables(text: str) -> Tables:
    """Tables of the form of `energy_tables.toml`. Raises ValueError that says what is wrong, unknown keys included."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(int, exactly(int, "an integer"))
    converter.register_structure_hook(str, exactly(str, "a text"))
    data = tomllib.loads(text)
    for name, each in data.get("technologies", {}).items():
        if "name" in each:
            raise ValueError(f"Technology {name!r} has no field 'name': it is its key")
        each["name"] = name
    try:
        return converter.structure(data, Tables)
    except (ClassValidationError, IterableValidationError) as error:
        raise ValueError("; ".join(_messages(error, "energy tables"))) from None


def _messages(error: BaseException, where: str) -> list[str]:
    if isinstance(error, ClassValidationError | IterableValidationError):
        found: list[str] = []
        for inner in error.exceptions:
            notes = [note for note in getattr(inner, "__notes__", ()) if hasattr(note, "name") or hasattr(note, "index")]
            step = getattr(notes[0], "name", None) or getattr(notes[0], "index", None) if notes else None
            found += _messages(inner, f"{where}, {step}" if step is not None else where)
        return found
    if isinstance(error, ForbiddenExtraKeysError):
        return [f"{where} has no field {extra!r}" for extra in sorted(error.extra_fields)]
    if isinstance(error, KeyError):
        return [f"{where}: field {error.args[0]!r} must be given"]
    return [f"{where}: {error}"]


@cache
def tables() -> Tables:
    """Those of the package."""
    return read_tables(files("simulator.cost").joinpath("energy_tables.toml").read_text(encoding="utf-8"))


def technology(name: str) -> Technology:
    """Raises ValueError for one that there isn't."""
    known = tables().technologies
    if name not in known:
        raise ValueError(f"Technology must be one of {', '.join(known)}, not {name!r}")
    return known[name]
