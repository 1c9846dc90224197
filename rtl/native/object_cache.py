"""A compiler launcher (make's OBJCACHE) that compiles each file of Verilator's run-time library once for all builds.

Called as ``object_cache.py FOLDER g++ ... -c -o OUT SOURCE``. Only sources in Verilator's own include folder are kept:
they know nothing of the design, whereas cocotb's main file includes the model's header.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def main(arguments: list[str]) -> int:
    folder, command = Path(arguments[0]), arguments[1:]
    source, out = Path(command[-1]), Path(command[command.index("-o") + 1]) if "-o" in command else None
    library = Path(os.environ["VERILATOR_ROOT"]) / "include"
    if out is None or source.parent.resolve() != library.resolve() or source.suffix != ".cpp":
        return subprocess.run(command, check=False).returncode
    key = hashlib.sha256("\0".join([*command, source.read_text()]).encode()).hexdigest()[:16]
    kept = folder / f"{source.stem}-{key}.o"
    if not kept.exists():
        code = subprocess.run(command, check=False).returncode
        if code:
            return code
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(out.read_bytes())
        Path(file.name).replace(kept)  # whole or not at all, whoever else builds now
    shutil.copyfile(kept, out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
