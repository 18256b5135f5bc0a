"""What may stand where a file or a folder is expected: each kind by a name that is strange too."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path


def _socket(path: Path) -> None:
    # The path of a socket has to be short: it is bound by its folder's descriptor.
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(8 << 30)


def _unreadable(path: Path) -> None:
    path.write_bytes(b"nobody reads this\n")
    path.chmod(0)


def _closed_folder(path: Path) -> None:
    path.mkdir(0)


def _missing(_path: Path) -> None:
    """Nothing is there."""


def _binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 64)


KINDS: dict[str, Callable[[Path], None]] = {
    "fifo": os.mkfifo,
    "socket": _socket,
    "loop": lambda path: path.symlink_to(path),
    "dangling": lambda path: path.symlink_to("nowhere"),
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "full": lambda path: path.symlink_to("/dev/full"),
    "sparse": _sparse,
    "unreadable": _unreadable,
    "closed folder": _closed_folder,
    "folder": Path.mkdir,
    "missing\x1b[2J": _missing,
    "no such/folder": _missing,
    "binary\udcff": _binary,
    "empty\nfile": Path.touch,
}
"""Names, and what makes them; all but root's capabilities are needed for the two that nobody may read."""
