"""Do searches, constraints and sensitivity work as typed, twice over, and say what went wrong?"""

import json
import shutil

import pandas as pd
import pytest
from terminal import dse, refused, write_space

from dse.folder import SweepFolder

AXES = """
"accelerator.pe.interleave" = [1, 2, 4]
"accelerator.array.rows" = [8, 16, 32]
"accelerator.pe.group" = [4, 16]
"""  # 36 points; 2:8 does not fit a selector of 4
SEARCH = ("--search", "nsga2", "--points", "12", "--population", "6", "--seed", "1", "--no-report", "-q", "-j", "1")
CLOSED = ("--fidelity", "analytic", "--confirm", "none")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    path = write_space(folder, AXES)
    path.write_text(path.read_text().replace(', "dram_bytes_per_image"', ', "ecp5_lut * latency_ms"'))
    return folder


def done(*arguments, cwd):
    ran = dse(*arguments, cwd=cwd)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def searched(place):
    return done("sweep", "space.toml", "-o", "out", *SEARCH, *CLOSED, "--baselines", "2", cwd=place)


def test_a_search_prints_its_front_and_random_search_beside_it(searched, place):
    assert "12 points by nsga2, seed 1, closed form" in searched
    assert "Pareto front: " in searched
    assert "random, mean of 2" in searched
    assert "seeds 1; random 2, 3" in searched
    beside = pd.read_csv(place / "out" / "search.csv")
    assert list(beside.columns) == ["evaluations", "search", "random, seed 2", "random, seed 3"]
    assert beside["evaluations"].iloc[-1] == 12
    assert beside.iloc[:, 1:].max().max() <= 1
    assert (beside.diff().dropna() >= 0).all().all()
    space, _ = SweepFolder(place / "out").load_space()
    assert len(space) == len(set(space.indices)) == 12


def test_the_same_search_again_gives_the_same_tables(searched, place):
    assert searched
    tables = [(place / "out" / name).read_bytes() for name in ("results.csv", "results.parquet", "search.csv")]
    shutil.copytree(place / "out", place / "again")
    done("sweep", "space.toml", "-o", "again", *SEARCH, *CLOSED, "--baselines", "2", cwd=place)
    assert [(place / "again" / name).read_bytes() for name in ("results.csv", "results.parquet", "search.csv")] == tables
    shutil.rmtree(place / "again")
    done("sweep", "space.toml", "-o", "again", *SEARCH, *CLOSED, "--baselines", "2", cwd=place)
    assert [(place / "again" / name).read_bytes() for name in ("results.csv", "results.parquet", "search.csv")] == tables


def test_points_of_a_search_are_shown_again_and_have_numbers(searched, place):
    assert searched
    again = done("pareto", "out", cwd=place)
    assert "12 points were evaluated by the closed form" in again
    limited = done("pareto", "out", "--constraint", "latency_ms <= 0", cwd=place)
    assert "the Pareto front is empty" in limited
    assert "break 'latency_ms <= 0'" in limited
    assert "no point keeps all constraints" in limited
    fronted = done("pareto", "out", "--minimize", "latency_ms * multipliers", cwd=place)
    assert "Pareto front: " in fronted


def test_a_search_by_event_runs_goes_on_from_its_store(place):
    short = ("--search", "nsga2", "--points", "4", "--population", "2", "--seed", "3", "--no-report", "-j", "1")
    first = done("sweep", "space.toml", "-o", "event", *short, "-q", cwd=place)
    assert "4 points by nsga2, seed 3, 1 worker" in first
    assert "random, mean of 1" in first
    tables = (place / "event" / "results.csv").read_bytes()
    ran = dse("sweep", "space.toml", "-o", "event", *short, cwd=place)
    assert "0/4 points" not in ran.stderr  # nothing is left to evaluate
    assert (place / "event" / "results.csv").read_bytes() == tables


def test_constraints_keep_points_out_before_and_after_they_run(place):
    limits = ("--constraint", "accelerator.array.rows * accelerator.pe.interleave <= 32", "--constraint", "latency_ms <= 20")
    text = done("sweep", "space.toml", "-o", "limits", "--no-report", "-q", "-j", "1", *CLOSED, *limits, cwd=place)
    assert "12 of 36 grid points were not evaluated: their settings break a constraint" in text
    assert "break 'latency_ms <= 20'" in text
    frame = pd.read_parquet(place / "limits" / "results.parquet")
    assert (frame["accelerator.array.rows"] * frame["accelerator.pe.interleave"] <= 32).all()
    ran = frame[frame["status"] == "ok"]
    assert ((ran["latency_ms"] > 20) == (ran["breaks"] == "latency_ms <= 20")).all()


@pytest.mark.parametrize(
    ("kind", "more"), [("cmaes", ()), pytest.param("gp", ("--population", "4"), marks=[pytest.mark.slow, pytest.mark.torch])]
)
def test_other_searches_as_typed(place, kind, more):
    """The best of 36 by the closed form, which the whole grid shows."""
    text = (place / "space.toml").read_text()
    objectives = text[text.index("minimize = ") :].splitlines()[0]
    (place / "one.toml").write_text(text.replace(objectives, 'minimize = ["latency_ms * ecp5_lut"]'))
    common = ("--seed", "2", "--no-report", "-q", "-j", "1", *CLOSED)
    found = done("sweep", "one.toml", "-o", kind, "--search", kind, "--points", "18", *more, *common, cwd=place)
    assert f"18 points by {kind}, seed 2, closed form" in found
    assert "random, mean of 5" in found
    done("sweep", "one.toml", "-o", f"{kind}-all", *common, cwd=place)
    best = [
        (lambda frame: (frame["latency_ms"] * frame["ecp5_lut"]).min())(pd.read_parquet(place / name / "results.parquet"))
        for name in (kind, f"{kind}-all")
    ]
    assert best[0] == best[1]


def test_a_search_of_which_no_point_may_stand_on_a_front_says_why(place):
    limit = ("--constraint", "latency_ms <= 0", "--constraint", "ecp5_lut > 0")
    text = done("sweep", "space.toml", "-o", "empty", *SEARCH, *CLOSED, *limit, cwd=place)
    assert "the Pareto front is empty: no point that ran keeps all constraints" in text
    assert "break 'latency_ms <= 0'" in text
    assert "no point keeps all constraints, so there is no front; loosen the one that most points break" in text


def test_sensitivity_says_what_matters(place):
    text = done("sensitivity", "space.toml", "--objective", "latency_ms", "--samples", "64", cwd=place)
    assert "latency_ms depends most on accelerator.array.rows: " in text
    assert "Sobol indices of 384 evaluations, 36 of them different; " in text
    assert "seed 0" in text
    data = json.loads(done("sensitivity", "space.toml", "--objective", "multipliers", "--samples", "16", "--json", cwd=place))
    assert data[0]["influences"][0]["axis"] == "accelerator.array.rows"


def test_what_cannot_be_searched_is_refused(place):
    sweep = ("sweep", "space.toml", "-o", "never")
    refused(*sweep, "--search", "anneal", cwd=place, saying=["Option '--search' must be grid, random, nsga2", "not 'anneal'"])
    refused(*sweep, "--search", "nsga2", cwd=place, saying=["'nsga2' must be told how many points: --points N"])
    many = ["must have exactly one objective, not 3 (latency_ms, multipliers, ecp5_lut * latency_ms)"]
    refused(*sweep, "--search", "cmaes", "--points", "9", cwd=place, saying=many)
    none = ["must have a point whose settings keep 'accelerator.array.rows >= 100', but of 36 none does"]
    impossible = ("--constraint", "accelerator.array.rows >= 100")
    refused(*sweep, "--search", "nsga2", "--points", "9", *impossible, cwd=place, saying=none)
    refused(*sweep, "--constraint", "latency <= 3", cwd=place, saying=["did you mean 'latency_ms'"])
    refused(*sweep, "--constraint", "latency_ms", cwd=place, saying=["must be one comparison of columns"])
    refused(*sweep, "--fidelity", "quick", cwd=place, saying=["Option '--fidelity' must be event or analytic, not 'quick'"])
    refused(*sweep, "--confirm", "rtl", cwd=place, saying=["Option '--confirm rtl' must go with --fidelity analytic"])
    lacks = ["not 'array_compute_cycles'", "--fidelity event has all"]
    refused(*sweep, *CLOSED, "--constraint", "array_compute_cycles <= 3", cwd=place, saying=lacks)
    refused("sensitivity", "space.toml", "--rows", cwd=place, saying=["'--rows' must go with the folder of a sweep"])
    refused("sensitivity", "space.toml", "--objective", "cycls", cwd=place, saying=["did you mean 'cycles'"])
    assert not (place / "never").exists()
