"""What commands print on standard output: one JSON object for programs, or tables for people."""

from __future__ import annotations

import io
import os
import re
import sys
from typing import TYPE_CHECKING

from epochseal.encoding import UNSEEN

if TYPE_CHECKING:
    from rich.console import Console

_PIPED_WIDTH = 120


def print_json(answer: object) -> None:
    """Print one object on a line of its own; characters that cannot be seen stand there as escapes."""
    import msgspec

    text = msgspec.json.encode(answer).decode()
    # Outside of its strings JSON has none of these but line ends and blanks, which this form does not hold.
    sys.stdout.buffer.write(UNSEEN.sub(_json_escape, text).encode() + b"\n")
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
    """Text of somebody else; characters that could steer the terminal, or mislead, stand there as escapes."""
    return UNSEEN.sub(lambda found: found[0] if found[0] == " " else ascii(found[0])[1:-1], text)


def _json_escape(found: re.Match[str]) -> str:
    if found[0] == " ":
        return " "
    units = found[0].encode("utf-16-be").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))
