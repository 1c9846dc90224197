"""The boards that `dse build` knows, a file each; pins come from amaranth-boards."""

from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rtl.platforms.board import Board

__all__ = ["BOARDS", "board_named"]

BOARDS = {
    "ulx3s-85f": "ulx3s",
    "ecpix5-85f": "ecpix5",
    "icebreaker": "icebreaker",
    "hx8k-evn": "hx8k",
    "tang-nano-9k": "tang_nano_9k",
}
"""Names, and the modules here that hold them: read without amaranth-boards."""


def board_named(name: str) -> "Board":
    """A board. Raises ValueError for an unknown name."""
    if name not in BOARDS:
        close = get_close_matches(name.lower(), BOARDS, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"Board must be one of {', '.join(BOARDS)}, not {name!r}{hint}")
    return import_module(f"rtl.platforms.{BOARDS[name]}").BOARD
