"""Does every verb run as its help says, and does what it prints and writes hold together?"""

import json
import re
import shlex
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from terminal import DSE, dse, refused, write_space

ROOT = Path(__file__).parents[2]
VERBS = ("run", "explain", "sweep", "pareto", "report", "diff", "merge", "sensitivity", "trace", "rtl", "check", "list", "show")


def done(*arguments, cwd):
    ran = dse(*arguments, cwd=cwd, timeout={"check": 900, "build": 3600}.get(arguments[0], 120))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept")
    ran = dse("sweep", write_space(folder), "-o", "out", "-j", "2", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    return folder, ran


def test_help_of_everything(tmp_path):
    text = done("--help", cwd=tmp_path)
    for verb in VERBS:
        assert verb in text
        assert f"Usage: dse {verb}" in done(verb, "-h", cwd=tmp_path)


def test_run(tmp_path):
    text = done("run", "sat-vcu1525", "resnet18-cifar", "--method", "bdwp:2:8", "--top", "3", "--csv", "t.csv", cwd=tmp_path)
    assert "speed-up" in text
    assert "wrote t.csv" in text
    cycles = int(re.search(r"training step +([\d,]+) cycles", text)[1].replace(",", ""))
    assert pd.read_csv(tmp_path / "t.csv")["cycles"].sum() == cycles
    data = json.loads(done("run", "sat-vcu1525", "resnet18-cifar", "--method", "bdwp:2:8", "--json", cwd=tmp_path))
    assert data["metrics"]["cycles"] == cycles


def test_a_timeline_is_written(tmp_path):
    done("run", "edge-int8", "resnet18-cifar", "--dataflow", "ws", "--timeline", "t.json", "--top", "1", cwd=tmp_path)
    assert len(json.loads((tmp_path / "t.json").read_text())["traceEvents"]) > 1000


def test_a_sweep_writes_its_folder_and_prints_its_front(swept):
    folder, ran = swept
    out = folder / "out"
    names = {"store.sqlite", "sweep.json", "results.csv", "results.parquet", "report.html"}
    assert {path.name for path in out.iterdir()} == names
    assert "Pareto front: " in ran.stdout
    assert "4 ok, of 4 points" in ran.stdout
    assert "report: out/report.html" in ran.stdout
    assert ran.stderr.split("\n")[-2] == "4/4 points"
    assert pd.read_csv(out / "results.csv")["status"].tolist() == ["ok"] * 4


def test_a_sweep_again_evaluates_nothing(swept):
    folder, first = swept
    before = (folder / "out" / "results.csv").read_bytes()
    again = dse("sweep", "space.toml", "-o", "out", "-j", "2", "--no-report", cwd=folder)
    assert again.stderr == "4/4 points\n"
    assert again.stdout.splitlines()[1:-1] == first.stdout.splitlines()[1:-2]
    assert (folder / "out" / "results.csv").read_bytes() == before
    assert dse("sweep", "space.toml", "-o", "out", "-q", "--no-report", cwd=folder).stderr == ""


def test_pareto_and_report_of_a_folder(swept):
    folder, first = swept
    assert done("pareto", "out", cwd=folder).splitlines() == first.stdout.splitlines()[1:-2]
    best = done("pareto", "out", "--maximize", "utilization", cwd=folder)
    assert "Pareto front: 1 point " in best
    assert "best utilization" in best
    (folder / "out" / "report.html").unlink()
    done("report", "out", cwd=folder)
    assert (folder / "out" / "report.html").stat().st_size > 1000


def test_a_point_of_a_sweep_runs_and_options_that_were_typed_override_it(swept):
    folder, _ = swept
    table = pd.read_csv(folder / "out" / "results.csv")
    data = json.loads(done("run", "out#3", "--json", cwd=folder))
    assert data["settings"]["method"] == table["method"][3] == "bdwp:2:8"
    assert data["metrics"]["cycles"] == table["cycles"][3]
    assert data["key"] == table["key"][3]
    typed = ("--method", "dense", "--batch", "1", "--dataflow", "os", "--set", "pe.interleave=2", "--json")
    data = json.loads(done("run", "out#3", *typed, cwd=folder))
    assert data["settings"]["method"] == "dense"
    assert (data["mapping"]["dataflow"], data["accelerator"]["pe"]["interleave"]) == ("os", 2)
    assert "pe.interleave" in done("show", "out#3", cwd=folder)


def test_two_points_of_a_sweep_are_explained(swept):
    folder, _ = swept
    table = pd.read_csv(folder / "out" / "results.csv")
    text = done("explain", "out#1", "out#3", cwd=folder)
    assert text.startswith(f"B is {table['cycles'][1] / table['cycles'][3]:.2f}x faster (")
    data = json.loads(done("explain", "out#1", "out#3", "--json", cwd=folder))
    assert (data["a"]["key"], data["b"]["key"]) == (table["key"][1], table["key"][3])
    assert data["settings"] == {"method": ["dense", "bdwp:2:8"]}
    for parts in ("stages", "layers", "array"):
        assert sum(part["change"] for part in data[parts]) == table["cycles"][3] - table["cycles"][1]
    assert data["verdict"] in " ".join(text.split())


def test_options_of_an_explanation_are_for_both_points_or_one(swept):
    folder, _ = swept
    typed = ("--batch", "2", "--set", "pe.interleave=2", "--set-b", "method=dense", "--set-b", "mapping.fuse=false")
    data = json.loads(done("explain", "out#3", "out#3", *typed, "--json", cwd=folder))
    assert data["settings"] == {"method": ["bdwp:2:8", "dense"], "mapping.fuse": [True, False]}
    assert (data["a"]["batch"], data["b"]["batch"]) == (2, 2)
    mixed = ("sat-vcu1525", "out#0", "resnet18-cifar", "--set-a", "pe.interleave=1")
    assert json.loads(done("explain", *mixed, "--json", cwd=folder))["settings"] == {"pe.interleave": [1, 4]}


def test_a_diff_says_in_its_exit_code_whether_anything_changed(swept):
    folder, _ = swept
    shutil.copytree(folder / "out", folder / "after")
    same = done("diff", "out", "after", cwd=folder)
    assert same.startswith("Nothing changed: 4 points, ")
    with sqlite3.connect(folder / "after" / "store.sqlite") as db:
        db.execute("UPDATE points SET latency_ms = 2 * latency_ms WHERE method = 'dense'")
    db.close()
    ran = dse("diff", "out", "after", cwd=folder)
    assert (ran.returncode, ran.stderr) == (1, "")
    assert re.search(r"latency_ms +2 +\+100% +\+100% +#[01] ", ran.stdout)
    assert done("diff", "out", "after", "--columns", "cycles,macs", cwd=folder).startswith(
        "Nothing changed: 4 points, 2 columns"
    )
    ran = dse("diff", "out/store.sqlite", "after", "--json", cwd=folder)
    assert ran.returncode == 1
    assert [change["column"] for change in json.loads(ran.stdout)["columns"]] == ["latency_ms"]


def test_what_cannot_be_explained_or_compared(swept):
    folder, _ = swept
    said = ["Point B ('out#3') can't run 'resnet18-cifar': pe.group for pattern 2:8: needs 8, has 4"]
    refused("explain", "out#1", "out#3", "--set", "pe.group=4", cwd=folder, saying=said)
    refused("explain", "out#1", "out#4", cwd=folder, saying=["Point must be one of 0 to 3 of space 'small', not 4"])
    refused("explain", "sat-vcu1525", "out#1", cwd=folder, saying=["Argument 'workload' must be a trace file or one of"])
    refused("explain", "out#1", "out#2", "--set-b", "batch=x", cwd=folder, saying=["batch must be a positive integer, not 'x'"])
    refused(
        "explain", "out#1", "out#2", "--set-a", "method", cwd=folder, saying=["'--set' must be FIELD=VALUE", "not 'method'"]
    )
    refused("diff", "out", "nothing", cwd=folder, saying=["'nothing' must be the folder of a sweep or a store file"])
    refused(
        "diff", "out", "space.toml", cwd=folder, saying=["Store 'space.toml' must be a writable store: file is not a database"]
    )
    said = ["'--columns' must name columns of the results, not 'cycls'; did you mean 'cycles'?"]
    refused("diff", "out", "out", "--columns", "cycls", cwd=folder, saying=said)
    said = ["'--columns' must be names with commas between them, not 'cycles,'"]
    refused("diff", "out", "out", "--columns", "cycles,", cwd=folder, saying=said)


def test_a_sample_is_the_same_each_time(tmp_path):
    write_space(tmp_path, '"accelerator.pe.multiply_latency" = { start = 1, stop = 8, step = 1 }')
    for name in ("a", "b"):
        done("sweep", "space.toml", "-o", name, "--points", "3", "--seed", "4", "-j", "1", "--no-report", cwd=tmp_path)
    assert (tmp_path / "a" / "results.csv").read_bytes() == (tmp_path / "b" / "results.csv").read_bytes()
    assert len(pd.read_csv(tmp_path / "a" / "results.csv")) == 3


def test_names_may_look_like_markup(tmp_path):
    folder = tmp_path / "[b]x[i]"
    folder.mkdir()
    space = write_space(folder)
    space.write_text(space.read_text().replace('"small"', '"a [/] [red]b"'))
    text = done("sweep", space, "-o", folder / "out", "-j", "1", cwd=tmp_path)
    assert "a [/] [red]b: 4 points, 1 worker, results in " in text
    assert f"report: {folder}/out/report.html" in text


def test_a_reader_that_goes_away_is_no_error():
    ran = subprocess.run(
        f"{shlex.quote(DSE)} show sat-vcu1525 | head -1", shell=True, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stdout.startswith("sat-vcu1525")
    assert ran.stderr == ""


def help_examples():
    """Every `dse ...` between backquotes in the commands' docstrings."""
    found = [
        e for path in sorted((ROOT / "dse").rglob("*.py")) for e in re.findall(r"Example: `(dse [^`]+)`", path.read_text())
    ]
    assert len(found) >= 5
    return found


def readme_examples():
    path = ROOT / "README.md"
    if not path.exists():
        return []
    blocks = re.findall(r"```console\n(.*?)```", path.read_text(), re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ dse ")]


MODEL = """
import torch
def build():
    return torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 8)), torch.randn(8, 16)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which pasted commands find what they name: a sweep in out/resnet18 (a small one), and a model."""
    folder = tmp_path_factory.mktemp("paste")
    (folder / "my_model.py").write_text(MODEL)
    write_space(folder, '"accelerator.array.rows" = { start = 1, stop = 60, step = 1 }', name="space.toml")
    done("sweep", "space.toml", "-o", "out/resnet18", "--limit", "1000", "-j", "1", "--points", "2", "--no-report", cwd=folder)
    shutil.copytree(folder / "out" / "resnet18", folder / "out" / "before")
    return folder


def run_example(command, place):
    words = shlex.split(command.partition("  #")[0])[1:]
    if words[0] == "sweep" and "resnet18" in words:
        pytest.skip("240 points: make sweep runs it")
    if words[0] == "trace":
        pytest.importorskip("torch")
    if words[0] in ("rtl", "check", "build"):
        pytest.importorskip("amaranth")
    if words[0] == "build":
        pytest.importorskip("amaranth_boards")
    words = [word.replace("#117", "#1") for word in words]  # the sweep here is smaller
    if words[0] == "run" and any(w.endswith(".jsonl.gz") for w in words) and not (place / words[2]).exists():
        pytest.importorskip("torch")
        target = [words[2].removesuffix(".jsonl.gz")]
        done("trace", "my_model.py:build", "--batch", "8", "--out", f"{target[0]}.jsonl.gz", cwd=place)
    done(*words, cwd=place)


def example(command):
    """A check compiles a machine, a build places one: minutes."""
    return pytest.param(command, marks=pytest.mark.slow if command.startswith(("dse check", "dse build")) else ())


@pytest.mark.parametrize("command", [example(command) for command in help_examples()])
def test_examples_of_the_help_work_as_pasted(command, place):
    run_example(command, place)


@pytest.mark.skipif(not readme_examples(), reason="no README.md with console examples")
@pytest.mark.parametrize("command", [example(command) for command in readme_examples() or ["none"]])
def test_examples_of_the_readme_work_as_pasted(command, place):
    run_example(command, place)


def test_tracing_says_what_it_found_and_the_trace_runs(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "my_model.py").write_text(MODEL)
    text = done("trace", "my_model.py:build", "--batch", "8", cwd=tmp_path)
    macs = 8 * (16 * 32 + 32 * 8)
    assert f"ff {macs / 1e3:.5g} kMAC" in text
    assert "wrote build.jsonl.gz" in text
    data = json.loads(done("run", "edge-int8", "build.jsonl.gz", "--batch", "16", "--json", cwd=tmp_path))
    assert data["metrics"]["dense_macs"] == 2 * (2 * macs + 8 * 32 * 8)  # no data gradient in the first layer


def test_list_names_everything(tmp_path):
    text = done("list", cwd=tmp_path)
    for name in ("sat-vcu1525", "resnet18-cifar", "bdwp:N:M", "transposable", "output stationary", "240 points"):
        assert name in text
