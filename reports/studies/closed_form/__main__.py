"""Regenerate the study: ``python -m reports.studies.closed_form`` (ten minutes on one core). Continues where an earlier run
stopped. ``--cost`` measures what a point costs too (some minutes more, and two workers); ``--page`` only writes page and
figures again."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from rich.progress import Progress

from dse.point import MODEL
from dse.store import Store
from reports.studies.closed_form.points import DRAW, POINTS, drawn
from reports.studies.closed_form.study import EVENT, OPERATIONS, event_row, operation_rows, step_row
from reports.studies.closed_form.write import page, write_cost_figure, write_errors_figure

_FOLDER = Path(__file__).parent
_STORE = Path("out/studies/closed_form/steps.sqlite")


def main() -> None:
    if "--page" not in sys.argv[1:]:
        _measure()
    cost = _FOLDER / "cost.csv"
    if "--cost" in sys.argv[1:]:
        subprocess.run([sys.executable, "-m", "benchmarks.bulk_sweep", "--jobs", "2", "--csv", str(cost)], check=True)
    steps, known_cost = pd.read_csv(_FOLDER / "steps.csv"), pd.read_csv(cost) if cost.exists() else None
    write_errors_figure(_FOLDER / "errors.svg", steps)
    if known_cost is not None:
        write_cost_figure(_FOLDER / "cost.svg", known_cost)
    text = page(steps, pd.read_csv(_FOLDER / "operations.csv"), known_cost)
    (_FOLDER / "README.md").write_text(text, encoding="utf-8")


def _measure() -> None:
    with Store(_STORE) as store, Progress() as bar:
        known: dict[str, Any] = {row["key"]: row for row in store.frame().to_dict("records")}
        task = bar.add_task("training steps", total=POINTS)
        rows: list[dict[str, Any]] = []
        operations: list[dict[str, Any]] = []
        for number in range(POINTS):
            step, key = drawn(number), f"{MODEL} {DRAW} {number}"
            if key not in known:
                known[key] = {"key": key, **event_row(step)}
                store.add([known[key]])
            rows.append(step_row(step, {name: int(known[key][name]) for name in EVENT}))
            operations += operation_rows(step) if number < OPERATIONS else []
            bar.advance(task)
            if number % 50 == 49 or number == POINTS - 1:
                pd.DataFrame(rows).to_csv(_FOLDER / "steps.csv", index=False, float_format="%.6f")
                pd.DataFrame(operations).to_csv(_FOLDER / "operations.csv", index=False, float_format="%.6f")


if __name__ == "__main__":
    main()
