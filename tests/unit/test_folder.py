"""Does a sweep's folder keep what was swept, and is each file in it whole or not there?"""

import json
import subprocess
import sys

import pandas as pd
import pytest

from dse.config import ConfigError
from dse.folder import SweepFolder, command_line, versions
from dse.space import Objective, Space
from dse.store import Store, StoreError
from dse.sweep import run_sweep, sweep_frame

BASE = {"accelerator": "sat-vcu1525", "workload": "resnet18-cifar"}
SPACE = Space(
    title="a [/] <b>",
    base=BASE,
    axes=(
        ({"method": "dense"}, {"method": "bdwp:2:8"}),
        (
            {"accelerator.array.rows": 8, "accelerator.array.dataflows": ["os"]},
            {"accelerator.array.rows": 32, "accelerator.array.dataflows": ["os", "ws"]},
        ),
    ),
    objectives=(Objective("latency_ms", True), Objective("utilization", False)),
)


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    with Store(tmp_path_factory.mktemp("store") / "s.sqlite") as store:
        run_sweep(SPACE, store, jobs=1, report=[].append)
        return sweep_frame(SPACE, store)


@pytest.fixture
def folder(tmp_path):
    found = SweepFolder(tmp_path / "deep" / "out")
    found.create()
    return found


@pytest.mark.parametrize(("samples", "seed"), [(0, 0), (3, 9)])
def test_a_space_comes_back_as_it_was(folder, samples, seed):
    space = Space(title=SPACE.title, base=SPACE.base, axes=SPACE.axes, objectives=SPACE.objectives, samples=samples, seed=seed)
    folder.save_space(space, "dse sweep x")
    assert folder.load_space() == (space, "dse sweep x")
    assert list(folder.load_space()[0]) == list(space)


def test_no_sweep_is_said(folder):
    with pytest.raises(ConfigError, match=r"out' must hold a sweep, but it has no sweep\.json"):
        folder.load_space()


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "{}", '{"title": "t"}', '{"title": "t", "base": {}, "axes": 3, "objectives": []}']
)
def test_a_damaged_space_is_said(folder, text):
    folder.space_file.write_text(text)
    with pytest.raises(ConfigError, match=r"out' must hold a sweep, but its sweep\.json is damaged: "):
        folder.load_space()


def test_tables_hold_what_the_frame_holds(folder, frame):
    folder.write_tables(frame)
    parquet, csv = pd.read_parquet(folder.parquet), pd.read_csv(folder.csv)
    assert len(parquet) == len(csv) == 4
    for table in (parquet, csv):
        assert table.columns.tolist() == frame.columns.tolist()
        for name in ("cycles", "latency_ms", "utilization", "key", "method", "point"):
            assert table[name].tolist() == frame[name].tolist()
    assert parquet["accelerator.array.dataflows"][1] == "['os', 'ws']"


def test_the_report_is_one_file_that_escapes_what_it_is_given(folder, frame):
    folder.write_report(SPACE, frame, "dse sweep <x>")
    text = folder.report.read_text(encoding="utf-8")
    assert "a [/] &lt;b&gt;" in text
    assert "dse sweep &lt;x&gt;" in text
    assert [path.name for path in folder.path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("columns", [["cycles"], ["multipliers"], ["cycles", "multipliers", "storage_bits", "dram_busy"]])
def test_a_report_can_be_had_for_any_number_of_objectives(folder, frame, columns):
    objectives = tuple(Objective(column, True) for column in columns)
    folder.write_report(Space(title="t", base=BASE, axes=SPACE.axes, objectives=objectives), frame, "c")
    assert folder.report.stat().st_size > 1000


def test_a_report_can_be_had_where_no_point_ran(folder, frame):
    bad = frame[["point", "key", "digest", *BASE, "method"]].assign(status="unsupported", constraint="c", demand=2, limit=1)
    bad["accelerator.array.rows"] = 8
    bad["accelerator.array.dataflows"] = "os"
    folder.write_report(SPACE, bad, "c")
    assert folder.report.stat().st_size > 1000


def test_a_report_of_nothing_is_refused(folder, frame):
    with pytest.raises(ConfigError, match="must hold at least one evaluated point for a report"):
        folder.write_report(SPACE, frame.head(0), "c")


def test_a_file_that_cannot_be_written_leaves_the_old_one(folder, frame):
    folder.write_tables(frame)
    before = folder.csv.read_bytes()
    folder.csv.with_name("results.csv.partial").mkdir()
    with pytest.raises(StoreError, match=r"results\.csv' must be writable: Is a directory"):
        folder.write_tables(frame.head(1))
    assert folder.csv.read_bytes() == before


def test_a_folder_that_cannot_be_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match="must be writable: "):
            SweepFolder(path).create()


def test_the_command_line_is_as_a_person_types_it(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/bin/dse", "sweep", "my space.toml", "-o", "out/a"])
    assert command_line() == "dse sweep 'my space.toml' -o out/a"


def test_versions_name_the_tool_and_what_it_rests_on():
    assert {"python", "nmdse", "numpy", "simpy", "pandas"} <= versions().keys()
    script = "import json, dse.folder; print(json.dumps(dse.folder.versions()))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(ran.stdout) == versions()
