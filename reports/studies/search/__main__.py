"""Regenerate the study: ``python -m reports.studies.search`` (some minutes on one core)."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import Progress

from dse.folder import versions
from reports.studies.search.study import BUDGET, RANDOM, RUN, SEARCHERS, SEEDS, curves, enumerated, needed, searched
from reports.studies.search.write import write_figure, write_readme

_FOLDER = Path(__file__).parent


def main() -> None:
    with Progress() as bar:
        task = bar.add_task("enumerate", total=None)
        truth = enumerated(lambda done, total: bar.update(task, completed=done, total=total))
        budget = int(BUDGET * truth.space.size)
        kinds = [*SEARCHERS, ("random", 0)]
        task = bar.add_task("search", total=len(kinds) * len(SEEDS))
        rows: list[dict[str, object]] = []
        shares: dict[str, NDArray[np.float64]] = {}
        at = np.unique(np.geomspace(10, RUN * truth.space.size, 60).astype(int)).tolist()
        for kind, population in kinds:
            name = f"{kind}, {population} at a time" if population else kind
            runs: list[NDArray[np.float64]] = []
            for seed in SEEDS:
                points = int((RANDOM if kind == "random" else RUN) * truth.space.size)
                runs.append(searched(truth, kind, population, seed, points))
                rows.append({"searcher": name, "seed": seed, "evaluations": needed(truth, runs[-1])})
                bar.advance(task)
            shares[name] = curves(truth, runs, at)
    table = pd.DataFrame(rows).astype({"evaluations": "Int64"})
    table.to_csv(_FOLDER / "evaluations.csv", index=False)
    pd.concat(
        [
            pd.DataFrame(found.T, columns=[str(seed) for seed in SEEDS]).assign(evaluations=at, searcher=name)
            for name, found in shares.items()
        ]
    ).to_csv(_FOLDER / "curves.csv", index=False, float_format="%.5f")
    write_figure(_FOLDER / "hypervolume.svg", shares, at, budget)
    write_readme(_FOLDER / "README.md", truth, table, shares, at, versions())


if __name__ == "__main__":
    main()
