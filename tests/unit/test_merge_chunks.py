"""Are files of the closed form of several folders brought together, each once, and is what can't be merged said?"""

import json
import re
from dataclasses import replace

import pandas as pd
import pytest
from typer.testing import CliRunner

from dse.bulk_sweep import bulk_sweep, chunks_of
from dse.chunks import Chunks, packed
from dse.cli import app
from dse.config import ConfigError
from dse.folder import SweepFolder
from dse.grid import Space
from dse.merge_chunks import merge_chunks
from dse.objectives import Objective
from dse.store import Store

SPACE = Space(
    title="t",
    base={"accelerator": "sat-vcu1525", "workload": "resnet18-cifar", "method": "dense"},
    axes=(
        tuple({"accelerator.sequencer.queue_depth": depth} for depth in range(8, 108)),
        tuple({"accelerator.updater.lanes": lanes} for lanes in (8, 16, 32, 64)),
        tuple({"accelerator.pe.multiply_latency": cycles} for cycles in range(1, 6)),
    ),  # 2,000 points: two files
    objectives=(Objective("latency_ms", True), Objective("multipliers", True)),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return swept(tmp_path_factory.mktemp("m") / "whole")


def swept(path, space=SPACE):
    folder = SweepFolder(path)
    folder.create()
    folder.save_space(space, "dse sweep x")
    with Store(folder.store):
        pass
    bulk_sweep(space, folder, jobs=1, most=0, report=lambda _: None)
    return folder


def part(whole, path, *ranges, change=None, digest=None):
    """A folder of the same sweep with some of its files, of which a column may be changed."""
    folder, chunks = SweepFolder(path), chunks_of(SPACE, whole)
    folder.create()
    folder.save_space(SPACE, "dse sweep x")
    with Store(folder.store):
        pass
    own = Chunks(folder.chunks, digest or chunks.digest, chunks.size)
    for number in ranges:
        start, stop = chunks.ranges[number]
        data = chunks.path(start, stop).read_bytes()
        if change or digest:
            data = packed(chunks.whole(start, stop).assign(**(change or {})), own.digest, start, stop)
        own.add(start, stop, data)
    return folder


def counts(merged):
    return [(each.files, each.added, each.known, each.damaged, each.others, len(each.different)) for each in merged]


def test_files_of_several_folders_come_together_once(whole, tmp_path):
    a, b, target = part(whole, tmp_path / "a", 0), part(whole, tmp_path / "b", 0, 1), SweepFolder(tmp_path / "c")
    assert counts(merge_chunks([a, b], target)) == [(1, 1, 0, 0, 0, 0), (2, 1, 1, 0, 0, 0)]
    mine = Chunks(target.chunks, chunks_of(SPACE, whole).digest, SPACE.size)
    pd.testing.assert_frame_equal(mine.frame(), chunks_of(SPACE, whole).frame(), check_exact=True)
    assert counts(merge_chunks([a, b], target)) == [(1, 0, 1, 0, 0, 0), (2, 0, 2, 0, 0, 0)]


def test_other_results_are_said_and_the_first_stay(whole, tmp_path):
    a, b = part(whole, tmp_path / "a", 0), part(whole, tmp_path / "b", 0, 1, change={"latency_ms": 1.0})
    target = SweepFolder(tmp_path / "c")
    assert counts(merge_chunks([a, b], target)) == [(1, 1, 0, 0, 0, 0), (2, 1, 0, 0, 0, 1)]
    start, stop = chunks_of(SPACE, whole).ranges[0]
    name = chunks_of(SPACE, whole).path(start, stop).name
    assert (target.chunks / name).read_bytes() == (whole.chunks / name).read_bytes()


def test_failed_points_make_room_and_damaged_files_are_left_out(whole, tmp_path):
    failed, good = part(whole, tmp_path / "a", 0, change={"status": "failed"}), part(whole, tmp_path / "b", 0, 1)
    target = SweepFolder(tmp_path / "c")
    path = sorted(good.chunks.glob("*.parquet"))[1]
    path.write_bytes(path.read_bytes()[:-100])
    other = part(whole, tmp_path / "d", 0, digest="0" * 16)
    assert counts(merge_chunks([failed, good, failed, other], target))[:2] == [(1, 1, 0, 0, 0, 0), (2, 1, 0, 1, 0, 0)]
    assert counts(merge_chunks([failed, other], target)) == [(1, 0, 1, 0, 0, 0), (0, 0, 0, 0, 1, 0)]
    assert not (Chunks(target.chunks, chunks_of(SPACE, whole).digest, SPACE.size).frame()["status"] == "failed").any()


def test_folders_of_different_points_are_refused_and_nothing_is_made(whole, tmp_path):
    other = part(whole, tmp_path / "a", 0)
    other.save_space(replace(SPACE, samples=100, seed=1), "dse sweep y")
    with pytest.raises(
        ConfigError, match=r"must hold the same points of the closed form to be merged, but '.*whole' and '.*/a'"
    ):
        merge_chunks([whole, other], SweepFolder(tmp_path / "c"))
    command = ["merge", str(whole.path), str(other.path), "-o", str(tmp_path / "c")]
    with pytest.raises(ConfigError, match="sweeps of different spaces, samples or searches"):
        CliRunner().invoke(app, command, catch_exceptions=False, standalone_mode=False)
    assert not (tmp_path / "c").exists()


def test_the_command_says_what_came_and_the_merged_folder_is_that_sweep(whole, tmp_path):
    a, b, c = part(whole, tmp_path / "a", 1), part(whole, tmp_path / "b", 0), tmp_path / "c"
    ran = CliRunner().invoke(app, ["merge", str(a.path), str(b.path), "-o", str(c)])
    flat = " ".join(ran.output.split())
    assert ran.exit_code == 0
    assert len(re.findall("1 files of the closed form, 1 added, 0 known", flat)) == 2
    assert json.loads(SweepFolder(c).space_file.read_text())["title"] == "t"
    shown = CliRunner().invoke(app, ["pareto", str(c)])
    assert "2,000 points were evaluated by the closed form" in " ".join(shown.output.split())
    changed = part(whole, tmp_path / "d", 0, change={"latency_ms": 1.0})
    ran = CliRunner().invoke(app, ["merge", str(changed.path), "-o", str(c)])
    assert ran.exit_code == 1
    assert "1 that contradict those before, which stay" in " ".join(ran.output.split())
