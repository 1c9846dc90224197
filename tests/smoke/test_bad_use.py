"""Is what a person gets wrong between commands, folders and options said in one message, and is nothing left behind?"""

import sqlite3
from contextlib import closing

import pytest
from terminal import dse, refused, write_space

BATCHES = """
[base]
accelerator = "sat-vcu1525"
workload = "resnet18-cifar"
method = "dense"
[axes]
batch = [1, 2]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A sweep of two points in a folder whose name has all that names may have."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "ein Raum ü.toml").write_text(BATCHES)
    ran = dse("sweep", "ein Raum ü.toml", "-o", "a #3 é", "-j", "1", "-q", "--no-report", cwd=folder)
    assert (ran.returncode, ran.stderr) == (0, "")
    return folder


def test_a_folder_may_have_any_name(place):
    ran = dse("explain", "a #3 é#0", "a #3 é#1", cwd=place)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "2 ok, of 2 points" in dse("pareto", "a #3 é", cwd=place).stdout


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (("sweep", "space.toml", "-j", "99999999999999999999"), "'--jobs' must be at most 1,000, not 99,999,999,999,999"),
        (("sweep", "space.toml", "--fit", "ice40-up5k"), "not 'ice40-up5k': nothing estimates ice40; `dse build` says"),
        (("sweep", "space.toml", "--search", "nsga2"), "'nsga2' must be told how many points: --points N"),
        (("sweep", "space.toml", "--constraint", "lut <<= 5"), "'lut <<= 5' must be one comparison of columns by <= < >="),
        (("sweep", "latin.toml"), "File 'latin.toml' must be readable text ('utf-8' codec can't decode byte 0xe9"),
        (("sweep", "folder.toml"), "File 'folder.toml' must be readable text ([Errno 21] Is a directory"),
        (("merge", "nowhere"), "Store 'nowhere' must be an existing store"),
        (("merge", "space.toml"), "Store 'space.toml' must be a writable store: file is not a database"),
    ],
)
def test_what_can_be_told_before_the_work_leaves_no_folder(words, saying, tmp_path):
    write_space(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'title = "caf\xe9"\n')
    (tmp_path / "folder.toml").mkdir()
    refused(*words, "-o", "out", cwd=tmp_path, saying=[saying])
    assert not (tmp_path / "out").exists()


def test_a_run_that_would_write_two_things_into_one_file(tmp_path):
    said = ["Options '--csv' and '--timeline' must name two files, not 'a.csv' both"]
    refused("run", "sat-vcu1525", "resnet18-cifar", "--csv", "a.csv", "--timeline", "./a.csv", cwd=tmp_path, saying=said)
    assert not list(tmp_path.iterdir())


def test_a_build_into_the_current_folder(tmp_path):
    said = ["Option '--output' must be another folder than this one, whose place it takes, not '.'"]
    refused("build", "tile-int8", "--board", "icebreaker", "-o", ".", cwd=tmp_path, saying=said)


@pytest.mark.parametrize(
    ("change", "saying"),
    [
        ("PRAGMA user_version=99", "schema must be 1, not 99: written by another release"),
        ("UPDATE points SET status = NULL", ""),
        ("UPDATE points SET key = 'other ' || key", ""),
    ],
    ids=["newer", "null status", "other keys"],
)
def test_a_store_that_something_else_has_written(change, saying, place, tmp_path):
    """A newer one is left alone; of another the points are evaluated again."""
    (tmp_path / "out").mkdir()
    for name in ("store.sqlite", "sweep.json"):
        (tmp_path / "out" / name).write_bytes((place / "a #3 é" / name).read_bytes())
    (tmp_path / "space.toml").write_text(BATCHES)
    with closing(sqlite3.connect(tmp_path / "out" / "store.sqlite", isolation_level=None)) as db:
        db.execute(change)
    sweep = ("sweep", "space.toml", "-o", "out", "-j", "1", "-q", "--no-report")
    if saying:
        for words in (("diff", "out", "out"), ("merge", "out", "-o", "all")):
            refused(*words, cwd=tmp_path, saying=[saying])
        assert not (tmp_path / "all").exists()
        return
    if "key" in change:
        told = dse("pareto", "out", cwd=tmp_path).stdout
        assert "none evaluated yet, of 2 points\n  the store holds 2 other points: of another space, release or cost" in told
        refused("report", "out", cwd=tmp_path, saying=["the same `dse sweep` evaluates them again"])
    ran = dse(*sweep, cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "2 ok, of 2 points" in ran.stdout
