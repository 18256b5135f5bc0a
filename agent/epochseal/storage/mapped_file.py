"""A file as bytes to search in, without reading it into memory; an object is read."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from epochseal.errors import StorageError
from epochseal.storage.opener import open_file
from epochseal.storage.stored_file import StoredFile


@contextmanager
def mapped(path: Path | None) -> Iterator[mmap.mmap | bytes]:
    """The content of a file as it is now; of an empty one, and of none, no bytes.

    Raises:
        StorageError: it cannot be read, or is no regular file.
    """
    if path is None:
        yield b""
        return
    try:
        with open_file(path) as file:
            # A map of nothing is an error to the system.
            if not file.seek(0, 2):
                yield b""
                return
            if isinstance(file, StoredFile):
                yield file.pread(file.size, 0)
                return
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
                yield content
    except OSError as exc:
        raise StorageError(f"cannot read {path}: {exc.strerror}") from exc
