"""Standard output and standard error: every line of every command is written here.

Foreign text is made visible here, in the one place that all lines pass: no caller has to think of it. A
reader of standard output who goes away stops nothing: files that were asked for are still written, then the
command ends with 6 (`finish_output`).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import msgspec

from epochseal.errors import StorageError
from epochseal.foreign_text import encode_visible_json, visible, visible_lines
from epochseal.standard_streams import discard, write_stderr

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33}
_STDOUT = 1
_WAITING = 32 << 10
_NARROWEST = 20


class OutputLostError(StorageError):
    """Standard output cannot be written."""


class Styled(msgspec.Struct, frozen=True):
    """Text that stands out where the output is a terminal that can show it; styles are those of `_STYLES`."""

    text: str
    styles: str

    def __str__(self) -> str:
        """The text alone."""
        return self.text


class _Output:
    """Standard output, until writing to it fails.

    What is short is written at once, at the end: whether a reader that wants one line, as `head -1` does, has
    gone by then is not left to chance.
    """

    def __init__(self) -> None:
        self.failure: OSError | None = None
        self._waiting = bytearray()

    def write(self, data: bytes) -> None:
        if self.failure is None:
            self._waiting += data
            if len(self._waiting) > _WAITING:
                self.flush()

    def flush(self) -> None:
        left, self._waiting = memoryview(self._waiting), bytearray()
        try:
            while left:
                # Without a buffer (PYTHONUNBUFFERED) a write may take a part.
                left = left[sys.stdout.buffer.write(left) :]
            sys.stdout.flush()
        except OSError as exc:
            self.failure = self.failure or exc
            discard(_STDOUT)


_OUTPUT = _Output()


def print_line(*pieces: str | Styled) -> None:
    """Print one line on standard output; a character that its encoding lacks becomes a question mark."""
    _write_text("".join(map(_shown, pieces)) + "\n")


def print_notice(text: str) -> None:
    """Say something on standard error, in one line that begins with our name."""
    print_aside(f"epochseal: {text}")


def print_aside(line: str) -> None:
    """Print one line on standard error."""
    flush_output()  # what was printed before is read before
    write_stderr(line)


def print_json(answer: object) -> None:
    """Print one object on a line of its own."""
    _OUTPUT.write(encode_visible_json(answer) + b"\n")


def write_data(data: bytes, *, raw: bool = False) -> None:
    """Write somebody's bytes: to a terminal as text that cannot steer it, unless `raw`; else as they are.

    Raises:
        OutputLostError: they cannot be written, so there is no use in making more of them.
    """
    if is_terminal() and not raw:
        _write_text(visible_lines(data))
    else:
        _OUTPUT.write(data)
    if _OUTPUT.failure is not None:
        raise OutputLostError("nothing reads the output")


def flush_output() -> None:
    """Write what was printed so far; a failure is told by `finish_output`."""
    _OUTPUT.flush()


def finish_output() -> OSError | None:
    """Write the rest; why something that was printed could not be written, if so."""
    flush_output()
    return _OUTPUT.failure


def is_terminal() -> bool:
    """Whether a person reads standard output as it comes."""
    return sys.stdout.isatty()


def line_width() -> int | None:
    """Columns of a line, by `COLUMNS` or the terminal; None: nobody counts them, and lines are not folded."""
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and int(given) > 0:
        return max(int(given), _NARROWEST)
    if not is_terminal():
        return None
    columns = os.get_terminal_size(_STDOUT).columns
    return max(columns, _NARROWEST) if columns else None


def open_rich_console() -> Console:
    """Standard output for moving and coloured text of our own; never for foreign text."""
    from rich.console import Console

    class _Console(Console):
        def on_broken_pipe(self) -> None:
            # rich would end the program here, with 1.
            raise OutputLostError("nothing reads the output")

    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a text file, as Python opens it
    return _Console(highlight=False, markup=False, emoji=False)


def _shown(piece: str | Styled) -> str:
    text = visible(str(piece))
    if not isinstance(piece, Styled) or not piece.styles or not _shows_colors():
        return text
    codes = ";".join(str(_STYLES[name]) for name in piece.styles.split())
    return f"\x1b[{codes}m{text}\x1b[0m"


def _shows_colors() -> bool:
    # NO_COLOR counts where it is set to anything (no-color.org).
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def _write_text(text: str) -> None:
    _OUTPUT.write(text.encode(sys.stdout.encoding, "replace"))
