"""The lines of a seal file, one after the other, in no more memory than the longest seal line needs."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from epochseal.errors import StorageError
from epochseal.format.seal_lines import MAX_LINE
from epochseal.storage.holes import readable_size
from epochseal.storage.opener import open_file

_BUFFER = 1 << 18
# With its LF, and a byte more that shows that it is too long.
_LONGEST = MAX_LINE + 2


def read_whole_lines(path: Path, start: int = 0) -> Iterator[bytes]:
    """The lines from byte `start` on, without their LF, up to one that is unfinished or too long.

    Raises:
        StorageError: the file cannot be read, or is no regular one.
    """
    try:
        with BufferedReader(open_file(path), _BUFFER) as file:
            file.seek(start)
            while (raw := file.readline(_LONGEST)).endswith(b"\n"):
                yield raw[:-1]
    except OSError as exc:
        raise StorageError(f"cannot read {path}: {exc.strerror}") from exc


def read_damaged_lines(path: Path) -> Iterator[bytes]:
    """All lines with their LF, whatever happened to the file; of one that is too long, its beginning.

    Of a file that is nearly all holes, those up to the first hole.

    Only the last one may lack its LF.

    Raises:
        StorageError: the file cannot be read, or is no regular one.
    """
    try:
        with open_file(path) as opened, BufferedReader(opened, _BUFFER) as file:
            left = readable_size(opened)
            while left and (raw := file.readline(min(_LONGEST, left))):
                left -= len(raw)
                rest = raw
                while left and len(rest) == _LONGEST and not rest.endswith(b"\n"):
                    rest = file.readline(min(_LONGEST, left))
                    left -= len(rest)
                yield raw if rest is raw or not rest.endswith(b"\n") else raw + b"\n"
    except OSError as exc:
        raise StorageError(f"cannot read {path}: {exc.strerror}") from exc
