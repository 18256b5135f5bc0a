"""The lines of one kind in a seal file, the last one first, in little memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from epochseal.errors import StorageError
from epochseal.format.seal_lines import MAX_LINE
from epochseal.storage.holes import readable_size
from epochseal.storage.opener import LogFile, open_file

_CHUNK = 1 << 20
_MOST = 1 << 14


def lines_backwards(path: Path, kind: bytes, before: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Where each whole line that begins with `kind` stands, and the line without its LF.

    Args:
        path: the seal file.
        kind: what the lines begin with.
        before: only lines that begin before this byte of the file.

    Raises:
        StorageError: the file cannot be read, or is no regular one.
    """
    # JSON holds no raw newline, so a newline and the kind are the start of a line and nothing else.
    needle = b"\n" + kind
    with open_file(path) as file:
        try:
            stop, behind = readable_size(file), b""
            if before is not None:
                stop = min(stop, before)
            while stop:
                start = max(0, stop - _CHUNK)
                chunk = file.pread(stop - start, start) + behind
                at = len(chunk)
                while (at := chunk.rfind(needle, 0, at + len(needle) - 1)) >= 0:
                    if (line := _line_at(file, start + at + 1)) is not None:
                        yield start + at + 1, line
                behind, stop = chunk[: len(needle) - 1], start
            if file.pread(len(kind), 0) == kind and (line := _line_at(file, 0)) is not None:
                yield 0, line
        except OSError as exc:
            raise StorageError(f"cannot read {path}: {exc.strerror}") from exc


def _line_at(file: LogFile, start: int) -> bytes | None:
    for size in (_MOST, MAX_LINE + 1):
        line, newline, _ = file.pread(size, start).partition(b"\n")
        if newline:
            return line
    return None
