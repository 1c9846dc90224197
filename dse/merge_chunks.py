"""Merge what several machines evaluated by the closed form: files of the same points, whole ones, each once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dse.bulk_sweep import chunks_of
from dse.chunks import Chunks
from dse.config import ConfigError
from dse.folder import SweepFolder
from dse.store import StoreError

__all__ = ["MergedChunks", "check_chunks", "merge_chunks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedChunks:
    """What came of one folder's files."""

    path: Path
    files: int  # of these points that it holds
    added: int
    damaged: int  # which are left out: a sweep in the merged folder makes them again
    others: int  # files of other points, or of another release, which are left out too
    different: tuple[str, ...]  # files that were there already, with other results; those stay

    @property
    def known(self) -> int:
        """Files that were there already, and the same."""
        return self.files - self.added - self.damaged - len(self.different)


def check_chunks(folders: Sequence[SweepFolder]) -> dict[Path, Chunks]:
    """The files of each folder that has some, by its path. Raises ConfigError where they are of different points: such files
    have nothing in common but their form."""
    found: dict[Path, Chunks] = {}
    for folder in folders:
        if folder.chunks.is_dir():
            found[folder.path] = chunks_of(folder.load_space()[0], folder)
    first = next(iter(found.items()), None)
    for path, chunks in found.items():
        if first and chunks.digest != first[1].digest:
            raise ConfigError(
                f"Folders must hold the same points of the closed form to be merged, but {str(first[0])!r} and {str(path)!r} "
                "are sweeps of different spaces, samples or searches: sweep a space with the axes of both (--fidelity analytic)"
            )
    return found


def merge_chunks(sources: Sequence[SweepFolder], target: SweepFolder) -> list[MergedChunks]:
    """Add the files of each source to the target's, in order. A file with failed points makes room for one without.

    Each file comes whole or not at all; the same call finishes what was killed. Raises ConfigError as `check_chunks` does, and
    StoreError where a file can't be written.
    """
    found = check_chunks(sources)
    if not found:
        return []
    first = next(iter(found.values()))
    mine = Chunks(target.chunks, first.digest, first.size)
    return [_merged(path, chunks, mine) for path, chunks in found.items()]


def _merged(path: Path, theirs: Chunks, mine: Chunks) -> MergedChunks:
    present, added, damaged, different = theirs.present(), 0, 0, list[str]()
    for start, stop in present:
        place = theirs.path(start, stop)
        frame, known = theirs.whole(start, stop), mine.whole(start, stop)
        if frame is None:
            damaged += 1
        elif known is None or (_failed(known) and not _failed(frame)):
            try:
                data = place.read_bytes()
            except OSError as error:
                raise StoreError(f"File {str(place)!r} must be readable: {error.strerror}") from None
            mine.add(start, stop, data)
            added += 1
        elif not (_failed(frame) or _plain(frame).equals(_plain(known))):
            different.append(place.name)
    return MergedChunks(
        path=path,
        files=len(present),
        added=added,
        damaged=damaged,
        others=len(list(theirs.folder.glob("*.parquet"))) - len(present),
        different=tuple(different),
    )


def _failed(frame: pd.DataFrame) -> bool:
    return bool((frame["status"] == "failed").any())


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Texts as such: equal ones may be numbered differently in two files."""
    texts = [name for name, kind in frame.dtypes.items() if isinstance(kind, pd.CategoricalDtype)]
    return frame.astype(dict.fromkeys(texts, "object"))
