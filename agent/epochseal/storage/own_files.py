"""Files that decide what is believed: only our own are read, and nobody else can keep us from writing them.

A file counts as ours if it is a regular file under its own name (a link is not followed), belongs to us or to
root, and nobody else may write it. Whoever may read a file may lock it as well, so a lock is never waited for
without an end.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from epochseal.errors import ConfigError, StorageError
from epochseal.storage.opener import GoneError, NotAFileError, open_file

LOCK_SECONDS = 4.0
"""A lock is waited for so long."""
OWN_MODE = 0o600
OWN_FOLDER_MODE = 0o700

_STEP = 0.02
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_NOT_ALONE = stat.S_IWGRP | stat.S_IWOTH


def read_own(path: Path, limit: int) -> bytes | None:
    """What a file of ours holds, one byte more than `limit` at most; None if there is none.

    Raises:
        ConfigError: it is a link, no regular file, somebody else's, or others may write it.
        StorageError: it cannot be read.
    """
    try:
        with open_file(path) as file:
            _check_owner(path, os.fstat(file.fileno()))
            return file.read(limit + 1)
    except GoneError:
        return None
    except NotAFileError as exc:
        raise ConfigError(str(exc), "name the file itself: links are not followed here") from exc
    except OSError as exc:
        raise StorageError(f"cannot read {path}: {exc.strerror}") from exc


def check_own_folder(path: Path) -> None:
    """Refuse a folder in which somebody else could exchange our files.

    Raises:
        ConfigError: it is a link, no folder, somebody else's, or others may write it.
        StorageError: it cannot be looked at.
    """
    try:
        found = path.lstat()
    except OSError as exc:
        raise StorageError(f"cannot look at {path}: {exc.strerror}") from exc
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{path} is no folder", "a link to one is not followed here")
    _check_owner(path, found)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file or folder of ours against other processes of ours.

    The lock lies on the file itself, which may be replaced while it is held: whoever has waited for it looks
    whether it is still the file of that name. So there is no lock file, and none goes stale. Whoever may read
    it could hold it as well: where it belongs to us it is closed to all others.

    Raises:
        StorageError: it cannot be opened, or somebody holds it for longer than `LOCK_SECONDS`.
    """
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as exc:
            raise StorageError(f"cannot lock {path}: {exc.strerror}") from exc
        try:
            _close_to_others(descriptor)
            if _is_locked(descriptor, path):
                yield
                return
        finally:
            os.close(descriptor)
        if time.monotonic() > end:
            raise StorageError(
                f"cannot lock {path}: another process has held it for {LOCK_SECONDS:.0f} s",
                "see who holds it (fuser); who could read it once may hold it until it is replaced by a copy",
            )
        time.sleep(_STEP)


def _close_to_others(descriptor: int) -> None:
    found = os.fstat(descriptor)
    # What others may write is left as it is, to be refused: they may have written it.
    if found.st_uid == os.geteuid() and found.st_mode & _OTHERS and not found.st_mode & _NOT_ALONE:
        os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & ~_OTHERS)


def _is_locked(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError as exc:
        raise StorageError(f"cannot lock {path}: {exc.strerror}") from exc


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid not in {0, os.geteuid()}:
        raise ConfigError(
            f"{path} belongs to another user: they decide what is believed", "take a copy of your own"
        )
    if found.st_mode & _NOT_ALONE:
        raise ConfigError(
            f"others may write {path}: they decide what is believed",
            f"chmod go-w {path}, after looking at it",
        )
