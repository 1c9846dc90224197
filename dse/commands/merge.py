"""`dse merge`: one folder of those that several machines filled."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dse.commands.options import out
from dse.config import ConfigError
from dse.folder import SweepFolder
from dse.merge import Merged, check_sources, merge_stores
from dse.space import Space

if TYPE_CHECKING:
    from dse.merge_chunks import MergedChunks

__all__ = ["merge_command"]

_SHOWN = 5  # keys


def merge_command(
    sources: Annotated[list[Path], typer.Argument(help="Folders of sweeps, or store files in them.")],
    folder: Annotated[Path, typer.Option("-o", "--out", help="Folder for the merged store. What it holds already stays.")],
) -> None:
    """Merge the stores of sweeps that ran on several machines. Ends with 1 where they contradict each other.

    Of each point the first row stays. Files of the closed form come along if they are of the same points. Where all folders
    are of one sweep, the new one is too: `dse report` works on it.
    Example: `dse merge out/before out/resnet18 -o out/all`
    """
    target = SweepFolder(folder)
    stores = [_store(source) for source in sources]
    bulk = [SweepFolder(source) for source in sources if (source / "chunks").is_dir()]
    if bulk:
        from dse.merge_chunks import check_chunks  # loads what stores do without

        check_chunks([*bulk, *([target] if target.space_file.is_file() else [])])
    check_sources(stores, target.store)
    target.create()
    merged = merge_stores(stores, target.store)
    for store in merged:
        _say(store)
    files: list[MergedChunks] = []
    if bulk:
        from dse.merge_chunks import merge_chunks

        files = merge_chunks(bulk, target)
    for each in files:
        _say_files(each)
    if same := _one_sweep([*sources, *([folder] if target.space_file.is_file() else [])]):
        target.save_space(*same)
        out.print(f"tables and report: dse report {folder}", highlight=False, markup=False, soft_wrap=True)
    else:
        text = (
            f"not folders of one and the same sweep: dse sweep SPACE -o {folder} evaluates what a space lacks, and has tables"
        )
        out.print(text, highlight=False, markup=False, soft_wrap=True)
    if any(each.different for each in (*merged, *files)):
        raise typer.Exit(1)


def _store(source: Path) -> Path:
    if source.is_dir() and not SweepFolder(source).store.is_file():
        raise ConfigError(f"Folder {str(source)!r} must hold a sweep, but it has no store.sqlite")
    return SweepFolder(source).store if source.is_dir() else source


def _say(store: Merged) -> None:
    text = f"{store.path}: {store.rows:,} rows, {store.added:,} added, {store.known:,} known"
    if store.different:
        keys = ", ".join([*store.different[:_SHOWN], *(["..."] if len(store.different) > _SHOWN else [])])
        text += f", {len(store.different):,} that contradict those before, which stay: {keys}"
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def _say_files(found: "MergedChunks") -> None:
    text = f"{found.path}: {found.files:,} files of the closed form, {found.added:,} added, {found.known:,} known"
    for count, what in ((found.damaged, "damaged, left out"), (found.others, "of other points or another release, left out")):
        text += f", {count:,} {what}" if count else ""
    if found.different:
        text += f", {len(found.different):,} that contradict those before, which stay: {', '.join(found.different[:_SHOWN])}"
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def _one_sweep(folders: list[Path]) -> tuple[Space, str] | None:
    """The space and the command of the folders, if all have the same space."""
    if not all(folder.is_dir() and SweepFolder(folder).space_file.is_file() for folder in folders):
        return None
    spaces = [SweepFolder(folder).load_space() for folder in folders]
    return spaces[0] if all(space == spaces[0][0] for space, _ in spaces) else None
