"""A sweep's folder: the store, the space that was swept, and the tables, front and report made from them."""

import importlib.metadata
import json
import platform
import shlex
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dse.config import ConfigError
from dse.evaluate import Run, evaluate
from dse.pareto import candidates, front_of
from dse.point import make_point, trace_digest
from dse.space import Objective, Space, space_data, space_from
from dse.store import StoreError
from reports.inputs import Detail, Direction, ReportInputs
from simulator.arch import leaf_fields
from simulator.presets import PRESETS
from simulator.result import EngineTime
from simulator.schedule import Engine

if TYPE_CHECKING:
    from dse.bulk_outcome import BulkOutcome

__all__ = ["SweepFolder", "command_line", "versions"]


def command_line() -> str:
    """The command that is running, as a person would type it."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def versions() -> dict[str, str]:
    """Of this tool and of what its numbers rest on."""
    names = ("nmdse", "numpy", "simpy", "pandas", "networkx", "plotly")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}


_ELSE = "; points of another release or other cost tables don't count: the same `dse sweep` evaluates them again"


class SweepFolder:
    """Paths and contents of one sweep's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store, self.space_file = path / "store.sqlite", path / "sweep.json"
        self.chunks = path / "chunks"  # of a sweep by the closed form
        self.report, self.parquet, self.csv = path / "report.html", path / "results.parquet", path / "results.csv"

    def create(self) -> None:
        """Make the folder. Raises StoreError where it can't be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):  # a name of its own: two sweeps may probe at once
                pass
        except OSError as error:
            raise StoreError(f"Folder {str(self.path)!r} must be writable: {error.strerror}") from None

    def save_space(self, space: Space, command: str) -> None:
        """Keep what was swept, so that `dse pareto`, `dse report` and ``FOLDER#N`` need only the folder."""
        data = space_data(space) | {"command": command}
        _write(self.space_file, json.dumps(data, indent=1).encode())

    def load_space(self) -> tuple[Space, str]:
        """The space and the command. Raises ConfigError where the folder holds no sweep."""
        try:
            data = json.loads(self.space_file.read_text(encoding="utf-8"))
            space = space_from(data)
            command = str(data["command"])
        except FileNotFoundError:
            raise ConfigError(f"Folder {str(self.path)!r} must hold a sweep, but it has no sweep.json") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"Folder {str(self.path)!r} must hold a sweep, but its sweep.json is damaged: {error}") from None
        return space, command

    def write_tables(self, frame: pd.DataFrame) -> None:
        """results.parquet and results.csv, whole or not at all."""
        _write(self.csv, frame.to_csv(index=False).encode())
        plain = frame.copy()
        for name in [name for name in plain.columns if plain[name].dtype == object]:  # lists, and texts with gaps
            plain[name] = [None if isinstance(value, float | None) else str(value) for value in plain[name]]
        _write(self.parquet, plain.to_parquet(None, index=False))

    def write_report(self, space: Space, frame: pd.DataFrame, command: str) -> None:
        """The HTML report, whole or not at all; its candidates are run again with events recorded.

        Raises ConfigError where no point was evaluated yet, StoreError where the file can't be written.
        """
        if frame.empty:
            raise ConfigError(f"Folder {str(self.path)!r} must hold at least one evaluated point for a report{_ELSE}")
        good = frame[frame["status"] == "ok"]
        self._write_report(space, frame, front_of(good, space.objectives) if len(good) else good, command)

    def write_bulk_report(self, space: Space, outcome: "BulkOutcome", command: str) -> None:
        """The same of a sweep of very many points: front, what is near it, and a sample; counts are of all points.

        Raises as `write_report` does.
        """
        from dse.bulk_text import outcome_text  # loads what a sweep of event runs does without

        if outcome.shown.empty:
            raise ConfigError(f"Folder {str(self.path)!r} must hold at least one evaluated point for a report{_ELSE}")
        more = {"counts": outcome.statuses, "stopped": outcome.stopped, "notices": tuple(outcome_text(outcome))}
        self._write_report(space, outcome.shown, outcome.front, command, **more)

    def _write_report(self, space: Space, frame: pd.DataFrame, front: pd.DataFrame, command: str, **more: Any) -> None:
        good = frame[frame["status"] == "ok"]
        names = candidates(front, space.objectives) if len(good) else {}
        settings = dict(zip(frame["key"].astype(str), frame["point"].astype(int), strict=True))
        details: list[Detail] = []
        for name, key in names.items():
            if all(key != detail.key for detail in details):
                details.append(_detail(name, key, space.point_settings(settings[key])))
        inputs = ReportInputs(
            title=space.title,
            frame=frame,
            axes=tuple(space.varied),
            objectives=_plotted(space.objectives),
            front=tuple(str(key) for key in front["key"]),
            candidates=names,
            details=tuple(details),
            command=command,
            versions=versions(),
            store=str(self.store),
            digests={name: trace_digest(name) for name in sorted({str(s) for s in good["workload"]})},
            date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            **more,
        )
        from reports.report import write_report  # plotly takes longer to load than most commands to run

        with _whole(self.report) as partial:
            write_report(inputs, partial)


def _plotted(objectives: tuple[Objective, ...]) -> tuple[tuple[str, Direction], ...]:
    """The objectives of the report's plots: two or three. One gets the machine's size for company."""
    plotted: list[tuple[str, Direction]] = [(o.column, "min" if o.minimize else "max") for o in objectives[:3]]
    if len(plotted) == 1:
        plotted.append(("latency_ms" if plotted[0][0] == "multipliers" else "multipliers", "min"))
    return tuple(plotted)


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
        notices=tuple(f"{notice.layer} {notice.stage}: {notice.text}" for notice in run.workload.notices),
    )


def _engines(times: dict[Engine, EngineTime]) -> pd.DataFrame:
    rows = {engine.value: {"busy": time.busy, **time.stalls} for engine, time in times.items()}
    return pd.DataFrame.from_dict(rows, orient="index").fillna(0).astype("int64")


def _write(path: Path, data: bytes | None) -> None:
    assert data is not None
    with _whole(path) as partial:
        partial.write_bytes(data)


@contextmanager
def _whole(path: Path) -> Generator[Path, None, None]:
    """A path to write to, which replaces `path` at the end. Raises StoreError where that can't be: what was there stays."""
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise StoreError(f"File {str(path)!r} must be writable: {error.strerror}") from None
