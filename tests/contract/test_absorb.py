"""Do flip-flops go into ECP5's multipliers where they may and nowhere else, and does the netlist do what the source does?"""

import json
from collections import Counter

import numpy as np
import pytest
from rtl_kit.require import need_rtl

need_rtl()

from multiplier_circuits import CIRCUITS, OUT_BITS, verilog_of_circuits  # noqa: E402
from rtl_kit import NativeModel  # noqa: E402
from rtl_kit.gates import Gates, gates_of  # noqa: E402

TOP, CYCLES = "circuits", 20_000
RANKS = ("INPUTA", "INPUTB", "OUTPUT", "PIPELINE")


@pytest.fixture(scope="module")
def gates() -> Gates:
    return gates_of(verilog_of_circuits(TOP), TOP, "ecp5")


def circuit_of(cell: str) -> str:
    """Names of cells begin with that of the circuit."""
    return max((name for name in CIRCUITS if cell.startswith((f"{name}.", f"{name}_"))), key=len)


def test_each_register_that_may_and_no_other(gates: Gates):
    found: dict[str, list[frozenset[str]]] = {name: [] for name in CIRCUITS}
    for name, cell in json.loads(gates.netlist.path.read_text())["modules"][TOP]["cells"].items():
        if cell["type"] == "MULT18X18D":
            clocks = {rank: cell["parameters"].get(f"REG_{rank}_CLK", "NONE") for rank in RANKS}
            found[circuit_of(name)].append(frozenset(rank for rank, clock in clocks.items() if clock != "NONE"))
    assert {name: Counter(ranks) for name, ranks in found.items()} == {
        name: Counter(circuit.ranks) for name, circuit in CIRCUITS.items()
    }
    assert gates.netlist.absorbed == sum(circuit.absorbed for circuit in CIRCUITS.values())


def test_netlist_equals_source(gates: Gates):
    """Random operands, enables high half of the time, resets one cycle in eight."""
    random = np.random.default_rng(5)
    arrays = {}
    for name in CIRCUITS:
        operands = random.integers(0, 1 << 18, (2, CYCLES), np.uint32)
        operands[:, random.random(CYCLES) < 0.05] = (1 << 17) * random.integers(0, 2) - random.integers(0, 2) & (1 << 18) - 1
        control = random.integers(0, 4, CYCLES, np.uint8) | (random.random(CYCLES) < 0.125).astype(np.uint8) << 2
        arrays |= {f"{name}_a": operands[0], f"{name}_b": operands[1], f"{name}_c": control}
    outputs = [f"{name}_y" for name in CIRCUITS]
    expected = NativeModel(verilog_of_circuits(TOP), TOP, list(arrays), outputs).run(arrays)
    found = NativeModel(gates.verilog, TOP, list(arrays), outputs).run(arrays)
    for name in CIRCUITS:
        y = expected[f"{name}_y"]
        assert len(np.unique(y)) > 1000 or name == "product_low_bits", name
        assert np.flatnonzero(found[f"{name}_y"] != y).tolist()[:5] == [], name
        assert int(y.max()) < 1 << OUT_BITS
