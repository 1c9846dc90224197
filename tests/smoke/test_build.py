"""Does `dse build` say what is wrong, and is what it leaves whole or nothing?"""

import fcntl
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from rtl_kit.require import need_rtl

need_rtl()
pytest.importorskip("amaranth_boards")

from dse.commands.build import build_command  # noqa: E402
from rtl.fpga.clocking import make_clock  # noqa: E402
from rtl.fpga.fit import check_fit  # noqa: E402
from rtl.fpga.place import ToolError, place, run_tool  # noqa: E402
from rtl.fpga.synthesize import synthesize  # noqa: E402
from rtl.fpga.timed import with_delays  # noqa: E402
from rtl.platforms import BOARDS, board_named  # noqa: E402
from rtl.platforms.board import BoardTop  # noqa: E402
from simulator.cost.area import calibration  # noqa: E402
from simulator.cost.devices import DEVICES, Resources  # noqa: E402
from simulator.presets import PRESETS  # noqa: E402
from simulator.schedule import UnsupportedError  # noqa: E402

DSE = Path(sys.executable).parent / "dse"


def ran(*words: str, cwd: Path, timeout: int = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(DSE), *words], cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["board-int8", "--board", "ULX4S"], ["Board must be one of ulx3s-85f", "not 'ULX4S'; did you mean 'ulx3s-85f'?"]),
        pytest.param(
            ["sat-vcu1525", "--board", "ulx3s-85f"],
            ["doesn't fit board 'ulx3s-85f'", "of ecp5-85k, by estimate", "has"],
            marks=pytest.mark.skipif("ecp5" not in calibration(), reason="no estimate yet"),
        ),
        pytest.param(
            ["sat-vcu1525", "--board", "icebreaker"],  # its array alone
            ["doesn't fit board 'icebreaker'", "of ice40-up5k, by estimate", "has"],
            marks=pytest.mark.skipif("ecp5" not in calibration(), reason="no estimate yet"),
        ),
        (["board-int8", "--board", "ulx3s-85f", "--memory-kib", "1000"], ["for its on-chip memory alone: needs 459, has 208"]),
        (["board-int8", "--board", "ulx3s-85f", "--set", "pe.group=3"], ["can't be built", "group"]),
        (["board-int8", "--board", "ulx3s-85f", "--set", "clock_hz=1000000000"], ["Clock must be one", "not 1000"]),
        (["tile-int8", "--board", "tang-nano-9k", "--set", "clock_hz=1000000000"], ["Clock must be one", "not 1000"]),
    ],
)
def test_what_cannot_be_is_said_and_leaves_nothing(words, parts, tmp_path):
    done = ran("build", *words, "-o", "made", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    message = " ".join(done.stderr.split())
    for part in parts:
        assert part in message, message
    assert not (tmp_path / "made").exists()


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "thesis.tex").write_text("mine")
    done = ran("build", "board-int8", "--board", "ulx3s-85f", "-o", "made", cwd=tmp_path)
    assert done.returncode == 2
    assert "must be empty or hold an earlier build" in " ".join(done.stderr.split())
    assert (tmp_path / "made" / "thesis.tex").read_text() == "mine"


def test_two_builds_of_one_folder(tmp_path):
    work = tmp_path / ".made.building"
    work.mkdir()
    handle = os.open(work, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        done = ran("build", "board-int8", "--board", "ulx3s-85f", "-o", "made", cwd=tmp_path)
    finally:
        os.close(handle)
    assert done.returncode == 2
    assert "must be free, but another build of it is at work" in " ".join(done.stderr.split())


def stopped(how: signal.Signals, after: str, folder: Path) -> list[Path]:
    """Stop a build once there is a file that matches `after`; returns what such files there are."""
    command = [str(DSE), "build", "tile-int8", "--board", "icebreaker", "-o", "made"]
    building = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 1800
        while not (found := list((folder / ".made.building").glob(f"*/{after}"))) and time.monotonic() < until:
            time.sleep(0.05)
        building.send_signal(how)
        said = building.communicate(timeout=60)[1]
    finally:
        building.kill()
    assert building.returncode == (130 if how is signal.SIGINT else -how)
    if how is signal.SIGINT:
        assert said == f"stopped; nothing in made has changed\ncontinue with: {' '.join(['dse', *command[1:]])}\n"
    assert not (folder / "made").exists()
    again = os.open(folder / ".made.building", os.O_RDONLY)
    fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody holds it any more
    os.close(again)
    return found


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_leaves_nothing_in_its_folder(how, tmp_path):
    assert stopped(how, "*.v", tmp_path)


def built(tmp_path: Path, name: str, board: str) -> dict[str, Any]:
    done = ran("build", name, "--board", board, "-o", "made", cwd=tmp_path, timeout=3600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / ".made.building").exists()
    report = json.loads((tmp_path / "made" / "synthesis.json").read_text())
    bits = (tmp_path / "made" / report["bitstream"]["file"]).read_bytes()
    assert hashlib.sha256(bits).hexdigest() == report["bitstream"]["sha256"]
    assert report["digest"] == PRESETS[name].accelerator.digest
    assert report["digest"] in report["bitstream"]["file"]
    assert report["closes"]
    assert min(report["fmax_hz"].values()) >= report["clock_hz"]
    for resource, used in report["used"].items():
        assert 0 < used <= report["available"][resource]
        assert report["available"][resource] == getattr(DEVICES[report["device"]].limits, resource)
    return report | {"head": bits[:512]}


def test_a_bitstream_for_an_ice40(tmp_path):
    """The array of the small preset on an iCEBreaker, from Verilog to bits."""
    report = built(tmp_path, "tile-int8", "icebreaker")
    assert bytes.fromhex("7eaa997e") in report["head"]  # the preamble of an iCE40 bitstream
    assert report["used"]["dsp"] == 4  # a multiplier for each PE


@pytest.mark.slow
def test_a_build_that_was_interrupted_in_place_and_route_goes_on(tmp_path):
    """Once by Ctrl-C and once by kill -9; then the same command, which takes up the netlist that was marked here."""
    for how in (signal.SIGINT, signal.SIGKILL):
        (log,) = stopped(how, "nextpnr.log", tmp_path)
        assert not list(log.parent.glob("*.bin"))
    with log.with_name("netlist.json").open("a") as netlist:
        netlist.write("\n\n\n")
    built(tmp_path, "tile-int8", "icebreaker")
    assert (tmp_path / "made" / "netlist.json").read_text().endswith("\n\n\n")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.slow
def test_a_bitstream_for_a_gowin(tmp_path):
    """The same on a Tang Nano 9K, with a clock from its generator."""
    report = built(tmp_path, "tile-int8", "tang-nano-9k")
    assert f"{0x1100481B:032b}".encode() in report["head"]  # text; the chip's JTAG code
    assert report["used"]["dsp"] == 4
    assert report["used"]["bram"] == 10  # values and indices of four operand banks, two banks of results
    assert sum(report["untimed"].values()) == 4 + 10
    assert {"LUT1", "LUT2", "LUT3"}.isdisjoint(report["cells"])
    assert report["used"]["lut"] >= report["cells"]["LUT4"] + report["cells"]["ALU"]


_GOWIN_PATHS = {  # a path from x to q, and the cells on it
    "LUT2": "q <= x[3:0] ^ x[7:4]",
    "MUX2_LUT5": "q <= x[0] ? x[1] & x[2] ^ x[3] : x[4] | x[5] & x[6]",
    "DFF": "q <= x",
    "ALU": "q <= x + {x[3:0], x[7:4]}",
}


@pytest.mark.parametrize("cell", _GOWIN_PATHS)
def test_a_gowins_paths_have_delays(cell, tmp_path):
    """Without `with_delays` nextpnr says that there are no paths, or the ALUs' without that of the table before a flip-flop."""
    source = tmp_path / "path.v"
    pads = " ".join(f"IBUF i{n} (.I(a[{n}]), .O(given[{n}])); OBUF o{n} (.I(q[{n}]), .O(y[{n}]));" for n in range(8))
    source.write_text(
        f"""module top(input clk, input [7:0] a, output [7:0] y);
            reg [7:0] x, q;
            wire [7:0] given;
            wire clock;
            IBUF clock_pad (.I(clk), .O(clock));
            {pads}
            always @(posedge clock) begin x <= given; {_GOWIN_PATHS[cell]}; end
        endmodule"""
    )
    board = board_named("tang-nano-9k")
    netlist = synthesize([source], "top", "gw1n", tmp_path)
    assert cell in netlist.cells
    netlist = with_delays(netlist)
    names = ["clk", *(f"{port}[{bit}]" for port in "ay" for bit in range(8))]
    pins = [52, *range(25, 31), *range(33, 36), *range(40, 43), 51, *range(53, 56)]
    constraints = tmp_path / "top.cst"
    constraints.write_text("".join(f'IO_LOC "{name}" {pin};\n' for name, pin in zip(names, pins, strict=True)))
    write = tmp_path / "placed.json"
    placed = place(netlist.path, board.chip, tmp_path, constraints=constraints, frequency_hz=10**8, write=write)
    assert placed.slowest_hz < 1e9
    assert placed.critical_path[-1]["kind"] == "setup"
    assert "passthrough" not in write.read_text()


@pytest.mark.slow
def test_a_bitstream_for_an_ecp5(tmp_path):
    """The whole machine of the small preset on a ULX3S."""
    report = built(tmp_path, "board-int8", "ulx3s-85f")
    assert bytes.fromhex("ffffbdb3") in report["head"] or b"LFE5U-85F" in report["head"]
    assert report["flip_flops_absorbed"] >= 16 * 32  # two int8 operands and a product in each PE


@pytest.mark.parametrize(("wanted", "made"), [(12_000_000, 12_000_000), (54_000_000, 54_000_000), (40_000_000, 40_500_000)])
def test_a_gowins_clock_is_what_its_generator_is_set_to(wanted, made, tmp_path):
    board = board_named("tang-nano-9k")
    clock = make_clock(board.chip, board.clock_hz, wanted, tmp_path)
    assert clock.source is not None
    settings = dict(re.findall(r"\.(\w+)_SEL\((\d+)\)", clock.source.read_text()))
    assert clock.hz == made == board.clock_hz * (int(settings["FBDIV"]) + 1) // (int(settings["IDIV"]) + 1)


def test_a_missing_tool_is_named(tmp_path):
    with pytest.raises(ToolError, match=r"'nextpnr-atlantis' must be installed: pip install 'nmdse\[fpga\]'"):
        run_tool(["nextpnr-atlantis"], tmp_path / "log", cwd=tmp_path)


def test_a_tool_that_stops_is_quoted(tmp_path):
    with pytest.raises(ToolError, match=r"'icepll' must run to its end, not stop with code 1"):
        run_tool(["icepll", "-i", "12", "-o", "9999"], tmp_path / "log", cwd=tmp_path)


def test_the_scarcest_resource_is_named():
    with pytest.raises(UnsupportedError, match=r"dsp of ecp5-85k: needs 400, has 156"):
        check_fit(Resources(lut=90_000, dsp=400), "ecp5-85k")
    check_fit(DEVICES["ecp5-85k"].limits, "ecp5-85k")


def test_help_and_docs_know_the_boards():
    told = get_type_hints(build_command, include_extras=True)["board"].__metadata__[0].help
    assert re.findall(r"`([^`]+)`", told) == [*BOARDS]
    text = (Path(__file__).parents[2] / "docs" / "build.md").read_text()
    rows = dict(re.findall(r"^\| `([^`]+)` \| [^|]+ \| ([0-9]+) MHz \|$", text, re.MULTILINE))
    assert rows == {name: f"{board_named(name).clock_hz / 1e6:g}" for name in BOARDS}


@pytest.mark.filterwarnings("ignore:Using platform.request:DeprecationWarning")
@pytest.mark.parametrize("name", BOARDS)
def test_boards_are_whole(name):
    """Pins are there: the platform knows the clock, the serial line and the lights, and gives each a place."""
    board = board_named(name)
    platform = board.platform()
    assert board.name == name
    assert board.device in DEVICES
    resources = {(resource, number) for resource, number in platform.resources}
    assert {(board.clock, 0), ("uart", 0), *((light, number) for light, number, _ in board.lights)} <= resources
    plan = platform.prepare(BoardTop(board, "system", pll=True), "top", emit_src=False)
    constraints = str(plan.files[f"top.{board.chip.flow.constraints}"])
    assert all(name in constraints for name in (board.clock, "uart_0__rx", "uart_0__tx"))
    light, number, field = board.lights[-1]
    assert f"{light}_{number}{'' if field == 'o' else f'__{field}'}__io" in constraints
