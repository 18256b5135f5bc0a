"""Exchange two directories in one step, which no reader and no crash can see half of."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from epochseal.errors import StorageError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_libc = ctypes.CDLL(None, use_errno=True)


class NoExchangeError(StorageError):
    """The file system, or the C library, cannot exchange two directories: it never will."""


def exchange_folders(one: Path, other: Path) -> None:
    """Let two directories exchange their names (renameat2, RENAME_EXCHANGE); not durable yet.

    Raises:
        NoExchangeError: that cannot be done here; both are as they were.
    """
    rename = getattr(_libc, "renameat2", None)
    if rename is None:
        raise NoExchangeError("the C library has no renameat2")
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise NoExchangeError(f"the file system of {other.parent} cannot exchange two directories: {reason}")
