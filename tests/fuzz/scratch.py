"""A folder in memory for targets whose readers want files; removed at the end of the process."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from functools import cache
from pathlib import Path

from epochseal.storage.opener import DiskFile

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of our own is made in it, with a name of its own


class _Owner:
    pass


_owner = _Owner()


@cache
def scratch(name: str) -> Path:
    """An empty folder of this name, the same at each call."""
    folder = _whole() / name
    folder.mkdir()
    return folder


@cache
def _whole() -> Path:
    place = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="epochseal-fuzz-", dir=place))
    # By the process that made it alone: a fork of it ends too.
    mine = os.getpid()
    weakref.finalize(_owner, lambda: shutil.rmtree(folder) if os.getpid() == mine else None)
    return folder


@cache
def _memory_file() -> int:
    return os.memfd_create("epochseal-fuzz", os.MFD_CLOEXEC)


def file_of(data: bytes) -> DiskFile:
    """A file with these bytes, at its beginning; the one before has them too from now on."""
    descriptor = _memory_file()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, data, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return DiskFile(descriptor, "rb", closefd=False)
