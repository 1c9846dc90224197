"""Does everything that can't be end in one clear message, exit code 2, no traceback, and nothing lost?"""

import gzip
import json
import os
import resource
import signal
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from terminal import DSE, dse, refused, write_space

import workloads.zoo
from dse.store import Store

MACHINE = 'base = "sat-vcu1525"\n'
RUN = ("run", "sat-vcu1525", "resnet18-cifar", "--no-baseline", "--top", "1")
ZOO = Path(workloads.zoo.__file__).parent


@pytest.mark.parametrize(
    ("text", "saying"),
    [
        (MACHINE + "[pe]\ngruop = 8\n", ["Accelerator 'm' has no field 'pe.gruop'", "did you mean 'group'?"]),
        (MACHINE + "[pe]\ngroup = 8\ngroup = 4\n", ["'m.toml' must be valid TOML with each key once", "'group = 4'"]),
        (MACHINE + "[array]\nrows = -8\n", ["Array field 'rows' must be between 1 and 4096, not -8"]),
        (MACHINE + "[array]\nrows = 8.5\n", ["field 'array.rows' must be an integer, not 8.5"]),
        (MACHINE + '[array]\nrows = "8"\n', ["field 'array.rows' must be an integer, not '8'"]),
        (MACHINE + "[array]\nrows = true\n", ["field 'array.rows' must be an integer, not True"]),
        (MACHINE + '[array]\ndataflows = ["xs"]\n', ["field 'array.dataflows' must be a list of os, ws, is, not ['xs']"]),
        ('base = "sat"\n', ["field 'base' must be one of sat-vcu1525", "not 'sat'"]),
    ],
)
def test_a_machines_file(tmp_path, text, saying):
    (tmp_path / "m.toml").write_text(text)
    refused("show", "m.toml", cwd=tmp_path, saying=saying)


@pytest.mark.parametrize(
    ("options", "saying"),
    [
        (["--method", "bdwp:8:2"], ["Method 'bdwp:8:2'", "'8:2' must satisfy 1 <= N <= M"]),
        (["--method", "bdwp:2:8", "--set", "pe.group=4"], ["can't run 'resnet18-cifar'", "pe.group", "needs 8, has 4"]),
        (["--batch", "-1"], ["'--batch'", "must be a positive integer, not '-1'"]),
        (["--batch", "1.5"], ["'--batch'", "must be a positive integer, not '1.5'"]),
        (["--set", "pe.lanes=-1"], ["Pe field 'lanes' must be between 1 and ", ", not -1"]),
        (["--set", "pe.lanes"], ["Option '--set' must be FIELD=VALUE", "not 'pe.lanes'"]),
        (["--dataflow", "xs"], ["field 'dataflow' must be one of best, os, ws, is, not 'xs'"]),
        (["--fidelity", "rtl"], ["'--fidelity' must be event, not 'rtl'"]),
        (["--fast"], ["No such option: --fast"]),
        (["--csv", "no/folder.csv"], ["File 'no/folder.csv' must be writable: No such file or directory"]),
        (["--timeline", "/dev/full"], ["File '/dev/full' must be writable: No space left on device"]),
    ],
)
def test_a_runs_options(tmp_path, options, saying):
    refused(*RUN, *options, cwd=tmp_path, saying=saying)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_refused_before_the_run(tmp_path):
    ran = refused(*RUN, "--csv", "no/folder.csv", cwd=tmp_path, saying=["must be writable"])
    assert ran.stdout == ""


def test_a_group_that_divides_no_gemm_leaves_all_dense_and_says_so(tmp_path):
    dense = json.loads(dse(*RUN, "--json", cwd=tmp_path).stdout)
    ran = dse(*RUN, "--method", "bdwp:2:7", "--json", cwd=tmp_path)
    assert ran.returncode == 0
    odd = json.loads(ran.stdout)
    assert odd["metrics"]["macs"] == dense["metrics"]["macs"]
    assert len(odd["notices"]) == odd["metrics"]["dense_fallbacks"] > 30
    assert "are not a multiple of M=7" in odd["notices"][0]["text"]
    assert "note layer1.0.conv1 ff: stays dense under 2:7" in dse(*RUN, "--method", "bdwp:2:7", cwd=tmp_path).stdout


def damaged(folder, change):
    """A copy of a shipped trace with its lines changed."""
    with gzip.open(ZOO / "resnet18-cifar.jsonl.gz", "rt") as file:
        lines = [json.loads(line) for line in file]
    path = folder / "t.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(line) + "\n" for line in change(lines))


@pytest.mark.parametrize(
    ("change", "saying"),
    [
        (lambda lines: [{**lines[0], "version": 2}, *lines[1:]], ["version must be 1, not 2", "another release"]),
        (lambda lines: lines[:-5], ["must hold", "operations, not", "truncated"]),
        (lambda lines: lines[1:], ["must begin with a header of format 'nmdse-trace'"]),
        (lambda lines: [lines[0], {**lines[1], "m": -5}, *lines[2:]], ["t.jsonl.gz' is not valid", "-5"]),
        (lambda lines: lines[:0], ["must begin with a header"]),
    ],
    ids=["future version", "missing operations", "no header", "negative size", "empty"],
)
def test_a_damaged_trace(tmp_path, change, saying):
    damaged(tmp_path, change)
    refused("run", "sat-vcu1525", "t.jsonl.gz", cwd=tmp_path, saying=["Trace 't.jsonl.gz'", *saying])


@pytest.mark.parametrize("end", [20, 2000])
def test_a_truncated_trace(tmp_path, end):
    (tmp_path / "t.jsonl.gz").write_bytes((ZOO / "resnet18-cifar.jsonl.gz").read_bytes()[:end])
    refused("run", "sat-vcu1525", "t.jsonl.gz", cwd=tmp_path, saying=["Trace 't.jsonl.gz' must be whole", "truncated"])


def test_a_missing_trace(tmp_path):
    refused("run", "sat-vcu1525", "t.jsonl.gz", cwd=tmp_path, saying=["Trace 't.jsonl.gz' must be an existing file"])
    refused("run", "sat-vcu1525", "resnet", cwd=tmp_path, saying=["'resnet' must be a trace file or one of", "resnet18-cifar"])
    (tmp_path / "t.jsonl.gz").write_text("no gzip")
    refused("run", "sat-vcu1525", "t.jsonl.gz", cwd=tmp_path, saying=["'t.jsonl.gz' must be a readable gzip file"])


MODEL = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(4, 4)
    def forward(self, x):
        raise ValueError("planted 42")
def build():
    return Net(), torch.randn(2, 4)
"""


def test_a_module_that_fails_in_forward(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "m.py").write_text(MODEL)
    refused("trace", "m.py:build", cwd=tmp_path, saying=["Model 'build' failed in forward", "ValueError: planted 42"])
    refused("trace", "m.py:biuld", cwd=tmp_path, saying=["'m.py' must have an attribute 'biuld'"])
    refused("trace", "x.py:build", cwd=tmp_path, saying=["'x.py' must be an existing file"])
    refused("trace", "m.py:build", "-o", "no/t.gz", cwd=tmp_path, saying=["File 'no/t.gz' must be writable: No such file"])
    assert not list(tmp_path.glob("*.gz*"))


def test_a_space_of_a_billion_points(tmp_path):
    axes = "\n".join(f'"accelerator.{f}" = {{ start = 1, stop = 1000, step = 1 }}' for f in ("array.rows", "array.cols"))
    write_space(tmp_path, axes + '\n"accelerator.pe.multiply_latency" = { start = 1, stop = 500, step = 1 }')
    said = ["a grid must have at most 100,000 points, not 1,000,000,000", "--points N", "--limit"]
    refused("sweep", "space.toml", "-o", "out", cwd=tmp_path, saying=said, timeout=30)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("axes", "saying"),
    [
        ('"accelerator.array.rows" = [8, -8]', ["Array field 'rows' must be between 1 and 4096, not -8"]),
        ('"accelerator.array.rwos" = [8]', ["no field 'array.rwos'", "did you mean 'rows'?"]),
        ("batch = [1, 1]", ["Axis 'batch' must name each value once, not [1, 1]"]),
        ("batch = [1]\nbatch = [2]", ["each key once", "'batch = [2]'"]),
        ("batch = [0]", ["batch must be a positive integer, not 0"]),
    ],
)
def test_a_space(tmp_path, axes, saying):
    write_space(tmp_path, axes)
    refused("sweep", "space.toml", "-o", "out", cwd=tmp_path, saying=saying)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def swept(tmp_path):
    """A folder with a finished sweep of four points, and what its store holds."""
    write_space(tmp_path)
    ran = dse("sweep", "space.toml", "-o", "out", "-j", "1", "-q", "--no-report", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    with Store(tmp_path / "out" / "store.sqlite") as store:
        return tmp_path, store.frame()


def intact(swept):
    folder, before = swept
    with Store(folder / "out" / "store.sqlite") as store:
        after = store.frame().set_index("key").loc[before["key"]].reset_index()
    pd.testing.assert_frame_equal(after[before.columns], before, check_exact=True, check_dtype=False)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("room", [1_000, 60_000])
def test_a_full_disk(swept, room, jobs):
    """No file may grow beyond `room`: the first bound stops at the first table, the second in the middle of the sweep."""
    folder, _ = swept
    write_space(folder, '"accelerator.pe.multiply_latency" = { start = 1, stop = 40, step = 1 }', name="more.toml")
    tables = (folder / "out" / "results.csv").read_bytes()

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    said = ["must be writable"]
    refused("sweep", "more.toml", "-o", "out", "-j", jobs, cwd=folder, saying=said, preexec_fn=limit, timeout=120)
    intact(swept)
    assert (folder / "out" / "results.csv").read_bytes() == tables
    assert not list((folder / "out").glob("*.partial"))
    again = dse("pareto", "out", cwd=folder)
    assert again.returncode == 0


def test_a_disk_that_fills_up_in_the_middle(tiny_disk, tmp_path):
    write_space(tmp_path)
    assert dse("sweep", "space.toml", "-o", "disk/out", "-j", "1", "-q", "--no-report", cwd=tmp_path).returncode == 0
    with Store(tiny_disk / "out" / "store.sqlite") as store:
        before = store.keys()
    report = refused("report", "disk/out", cwd=tmp_path, saying=["report.html' must be writable: No space left on device"])
    assert report.stdout == ""
    (tiny_disk / "filler").write_bytes(b"x" * (os.statvfs(tiny_disk).f_bavail * os.statvfs(tiny_disk).f_bsize - 8192))
    write_space(tmp_path, '"accelerator.pe.multiply_latency" = { start = 1, stop = 40, step = 1 }', name="more.toml")
    refused(
        "sweep",
        "more.toml",
        "-o",
        "disk/out",
        "-j",
        "2",
        "-q",
        cwd=tmp_path,
        saying=["Store 'disk/out/store.sqlite' must be", "writable"],
    )
    (tiny_disk / "filler").unlink()
    with Store(tiny_disk / "out" / "store.sqlite") as store:
        assert before <= store.keys()


def test_a_read_only_disk(tiny_disk, tmp_path):
    write_space(tmp_path)
    assert dse("sweep", "space.toml", "-o", "disk/out", "-j", "1", "-q", "--no-report", cwd=tmp_path).returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    said = ["must be writable: Read-only file system"]
    refused("sweep", "space.toml", "-o", "disk/new", cwd=tmp_path, saying=["Folder 'disk/new'", *said])
    refused("sweep", "space.toml", "-o", "disk/out", cwd=tmp_path, saying=["Folder 'disk/out'", *said])
    refused(*RUN, "--csv", "disk/t.csv", cwd=tmp_path, saying=["File 'disk/t.csv'", *said])
    assert "4 ok, of 4 points" in dse("pareto", "disk/out", cwd=tmp_path).stdout


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nmdse"])
def test_a_folder_that_cannot_be(tmp_path, place):
    write_space(tmp_path)
    (tmp_path / "file").write_text("")
    refused("sweep", "space.toml", "-o", place, cwd=tmp_path, saying=[f"Folder '{place}' must be writable: "])


def test_output_that_cannot_be_written(tmp_path):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ran = subprocess.run([DSE, *RUN], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (2, "error: Output must be writable: No space left on device\n")


@pytest.mark.parametrize(
    ("name", "content", "saying"),
    [
        ("store.sqlite", b"no store" * 500, ["Store 'out/store.sqlite' must be a writable store: file is not a database"]),
        ("sweep.json", b"{", ["Folder 'out' must hold a sweep, but its sweep.json is damaged"]),
    ],
)
def test_a_damaged_folder(swept, name, content, saying):
    folder, _ = swept
    (folder / "out" / name).write_bytes(content)
    refused("pareto", "out", cwd=folder, saying=saying)
    assert (folder / "out" / name).read_bytes() == content


def test_what_is_no_sweep(swept):
    folder, _ = swept
    refused("pareto", "nothing", cwd=folder, saying=["Folder 'nothing' must hold a sweep, but it has no sweep.json"])
    refused("run", "out#4", cwd=folder, saying=["Point must be one of 0 to 3 of space 'small', not 4"])
    refused("run", "out#x", cwd=folder, saying=["'out#x' must be FOLDER#N"])
    refused(
        "pareto", "out", "--minimize", "cycls", cwd=folder, saying=["'cycls' must be a number column", "did you mean 'cycles'?"]
    )
    intact(swept)


def test_a_report_of_a_sweep_without_a_point(tmp_path):
    (tmp_path / "out").mkdir()
    data = {"title": "t", "base": {"accelerator": "sat-vcu1525", "workload": "resnet18-cifar"}, "samples": 0, "seed": 0}
    data |= {"axes": [[{"method": "dense"}]], "objectives": [["cycles", True]], "command": "c"}
    (tmp_path / "out" / "sweep.json").write_text(json.dumps(data))
    refused("report", "out", cwd=tmp_path, saying=["Folder 'out' must hold at least one evaluated point"])
