"""Does a merged store hold every row once, the first of each key, and is what contradicts it said?"""

import sqlite3
from contextlib import closing

import pytest

from dse.config import ConfigError
from dse.merge import merge_stores
from dse.store import RELEASE, Store, StoreError


@pytest.fixture
def stores(tmp_path):
    def make(name, *rows):
        with Store(tmp_path / name) as store:
            store.add(rows)
        return tmp_path / name

    return make


def row(key, **values):
    return {"key": key, "status": "ok", "accelerator.name": "x", **values}


def rows(path):
    with Store(path) as store:
        found = store.frame()
    return [
        {name: value for name, value in row.items() if value is not None and value == value} for row in found.to_dict("records")
    ]


def counts(merged):
    return [(store.rows, store.added, store.known, store.different) for store in merged]


def test_every_row_comes_once_with_its_columns(stores, tmp_path):
    a = stores("a", row("1", cycles=5), row("2", cycles=6))
    b = stores("b", row("2", cycles=6), row("3", cycles=7, energy=0.1))
    target = tmp_path / "new" / "c"
    assert counts(merge_stores([a, b], target)) == [(2, 2, 0, ()), (2, 1, 1, ())]
    assert rows(target) == [row("1", cycles=5), row("2", cycles=6), row("3", cycles=7, energy=0.1)]
    assert counts(merge_stores([a, b], target)) == [(2, 0, 2, ()), (2, 0, 2, ())]
    with Store(target) as store:
        assert store.frame([RELEASE])[RELEASE].tolist() == [next(iter(store.releases()))] * 3


@pytest.mark.parametrize("change", [{"cycles": 6}, {"cycles": None}, {"more": 1}, {"status": "unsupported"}])
def test_another_result_of_a_key_is_said_and_the_first_stays(change, stores, tmp_path):
    first, other = row("1", cycles=5), row("1", cycles=5) | change
    for old, new in ((first, other), (other, first)):
        target = tmp_path / f"c{old is first}"
        merged = merge_stores([stores(f"a{old is first}", old), stores(f"b{old is first}", new, row("2"))], target)
        assert counts(merged) == [(1, 1, 0, ()), (2, 1, 0, ("1",))]
        assert rows(target)[0] == {name: value for name, value in old.items() if value is not None}


def test_another_name_of_a_point_is_no_other_result(stores, tmp_path):
    a, b = stores("a", row("1", cycles=5)), stores("b", row("1", cycles=5) | {"accelerator.name": "y", "mapping.new": 1})
    assert counts(merge_stores([a, b], tmp_path / "c")) == [(1, 1, 0, ()), (1, 0, 1, ())]


def test_a_failed_row_makes_room_for_one_that_did_not_fail(stores, tmp_path):
    failed, good = {"key": "1", "status": "failed", "error": "lost"}, row("1", cycles=5)
    a, b = stores("a", failed), stores("b", good)
    assert counts(merge_stores([a, b], tmp_path / "c")) == [(1, 1, 0, ()), (1, 1, 0, ())]
    assert counts(merge_stores([b, a], tmp_path / "d")) == [(1, 1, 0, ()), (1, 0, 1, ())]
    assert rows(tmp_path / "c") == rows(tmp_path / "d") == [good]


def test_stores_of_several_releases_are_refused_and_nothing_is_made(stores, tmp_path):
    a, b, old = stores("a", row("1")), stores("b", row("2")), stores("old", row("3"))
    for path, release in ((b, "'9.9'"), (old, "NULL")):  # written before rows said it
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"UPDATE points SET {RELEASE} = {release}")
            db.commit()
    with pytest.raises(ConfigError, match=r"rows of one release of nmdse, not several: .* in '.*/a', 9\.9 in '.*/b'"):
        merge_stores([a, b], tmp_path / "c")
    assert not (tmp_path / "c").exists()
    assert counts(merge_stores([a, old], tmp_path / "c")) == [(1, 1, 0, ()), (1, 1, 0, ())]
    with pytest.raises(ConfigError, match=r"9\.9 in"):  # also beside what the target holds
        merge_stores([b], tmp_path / "c")


def test_what_is_no_store_is_refused(stores, tmp_path):
    a = stores("a", row("1"))
    (tmp_path / "text").write_text("no store")
    (tmp_path / "empty").touch()
    for source, error in (("none", ConfigError), ("empty", ConfigError), ("text", StoreError)):
        with pytest.raises(error, match=source):
            merge_stores([a, tmp_path / source], tmp_path / "c")
    with pytest.raises(ConfigError, match="'--out' must name another store"):
        merge_stores([a], a)
    assert not (tmp_path / "c").exists()


def test_a_source_that_can_only_be_read(stores, tmp_path):
    a = stores("a", row("1"))
    a.chmod(0o444)
    assert counts(merge_stores([a], tmp_path / "c")) == [(1, 1, 0, ())]
