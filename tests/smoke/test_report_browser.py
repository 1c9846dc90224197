"""Does a browser draw every plot of a report, without an error and without asking the network for anything?"""

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from dse.evaluate import Run, evaluate, row_of
from dse.point import make_point
from reports.inputs import Detail, ReportInputs
from reports.report import write_report
from simulator.arch import leaf_fields

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --window-size=1280,900 "
    "--virtual-time-budget=20000 --enable-logging=stderr --v=0 --dump-dom"
)
AXES = ("method", "accelerator.array.rows")

needs_browser = pytest.mark.skipif(not BROWSER, reason="no Chromium or Chrome on this machine")


def open_page(page: Path, profile: Path) -> tuple[str, list[str]]:
    """The page after its scripts ran, and what they wrote to the console."""
    command = [BROWSER, *OPTIONS.split(), f"--user-data-dir={profile}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def settings_of(method: str, rows: int) -> dict[str, object]:
    machine = {"accelerator": "sat-vcu1525", "accelerator.array.rows": rows, "accelerator.pe.group": 8}
    return machine | {"workload": "resnet18-cifar", "method": method, "batch": 1}


def detail_of(name: str, row: dict[str, object], *, events: bool) -> Detail:
    point = make_point(settings_of(str(row["method"]), int(str(row["accelerator.array.rows"]))))
    run = evaluate(point, record_events=events)
    assert isinstance(run, Run)
    return Detail(
        name=name,
        key=str(row["key"]),
        settings={axis: row[axis] for axis in AXES},
        metrics=run.metrics(),
        accelerator=leaf_fields(point.accelerator),
        table=run.table,
        stages=run.stages,
        timeline=run.timeline,
        engines=pd.DataFrame({e.value: {"busy": t.busy, **t.stalls} for e, t in run.result.engines.items()}).T,
    )


@needs_browser
def test_every_plot_is_drawn_without_a_console_message(tmp_path: Path) -> None:
    rows = [
        row_of(make_point(settings), settings)
        for method in ("dense", "bdwp:2:8", "bdwp:2:16")
        for rows in (16, 32)
        if (settings := settings_of(method, rows))
    ]
    frame = pd.DataFrame(rows)
    fast, small = rows[3], rows[2]  # bdwp:2:8 on 32 and on 16 rows; 2:16 is wider than the PE's selector
    assert list(frame["status"]) == ["ok"] * 4 + ["unsupported"] * 2
    inputs = ReportInputs(
        title="A report that a browser opens",
        frame=frame,
        axes=AXES,
        objectives=(("latency_ms", "min"), ("multipliers", "min")),
        front=(fast["key"], small["key"]),
        candidates={"fastest": fast["key"], "smallest": small["key"], "knee": fast["key"]},
        details=(detail_of("fastest", fast, events=True), detail_of("smallest", small, events=False)),
    )
    page = tmp_path / "report.html"
    write_report(inputs, page)
    dom, console = open_page(page, tmp_path / "profile")
    assert console == []

    boxes = {part.split('"', 1)[0]: part for part in re.split(r'data-figure="', dom)[1:]}
    assert list(boxes) == [
        "pareto-0",
        "speedup",
        "stages",
        "causes",
        "layers",
        "roofline-0",
        "roofline-1",
        "timeline",
        "timeline-zoom",
        "engines",
        "axis-0",
        "axis-1",
    ]
    for name, box in boxes.items():
        assert 'class="main-svg"' in box, name
        assert re.search(r'class="(trace|boxlayer|point|barlayer)', box), name
        assert re.search(r'<path class="point"|class="(point|box|bars|points)"', box), name
    assert dom.count('class="plot js-plotly-plot"') == len(boxes)


@needs_browser
def test_an_error_in_a_page_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "broken.html"
    page.write_text("<!doctype html><script>nobody.home()</script>", encoding="utf-8")
    _, console = open_page(page, tmp_path / "profile")
    assert any("nobody is not defined" in line for line in console)
