"""How far each series of journal entries is sealed, and whether one is missing where it goes on; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from epochseal.errors import FormatError
from epochseal.format.seal_lines import SourceMark
from epochseal.sources.journal_files import JournalFile
from epochseal.sources.log_file import percent_encode

NAME = "journald"
_CURSOR = re.compile(r"s=([0-9a-f]{32});i=([0-9a-f]{1,16})(?:;.*)?")


@dataclass(slots=True)
class Series:
    """One series.

    Attributes:
        name: 32 hex digits.
        entries: of it that are sealed.
        passed: up to this number all are sealed, or were not selected; 0 if none is.
        stated: the number that the chain was told last.
        gap: whether the next block of it is to say that entries may be missing.
        over: whether it has no file any more. It is remembered, in case that one comes back.
    """

    name: str
    entries: int = 0
    passed: int = 0
    stated: int = 0
    gap: bool = False
    over: bool = False

    def mark(self, number: int, entries: int) -> SourceMark:
        """A position: `number` is that of the last entry, `entries` how many there were."""
        cursor = percent_encode(cursor_of(self.name, number).encode())
        # Of a series that is over no start is to go on: under this name it is not found.
        return SourceMark(NAME if self.over else f"{NAME}:{self.name}", entries, cursor)


def cursor_of(series: str, number: int) -> str:
    """The cursor of an entry, as far as it is needed to find it in a file of its series."""
    return f"s={series};i={number:x}"


def read_cursor(text: str) -> tuple[str, int]:
    """Series and number of a cursor.

    Raises:
        FormatError: it has none.
    """
    if (match := _CURSOR.fullmatch(text)) is None:
        raise FormatError(f"not the cursor of a journal entry: {text[:80]!r}")
    return match[1], int(match[2], 16)


def series_of(mark: SourceMark) -> Series | None:
    """The series that a position speaks of; None if it is no such position."""
    if not mark.name.startswith(f"{NAME}:"):
        return None
    try:
        name, number = read_cursor(unquote(mark.file))
    except FormatError:
        return None
    return Series(name, mark.offset, passed=number, stated=number) if mark.name == f"{NAME}:{name}" else None


def is_proven(series: Series | None, file: JournalFile, files: Iterable[JournalFile]) -> bool:
    """Whether no entry can be missing between what is sealed of a series and the beginning of a file of it.

    Numbers that follow each other prove it. journald gives one row of numbers to several series, such as the
    system's and those of users: numbers that are missing in one may be in another, which is then there; and a
    vacuum removes the older file of a series first.

    Args:
        series: as far as it is sealed; None if nothing of it was ever read.
        file: of it, the next one to be read.
        files: all that are there, this one among them.
    """
    last = series.passed if series is not None else 0
    if file.head <= last + 1:
        return True
    others = [other for other in files if other.series != file.series and other.head]
    elsewhere = any(other.head < file.head and other.tail > last for other in others)
    if series is None:
        return elsewhere
    before = [other for other in files if other.series == file.series and other.head <= last <= other.tail]
    return elsewhere and bool(before)
