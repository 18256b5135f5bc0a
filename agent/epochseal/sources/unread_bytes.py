"""How much lies behind a descriptor that was not read yet."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
import termios

_INT = bytes(4)


def unread_bytes(fd: int) -> int:
    """Bytes that can be read from a pipe, a stream socket or a file now; 0 where the system does not say.

    It changes nothing, so any thread may ask, even of a descriptor that another one closes at this moment.
    """
    try:
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode):
            # The call below answers in 32 bits, which is too little for a large file.
            return max(found.st_size - os.lseek(fd, 0, os.SEEK_CUR), 0)
        return _waiting_in(fd)
    except OSError:
        return 0


def has_unread(fd: int) -> bool:
    """Whether a stream socket holds bytes that were not read yet."""
    try:
        return _waiting_in(fd) > 0
    except OSError:
        return False


def _waiting_in(fd: int) -> int:
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, _INT), sys.byteorder)
