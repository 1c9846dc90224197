"""Did anything change? If on purpose: ``python -m tests.replay.regenerate``, in the same commit, which says why."""

import json

import pytest
from regenerate import POINTS, TABLE, row

ROWS = json.loads(TABLE.read_text(encoding="utf-8"))


def test_the_table_is_of_these_points():
    own = [{name: each[name] for name in settings} for each, settings in zip(ROWS, POINTS, strict=True)]
    assert own == list(POINTS)


@pytest.mark.parametrize(
    "want", ROWS, ids=["-".join(str(value) for value in each.values() if isinstance(value, str))[:60] for each in ROWS]
)
def test_same_as_before(want):
    """Named by settings, machine, then the parts, so that the first difference says where to look."""
    settings = POINTS[ROWS.index(want)]
    found = row(settings)
    for name in ("digest", "counters", "stages", "array_busy", "port_busy", "cycles"):
        assert found[name] == want[name], f"{name} changed: see tests/replay/regenerate.py"
    assert found == want
