"""An object of an archive as an open file: read in order, with what follows on its way, or in pieces."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from typing_extensions import Buffer

    from epochseal.storage.object_store import ObjectStore, StoredObject

WINDOW = 4 << 20
"""So many bytes are asked for at once by whoever reads in order; as many again are on their way meanwhile."""
_APART = 64 << 10


class StoredFile(io.RawIOBase):
    """Reads one object, which stays the one that was opened: were it replaced, the next read is a GoneError.

    A first read somewhere asks for little. Who goes on from there gets a window, and the one behind it is
    fetched meanwhile: two windows are in memory at most.
    """

    def __init__(self, store: ObjectStore, item: StoredObject) -> None:
        self._store, self._item = store, item
        self.size = item.size
        self._position = 0
        self._start, self._window = 0, b""
        self._next: Future[bytes] | None = None
        self._fetcher: ThreadPoolExecutor | None = None

    def readable(self) -> bool:
        """As a file."""
        return True

    def seekable(self) -> bool:
        """As a file."""
        return True

    def tell(self) -> int:
        """As a file."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As a file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def readinto(self, buffer: Buffer, /) -> int:
        """As a file."""
        with memoryview(buffer) as view, view.cast("B") as into:
            data = self._at(self._position, len(into))
            into[: len(data)] = data
        self._position += len(data)
        return len(data)

    def pread(self, size: int, position: int) -> bytes:
        """Bytes at a place, fewer only at the end of the file; where it is read next stays as it is."""
        data = bytes(self._at(position, size))
        wanted = min(size, self.size - position)
        while len(data) < wanted:
            data += self._at(position + len(data), wanted - len(data))
        return data

    def close(self) -> None:
        """As a file; what is still on its way is dropped."""
        if self._fetcher is not None:
            self._fetcher.shutdown(wait=True, cancel_futures=True)
            self._fetcher = None
        self._window, self._next = b"", None
        super().close()

    def _at(self, position: int, size: int) -> memoryview:
        """Some of the bytes there; none only at the end."""
        if position >= self.size or size <= 0:
            return memoryview(b"")
        end = self._start + len(self._window)
        if not self._start <= position < end:
            self._fill(position, size, goes_on=bool(self._window) and position == end)
        at = position - self._start
        return memoryview(self._window)[at : at + size]

    def _fill(self, position: int, size: int, *, goes_on: bool) -> None:
        from epochseal.storage.opener import GoneError  # noqa: PLC0415  # it imports this file

        try:
            self._ask(position, size, goes_on=goes_on)
        except FileNotFoundError as exc:
            # Removed or exchanged since it was opened: to whoever reads, as if it had not been there to open.
            raise GoneError(f"there is no {self._store.url(self._item.key)} as it was listed") from exc

    def _ask(self, position: int, size: int, *, goes_on: bool) -> None:
        ahead, self._next = self._next, None
        if goes_on and ahead is not None:
            window = ahead.result()
        else:
            most = max(size, WINDOW if goes_on else _APART)
            window = self._store.read(self._item, position, most)
        self._start, self._window = position, window
        following = position + len(window)
        if goes_on and following < self.size:
            if self._fetcher is None:
                from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # for large objects alone

                self._fetcher = ThreadPoolExecutor(1, "read-ahead")
            self._next = self._fetcher.submit(self._store.read, self._item, following, WINDOW)
