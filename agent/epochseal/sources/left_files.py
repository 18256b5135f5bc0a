"""Files that were left for their successors a moment ago, watched for late writes."""

from __future__ import annotations

import time

from epochseal.format.seal_lines import SourceMark
from epochseal.sources.log_file import LogFile

LINGER = 60.0
"""Seconds for which a file that was left stays open."""


class LeftFiles:
    """The files that one path had before.

    A service may go on writing to a file after the reader has gone on to the next one. Those lines are not
    sealed, because lines of the next file may be sealed already; that they were written has to be said.
    """

    def __init__(self) -> None:
        self._files: list[tuple[LogFile, SourceMark, float]] = []

    def __len__(self) -> int:
        return len(self._files)

    def add(self, content: LogFile, end: SourceMark) -> None:
        """Watch a file from now on; `end` is the mark up to which all of it is sealed."""
        self._files.append((content, end, time.monotonic() + LINGER))

    def late(self) -> int:
        """How many were written to since the last look; closes those whose time is over.

        Raises:
            OSError: a file cannot be looked at; none was closed.
        """
        now, late = time.monotonic(), [item for item in self._files if item[0].has_more()]
        for content, _, _ in late:
            content.go_to(content.size())
        for item in [item for item in self._files if now >= item[2]]:
            self._files.remove(item)
            item[0].close()
        return len(late)

    def give_away(self, key: tuple[int, int]) -> SourceMark | None:
        """The mark at the end of the file with this device and inode, for whoever goes on reading it."""
        for item in self._files:
            if item[0].key == key:
                self._files.remove(item)
                item[0].close()
                return item[1]
        return None

    def close(self) -> None:
        """Close all of them."""
        for content, _, _ in self._files:
            content.close()
