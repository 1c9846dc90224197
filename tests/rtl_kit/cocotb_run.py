"""Runs a cocotb module on emitted Verilog with Verilator, inside an ordinary test function."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from rtl.native.toolchain import built, environment, ports_of, tail

__all__ = ["run_cocotb"]

_BUILD_ARGS = ["-Wno-lint", "-Wno-fatal", "--no-public-flat-rw"]  # which signals are public is said in ports.vlt


def run_cocotb(verilog: str, top: str, module: str, parameters: Mapping[str, str], *, seed: int = 0) -> Path:
    """Run every cocotb test of `module` (imported by name, as pytest would) against module `top`; returns the run's folder.

    `parameters` become environment variables of the simulation. Only ports are visible, which makes builds and runs two
    to three times faster. With ``WAVES=1`` in the environment the run's folder holds ``dump.vcd`` with every signal.
    Raises AssertionError with the end of the simulation's log unless every test passes, and at least one ran.
    """
    from cocotb_tools.check_results import get_results
    from cocotb_tools.runner import get_runner

    waves = os.environ.get("WAVES", "0") not in ("", "0")
    runner = get_runner("verilator")

    def build(folder: Path) -> None:
        ports = [f'public_flat_rw -module "{top}" -var "{name}"' for name in ports_of(verilog, top)]
        (folder / "ports.vlt").write_text("\n".join(["`verilator_config", *ports, ""]))
        (folder / "top.v").write_text(verilog)
        try:
            runner.build(
                sources=[folder / "ports.vlt", folder / "top.v"],
                hdl_toplevel=top,
                build_dir=folder,
                build_args=_BUILD_ARGS,
                timescale=("1ns", "1ps"),
                waves=waves,
                log_file=folder / "build.log",
            )
        except (SystemExit, RuntimeError) as error:
            raise RuntimeError(f"Verilator must build {top!r}:\n{tail(folder / 'build.log')}") from error

    folder = built("cocotb", [verilog, top, f"waves={waves}", *_BUILD_ARGS], build)
    test = os.environ.get("PYTEST_CURRENT_TEST", "")  # tests may share a build, and run at the same time
    name = hashlib.sha256(f"{test} {seed}".encode()).hexdigest()[:8]
    run = folder / f"run-{module}-{name}"
    run.mkdir(exist_ok=True)
    results, log = run / "results.xml", run / "sim.log"
    try:
        with environment():
            runner.test(
                hdl_toplevel=top,
                hdl_toplevel_lang="verilog",  # otherwise asked of the sources, which a cached build has not told the runner
                test_module=module,
                build_dir=folder,
                test_dir=run,
                results_xml=str(results),  # absolute: under pytest a relative name is put elsewhere
                extra_env=dict(parameters),
                seed=seed,
                waves=waves,
                log_file=log,
            )
        tests, failures = get_results(results)
        ran = tests - results.read_text().count("<skipped")
    except (SystemExit, RuntimeError) as error:
        raise AssertionError(f"Simulation of {top!r} with {module!r} must pass:\n{tail(log, 60)}") from error
    assert ran > 0, f"Module {module!r} must run a cocotb test, not skip all {tests}:\n{tail(log)}"
    assert failures == 0, f"{failures} of {ran} cocotb tests of {module!r} failed:\n{tail(log, 60)}"
    return run
