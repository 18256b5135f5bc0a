"""A socket with a name in the file system: made again when the name is removed, removed at the end."""

from __future__ import annotations

import logging
import os
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path

from epochseal.errors import ConfigError, EpochsealError
from epochseal.sources.complaints import Complaints

LOOK_SECONDS = 1.0
"""The name is looked at this often."""


class SocketFile:
    """A bound socket and its file.

    Args:
        path: of the file; a stale one is replaced.
        kind: stream or datagram.
        mode: permission bits of the file.

    Raises:
        ConfigError: the path cannot be used, or somebody else listens there.
    """

    def __init__(self, path: Path, kind: socket.SocketKind, mode: int) -> None:
        self.path = path
        self._kind = kind
        self._mode = mode
        self._look_at = 0.0
        self.trouble = ""
        self.socket, self._identity = self._bind()

    def renewed(self, complaints: Complaints) -> socket.socket | None:
        """A new socket at the path, if the file there is not this one's any more; None while all is well.

        The socket before is the caller's to read to its end and to close. Where no file can be made, or
        another program listens, that is told, and tried again a second later.
        """
        now = time.monotonic()
        if now < self._look_at:
            return None
        self._look_at = now + LOOK_SECONDS
        try:
            if self._stat() == self._identity:
                self.trouble = ""
                return None
        except OSError:
            pass
        try:
            self.socket, self._identity = self._bind()
        except EpochsealError as exc:
            if not self.trouble:
                complaints.tell(f"nobody reaches this source: {exc}", level=logging.ERROR)
            self.trouble = str(exc)
            return None
        self.trouble = ""
        complaints.tell(f"the file {self.path} was gone, or another one: it was made again")
        return self.socket

    def stop_input(self, client: socket.socket) -> None:
        """From now on it gets an error when it writes; what it wrote before can still be read."""
        with suppress(OSError):
            client.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Close the socket and remove its file."""
        self.socket.close()
        with suppress(OSError):
            if self._stat() == self._identity:
                self.path.unlink()

    def _bind(self) -> tuple[socket.socket, tuple[int, int]]:
        bound = socket.socket(socket.AF_UNIX, self._kind)
        try:
            self._remove_stale()
            # The mode is limited before the file exists, so at no moment can somebody connect who may not.
            # The file's is this one less the umask, which all threads share and nobody here may change: what
            # the umask took is given back.
            os.fchmod(bound.fileno(), self._mode)
            bound.bind(str(self.path))
            if self._kind == socket.SOCK_STREAM:
                # At once: between the two whoever finds the file is refused.
                bound.listen()
            if stat.S_IMODE(self.path.lstat().st_mode) != self._mode:
                self.path.chmod(self._mode)
            return bound, self._stat()
        except OSError as exc:
            bound.close()
            raise ConfigError(
                f"cannot listen on {self.path}: {exc.strerror or exc}",
                "name a path of at most 107 bytes in a directory that this user may write to",
            ) from exc
        except ConfigError:
            bound.close()
            raise

    def _stat(self) -> tuple[int, int]:
        found = self.path.lstat()
        return found.st_dev, found.st_ino

    def _remove_stale(self) -> None:
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise ConfigError(f"{self.path} exists and is no socket", "name another path, or remove the file")
        with socket.socket(socket.AF_UNIX, self._kind) as probe:
            probe.settimeout(0)
            try:
                probe.connect(str(self.path))
            except ConnectionRefusedError:
                self.path.unlink(missing_ok=True)
                return
            except OSError:
                # Any other answer (the queue is full, the socket is of the other kind) shows that somebody
                # listens.
                pass
        raise ConfigError(f"another process listens on {self.path}", "stop it, or name another path")
