"""The content of a compressed file that a rotation left: read once, in order; it does not grow.

A place in it is only reached by decompressing all that is before it, which may take minutes. So that is a
`Search`: done bit by bit, between the looks at other files.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TypeVar

from epochseal.sources.decompression import SLICE, PlainBytes
from epochseal.sources.file_identity import HEAD, TRAIL
from epochseal.sources.log_file import LogFile

T = TypeVar("T")
READABLE = (".gz", ".bz2", ".xz", ".zst")
UNREADABLE = (".Z", ".lz4", ".lzo", ".7z", ".zip")

Search = Generator[None, None, T]
"""Work that is done bit by bit; its answer is of the type given."""


class CompressedCopy:
    """One such file.

    Args:
        path: of it; its ending says how it is compressed.

    Raises:
        OSError: it cannot be opened.
    """

    static = True
    limit = None
    truncated = False
    removed = False
    start = 0, b""

    def __init__(self, path: str) -> None:
        self._path = path
        # The descriptor is looked at before anything is read of it: of a FIFO the first read would wait.
        plain = LogFile.open(path)
        self.key = self.origin = plain.key
        self._file = os.fdopen(plain.release(), "rb", buffering=0)
        # Made when something is read, since it takes memory, and others may wait long for their turn.
        self._plain: PlainBytes | None = None
        self.head = b""
        self.queued_at = self.grew_at = plain.queued_at
        self.position = 0

    @property
    def is_decompressing(self) -> bool:
        """Whether it has a decoder."""
        return self._plain is not None

    def rewind(self) -> None:
        """Read from the beginning on."""
        self._file.seek(0)
        self._plain, self.position, self.head = None, 0, b""

    def reach(self, offset: int) -> Search[tuple[bytes, bytes]]:
        """Go to a place; the first bytes of the content, and the last ones before the place.

        The answer is short where the content is, or cannot be decompressed so far.
        """
        self.rewind()
        trail, scratch = b"", memoryview(bytearray(min(SLICE, offset)))
        while self.position < offset and self.has_more():
            yield
            try:
                count = self.read_into(scratch[: offset - self.position])
            except OSError:
                break
            trail = (trail + bytes(scratch[max(0, count - TRAIL) : count]))[-TRAIL:]
        return self.head[: min(HEAD, offset)], trail

    def size(self) -> int:
        """0: how long the content is shows only at its end."""
        return 0

    def has_more(self) -> bool:
        """Whether the end was not reached yet."""
        return self._plain is None or not self._plain.ended

    def read_into(self, free: memoryview) -> int:
        """Read on; 0 says nothing, `has_more` does.

        Raises:
            OSError: it cannot be decompressed.
        """
        if self._plain is None:
            self._plain = PlainBytes(self._path, self._file)
        count = self._plain.read_into(free)
        if self.position <= len(self.head) < HEAD:
            self.head += bytes(free[len(self.head) - self.position : min(count, HEAD - self.position)])
        self.position += count
        return count

    def close(self) -> None:
        """Close it."""
        self._file.close()
        self._plain = None


Content = LogFile | CompressedCopy


def open_content(path: str) -> Content:
    """Open a file that a rotation left, compressed or not.

    Raises:
        OSError: it cannot be opened.
    """
    if path.endswith(UNREADABLE):
        raise OSError(0, "it is compressed in a form that is not read", path)
    return CompressedCopy(path) if path.endswith(READABLE) else LogFile.open(path)


def reach(content: Content, offset: int) -> Search[tuple[bytes, bytes]]:
    """Go to a place in a file; its first bytes, and the last ones before the place, as far as they go."""
    if isinstance(content, CompressedCopy):
        return (yield from content.reach(offset))
    content.go_to(offset)
    return content.ends(offset)
