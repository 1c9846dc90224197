"""`python -P rtl/tied.py PARENT PROGRAM ARGUMENT ...` becomes that program, which ends when process PARENT does, its parent.

Place and route may take an hour of a core when nobody is left to read what it makes. Who is killed can't stop it; Linux can.
Elsewhere the program is run as it is. As a file that is run, this one knows no package.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

__all__ = ["tied"]

_PR_SET_PDEATHSIG = 1  # linux/prctl.h; what it sets outlives exec


def tied(program: str, *arguments: str) -> list[str]:
    """The command that runs a program so, as a child of this process."""
    return [sys.executable, "-P", str(Path(__file__).resolve()), str(os.getpid()), program, *arguments]


if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(sys.argv[1]):  # it was too late for the signal
            sys.exit(1)
    os.execv(sys.argv[2], sys.argv[2:])
