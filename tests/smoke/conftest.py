"""What tests of the command line share: a disk that is soon full."""

import subprocess

import pytest


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 256 KiB, where this machine lets us mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a tmpfs")
    yield place
    subprocess.run(["umount", "-l", place], check=True)
