"""Is the page of the study of the closed form what its tables say, and do these meet what it claims?"""

from pathlib import Path

import pandas as pd

from reports.studies import closed_form
from reports.studies.closed_form.points import BASE, POINTS
from reports.studies.closed_form.write import MEDIAN, WORST, page

FOLDER = Path(closed_form.__file__).parent
STEPS = pd.read_csv(FOLDER / "steps.csv")


def test_the_page_is_made_of_the_tables():
    cost = FOLDER / "cost.csv"
    text = page(STEPS, pd.read_csv(FOLDER / "operations.csv"), pd.read_csv(cost) if cost.exists() else None)
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == text


def test_the_table_has_every_step_and_its_error():
    assert STEPS["number"].tolist() == list(range(POINTS))
    assert (STEPS["closed_cycles"] / STEPS["event_cycles"] - 1).round(6).tolist() == STEPS["error"].tolist()
    assert (STEPS["event_cycles"] >= STEPS["bound_cycles"]).all()
    assert {name.removeprefix("accelerator.") for name in BASE}.isdisjoint(STEPS.columns)  # what is drawn, and only that


def test_the_closed_form_is_as_near_as_is_said():
    """The median and the worst are as asked for."""
    error = STEPS["error"].abs()
    assert (STEPS["closed_cycles"] >= STEPS["bound_cycles"]).all()
    assert error.median() <= MEDIAN
    assert error.max() <= WORST
    assert "are beyond it" not in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_operations_alone_are_exact_where_nothing_waits():
    operations = pd.read_csv(FOLDER / "operations.csv")
    free = operations[operations["port_wait"] == 0]
    assert len(free) > 50
    assert free["closed_cycles"].tolist() == free["event_cycles"].tolist()
