"""Can what is printed be read, at 80 columns and at 140, with nothing cut off that one needs?"""

import io
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

from dse.evaluate import evaluate
from dse.figures import number, share, si
from dse.pareto import candidates, front_of
from dse.point import make_point
from dse.render import print_accelerator, print_front, print_run
from dse.space import Objective
from simulator.cost.technology import tables
from simulator.presets import PRESETS

SETTINGS = {"accelerator": "sat-vcu1525", "workload": "resnet18-cifar", "method": "bdwp:2:8", "batch": 1}
OBJECTIVES = (Objective("latency_ms", True), Objective("multipliers", True), Objective("dram_bytes_per_image", True))


def printed(width, what, *arguments, **options):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    what(console, *arguments, **options)
    text = console.file.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    return text


@pytest.fixture(scope="module")
def run():
    return evaluate(make_point(SETTINGS))


@pytest.fixture(scope="module")
def dense():
    return evaluate(make_point(SETTINGS | {"method": "dense"}))


@pytest.mark.parametrize("width", [80, 140])
def test_a_run_is_whole_at_any_width(run, dense, width):
    text = printed(width, print_run, run, dense, top=6)
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    flat = " ".join(text.split())
    assert f"{run.result.cycles:,} cycles" in flat
    assert f"{dense.result.cycles / run.result.cycles:.3f}x over dense" in flat
    assert "5 of 43 fields sourced, 38 assumed (dse show sat-vcu1525)" in flat
    assert ("array waits for" in flat) == (width == 140)
    for word in (
        "layer",
        "stage",
        "flow",
        "pattern",
        "cycles",
        "of step",
        "util",
        "bound by",
        "update",
        "wu",
        "more operations",
    ):
        assert word in flat


def test_the_top_operations_are_the_costliest_in_program_order(run):
    lines = printed(140, print_run, run, None, top=4).splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("layer"))
    shown = [line.split()[0] for line in lines[begin + 1 : begin + 5]]
    costly = run.table[run.table["cycles"] > 0].nlargest(4, "cycles").sort_index()
    assert shown == costly["layer"].tolist()
    every = printed(140, print_run, run, None, top=0)
    assert "more operations" not in every
    assert "speed-up" not in every
    assert all(name in every for name in run.table["layer"])


def test_an_energy_that_is_a_lower_bound_says_what_is_left_out(run):
    text = printed(140, print_run, run, None, top=1)
    bounds = [line.split()[1] for line in text.splitlines() if "at least" in line and line.startswith("energy")]
    assert bounds == ["asic-45nm", "asic-7nm", "xcup"]
    assert f"at least: not known, and counted as 0: static power ({', '.join(bounds)}); docs/energy.md" in text
    adam = replace(run, actions=replace(run.actions, update_roots=5))
    names = ", ".join(tables().technologies)
    assert f"update roots ({names})" in printed(200, print_run, adam, None, top=1)


def test_notices_are_printed_as_they_are():
    run = evaluate(make_point(SETTINGS | {"method": "bdwp:2:7"}))
    text = printed(140, print_run, run, None, top=1)
    assert (
        "note layer1.0.conv1 ff: stays dense under 2:7: 64 input channels along the reduction are not a multiple of M=7" in text
    )
    assert f"note and {len(run.workload.notices) - 5} more; --json lists them" in text


@pytest.fixture
def front():
    frame = pd.DataFrame(
        {
            "point": [0, 7, 19],
            "key": list("abc"),
            "method": ["dense", "bdwp:2:8", "[b]x"],
            "accelerator.dram.bytes_per_second": [19_200_000_000, 76_800_000_000, 19_200_000_000],
            "accelerator.array.dataflows": [["os"], ["os", "ws"], ["os"]],
            "accelerator.array.rows": [16, 32, 64],
            "batch": [8, 8, 8],
            "latency_ms": [1234.5, 12.345, 0.01234],
            "multipliers": [256, 1024.0, 4096],
            "dram_bytes_per_image": [1, 2, 3],
            "images_per_second": [1.5, 2.5, 3.5],
            "utilization": [0.25, 0.5, 0.75],
        }
    )
    return front_of(frame, OBJECTIVES)


@pytest.mark.parametrize("width", [80, 140])
def test_a_front_is_whole_at_any_width(front, width):
    varied = [name for name in front.columns if name == "method" or "." in name]
    names = candidates(front, OBJECTIVES)
    text = printed(width, print_front, front, OBJECTIVES, varied, names)
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    assert text.startswith("Pareto front: 3 points")
    for part in (
        "#0",
        "#7",
        "#19",
        "bdwp:2:8",
        "[b]x",
        "76.8G",
        "['os', 'ws']",
        "1,234",
        "12.35",
        "0.01234",
        "1,024",
        "fastest",
        "smallest",
    ):
        assert part in text
    assert "batch" not in text


def test_a_front_of_one_point_is_one_point(front):
    text = printed(140, print_front, front.head(1), OBJECTIVES, ["method"], {"fastest": front["key"].iloc[0]})
    assert text.startswith("Pareto front: 1 point ")


def test_fields_show_where_they_come_from_and_what_was_set():
    text = printed(140, print_accelerator, PRESETS["sat-vcu1525"].accelerator)
    assert "32x32 value-serial" in text
    assert "set here" not in text
    changed = make_point(SETTINGS | {"accelerator.pe.group": 8, "accelerator.name": "[x]"}).accelerator
    assert "[x]" in printed(140, print_accelerator, changed)
    lines = printed(140, print_accelerator, make_point(SETTINGS | {"accelerator.pe.group": 8}).accelerator).splitlines()
    assert [line.split()[0] for line in lines if "set here" in line] == ["pe.group"]


def test_numbers():
    assert [si(v) for v in (0, 999, 1000, 1234567, 2.5e9, 7.49e12, 5e15, 0.25)] == [
        "0", "999", "1 k", "1.23 M", "2.5 G", "7.49 T", "5,000 T", "0.25",
    ]  # fmt: skip
    assert [number(v) for v in (3, 3.0, 12345, 0.012345, 12.3456, 1234.56, 1e6)] == [
        "3", "3", "12,345", "0.01235", "12.35", "1,235", "1,000,000",
    ]  # fmt: skip
    assert (share(1, 3), share(1, 0)) == ("33.3%", "-")
