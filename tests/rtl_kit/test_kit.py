"""Does the kit itself tell the truth: port widths, rows and cycles of native models, failures and empty benches of cocotb?"""

import textwrap
from pathlib import Path

import numpy as np
import pytest

from rtl_kit.require import need_rtl

need_rtl()

from rtl.native.toolchain import ports_of  # noqa: E402
from rtl_kit import NativeModel, run_cocotb  # noqa: E402

# As Yosys writes it: one port a line, two spaces before it.
VERILOG = """
module inner(x);
  input x;
endmodule

module ports(clk, en, narrow, wide, count, wide_q);
  input clk;
  input en;
  input [11:0] narrow;
  input [99:0] wide;
  output [39:0] count;
  output [99:0] wide_q;
  reg [39:0] count = 40'd0;
  reg [99:0] wide_q = 100'd0;
  always @(posedge clk) begin
    if (en) count <= count + narrow;
    wide_q <= wide;
  end
endmodule
"""


def test_ports():
    ports = ports_of(VERILOG, "ports")
    assert {name: (port.direction, port.bits) for name, port in ports.items()} == {
        "clk": ("input", 1),
        "en": ("input", 1),
        "narrow": ("input", 12),
        "wide": ("input", 100),
        "count": ("output", 40),
        "wide_q": ("output", 100),
    }
    with pytest.raises(ValueError, match="Verilog must define module 'missing'"):
        ports_of(VERILOG, "missing")


def test_native_model():
    """Row t of an output is its value before clock edge t; narrow and wide ports; a run starts anew or goes on."""
    model = NativeModel(VERILOG, "ports", ["en", "narrow", "wide"], ["count", "wide_q"])
    rng = np.random.default_rng(0)
    en = rng.integers(0, 2, 500, dtype=np.uint8)
    narrow = rng.integers(0, 1 << 12, 500, dtype=np.uint16)
    wide = rng.integers(0, 1 << 32, (500, 4), dtype=np.uint32)
    wide[:, 3] &= 0xF
    total = np.cumsum(np.where(en, narrow, 0), dtype=np.uint64)
    for _ in range(2):
        got = model.run({"en": en, "narrow": narrow, "wide": wide})
        assert got["count"].dtype == np.uint64
        assert got["count"].tolist() == [0, *total[:-1].tolist()]
        assert (got["wide_q"][1:] == wide[:-1]).all()
        assert not got["wide_q"][0].any()
    again = model.run({"en": en, "narrow": narrow, "wide": wide}, restart=False)
    assert again["count"].tolist() == [int(total[-1]), *(total + total[-1])[:-1].tolist()]
    assert (again["wide_q"][0] == wide[-1]).all()
    other = NativeModel(VERILOG, "ports", ["narrow"], ["count"])  # en is not named and stays 0
    assert not other.run({"narrow": narrow})["count"].any()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"en": np.zeros(3, np.uint8)}, r"Arrays must be given for \['en', 'narrow'\], not \['en'\]"),
        ({"en": np.zeros(3, np.uint8), "narrow": np.zeros(2, np.uint16)}, "one number of rows"),
        ({"en": np.zeros(3, np.uint16), "narrow": np.zeros(3, np.uint16)}, "'en' must be uint8 of shape"),
        ({"en": np.zeros(3, np.uint8), "narrow": np.full(3, 4096, np.uint16)}, "'narrow' must fit in 12 bits"),
    ],
)
def test_native_model_refuses(arrays, message: str):
    model = NativeModel(VERILOG, "ports", ["en", "narrow"], ["count"])
    with pytest.raises(ValueError, match=message):
        model.run(arrays)


def test_native_model_refuses_a_port():
    with pytest.raises(ValueError, match="Port 'count' must be an input of module 'ports'"):
        NativeModel(VERILOG, "ports", ["count"], [])


BENCH = """
import os
import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles

@cocotb.test(skip=os.environ["WANTED"] == "nothing")
async def counts(dut):
    dut.en.value, dut.narrow.value = 1, 3
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    await ClockCycles(dut.clk, 5)
    assert dut.count.value.to_unsigned() == int(os.environ["WANTED"]), "marker of the bench"
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "kit_bench.py").write_text(textwrap.dedent(BENCH))
    monkeypatch.syspath_prepend(str(tmp_path))
    return "kit_bench"


def test_cocotb(bench: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WAVES", raising=False)
    run = run_cocotb(VERILOG, "ports", bench, {"WANTED": "12"})
    assert run.is_dir()
    with pytest.raises(AssertionError, match="marker of the bench"):
        run_cocotb(VERILOG, "ports", bench, {"WANTED": "13"})
    with pytest.raises(AssertionError, match="must pass"):
        run_cocotb(VERILOG, "ports", "no_such_bench", {})
    with pytest.raises(AssertionError, match="must run a cocotb test, not skip all 1"):
        run_cocotb(VERILOG, "ports", bench, {"WANTED": "nothing"})


@pytest.mark.slow
def test_cocotb_waves(bench: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WAVES", "1")
    dump = run_cocotb(VERILOG, "ports", bench, {"WANTED": "12"}) / "dump.vcd"
    assert "wide_q" in dump.read_text()


def test_build_error_shows_the_log():
    with pytest.raises(RuntimeError, match="syntax error"):
        NativeModel(VERILOG.replace("count +", "count + +*"), "ports", ["en"], ["count"])
