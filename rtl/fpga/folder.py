"""A build's folder: whole or as it was, whatever happens on the way.

All is made in a folder of this process' own in ``.NAME.building`` beside the output folder, whose place it takes when it is
complete. What a killed build has left there is taken up by the next one, or removed.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from simulator.schedule import UnsupportedError

__all__ = ["FolderBusyError", "building", "check_folder", "check_room", "replace_by", "without_others"]

_ROOM = 2**16
"""Bytes that must be left: tools of the flow end well where the disk was full, and leave half a file."""


class FolderBusyError(RuntimeError):
    """Another build is at work on the same folder."""


def check_folder(folder: Path, report: str) -> None:
    """Raise FileExistsError where a build would destroy what isn't one, or couldn't be put in its place. `report`: the file
    that a build has. Any other OSError: the folder that it is in can't be made."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"Folder {str(folder)!r} must be a folder, not a file")
    if folder.is_mount():
        raise FileExistsError(f"Folder {str(folder)!r} must be one that can be replaced, not a mount point: give one in it")
    if folder.exists() and any(folder.iterdir()) and not (folder / report).exists():
        raise FileExistsError(f"Folder {str(folder)!r} must be empty or hold an earlier build, not other files")
    folder.resolve().parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def building(folder: Path) -> Generator[Path]:
    """A folder to build in, for this process alone until the end. It stays where the build was stopped or a tool stopped, and
    goes with a design that is refused, or where it can't be written. Raises FolderBusyError."""
    home = folder.resolve()
    attempts = home.with_name(f".{home.name}.building")
    attempts.mkdir(exist_ok=True)
    handle = os.open(attempts, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FolderBusyError(f"Folder {str(folder)!r} must be free, but another build of it is at work") from None
        work = attempts / str(os.getpid())
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            yield work
        except (OSError, UnsupportedError, ValueError):
            shutil.rmtree(work, ignore_errors=True)
            raise
        finally:
            with suppress(OSError):  # not empty
                attempts.rmdir()
    finally:
        os.close(handle)


def without_others(work: Path) -> None:
    """Remove what earlier attempts have left, once nothing in it is of use."""
    for other in work.parent.iterdir():
        if other != work:
            shutil.rmtree(other, ignore_errors=True)


def check_room(work: Path) -> None:
    """Raise OSError where the disk is full."""
    if shutil.disk_usage(work).free < _ROOM:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def replace_by(work: Path, folder: Path) -> None:
    """The finished build takes the folder's place; what a reader could see in between is nothing, never a half."""
    home = folder.resolve()
    earlier = home.with_name(f".{home.name}.earlier")
    shutil.rmtree(earlier, ignore_errors=True)
    if home.exists():
        home.rename(earlier)
    work.rename(home)
    shutil.rmtree(earlier, ignore_errors=True)
