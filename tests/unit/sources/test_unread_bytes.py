from __future__ import annotations

import os
import socket
from pathlib import Path

from epochseal.sources.unread_bytes import unread_bytes


def test_a_pipe() -> None:
    """What was written and not read."""
    reading, writing = os.pipe()
    os.write(writing, b"12345")
    os.read(reading, 2)
    assert unread_bytes(reading) == 3
    os.close(writing)
    os.close(reading)
    assert unread_bytes(reading) == 0


def test_a_stream_socket() -> None:
    """Of all writes together."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for _ in range(3):
            theirs.sendall(b"12345")
        assert unread_bytes(ours.fileno()) == 15


def test_a_file(tmp_path: Path) -> None:
    """From where it is read on, which asking does not move; also beyond 4 GiB, and behind its end."""
    path = tmp_path / "file"
    path.touch()
    os.truncate(path, 5 << 30)
    with path.open("rb", buffering=0) as file:
        file.seek(10)
        assert unread_bytes(file.fileno()) == (5 << 30) - 10
        assert file.tell() == 10
        file.seek(6 << 30)
        assert unread_bytes(file.fileno()) == 0


def test_what_the_system_does_not_say() -> None:
    """No descriptor, and one that has no such number."""
    assert unread_bytes(-1) == 0
    with Path("/dev/null").open("rb") as null:
        assert unread_bytes(null.fileno()) == 0
