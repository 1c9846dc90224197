# amaranth: UnusedElaboratable=no
"""Does a build that can't be written, or is left alone by who started it, end, and leave nothing that looks like one?"""

import os
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from rtl_kit.require import need_rtl

need_rtl()
pytest.importorskip("amaranth_boards")

from terminal import children_of, refused, wait_until  # noqa: E402

from rtl.fpga import build as module  # noqa: E402
from rtl.fpga.build import Options, build  # noqa: E402
from rtl.fpga.folder import building, check_folder, replace_by, without_others  # noqa: E402
from rtl.fpga.place import run_tool  # noqa: E402
from rtl.platforms import board_named  # noqa: E402
from simulator.presets import PRESETS  # noqa: E402
from simulator.schedule import Unsupported, UnsupportedError  # noqa: E402

TILE = ("build", "tile-int8", "--board", "icebreaker")
MACHINE = PRESETS["board-int8"].accelerator


@pytest.mark.parametrize("verb", [TILE, ("rtl", "tile-int8")], ids=["build", "rtl"])
def test_a_file_in_the_way(verb, tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(*verb, "-o", "file/below", cwd=tmp_path, saying=["error: Folder 'file/below' must be writable: File exists"])
    refused(*verb, "-o", "file", cwd=tmp_path, saying=["error: Folder 'file' must be "])
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "mine")]


def test_a_folder_that_nothing_can_replace():
    with pytest.raises(FileExistsError, match="'/proc' must be one that can be replaced, not a mount point"):
        check_folder(Path("/proc"), "synthesis.json")


@pytest.mark.parametrize(
    ("changes", "options", "saying"),
    [
        ({"pe": replace(MACHINE.pe, group=3)}, {}, "Pe field 'group' must be a power of two for the RTL, not 3"),
        (
            {"clock_hz": 12_500_000},
            {},
            "Serial line must have a rate that a clock of 12,500,000 Hz can make, as 1,041,667, not 1,000,000",
        ),
        (
            {},
            {"baud": 99_999_999},
            "Serial line must have a rate that a clock of 25,000,000 Hz can make, as 6,250,000, not 99,999,999",
        ),
        ({}, {"part": "array", "memory_bytes": 1024}, "'memory_bytes' must be 0 for an array, .* not 1024"),
    ],
)
def test_what_a_board_has_no_place_for(changes, options, saying, tmp_path):
    accelerator = replace(MACHINE, **changes)
    with pytest.raises(ValueError, match=saying):
        build(accelerator, board_named("ulx3s-85f"), tmp_path / "made", Options(**options))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("board", "part"), [("ulx3s-85f", "System"), ("tang-nano-9k", "Tile")])
def test_what_goes_onto_the_chip_is_made_once_for_the_clock_that_it_makes(board, part, tmp_path, monkeypatch):
    made = []

    def noted(accelerator, **settings):
        made.append(settings["clock_hz"])
        return whole(accelerator, **settings)

    def enough(*_):
        raise ValueError("enough")

    whole = getattr(module, part)
    monkeypatch.setattr(module, part, noted)
    monkeypatch.setattr(module, "_elaborate", enough)
    name = "board-int8" if part == "System" else "tile-int8"
    accelerator = replace(PRESETS[name].accelerator, clock_hz=33_300_000)
    with pytest.raises(ValueError, match="enough"):
        build(accelerator, board_named(board), tmp_path / "made")
    assert len(made) == 1
    assert 0 < abs(made[0] / 33_300_000 - 1) < 0.02


@pytest.mark.parametrize("error", [ValueError(), OSError(), UnsupportedError(Unsupported("lut", 2, 1))])
def test_a_refused_design_leaves_no_attempt(error, tmp_path):
    with pytest.raises(type(error)), building(tmp_path / "made"):
        raise error
    assert not list(tmp_path.iterdir())


def test_attempts_are_one_at_most(tmp_path):
    """A stopped one stays for the next, which removes it; a link to the output folder stays one."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "made").symlink_to("elsewhere")
    attempts = tmp_path / ".elsewhere.building"
    with pytest.raises(KeyboardInterrupt), building(tmp_path / "made") as work:
        raise KeyboardInterrupt
    assert list(attempts.iterdir()) == [work]
    work.rename(attempts / "another")
    with building(tmp_path / "made") as work:
        assert len(list(attempts.iterdir())) == 2
        without_others(work)
        assert list(attempts.iterdir()) == [work]
        (work / "whole").write_text("it is")
        replace_by(work, tmp_path / "made")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "made"]
    assert (tmp_path / "made").is_symlink()
    assert (tmp_path / "elsewhere" / "whole").read_text() == "it is"


_LEFT_ALONE = {
    "place and route": "from rtl.fpga.place import run_tool; run_tool(['python', '-c', 'input()'], Path('log'), cwd=Path())",
    "synthesis": "from rtl.yosys_shim import run_yosys; run_yosys('read_verilog pipe')",
}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends what a killed process has started")
@pytest.mark.parametrize("tool", _LEFT_ALONE)
def test_no_tool_outlives_a_killed_build(tool, tmp_path):
    """Each waits for what never comes."""
    os.mkfifo(tmp_path / "pipe")
    mark = f"NMDSE_TEST={uuid.uuid4().hex}"
    name, _, value = mark.partition("=")
    command = [sys.executable, "-c", f"from pathlib import Path; {_LEFT_ALONE[tool]}"]
    running = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, name: value}, stdout=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: len(children_of(mark)) > 1, 60)
    finally:
        running.kill()
        running.wait()
    assert wait_until(lambda: not children_of(mark), 60)


def test_what_a_tool_is_doing_is_said_in_whole_words(tmp_path):
    line = "Info:   at iteration #20: temp = 0.000000, timing cost = 1066, wirelen = 30123"
    said = []
    run_tool(
        ["python", "-c", f"print({line!r}); print('Info: no phase')"], tmp_path / "log", cwd=tmp_path, progress=said.append
    )
    assert said == ["at iteration #20: temp = 0.000000, timing cost = 1066"]
    assert (tmp_path / "log").read_text() == f"{line}\nInfo: no phase\n"


def test_a_log_for_which_there_is_no_room(tiny_disk):
    """The tool is stopped; it doesn't wait for ever for somebody who reads on."""
    with pytest.raises(OSError, match="No space left on device"):
        run_tool(["python", "-c", "for _ in range(100000): print('x' * 99)"], tiny_disk / "log", cwd=tiny_disk)


@pytest.mark.slow
def test_a_netlist_for_which_there_is_no_room(tiny_disk, tmp_path):
    """Yosys writes half of it and ends well."""
    saying = ["error: Folder 'disk/made' must be writable: No space left on device"]
    refused(*TILE, "-o", "disk/made", cwd=tmp_path, saying=saying, timeout=1200)
    assert not list(tiny_disk.iterdir())
