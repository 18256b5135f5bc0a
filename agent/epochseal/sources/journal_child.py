"""A child `journalctl` that prints the entries of one open journal file."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Sequence

from epochseal.descriptors import is_reserved
from epochseal.errors import EpochsealError

PROGRAM = "journalctl"
_STOP_SECONDS = 5.0


class JournalChild:
    """Prints JSON lines until the end of the file as it is then.

    Args:
        fd: the journal file; the child gets it as it is, so that its name plays no part.
        cursor: of the first entry that is wanted; empty for all.
        selection: further words for journalctl.

    Raises:
        OSError: too few descriptors are left.
        EpochsealError: it cannot be started.
    """

    def __init__(self, fd: int, cursor: str, selection: Sequence[str]) -> None:
        words = [PROGRAM, "--output=json", "--all", "--quiet", f"--file=/dev/fd/{fd}"]
        words += [f"--cursor={cursor}"] if cursor else []
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own words; each match is an argument of its own
                [*words, *selection],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                pass_fds=[fd],
                pipesize=1 << 20,
            )
        except OSError as exc:
            if exc.errno in {errno.EMFILE, errno.ENFILE}:
                raise
            raise EpochsealError(
                f"cannot run {PROGRAM}: {exc.strerror}", "install systemd, or remove the journald source"
            ) from exc
        if self._process.stdout is None:
            raise EpochsealError(f"{PROGRAM} has no output")
        self._output = self._process.stdout
        self.pid = self._process.pid
        os.set_blocking(self._output.fileno(), False)
        if is_reserved(self._output.fileno()):
            self.close()
            raise OSError(errno.EMFILE, "the descriptors that are left are for sealing")

    def fileno(self) -> int:
        """Readable when there is output, or its end."""
        return self._output.fileno()

    def reap(self) -> int:
        """Its output has ended: its status, negative for a signal."""
        self._output.close()
        return self._process.wait()

    def terminate(self) -> None:
        """Have it end; what it printed can still be read."""
        self._process.terminate()

    def close(self) -> None:
        """End it, and wait for that."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()
