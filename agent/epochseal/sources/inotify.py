"""The kernel's news of files: inotify(7), as far as tailing uses it.

A watch of a folder tells which names came, went and moved. A watch of a file tells of its first write and is
over then: a busy file is looked at anyway, and its writes must not fill the kernel's queue.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NamedTuple

CREATED, DELETED, MOVED_FROM, MOVED_TO = 0x100, 0x200, 0x40, 0x80
WRITTEN = 0x2
FOLDER_MOVED = 0x800
OVERFLOW = 0x4000
WATCH_ENDED = 0x8000
_DELETED_SELF = 0x400
_ONLY_FOLDERS = 0x1000000
_ONCE = 0x80000000
_OF_FOLDER = CREATED | DELETED | MOVED_FROM | MOVED_TO | FOLDER_MOVED | _DELETED_SELF | _ONLY_FOLDERS
_OF_FILE = WRITTEN | _ONCE
_HEAD = struct.Struct("iIII")
_READ_SIZE = 64 << 10

_libc = ctypes.CDLL(None, use_errno=True)


class Event(NamedTuple):
    """One piece of news: the watch that it is of, what happened, and to which name in a folder.

    A rename has one event for each end; both have the same `cookie`.
    """

    watch: int
    mask: int
    cookie: int
    name: str


class Inotify:
    """One queue of news.

    Raises:
        OSError: the system has none (another one than Linux, a user's limit).
    """

    def __init__(self) -> None:
        if (init := getattr(_libc, "inotify_init1", None)) is None:
            raise OSError(0, "no inotify here")
        self._fd = _checked(init(os.O_NONBLOCK | os.O_CLOEXEC))

    def fileno(self) -> int:
        """Readable when there is news; -1 when closed."""
        return self._fd

    def watch_folder(self, path: str) -> int:
        """Be told of names in a folder; the number of the watch.

        Raises:
            OSError: it is no folder, or the limit of watches is reached.
        """
        return self._watch(path, _OF_FOLDER)

    def watch_next_write(self, path: str) -> int:
        """Be told of the next write to a file, by whatever name; the number of the watch.

        Raises:
            OSError: as of a folder.
        """
        return self._watch(path, _OF_FILE)

    def forget(self, watch: int) -> None:
        """End a watch; one that is over already does no harm."""
        _libc.inotify_rm_watch(self._fd, watch)

    def read(self) -> list[Event]:
        """What came since the last call, in order."""
        events: list[Event] = []
        while self._fd >= 0:
            try:
                data = os.read(self._fd, _READ_SIZE)
            except BlockingIOError:
                break
            place = 0
            while place < len(data):
                watch, mask, cookie, size = _HEAD.unpack_from(data, place)
                place += _HEAD.size
                name = os.fsdecode(data[place : place + size].rstrip(b"\0"))
                place += size
                events.append(Event(watch, mask, cookie, name))
        return events

    def close(self) -> None:
        """End all watches."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _watch(self, path: str, mask: int) -> int:
        return _checked(_libc.inotify_add_watch(self._fd, os.fsencode(path), ctypes.c_uint32(mask)))


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer
