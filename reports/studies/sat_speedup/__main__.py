"""Regenerate the study: ``python -m reports.studies.sat_speedup``. Continues where an earlier run stopped."""

import os
from pathlib import Path

import pandas as pd
from rich.progress import Progress as Bar

from dse.folder import versions
from dse.space import Space
from dse.store import Store
from dse.sweep import Progress, run_sweep, sweep_frame
from reports.studies.sat_speedup.assumptions import PAPER_AVERAGE
from reports.studies.sat_speedup.study import cases, combinations, one_at_a_time, speedups, swings
from reports.studies.sat_speedup.write import write_figure, write_readme

_COMBINATIONS, _SEED = 40, 1
_FOLDER = Path(__file__).parent


def main() -> None:
    with Store(Path("out/studies/sat_speedup.sqlite")) as store:
        frames: list[pd.DataFrame] = []
        for space, labels in (one_at_a_time(), combinations(_COMBINATIONS, _SEED)):
            _run(space, store)
            frames.append(speedups(cases(sweep_frame(space, store), labels)))
    single, joint = frames
    ranked = swings(single, "2:8")
    pd.concat(frames).to_csv(_FOLDER / "speedups.csv", index=False, float_format="%.4f")
    write_figure(_FOLDER / "swings.svg", ranked, joint, PAPER_AVERAGE)
    write_readme(_FOLDER / "README.md", single, joint, ranked, versions())


def _run(space: Space, store: Store) -> None:
    with Bar() as bar:
        task = bar.add_task(space.title, total=len(space))

        def report(state: Progress) -> None:
            bar.update(task, completed=state.found + state.evaluated)

        run_sweep(space, store, jobs=os.cpu_count() or 1, report=report)


if __name__ == "__main__":  # worker processes import this module
    main()
