"""Do `dse rtl` and `dse check` write, print and refuse what their help says, and does a wrong view show?"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from rtl_kit.require import need_rtl
from terminal import dse, refused

need_rtl()

from dse.config import changed  # noqa: E402
from simulator.presets import PRESETS  # noqa: E402
from simulator.register_map import REGISTERS  # noqa: E402

ROOT = Path(__file__).parents[2]
SMALL = {"vector.lanes": 2, "updater.lanes": 2, "pruner.lanes": 2}
GENERATED = {"array.rows": 2, "array.cols": 2, "pe.group": 4, "pe.registers": 4, **SMALL}
CHECKED = {"pe.format": "fp16", "array.rows": 3, "array.cols": 2, "pe.group": 4, "pe.registers": 4, "pe.lanes": 2} | {
    "pe.accumulate_latency": 6,
    "pe.interleave": 2,
    **SMALL,
}
CHECK = ("--no-large", "--no-stalls")


def options(settings):
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


def spec_of(settings):
    return changed(PRESETS["edge-int8"].accelerator, settings)


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generated")
    ran = dse("rtl", "edge-int8", *options(GENERATED), "-o", "out/small", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    return folder / "out" / "small", ran.stdout


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def main_of(monkeypatch, *arguments):
    """The command line in this process; its exit code."""
    from dse.cli import main

    monkeypatch.setattr(sys, "argv", ["dse", *map(str, arguments)])
    try:
        main()
    except SystemExit as ended:
        return ended.code or 0
    return 0


def test_four_files_that_agree(generated):
    folder, text = generated
    spec = spec_of(GENERATED)
    module = f"nmdse_{spec.digest}"
    assert {path.name for path in folder.iterdir()} == {f"{module}.v", "files.f", "memory_map.md", "metadata.json"}
    assert (folder / "files.f").read_text() == f"{module}.v\n"
    verilog = (folder / f"{module}.v").read_text()
    data = json.loads((folder / "metadata.json").read_text())
    assert (data["module"], data["digest"], data["name"]) == (module, spec.digest, "edge-int8")
    assert data["accelerator"]["array.rows"] == 2
    found = {name: (each["address"], each["bits"], each["access"]) for name, each in data["registers"].items()}
    assert found == {name: (each.address, each.bits, each.access) for name, each in REGISTERS.items()}
    from rtl.native.toolchain import ports_of

    ports = {name: (port.direction, port.bits) for name, port in ports_of(verilog, module).items()}
    assert ports == {name: (port["direction"], port["bits"]) for name, port in data["ports"].items()}
    table = (folder / "memory_map.md").read_text()
    for name, register in REGISTERS.items():
        assert f"| 0x{register.address:03x} | `{name}` | {register.bits} |" in table
    assert f"digest {spec.digest}" in text
    assert "next: dse check edge-int8 --set array.rows=2 --set array.cols=2" in text


def test_the_same_settings_give_the_same_bytes_and_replace_what_was_there(generated):
    folder, _ = generated
    before = contents(folder)
    (folder / "metadata.json").write_text("{}")
    (folder / "nmdse_0123456789ab.v").write_text("of other settings")
    ran = dse("rtl", "edge-int8", *options(GENERATED), "-o", folder, cwd=folder.parent)
    assert ran.returncode == 0, ran.stderr
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("names", [["notes.txt"], ["metadata.json"], ["metadata.json", "nmdse_0123456789ab.v", "notes.txt"]])
def test_a_folder_with_other_files_is_left_alone(tmp_path, names):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in names:
        (folder / name).write_text(f"my {name}")
    before = contents(folder)
    saying = [f"Folder 'mine' must be empty or hold an earlier result only, not '{sorted(names)[-1]}'"]
    refused("rtl", "edge-int8", "-o", "mine", cwd=tmp_path, saying=saying)
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("machine", "saying"),
    [
        (
            ["edge-int8", "--set", "array.double_buffered=false"],
            "Accelerator 'edge-int8' can't be built: Array field 'double_buffered' must be True for the RTL, not False",
        ),
        (["tpu-like"], "Accelerator 'tpu-like' can't be built: Dram field 'bytes_per_second' must be at most "),
        (["sat-vcu1525", "--set", "pe.group=6"], "can't be built: Pe field 'group' must be a power of two for the RTL, not 6"),
        (["edge-int9"], "Accelerator 'edge-int9' must be a .toml file or one of: sat-vcu1525, edge-int8"),
        (["edge-int8", "--set", "array.rwos=2"], "Accelerator 'edge-int8' has no field 'array.rwos'; did you mean 'rows'?"),
        (["edge-int8", "--set", "array.rows=0"], "Array field 'rows' must be between 1 and 4096, not 0"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_built(tmp_path, machine, saying):
    refused("rtl", *machine, "-o", "x/y", cwd=tmp_path, saying=[saying])
    refused("check", *machine, "--json", "x.json", cwd=tmp_path, saying=[saying])
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    refused("rtl", "edge-int8", "-o", "file", cwd=tmp_path, saying=["Folder 'file' must be writable: Not a directory"])
    saying = ["File 'no/x.json' must be writable: No such file or directory"]
    refused("check", "edge-int8", "--json", "no/x.json", cwd=tmp_path, saying=saying)
    refused(
        "check", "edge-int8", "--seed", "-1", cwd=tmp_path, saying=["'--seed'", "must be an integer of at least 0, not '-1'"]
    )
    refused("rtl", "edge-int8", cwd=tmp_path, saying=["Missing option '--output'"])
    assert contents(tmp_path) == {"file": b"mine"}


def test_after_an_error_the_earlier_result_is_whole(tmp_path, monkeypatch, capsys):
    """The disk is full at the last file: nothing of the new result stays, all of the earlier one does."""
    import rtl.generate

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rtl.generate, "verilog_of", lambda _, module: f"module {module}; endmodule")
    arguments = ("rtl", "edge-int8", "-o", "out")
    assert main_of(monkeypatch, *arguments) == 0
    before = contents(tmp_path / "out")
    write = Path.write_text

    def full(path, *rest, **more):
        if path.name == "metadata.json":
            raise OSError(28, "No space left on device")
        return write(path, *rest, **more)

    monkeypatch.setattr(Path, "write_text", full)
    capsys.readouterr()
    assert main_of(monkeypatch, *arguments, "--set", "array.rows=4") == 2
    assert capsys.readouterr() == ("", "error: Folder 'out' must be writable: No space left on device\n")
    assert contents(tmp_path / "out") == before
    assert main_of(monkeypatch, "rtl", "edge-int8", "-o", "new") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_check_that_finds_all_equal(tmp_path):
    report = tmp_path / "report.json"
    ran = dse("check", "edge-int8", *options(CHECKED), *CHECK, "--json", report, cwd=ROOT, timeout=600)  # builds are kept there
    assert ran.returncode == 0, ran.stdout + ran.stderr
    spec, data = spec_of(CHECKED), json.loads(report.read_text())
    assert (data["accelerator"], data["digest"], data["differences"]) == ("edge-int8", spec.digest, [])
    names = [case["case"] for case in data["cases"]]
    for part in ("os 5x7x9 dense", "ws 5x7x4 2:4 of b", "is 5x7x4 2:4 of a", "vector relu", "training step", "SR-STE"):
        assert any(part in name for name in names), names
    assert not any("33x17" in name or "stalling" in name for name in names)
    assert all(case["cycles"] > 0 and case["commands"] > 0 for case in data["cases"])
    cycles = sum(case["cycles"] for case in data["cases"])
    assert f"edge-int8 ({spec.digest}): 3 x 2 fp16 PEs" in ran.stdout
    assert f"equal: {len(names)} runs, {cycles:,} cycles: every byte, cycle, counter and event" in ran.stdout


def test_a_check_that_finds_a_difference(tmp_path, monkeypatch, capsys):
    """A golden model that is wrong in one byte of one program, and one that refuses another."""
    import dse.verify
    from simulator.golden import GoldenError

    real, seen = dse.verify.interpret, []

    def wrong(data, image, *rest):
        before = image.copy()
        counters = real(data, image, *rest)
        seen.append(data)
        if len(seen) == 2:
            image[np.flatnonzero(image != before)[0]] ^= 1
        if len(seen) == 4:
            raise GoldenError("Command 0 is refused")
        return counters

    report = tmp_path / "report.json"
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(dse.verify, "interpret", wrong)
    assert main_of(monkeypatch, "check", "edge-int8", *options(CHECKED), *CHECK, "--json", report) == 1
    text = capsys.readouterr().out
    assert "not equal: 2 differences" in text
    assert "memory: 1 bytes differ, the first at 0x" in text
    assert "equal: " not in text.replace("not equal: ", "")
    data = json.loads(report.read_text())
    assert [each["difference"][:20] for each in data["differences"]] == ["memory: 1 bytes diff", "Command 0 is refused"]
    assert len(data["cases"]) == len(seen) - 1
