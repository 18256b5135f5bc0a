"""Where a file begins that the chain does not know yet: at its first byte, or behind what is not wanted."""

from __future__ import annotations

import time
from collections.abc import Iterable

from epochseal.format.seal_lines import SourceMark
from epochseal.sources.file_identity import Identity
from epochseal.sources.log_file import LogFile, source_name
from epochseal.sources.matched_paths import MatchedPaths
from epochseal.sources.tail_options import TailOptions

_PIECE = 64 << 10
_MOST_LINE = 16 << 20


class Beginnings:
    """Of the files of a table.

    Args:
        known: the paths of which something is sealed.
    """

    def __init__(self, options: TailOptions, matched: MatchedPaths, known: Iterable[str]) -> None:
        self._options = options
        self._matched = matched
        self._known = {pattern for path in known for pattern in matched.patterns_of(path)}

    def knows(self, path: str) -> bool:
        """Whether something was sealed of the glob that names a path: it was followed before this start."""
        return not self._known.isdisjoint(self._matched.patterns_of(path))

    def mark(self, path: str, *, at_start: bool) -> SourceMark | None:
        """Up to where a file is as if sealed; None: from the first byte on.

        Args:
            path: of the file.
            at_start: whether it was there when the agent began.
        """
        options = self._options
        # What appeared while the agent was down is read: only a glob that is new is begun at the end.
        skipped = options.from_end and at_start and not self.knows(path)
        if not skipped and options.ignore_older is None:
            return None
        try:
            content = LogFile.open(path)
        except OSError:
            return None
        try:
            if not skipped and time.time() - content.stat().st_mtime <= (options.ignore_older or 0.0):
                return None
            return _end(path, content)
        except OSError:
            return None
        finally:
            content.close()


def _end(path: str, content: LogFile) -> SourceMark | None:
    """Behind the last whole line: what comes of the last one is an entry of its own, if it is very long."""
    size = place = content.size()
    end = size
    while place > 0 and size - place < _MOST_LINE:
        begin = max(0, place - _PIECE)
        found = content.bytes_at(begin, place - begin).rfind(b"\n")
        if found >= 0:
            end = begin + found + 1
            break
        place = begin
    else:
        end = 0 if place == 0 else size
    if not end:
        return None
    return SourceMark(source_name(path), end, str(Identity.of(content.key, *content.ends(end))))
