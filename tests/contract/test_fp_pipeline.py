# amaranth: UnusedElaboratable=no
"""Are registers where the documentation says, the specs checked, and the emitted text sound and reproducible?"""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rtl_kit.require import need_rtl

need_rtl()

import numpy as np  # noqa: E402
from fp_oracle import expected  # noqa: E402
from fp_tops import KINDS  # noqa: E402
from fp_vectors import vectors  # noqa: E402
from rtl_kit import NativeModel  # noqa: E402

from rtl import fp  # noqa: E402
from rtl.emit import check, verilog_of  # noqa: E402
from rtl.fp import NUMBERS, Add, Multiply  # noqa: E402
from rtl.fpga.synthesize import synthesize  # noqa: E402
from rtl.native.toolchain import ports_of  # noqa: E402
from rtl.pipeline import ranks  # noqa: E402
from rtl.yosys_shim import YosysError, run_yosys  # noqa: E402
from simulator.formats import FORMATS  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
LEVELS = {"fp16": NUMBERS["fp16"].multiply, "bf16": NUMBERS["bf16"].multiply, "sum": NUMBERS["fp16"].add}


def test_table_of_registers():
    """The table in rtl/fp.py is what `ranks` does."""
    rows = re.findall(r"^\| (\d) +\| (.*?) +\| (.*?) +\| (.*?) +\|$", fp.__doc__ or "", re.MULTILINE)
    assert [int(row[0]) for row in rows] == list(range(7))
    for latency, *cells in rows:
        for cell, steps in zip(cells, LEVELS.values(), strict=True):
            placed = ranks([step.levels for step in steps], int(latency))
            names = [f"{step.name} x{n}" if n > 1 else step.name for step, n in zip(steps, placed, strict=True) if n]
            assert cell == (" ".join(names) or "-")


@pytest.mark.parametrize(
    "steps", [step for number in NUMBERS.values() for step in (number.multiply, number.add, number.narrow)]
)
@pytest.mark.parametrize("latency", range(10))
def test_registers_add_up_and_balance(steps, latency: int):
    """As many as the latency, the last at the output, and no other places for them make a shallower deepest stage."""
    levels = [step.levels for step in steps]
    placed = ranks(levels, latency)
    assert sum(placed) == latency
    assert latency == 0 or placed[-1] > 0

    def deepest(cuts: tuple[int, ...]) -> int:
        edges = [0, *cuts, len(levels)]
        return max(sum(levels[a:b]) for a, b in itertools.pairwise(edges))

    chosen = tuple(i + 1 for i, count in enumerate(placed[:-1]) if count)
    every = itertools.chain.from_iterable(itertools.combinations(range(1, len(levels)), n) for n in range(latency))
    assert deepest(chosen) == min(map(deepest, every), default=sum(levels))


def test_numbers_mirror_the_formats():
    assert {name: number.format for name, number in NUMBERS.items()} == FORMATS


@pytest.mark.parametrize("name", NUMBERS)
def test_nothing_is_the_identity_of_addition(name: str):
    """-0 for FP32: x + -0 = x for every x, -0 included (simulator.arithmetic.add_tree)."""
    values = vectors("add", name, 10_000, seed=5)["a"]
    nothing = np.full_like(values, NUMBERS[name].nothing)
    same = expected("add", name, {"a": values, "b": nothing})
    finite = values if name == "int8" else np.where(np.isnan(values.view(np.float32)), np.uint32(0x7FC00000), values)
    assert (same == finite).all()


@pytest.mark.parametrize(("component", "latency"), [(Multiply, -1), (Add, 0), (Multiply, 1.0)])
def test_bad_latency(component, latency):
    with pytest.raises(ValueError, match=rf"{component.__name__} field 'latency' must be an integer of at least \d, not"):
        component(NUMBERS["fp16"], latency)


@pytest.mark.parametrize("name", NUMBERS)
def test_text_is_sound(name: str):
    """No latch, no combinational loop, no net without a driver or with two."""
    for kind, component in KINDS.items():
        check(verilog_of(component(NUMBERS[name], 2), kind), kind)


@pytest.mark.parametrize(
    "body",
    ["assign y = y ^ a;", "always @* if (a) y_reg = b; reg y_reg; assign y = y_reg;", "wire z; assign y = z;"],
    ids=["loop", "latch", "undriven"],
)
def test_check_bites(body: str):
    with pytest.raises(YosysError):
        check(f"module top(input a, input b, output y); {body} endmodule", "top")


def test_latency_0_has_no_clock():
    verilog = verilog_of(Multiply(NUMBERS["int8"], 0), "unclocked")
    assert set(ports_of(verilog, "unclocked")) == {"en", "a", "b", "product"}
    operands = vectors("multiply", "int8", 0, seed=6)
    got = NativeModel(verilog, "unclocked", ["a", "b"], ["product"]).run(operands)
    assert (got["product"] == expected("multiply", "int8", operands)).all()


def test_module_named_like_a_port():
    with pytest.raises(ValueError, match="Module name 'product' must differ from its ports"):
        verilog_of(Multiply(NUMBERS["int8"], 0), "product")


@pytest.mark.parametrize("name", NUMBERS)
def test_product_is_one_dsp_slice(name: str, tmp_path: Path):
    source = tmp_path / "multiplier.v"
    source.write_text(verilog_of(Multiply(NUMBERS[name], 3), "multiplier"))
    assert synthesize([source], "multiplier", "ecp5", tmp_path).resources.dsp == 1


def test_a_netlist_does_not_know_its_folder(tmp_path: Path):
    """Cells are named by their sources, and nextpnr places in the order of their names: a build would depend on where it is."""
    text = verilog_of(Multiply(NUMBERS["int8"], 3), "multiplier")
    netlists: list[bytes] = []
    for name in ("a", "a_longer_name/than/that"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "multiplier.v").write_text(text)
        netlists.append(synthesize([folder / "multiplier.v"], "multiplier", "ecp5", folder).path.read_bytes())
    assert netlists[0] == netlists[1]


def test_text_is_reproducible():
    """The same bytes for every PYTHONHASHSEED, and for a second conversion in one process."""
    program = "\n".join(
        [
            "from rtl.emit import verilog_of",
            "from rtl.fp import NUMBERS, Add, Multiply",
            "print(verilog_of(Add(NUMBERS['bf16'], 4), 'adder'), verilog_of(Multiply(NUMBERS['bf16'], 3), 'multiplier'))",
        ]
    )
    texts = [
        subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
        ).stdout
        for environment in (
            {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)},
            {**os.environ, "PYTHONHASHSEED": "2", "PYTHONPATH": str(ROOT)},
        )
    ]
    here = f"{verilog_of(Add(NUMBERS['bf16'], 4), 'adder')} {verilog_of(Multiply(NUMBERS['bf16'], 3), 'multiplier')}\n"
    assert texts == [here, here]


def test_yosys_error_says_why():
    with pytest.raises(YosysError, match="No such command: nonsense"):
        run_yosys("nonsense")
