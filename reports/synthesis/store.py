"""Where synthesis runs and what is fitted to them are kept, and what tells that a stored run is still of the same source."""

import hashlib
from importlib.metadata import version
from pathlib import Path

import pandas as pd

import simulator.cost
from rtl.fpga.technology import FAMILIES

__all__ = ["COEFFICIENTS", "HERE", "path_of", "read_runs", "run_digest", "runs_of", "source_digest"]

HERE = Path(__file__).parent
COEFFICIENTS = Path(simulator.cost.__file__).parent / "coefficients.json"


def source_digest(verilog: str) -> str:
    """Identity of what is synthesised and of the tool that does it."""
    return hashlib.sha256(version("pyosys").encode() + verilog.encode()).hexdigest()[:12]


def run_digest(verilog: str, technology: str) -> str:
    """The same, and what the tool is told for a technology."""
    family = FAMILIES[technology]
    what = "\n".join([version("pyosys"), family.command, family.multipliers, verilog])
    return hashlib.sha256(what.encode()).hexdigest()[:12]


def path_of(technology: str) -> Path:
    """The file of a technology's runs."""
    return HERE / f"{technology}.csv"


def runs_of(technology: str) -> pd.DataFrame:
    """The stored runs."""
    return read_runs(path_of(technology))


def read_runs(table: Path) -> pd.DataFrame:
    """A table of runs of a tool. Digests are text, though one of digits and an e would pass for a number."""
    return pd.read_csv(table, dtype={"digest": str, "source": str})
