"""The three descriptors that a program is started with, also where its caller closed some of them."""

from __future__ import annotations

import os
import sys

from epochseal.foreign_text import visible

_INPUT, _OUTPUT, _ERROR = 0, 1, 2


def hold_closed_descriptors() -> None:
    """Take the place of each that is closed, before any other file is opened.

    Otherwise the next file that is opened has its number, and what is written to standard error later stands
    in a log. Reading and writing fail as they would have: the null device is opened the wrong way round.
    """
    for number, mode in ((_INPUT, os.O_WRONLY), (_OUTPUT, os.O_RDONLY), (_ERROR, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one: those below it are open by now.
            os.set_inheritable(os.open(os.devnull, mode), True)  # noqa: FBT003  # the function takes no name
    # Python leaves out what was closed, and so would everybody who prints.
    sys.stdout = sys.stdout or open(_OUTPUT, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # no path
    sys.stderr = sys.stderr or open(_ERROR, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # no path


def write_stderr(line: str) -> None:
    """Write one line on standard error, foreign text made visible; a reader that has gone is put up with."""
    try:
        sys.stderr.write(visible(line) + "\n")
        sys.stderr.flush()
    except OSError:
        discard(_ERROR)


def discard(number: int) -> None:
    """Let whatever is still to be written to a descriptor go nowhere: Python would fail on it at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)
