"""A sweep's folder: the store, the space that was swept, and the tables, front and report made from them."""

import importlib.metadata
import json
import platform
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from reports.report import Detail, ReportInputs, write_report

from dse.config import ConfigError
from dse.evaluate import Run, evaluate
from dse.pareto import candidates, front_of
from dse.point import make_point, trace_digest
from dse.space import Objective, Space
from dse.store import StoreError
from simulator.arch import leaf_fields
from simulator.presets import PRESETS
from simulator.result import EngineTime
from simulator.schedule import Engine

__all__ = ["SweepFolder", "command_line", "versions"]


def command_line() -> str:
    """The command that is running, as a person would type it."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def versions() -> dict[str, str]:
    """Of this tool and of what its numbers rest on."""
    names = ("nmdse", "numpy", "simpy", "pandas", "networkx", "plotly")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}


class SweepFolder:
    """Paths and contents of one sweep's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store, self.space_file = path / "store.sqlite", path / "sweep.json"
        self.report, self.parquet, self.csv = path / "report.html", path / "results.parquet", path / "results.csv"

    def create(self) -> None:
        """Make the folder. Raises StoreError where it can't be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise StoreError(f"Folder {str(self.path)!r} must be writable: {error.strerror}") from None

    def save_space(self, space: Space, command: str) -> None:
        """Keep what was swept, so that `dse pareto`, `dse report` and ``FOLDER#N`` need only the folder."""
        data = {
            "title": space.title,
            "base": space.base,
            "axes": space.axes,
            "objectives": [[o.column, o.minimize] for o in space.objectives],
            "samples": space.samples,
            "seed": space.seed,
            "command": command,
        }
        _write(self.space_file, json.dumps(data, indent=1).encode())

    def load_space(self) -> tuple[Space, str]:
        """The space and the command. Raises ConfigError where the folder holds no sweep."""
        try:
            data = json.loads(self.space_file.read_text(encoding="utf-8"))
            space = Space(
                title=data["title"],
                base=data["base"],
                axes=tuple(tuple(axis) for axis in data["axes"]),
                objectives=tuple(Objective(column, minimize) for column, minimize in data["objectives"]),
                samples=data["samples"],
                seed=data["seed"],
            )
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"Folder {str(self.path)!r} must hold a sweep (sweep.json): {error}") from None
        return space, data["command"]

    def write_tables(self, frame: pd.DataFrame) -> None:
        """results.parquet and results.csv, whole or not at all."""
        _write(self.csv, frame.to_csv(index=False).encode())
        plain = frame.copy()
        for name in plain.select_dtypes("object").columns:
            plain[name] = plain[name].map(lambda value: value if value is None else str(value))
        _write(self.parquet, plain.to_parquet(None, index=False))

    def write_report(self, space: Space, frame: pd.DataFrame, command: str) -> None:
        """The HTML report; its three candidates are run again with events recorded."""
        good = frame[frame["status"] == "ok"] if "status" in frame else frame
        front = front_of(good, space.objectives) if len(good) else good
        names = candidates(front, space.objectives) if len(good) else {}
        settings = {str(row["key"]): int(row["point"]) for row in frame.to_dict("records")}
        details: list[Detail] = []
        for name, key in names.items():
            if all(key != detail.key for detail in details):
                details.append(_detail(name, key, space.point_settings(settings[key])))
        inputs = ReportInputs(
            title=space.title,
            frame=frame,
            axes=space.varied,
            objectives=[(o.column, "min" if o.minimize else "max") for o in space.objectives],
            front=[str(key) for key in front["key"]] if len(good) else [],
            candidates=names,
            details=details,
            command=command,
            versions=versions(),
            store=str(self.store),
            digests={name: trace_digest(name) for name in sorted({str(s) for s in frame["workload"]})} if len(frame) else {},
            date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
        partial = self.report.with_name(self.report.name + ".partial")
        write_report(inputs, partial)
        partial.replace(self.report)


def _detail(name: str, key: str, settings: dict[str, Any]) -> Detail:
    run = evaluate(make_point(settings), record_events=True)
    assert isinstance(run, Run)  # candidates are points that ran
    return detail_of(name, key, settings, run)


def detail_of(name: str, key: str, settings: dict[str, Any], run: Run) -> Detail:
    """A run as the report wants it."""
    accelerator = run.point.accelerator
    preset = PRESETS.get(accelerator.name)
    return Detail(
        name=name,
        key=key,
        settings=settings,
        metrics=run.metrics(),
        accelerator=leaf_fields(accelerator),
        provenance={path: (p.kind, p.note) for path, p in preset.provenance.items()} if preset else None,
        table=run.table,
        stages=run.stages,
        timeline=run.timeline,
        engines=_engines(run.result.engines),
    )


def _engines(times: dict[Engine, EngineTime]) -> pd.DataFrame:
    rows = {engine.value: {"busy": time.busy, **time.stalls} for engine, time in times.items()}
    return pd.DataFrame.from_dict(rows, orient="index").fillna(0).astype("int64")


def _write(path: Path, data: bytes | None) -> None:
    """Whole or not at all. Raises StoreError where the disk is full or the folder is not writable."""
    assert data is not None
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        raise StoreError(f"File {str(path)!r} must be writable: {error.strerror}") from None
