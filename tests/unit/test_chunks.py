"""Is a file of the bulk store whole or not there, after a kill, on damage, merged; and does its name say what it holds?"""

import os
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dse import chunks as module
from dse.chunks import Chunks, packed, points_digest
from dse.space import Objective, Space
from dse.store import StoreError

SPACE = Space(
    title="t",
    base={"accelerator": "sat-vcu1525", "workload": "resnet18-cifar", "method": "dense"},
    axes=(({"accelerator.vector.lanes": 16}, {"accelerator.vector.lanes": 32}), ({"batch": 1}, {"batch": 2})),
    objectives=(Objective("cycles", True),),
)


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(module, "_LEAST", 250)


def table(start, stop, text="some"):
    """Points in another order than their numbers; the last of each table has no text."""
    count = stop - start
    return pd.DataFrame(
        {
            "point": np.arange(stop, start, -1, dtype=np.int64) - 1,
            "cycles": np.arange(count) / 3,
            "method": pd.Categorical(["dense"] * count),
            "error": pd.Categorical([text] * (count - 1) + [None]),
        }
    )


def stored(folder, size=700, texts=("a", "b", "a")):
    found = Chunks(folder, "abc", size)
    for (start, stop), text in zip(found.ranges, texts, strict=True):
        found.add(start, stop, packed(table(start, stop, text), "abc", start, stop))
    return found


def test_ranges_cover_all_points_once():
    for size in (0, 1, 249, 250, 251, 8000, 8001, 320_000, 320_001, 1_000_000):
        ranges = Chunks(None, "abc", size).ranges
        assert [point for start, stop in ranges for point in range(start, stop)] == list(range(size))
        assert all(stop - start <= module.CHUNK for start, stop in ranges)
    assert len(Chunks(None, "abc", 1_000_000).ranges) == 50


def test_all_of_it_is_one_table_sorted_by_point(tmp_path):
    found = stored(tmp_path)
    frame = found.frame()
    assert frame["point"].tolist() == list(range(700))
    assert frame["error"].isna().sum() == 3
    assert frame["error"].value_counts().to_dict() == {"a": 249 + 199, "b": 249}
    assert isinstance(frame["error"].dtype, pd.CategoricalDtype)
    expected = pd.concat([table(*each) for each in found.ranges]).sort_values("point")
    assert frame["cycles"].tolist() == expected["cycles"].tolist()


def test_files_with_and_without_texts_are_one_table(tmp_path):
    frame = stored(tmp_path, texts=(None, "b", None)).frame()
    assert frame["error"].dropna().tolist() == ["b"] * 249


def test_files_with_columns_in_another_order_are_one_table(tmp_path):
    """As an earlier state of the same release may have written them."""
    found, whole = stored(tmp_path), stored(tmp_path / "whole").frame()
    start, stop = found.ranges[1]
    found.add(start, stop, packed(table(start, stop, "b")[["error", "cycles", "point", "method"]], "abc", start, stop))
    pd.testing.assert_frame_equal(found.frame(), whole, check_exact=True)


def test_columns_and_points_that_are_asked_for(tmp_path):
    found = stored(tmp_path)
    assert list(found.frame(["cycles", "nothing"])) == ["cycles"]
    assert found.frame(points=np.array([699, 3, 250]))["point"].tolist() == [3, 250, 699]
    assert [len(frame) for frame in found.frames(["method"])] == [250, 250, 200]


def test_an_empty_store_is_an_empty_table(tmp_path):
    assert Chunks(tmp_path / "no", "abc", 700).frame()["point"].tolist() == []
    assert Chunks(tmp_path / "no", "abc", 700).whole(0, 250) is None


@pytest.mark.parametrize("how", ["cut", "empty", "flipped", "other", "gone"])
def test_a_damaged_file_is_not_whole(tmp_path, how):
    found = stored(tmp_path)
    start, stop = found.ranges[1]
    path = found.path(start, stop)
    data = bytearray(path.read_bytes())
    match how:
        case "cut":
            path.write_bytes(data[: len(data) // 2])
        case "empty":
            path.write_bytes(b"")
        case "flipped":
            place = data.index(np.float64(1 / 3).tobytes()) if np.float64(1 / 3).tobytes() in data else 100
            data[place] ^= 0x10
            path.write_bytes(data)
        case "other":
            shutil.copy(found.path(*found.ranges[0]), path)
        case "gone":
            path.unlink()
    assert [found.whole(*each) is not None for each in found.ranges] == [True, False, True]


def test_an_unfinished_file_is_nobodys_and_goes_when_it_is_old(tmp_path):
    found = stored(tmp_path)
    whole = found.frame()
    fresh, old = (tmp_path / f"{found.path(0, 250).name}.{name}.partial" for name in ("fresh", "old"))
    for path in (fresh, old):
        path.write_bytes(b"PAR1")
    os.utime(old, (0, 0))
    found.tidy()
    assert fresh.exists()
    assert not old.exists()
    pd.testing.assert_frame_equal(found.frame(), whole)


def test_a_write_that_fails_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="must be writable"):
        Chunks(tmp_path / "file", "abc", 700).add(0, 250, b"")
    found = Chunks(tmp_path, "abc", 700)
    found.path(0, 250).mkdir()
    with pytest.raises(StoreError, match="must be writable"):
        found.add(0, 250, b"data")
    assert not list(tmp_path.glob("*.partial"))


def test_folders_are_merged_by_copying(tmp_path):
    whole = stored(tmp_path / "whole").frame()
    for number, each in enumerate(Chunks(tmp_path, "abc", 700).ranges):
        part = Chunks(tmp_path / f"part{number % 2}", "abc", 700)
        part.add(*each, packed(table(*each, "aba"[number]), "abc", *each))
    for part in ("part0", "part1"):
        shutil.copytree(tmp_path / part, tmp_path / "merged", dirs_exist_ok=True)
    merged = Chunks(tmp_path / "merged", "abc", 700).frame()
    pd.testing.assert_frame_equal(merged, whole)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    found = stored(tmp_path)
    found.path(0, 250).write_bytes(b"nothing")
    with pytest.raises(StoreError, match="000000000250"):
        found.frame()


def test_a_name_depends_on_all_that_results_depend_on(monkeypatch):
    same = [
        SPACE,
        replace(SPACE, title="other"),
        replace(SPACE, objectives=(Objective("multipliers", True),)),
        replace(SPACE, axes=tuple(SPACE.axes), seed=5),
    ]
    assert len({points_digest(space) for space in same}) == 1
    other = [
        SPACE,
        replace(SPACE, base=SPACE.base | {"method": "bdwp:2:8"}),
        replace(SPACE, base=SPACE.base | {"workload": "vgg19-cifar"}),
        replace(SPACE, axes=SPACE.axes[::-1]),
        replace(SPACE, axes=SPACE.axes[:1]),
        replace(SPACE, samples=3),
        replace(SPACE, samples=3, seed=1),
        replace(SPACE, chosen=(0, 1)),
    ]
    digests = {points_digest(space) for space in other}
    for name in ("MODEL", "prices_digest"):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, "0.0.0" if name == "MODEL" else lambda: "other")
            digests.add(points_digest(SPACE))
    assert len(digests) == len(other) + 2
