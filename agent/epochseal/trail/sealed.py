"""What the log says of its epoch secrets: for each epoch line the context that its secret was asked with.

Only seal files are read, and no key is needed: whether their lines are authentic is for `epochseal verify`.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from pathlib import Path

from epochseal.errors import FormatError, StorageError
from epochseal.lines import Header, TaggedLine, parse_line
from epochseal.segments import list_segments
from epochseal.trail.events import TrailContext


@dataclass(slots=True)
class Sealed:
    """The epochs of one log, in the order in which they stand.

    Attributes:
        origin, log: the log's name, and its id in base64; empty where there is no epoch line.
        headers: every readable epoch line.
        unreadable: epoch lines that are damaged.
        foreign: epoch lines that name another log.
    """

    origin: str = ""
    log: str = ""
    headers: list[Header] = field(default_factory=list)
    unreadable: int = 0
    foreign: int = 0
    paths: list[Path] = field(default_factory=list)

    def has_tag(self, tag: str) -> bool:
        """Whether a line of the log has this tag (base64).

        Raises:
            StorageError: a seal file cannot be read.
        """
        wanted = b" " + tag.encode("ascii", "replace") + b"\n"
        return any(_find(path, wanted) for path in self.paths)


def read_sealed(logdir: Path) -> Sealed:
    """Read the epoch lines of a log.

    Raises:
        StorageError: a seal file cannot be read.
    """
    sealed = Sealed()
    for segment in list_segments(logdir).segments:
        if segment.seal is None:
            continue
        sealed.paths.append(segment.seal)
        for raw in _epoch_lines(segment.seal):
            _take(sealed, raw)
    return sealed


def context_of(header: Header, tag: str | None = None) -> TrailContext:
    """The context that the header's secret was asked with; with `tag`, that of a call which quoted it."""
    return TrailContext(header.origin, header.log, header.epoch, header.asked.tag if tag is None else tag)


def _take(sealed: Sealed, raw: bytes) -> None:
    try:
        line = parse_line(raw)
    except FormatError:
        sealed.unreadable += 1
        return
    header = line.body if isinstance(line, TaggedLine) else None
    if not isinstance(header, Header):
        sealed.unreadable += 1
    elif sealed.headers and (header.origin, header.log) != (sealed.origin, sealed.log):
        sealed.foreign += 1
    else:
        sealed.origin, sealed.log = header.origin, header.log
        sealed.headers.append(header)


def _epoch_lines(path: Path) -> list[bytes]:
    lines = []
    with _Mapped(path) as content:
        start = 0 if content[:6] == b"epoch " else content.find(b"\nepoch ") + 1 or len(content)
        while 0 <= start < len(content):
            stop = content.find(b"\n", start)
            if stop < 0:
                break
            lines.append(content[start:stop])
            found = content.find(b"\nepoch ", stop)
            start = found + 1 if found >= 0 else len(content)
    return lines


def _find(path: Path, wanted: bytes) -> bool:
    with _Mapped(path) as content:
        return content.find(wanted) >= 0


class _Mapped:
    """A file as bytes, without reading it into memory; an empty one is no bytes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mapped: mmap.mmap | None = None

    def __enter__(self) -> mmap.mmap | bytes:
        try:
            with self._path.open("rb") as file:
                if not file.seek(0, 2):
                    return b""
                self._mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
                return self._mapped
        except OSError as exc:
            raise StorageError(f"cannot read {self._path}: {exc.strerror}") from exc

    def __exit__(self, *_error: object) -> None:
        if self._mapped is not None:
            self._mapped.close()
