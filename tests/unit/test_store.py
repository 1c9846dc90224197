"""Is a row in the store or not, whoever else writes, whatever is on the disk, however full it is?"""

import multiprocessing
import resource
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import version

import pandas as pd
import pytest

from dse.store import RELEASE, Store, StoreError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.sqlite"


def rows(store):
    return store.frame().to_dict("records")


def test_rows_stay_across_openings_ordered_by_key(path):
    with Store(path) as store:
        store.add([{"key": "b", "cycles": 2, "method": "dense"}, {"key": "a", "cycles": 1, "method": "bdwp:2:8"}])
    with Store(path) as store:
        assert rows(store) == [
            {"key": "a", "cycles": 1, "method": "bdwp:2:8"},
            {"key": "b", "cycles": 2, "method": "dense"},
        ]
        assert store.keys() == {"a", "b"}


def test_the_first_row_of_a_key_stays(path):
    with Store(path) as store:
        store.add([{"key": "a", "cycles": 1}])
        store.add([{"key": "a", "cycles": 2}, {"key": "b", "cycles": 3}])
        assert [row["cycles"] for row in rows(store)] == [1, 3]


def test_columns_come_with_rows(path):
    with Store(path) as store:
        store.add([{"key": "a"}])
        store.add([{"key": "b", 'odd "name".x': 1, "text": "t"}])
        frame = store.frame().set_index("key")
        assert frame.loc["b", 'odd "name".x'] == 1
        assert frame["text"].isna().tolist() == [True, False]


def test_a_frame_of_some_columns_reads_only_those(path):
    with Store(path) as store:
        store.add([{"key": "a", "x": 1, "y": 2.5, "t": "u"}, {"key": "b", "x": 3}])
        frame = store.frame(["t", "x", "none", "x"])
        assert frame.columns.tolist() == ["t", "x", "none"]
        assert frame["x"].tolist() == [1, 3]
        assert frame["none"].isna().all()
        asked = []
        store._db.set_trace_callback(asked.append)
        store.frame(["y"])
        store._db.set_trace_callback(None)
        assert [text for text in asked if text.startswith("SELECT")] == ['SELECT "y" FROM points ORDER BY "key"']
        assert len(store.frame([])) == 2


def test_a_frame_is_the_one_that_pandas_reads(path, monkeypatch):
    """Whatever types and gaps a column's chunks have."""
    monkeypatch.setattr("dse.store._CHUNK", 10)

    def row(i):
        late = i if i > 20 else None
        return {
            "key": f"{i:03}", "int": i, "gaps": i if i % 7 else None, "float": i / 3, "none": None,
            "text": "x" if i % 5 else None, "mixed": "a" if i % 2 else i,
            "late": late, "late_text": late and "z", "becomes": i if i < 15 else i / 2,
            "number_then_text": i if i < 15 else "t", "text_late_number": 1 if i == 29 else late and "z", "big": 2**62 + i,
        }  # fmt: skip

    with Store(path) as store:
        store.add(row(i) for i in range(30))
        frame = store.frame()
        with closing(sqlite3.connect(path)) as db:
            read = pd.read_sql_query("SELECT * FROM points ORDER BY key", db)
    pd.testing.assert_frame_equal(frame, read.drop(columns=RELEASE), check_exact=True)


def test_a_store_knows_the_releases_of_its_rows_and_keeps_them_out_of_frames(path):
    with Store(path) as store:
        assert store.releases() == set()
        store.add([{"key": "a", "x": 1}])
        assert store.releases() == {version("nmdse")}
        store._db.execute(f"UPDATE points SET {RELEASE} = NULL")  # as written by a release that did not say it
        store.add([{"key": "b", "x": 1}])
        assert store.releases() == {version("nmdse")}
        assert RELEASE not in store.frame().columns
        assert store.frame([RELEASE])[RELEASE].tolist()[1] == version("nmdse")


def test_rows_of_several_kinds_in_one_transaction(path):
    with Store(path) as store:
        store.add([{"key": "a", "x": 1}, {"x": 2, "key": "b"}, {"key": "c", "y": 3}, {"key": "d", "x": 4}])
        assert store.frame().fillna(0).to_dict("list") == {"key": ["a", "b", "c", "d"], "x": [1, 2, 0, 4], "y": [0, 0, 3, 0]}


def test_values_keep_their_types_and_lists_and_giants_are_text(path):
    with Store(path) as store:
        store.add([{"key": "a", "i": 2**62, "f": 0.1, "b": True, "l": ["os", "ws"], "none": None, "big": 2**64}])
        (row,) = rows(store)
    assert row == {"key": "a", "i": 2**62, "f": 0.1, "b": 1, "l": "os ws", "none": None, "big": str(2**64)}


def test_a_failed_transaction_leaves_nothing_not_even_a_column(path):
    with Store(path) as store:
        store.add([{"key": "a", "x": 1}])
        with pytest.raises(StoreError, match=r"store\.sqlite' must be writable, but: .*; what it held is safe"):
            store.add([{"key": "b", "new": 1}, {"key": "c", "bad": object()}])
        assert rows(store) == [{"key": "a", "x": 1}]
        store.add([{"key": "b", "new": 2}])
        assert store.frame()["new"].tolist()[1] == 2


def _write_many(path, name, start):
    start.wait(30)
    with Store(path) as store:
        for i in range(60):
            store.add([{"key": f"{name}{i}", "shared": i, f"own_{name}_{i % 7}": i}])


def test_processes_that_write_at_once_lose_nothing(path):
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    writers = [context.Process(target=_write_many, args=(path, name, start)) for name in "abc"]
    for writer in writers:
        writer.start()
    start.set()  # they also make the store at once
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    with Store(path) as store:
        frame = store.frame().set_index("key")
    assert set(frame.index) == {f"{name}{i}" for name in "abc" for i in range(60)}
    assert all(frame.loc[f"{name}{i}", f"own_{name}_{i % 7}"] == i for name in "abc" for i in range(60))


def test_a_reader_sees_whole_transactions_while_another_writes(path):
    with Store(path) as writer, Store(path) as reader:
        writer.add([{"key": "a", "x": 1}])
        assert rows(reader) == [{"key": "a", "x": 1}]
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("INSERT INTO points (key, x) VALUES ('b', 2)")
            assert reader.keys() == {"a"}
            other.execute("COMMIT")
        assert reader.keys() == {"a", "b"}
        writer.add([{"key": "c", "y": 3}])
        assert len(rows(reader)) == 3


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"x" * 5000])
def test_a_file_that_is_no_store_is_refused_and_left_alone(path, content):
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"store\.sqlite' must be a writable store: "):
        Store(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("version", [0, 2, 99])
def test_another_schema_is_refused_and_left_alone(path, version):
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (x)")
        db.execute(f"PRAGMA user_version={version}")
        db.commit()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=rf"schema must be 1, not {version}: written by another release"):
        Store(path)
    assert path.read_bytes() == before


def test_a_table_of_another_program_is_refused_and_left_alone(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE points (x)")
        db.execute("PRAGMA user_version=1")
    with pytest.raises(StoreError, match="must have a key for each point: another program made this table"):
        Store(path)
    with closing(sqlite3.connect(path)) as db:
        assert [row[1] for row in db.execute("PRAGMA table_info(points)")] == ["x"]


def test_rows_that_failed_or_say_nothing_are_tried_again(path):
    with Store(path) as store:
        store.add({"key": key, "status": status} for key, status in (("a", "ok"), ("b", "failed"), ("c", None)))
        store.forget_failed()
        assert store.keys() == {"a"}


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for below in (tmp_path / "file" / "store.sqlite", tmp_path):
        with pytest.raises(StoreError, match="must be a writable store"):
            Store(below)


def test_a_full_database_is_one_error_and_what_was_there_stays(path):
    with Store(path) as store:
        store.add([{"key": "a", "x": 1}])
        store._db.execute("PRAGMA max_page_count=6")
        with pytest.raises(StoreError, match="full; what it held is safe"):
            store.add([{"key": f"b{i}", "x": "long" * 500} for i in range(50)])
        assert rows(store) == [{"key": "a", "x": 1}]


_FILL = """
import sys
from pathlib import Path
from dse.store import Store, StoreError
with Store(Path(sys.argv[1])) as store:
    done = 0
    try:
        while done < 10_000:
            store.add([{"key": f"k{done}", "x": "y" * 1000}])
            done += 1
    except StoreError as error:
        print(done, error)
"""


def test_a_full_disk_is_one_error_and_every_committed_row_stays(path):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    ran = subprocess.run(
        [sys.executable, "-c", _FILL, str(path)], preexec_fn=limit, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stderr == ""
    done, _, message = ran.stdout.partition(" ")
    assert 10 < int(done) < 1000
    assert "must be writable, but: " in message
    assert "what it held is safe" in message
    with Store(path) as store:  # the disk has room again
        assert store.keys() == {f"k{i}" for i in range(int(done))}
        store.add([{"key": "later", "x": 1}])
