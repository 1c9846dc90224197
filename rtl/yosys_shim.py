"""The `yosys` command line on top of the PyPI package pyosys: `python -m rtl.yosys_shim [-q] [-p COMMANDS] [FILE ...]`.

It knows the options that Amaranth and this project use. A file ending in `.il`, `.v`, `.sv` or `.json` is read by its
front end, `-` is a script on standard input, anything else is a script. Each call is a process of its own: Yosys numbers
its internal names by a counter that lives as long as the process, so only a fresh one gives the same text every time.
"""

import argparse
import subprocess
import sys
import tempfile
from importlib import import_module, metadata
from pathlib import Path

__all__ = ["YosysError", "main", "run_yosys"]

_READ = {".il": "read_rtlil", ".v": "read_verilog", ".sv": "read_verilog -sv", ".json": "read_json"}


class YosysError(RuntimeError):
    """Yosys refused a script; the message is the end of what it printed."""


def run_yosys(script: str, *, cwd: Path | None = None) -> str:
    """Run a script of Yosys commands, one a line, in a new process; returns what it printed. Raises YosysError."""
    from rtl.tied import tied  # here: as a program this file knows no package

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "script.ys"
        file.write_text(script)
        # -P: this folder must not come before the standard library, whose `array` is not ours.
        command = tied(sys.executable, "-P", str(Path(__file__).resolve()), "-s", str(file))
        done = subprocess.run(command, cwd=cwd, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise YosysError(f"Yosys script must run to its end, not stop with code {done.returncode}:\n{tail}")
    return done.stdout


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="yosys")
    parser.add_argument("-V", "--version", action="store_true", help="print the version")
    parser.add_argument("-q", action="count", default=0, help="quiet: only warnings and errors, on standard error")
    parser.add_argument("-l", metavar="FILE", help="write the log here as well")
    parser.add_argument("-p", metavar="COMMANDS", action="append", default=[], help="commands to run after the files")
    parser.add_argument("-s", metavar="FILE", action="append", default=[], help="script to run")
    parser.add_argument("files", nargs="*")
    options = parser.parse_args(arguments)
    if options.version:
        print(f"Yosys {metadata.version('pyosys')} (pyosys)")
        return 0

    libyosys = import_module("pyosys.libyosys")  # late: it takes a noticeable time, and `-V` is asked often

    design = libyosys.Design()
    with tempfile.TemporaryDirectory() as folder:
        commands: list[str] = []
        for name in options.files:
            if name == "-":
                script = Path(folder) / "stdin.ys"
                script.write_text(sys.stdin.read())
                commands.append(f"script {script}")
            else:
                commands.append(f"{_READ.get(Path(name).suffix, 'script')} {name}")
        commands += [f"script {name}" for name in options.s] + options.p
        if options.l:
            Path(options.l).write_text("")
        quiet, copy = "-q " if options.q else "", f"-a {options.l} " if options.l else ""
        for command in commands:
            libyosys.run_pass(f"tee {quiet}{copy}{command}" if quiet or copy else command, design)
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
