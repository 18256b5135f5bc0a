"""What commands print on standard output: one JSON object for programs, or tables for people."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_PIPED_WIDTH = 120


def print_json(answer: object) -> None:
    """Print one object on a line of its own."""
    import msgspec

    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


def open_console() -> Console:
    """Standard output for text as it is; a character that its encoding lacks becomes a question mark."""
    from rich.console import Console

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    return Console(highlight=False, markup=False, emoji=False)


def open_wide_console() -> Console:
    """The same; where no terminal and no `COLUMNS` say how wide it is, 120 columns."""
    console = open_console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PIPED_WIDTH
    return console


def printable(text: str) -> str:
    """Text of somebody else without control characters, which could steer the terminal."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
