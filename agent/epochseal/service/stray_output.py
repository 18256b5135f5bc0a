"""What libraries and children of the daemon write on standard error, as events of its journal.

A PKCS#11 module, a source's child or Python itself writes plain lines there. Between lines of JSON they would
break whoever reads the journal by program.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from types import TracebackType
from typing import Self

from epochseal.journal import Journal

_STDERR = 2
_AT_ONCE = 64 << 10
_LONGEST = 1000


class StrayOutput:
    """Takes the place of standard error within the `with` block: for this process, and for those it makes.

    Enter it before any child is made. The journal writes to where standard error went before.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._begun = b""

    def __enter__(self) -> Self:
        # Neither end waits: a child that writes more than anybody takes loses lines, and is not held up.
        self._pipe, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._before = fcntl.fcntl(_STDERR, fcntl.F_DUPFD_CLOEXEC, _STDERR + 1)
        self._journal.redirect(self._before)
        os.dup2(write, _STDERR)
        os.close(write)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.dup2(self._before, _STDERR)
        self.take()
        self._tell(self._begun)
        self._journal.redirect(_STDERR)
        os.close(self._pipe)
        os.close(self._before)

    def fileno(self) -> int:
        """Readable when there is something to take."""
        return self._pipe

    def take(self) -> None:
        """Tell of the lines that are there, at most 64 KiB; of each its first 1,000 bytes."""
        with suppress(BlockingIOError):
            *lines, self._begun = (self._begun + os.read(self._pipe, _AT_ONCE)).split(b"\n")
            for line in lines:
                self._tell(line)
        if len(self._begun) > _LONGEST:
            self._tell(self._begun)
            self._begun = b""

    def _tell(self, line: bytes) -> None:
        if line.strip():
            self._journal.warning("stray_output", text=line[:_LONGEST].decode("utf-8", "backslashreplace"))
