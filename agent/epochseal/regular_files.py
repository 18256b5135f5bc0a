"""The one way to open for reading what somebody else may have put there: regular files, and no open waits.

A FIFO without a writer would wait for ever, a device might never end, and to open one can already do
something. What is to be said of them is for the caller: `storage/opener.py` for the files of a log and those
that a user names, and the backends for their keys and credentials.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_NO_FILE = {errno.ENXIO, errno.ENODEV}


def open_regular(path: Path, *, follow: bool) -> int | None:
    """Open a regular file for reading; None if something else stands there.

    The descriptor is the caller's to close. `follow`: a link that leads to a regular file counts as one.

    Raises:
        OSError: it cannot be opened.
    """
    # Looked at first, for the sake of devices. It may be exchanged until the open, which neither waits nor
    # follows a link that it may not follow; what was opened is looked at again.
    if not stat.S_ISREG(os.stat(path, follow_symlinks=follow).st_mode):  # noqa: PTH116  # a log may have thousands
        return None
    links = 0 if follow else os.O_NOFOLLOW
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | links)
    except OSError as exc:
        if exc.errno in _NO_FILE or (exc.errno == errno.ELOOP and not follow):
            return None
        raise
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
